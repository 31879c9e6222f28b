"""A bulk run refuses what it cannot use before it writes a list, and tells in a line how to repair it."""

import errno
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rqrec.models.errors import UserError
from rqrec.models.files import write_file
from rqrec.service.bulk.output import OutputFolder
from rqrec.service.bulk.source import InputFile, fingerprints
from tests.service.bulk.conftest import Run, lists_in, random_histories

USERS = pl.DataFrame({"user_id": ["a"], "history": [["100"]]})


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (USERS.drop("history"), "expected the columns user_id and history, got \\['user_id'\\]"),
        (USERS.rename({"user_id": "user"}), "rename the column of the users"),
        (USERS.with_columns(history=pl.lit("100")), "history must be lists of strings or integers.*got String"),
        (USERS.with_columns(user_id=pl.lit(1.5)), "user_id must be of strings or integers, got Float64"),
        (USERS.with_columns(exclude=pl.lit(1)), "exclude must be lists of strings or integers, got Int32"),
        (USERS.with_columns(history=[[{"id": "1"}]]), "structs of item_id, type"),
        (USERS.clear().cast({"user_id": pl.Null}), "got Null.*it has no values, so write it with a type"),
        (USERS.clear(), "expected at least one user"),
    ],
)
def test_other_columns_are_refused(run: Run, tmp_path: Path, frame: pl.DataFrame, said: str) -> None:
    frame.write_parquet(tmp_path / "in.parquet")
    with pytest.raises(UserError, match=said):
        run(tmp_path / "in.parquet")


def test_files_that_differ_or_are_none_are_refused(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    with pytest.raises(UserError, match="found none at"):
        run(folder)
    folder.mkdir()
    USERS.write_parquet(folder / "1.parquet")
    USERS.with_columns(user_id=pl.lit(7)).write_parquet(folder / "2.parquet")
    with pytest.raises(UserError, match="1.parquet and .*2.parquet differ in \\['user_id'\\]"):
        run(folder)
    (folder / "2.parquet").write_text("")
    with pytest.raises(UserError, match="expected a Parquet file, .*2.parquet"):
        run(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"user_id": "a"}, "must have no user_id: the input has a column"),
        ({"k": 0}, "k: Input should be greater than or equal to 1"),
        ({"K": 5}, "K: no field of POST /recommend has this name: the fields are .*beam_width"),
        ({"pins": [{"item_id": "100", "place": 1}]}, "pins: 0: place: no field has this name"),
        ({"filter": {"genre": {"any_of": ["War"]}}}, "filter.genre"),
        ({"caps": {"price": 1}}, "caps.price: expected an attribute"),
        ({"exclude_types": ["view"]}, "give them with --events"),
        ({"exclude": ["100"] * 1001}, "exclude may have at most 1000 items, got 1001"),
    ],
)
def test_a_request_that_http_would_refuse_is_refused(
    run: Run, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    USERS.write_parquet(tmp_path / "in.parquet")
    with pytest.raises(UserError, match=said):
        run(tmp_path / "in.parquet", fields)
    run(tmp_path / "in.parquet")  # nothing was begun, so a better request is welcome


def test_users_that_http_would_refuse_are_skipped_with_the_reason(run: Run, tmp_path: Path) -> None:
    users = [("good", ["100"]), (None, ["100"]), ("null", None), ("null item", ["100", None]), ("no id", [""])]
    users += [("long id", ["x" * 257]), ("long", ["100"] * 1001), ("longest", ["100"] * 1000)]
    pl.DataFrame(users, schema=["user_id", "history"], orient="row").write_parquet(tmp_path / "in.parquet")
    figures = run(tmp_path / "in.parquet", {"k": 3}).figures
    assert (figures.users, figures.lists, figures.skipped, figures.items) == (8, 2, 6, 6)
    assert pl.read_parquet(tmp_path / "out/skipped").rows() == [
        (None, "user_id is null"),
        ("null", "history is null"),
        ("null item", "history holds a null"),
        ("no id", "history holds an id that has not 1 to 256 characters"),
        ("long id", "history holds an id that has not 1 to 256 characters"),
        ("long", "history has more than 1000 items (RQREC_MAX_HISTORY_ITEMS)"),
    ]
    assert json.loads((tmp_path / "out/summary.json").read_text())["skipped"] == 6


def test_an_exclusion_counts_with_those_of_the_request(run: Run, tmp_path: Path) -> None:
    users = pl.concat([USERS] * 2).with_columns(exclude=pl.Series([["101"] * 990, ["101"] * 991]))
    users.write_parquet(tmp_path / "in.parquet")
    figures = run(tmp_path / "in.parquet", {"k": 3, "exclude": ["102"] * 10}).figures
    assert (figures.lists, figures.skipped) == (1, 1)


def test_the_files_of_a_folder_may_have_any_name_and_be_linked(run: Run, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "in[1]", tmp_path / "elsewhere"
    for place in (folder, elsewhere):
        place.mkdir()
    names = [folder / "u*.parquet", folder / "users[1].PARQUET", folder / "_no.parquet", elsewhere / "?.parquet"]
    for number, name in enumerate(names):
        with name.open("wb") as file:
            USERS.with_columns(user_id=pl.lit(str(number))).write_parquet(file)
    (folder / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    assert run(folder, {"k": 3}).figures.users == 3
    assert set(lists_in(tmp_path / "out")) == {"0", "1", "3"}


def test_an_input_that_cannot_be_read_is_named(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    random_histories(2000).write_parquet(source)
    content = bytearray(source.read_bytes())
    content[200:2000] = bytes(1800)
    source.write_bytes(content)
    with pytest.raises(UserError, match="in.parquet cannot be read .*write it again"):
        run(source)


def test_an_input_without_users_leaves_the_folder_to_another(run: Run, tmp_path: Path) -> None:
    USERS.clear().write_parquet(tmp_path / "in.parquet")
    with pytest.raises(UserError, match="expected at least one user"):
        run(tmp_path / "in.parquet")
    USERS.write_parquet(tmp_path / "in.parquet")
    assert run(tmp_path / "in.parquet").figures.lists == 1


def test_an_input_that_changes_during_the_run_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    USERS.write_parquet(tmp_path / "in.parquet")

    def changing(files: Sequence[InputFile], source: Path) -> dict[str, Any]:
        pl.concat([USERS, USERS]).write_parquet(files[0].path)
        return fingerprints(files, source)

    monkeypatch.setattr("rqrec.service.bulk.run.fingerprints", changing)
    with pytest.raises(UserError, match="in.parquet was changed: begin again"):
        run(tmp_path / "in.parquet")
    assert not list(tmp_path.rglob("part-*"))


def a_file(out: Path) -> None:
    out.write_text("")


def other_content(out: Path) -> None:
    out.mkdir()
    (out / "notes.txt").touch()


def another_run(out: Path) -> None:
    out.mkdir()
    OutputFolder(out).claim({"input": "another", "request": {"at": 1.0}})


@pytest.mark.parametrize(
    ("prepare", "said"),
    [(a_file, "is a file"), (other_content, "has other content"), (another_run, "begun with other input or options")],
)
def test_a_folder_with_other_content_is_refused(
    run: Run, tmp_path: Path, prepare: Callable[[Path], None], said: str
) -> None:
    USERS.write_parquet(tmp_path / "in.parquet")
    prepare(tmp_path / "out")
    with pytest.raises(UserError, match=said):
        run(tmp_path / "in.parquet")


def test_an_output_among_the_input_is_refused(run: Run, tmp_path: Path) -> None:
    USERS.write_parquet(tmp_path / "in.parquet")
    with pytest.raises(UserError, match="out must not be in the folder of the input: choose another --out"):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    assert run(tmp_path / "in.parquet").figures.lists == 1


@pytest.mark.parametrize("written", ["bulk.json", "part-00000.parquet"])
def test_a_full_disk_is_told_and_the_run_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    USERS.write_parquet(tmp_path / "in.parquet")

    def full(target: Path, write: Callable[[Path], object]) -> None:
        def half(file: Path) -> None:
            file.write_bytes(b"PAR1")
            raise OSError(errno.ENOSPC, "No space left on device")

        write_file(target, half if target.name == written else write)

    with monkeypatch.context() as patched:
        patched.setattr("rqrec.service.bulk.output.write_file", full)
        with pytest.raises(UserError, match=rf"{written} cannot be written \(.*No space left.*goes on"):
            run(tmp_path / "in.parquet")
    assert not list((tmp_path / "out").rglob(".*"))
    assert run(tmp_path / "in.parquet").figures.lists == 1


def test_two_runs_do_not_write_to_one_folder(run: Run, tmp_path: Path) -> None:
    USERS.write_parquet(tmp_path / "in.parquet")
    with OutputFolder(tmp_path / "out").locked(), pytest.raises(UserError, match="another run writes to"):
        run(tmp_path / "in.parquet")
