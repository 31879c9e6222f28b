"""Bundles whose checksums are right and whose content is wrong, and bundles that cannot be read."""

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.layout import (
    CONTENTS,
    FEATURIZER,
    FILES,
    ITEMS,
    LEARNED_ITEMS,
    MANIFEST,
    PROJECTION,
    RETRIEVER_WEIGHTS,
    SEARCH_GRAPH,
    TEXT_ENCODER_GRAPH,
    TEXT_FILES,
    TEXT_TOKENIZER,
    TOKENIZER_GRAPH,
    TOKENIZER_WEIGHTS,
    TRANSITIONS,
)
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.bundle.transition_table import write_transitions
from rqrec.models.search.history.transitions import Transitions
from tests.service.serving.wrong.sealing import seal, use
from tests.text_encoders import with_text_encoder, write_text_encoder

UNUSED = {RETRIEVER_WEIGHTS, TOKENIZER_WEIGHTS}  # by the service on a CPU
READ = sorted({*FILES, *TEXT_FILES, TRANSITIONS} - UNUSED)
Change = Callable[[Path], object]


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle with all files that a service reads. The bonus is so small that it changes no golden answer."""
    folder, rows = with_text_encoder(bundle, tmp_path / "copy"), len(bundle.items)
    starts_N, second = np.minimum(np.arange(rows + 1), 1), np.array([1], dtype=np.int32)
    write_transitions(Transitions(starts_N, second, np.ones(1, dtype=np.float32)), folder / TRANSITIONS)
    seal(folder, following_weight=1e-6)
    return folder


def items(change: Callable[[pl.DataFrame], pl.DataFrame], name: str = ITEMS) -> Change:
    return lambda folder: change(pl.read_parquet(folder / name)).write_parquet(folder / name)


def learned(**columns: Any) -> Change:
    return items(lambda frame: frame.with_columns(**columns), LEARNED_ITEMS)


def matrix(name: str, change: Callable[[Any], Any]) -> Change:
    def apply(folder: Path) -> None:
        np.save(folder / name, change(np.load(folder / name)))

    return apply


def pickled(name: str) -> Change:
    return lambda folder: np.save(folder / name, np.array([{}], dtype=object), allow_pickle=True)


def archived(folder: Path) -> None:
    np.savez(folder / "archive.npz", np.zeros(3))
    (folder / "archive.npz").rename(folder / PROJECTION)


def one_value(value: float) -> Callable[[Any], Any]:
    def apply(array: Any) -> Any:
        array[1, 0] = value
        return array

    return apply


def featurizer(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(folder: Path) -> None:
        fields = json.loads((folder / FEATURIZER).read_text())
        change(fields)
        (folder / FEATURIZER).write_text(json.dumps(fields))

    return apply


def block(**changes: object) -> Change:
    return featurizer(lambda fields: fields["blocks"][0].update(changes))


def graph(name: str, change: Callable[[onnx.ModelProto], object]) -> Change:
    def apply(folder: Path) -> None:
        model = onnx.load(folder / name)
        change(model)
        onnx.save(model, folder / name)

    return apply


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "other"


def empty_graph(model: onnx.ModelProto) -> None:
    model.CopyFrom(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []), ir_version=10))


def other_codes(frame: pl.DataFrame, *, code: int) -> pl.DataFrame:
    codes_RL = frame["semantic_id"].to_numpy().copy()
    codes_RL[0, 0] = code
    return frame.with_columns(semantic_id=pl.Series(codes_RL))


def one_vector_of_nan(frame: pl.DataFrame) -> pl.DataFrame:
    vectors_RD = frame["item_vector"].to_numpy().copy()
    vectors_RD[3] = np.nan
    return frame.with_columns(item_vector=pl.Series(vectors_RD))


def one_large_vector(frame: pl.DataFrame) -> pl.DataFrame:
    vectors_RD = frame["item_vector"].to_numpy().copy()
    vectors_RD[3, 0] = 3e38
    return frame.with_columns(item_vector=pl.Series(vectors_RD))


def with_id(frame: pl.DataFrame, item_id: str) -> pl.DataFrame:
    return frame.with_columns(pl.Series(ITEM_ID, [item_id, *frame[ITEM_ID][1:]]))


WRONG: Mapping[str, Change] = {
    "no rows": items(lambda frame: frame.clear()),
    "one item less": items(lambda frame: frame[1:]),
    "item twice": items(lambda frame: frame.with_columns(item_id=pl.lit("100"))),
    "item without an id": items(lambda frame: frame.with_columns(item_id=pl.lit(None, pl.String))),
    "ids that are numbers": items(lambda frame: frame.with_columns(pl.col(ITEM_ID).cast(pl.Int64))),
    "an empty id": items(lambda frame: with_id(frame, "")),
    "an id of NUL": items(lambda frame: with_id(frame, "a\0")),
    "a long id": items(lambda frame: with_id(frame, "é" * 257)),
    "bytes": items(lambda frame: frame.with_columns(more=pl.lit(b"\xff"))),
    "bytes in lists": items(lambda frame: frame.with_columns(more=pl.concat_list(pl.lit(b"\xff")))),
    "bytes in objects": items(lambda frame: frame.with_columns(more=pl.struct(inner=pl.lit(b"\xff")))),
    "no ids": items(lambda frame: frame.drop(ITEM_ID)),
    "an attribute less": items(lambda frame: frame.drop("genres")),
    "an attribute of another type": items(lambda frame: frame.with_columns(genres=pl.lit(True))),
    "text of another type": items(lambda frame: frame.with_columns(title=pl.lit(True))),
    "code twice": items(lambda frame: pl.concat([frame[:1], frame[:1], frame[2:]]), LEARNED_ITEMS),
    "code out of range": items(lambda frame: other_codes(frame, code=16), LEARNED_ITEMS),
    "negative code": items(lambda frame: other_codes(frame, code=-1), LEARNED_ITEMS),
    "a level less": learned(semantic_id=pl.col("semantic_id").arr.head(3).list.to_array(3)),
    "codes that are numbers": learned(semantic_id=pl.col("semantic_id").cast(pl.Array(pl.Float64, 4))),
    "codes that are null": learned(semantic_id=pl.lit(None, pl.Array(pl.Int32, 4))),
    "NaN in a vector": learned(
        item_vector=pl.col("item_vector")
        .cast(pl.List(pl.Float32))
        .list.eval(pl.element() * float("nan"))
        .list.to_array(24)
    ),
    "a following item out of range": items(
        lambda frame: frame.with_columns(following=pl.lit([len(frame)], pl.List(pl.Int32))), TRANSITIONS
    ),
    "transitions of fewer items": items(lambda frame: frame[1:], TRANSITIONS),
    "vectors of another width": learned(item_vector=pl.col("item_vector").arr.head(8).list.to_array(8)),
    "a vector whose square is infinite": items(one_large_vector, LEARNED_ITEMS),
    "negative popularity": learned(popularity=pl.lit(-1, pl.Int64)),
    "no popularity": items(lambda frame: frame.drop("popularity"), LEARNED_ITEMS),
    "contents of another shape": matrix(CONTENTS, lambda array: array[:, 1:]),
    "fewer contents": matrix(CONTENTS, lambda array: array[1:]),
    "contents of one axis": matrix(CONTENTS, lambda array: array[:, 0]),
    "contents that are texts": matrix(CONTENTS, lambda array: array.astype(str)),
    "large contents": matrix(CONTENTS, one_value(6e4)),
    "large projection": matrix(PROJECTION, lambda array: array * np.float32(1e37)),
    "contents with infinity": matrix(CONTENTS, one_value(float("inf"))),
    "pickled contents": pickled(CONTENTS),
    "pickled projection": pickled(PROJECTION),
    "projection of another shape": matrix(PROJECTION, lambda array: array[1:]),
    "projection of another kind": matrix(PROJECTION, lambda array: array.astype(np.complex64)),
    "projection with NaN": matrix(PROJECTION, one_value(float("nan"))),
    "an archive": archived,
    "no blocks": featurizer(lambda fields: fields["blocks"].clear()),
    "a block less": featurizer(lambda fields: fields["blocks"].pop()),
    "another source": block(source="elsewhere"),
    "no name": block(name=None),
    "a name that no item has": block(name="colour"),
    "scale 0": block(scale=0.0),
    "scale that is a text": block(scale="1"),
    "infinite mean": block(mean_W=[float("inf")]),
    "text of a foreign attribute": featurizer(lambda fields: fields.update(text_attributes=["colour"])),
    "featurizer that is a list": lambda folder: (folder / FEATURIZER).write_text("[]"),
    "deep featurizer": lambda folder: (folder / FEATURIZER).write_text("[" * 100_000),
    "empty search": graph(SEARCH_GRAPH, empty_graph),
    "search with another input": graph(SEARCH_GRAPH, rename_input),
    "empty tokenizer": graph(TOKENIZER_GRAPH, empty_graph),
    "tokenizer with another input": graph(TOKENIZER_GRAPH, rename_input),
    "empty text encoder": graph(TEXT_ENCODER_GRAPH, empty_graph),
    "text encoder with another input": graph(TEXT_ENCODER_GRAPH, rename_input),
    "text encoder of another width": lambda folder: write_text_encoder(folder, width=5),
    "tokens that are a list": lambda folder: (folder / TEXT_TOKENIZER).write_text("[]"),
}


def test_what_is_right_is_used(copy: Path) -> None:
    seal(copy)
    use(copy)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_content_is_a_bundle_error(copy: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    WRONG[name](copy)
    seal(copy)
    with pytest.raises(BundleError) as caught:
        use(copy)
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)
    assert "panicked" not in capfd.readouterr().err
    assert len(str(caught.value)) < 1000
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 1000, b"PAR1PAR1", b"{}", b"\xff\xfe", b"\x93NUMPY\x01\x00v\x00{'descr': "]
)
def test_a_foreign_file_is_a_bundle_error(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    seal(copy)
    with pytest.raises(BundleError):
        use(copy)


@pytest.mark.parametrize("name", READ)
def test_another_file_of_the_bundle_in_its_place_is_a_bundle_error(copy: Path, name: str) -> None:
    other = SEARCH_GRAPH if name != SEARCH_GRAPH else TOKENIZER_GRAPH
    shutil.copy(copy / other, copy / name)
    seal(copy)
    with pytest.raises(BundleError):
        use(copy)


@pytest.mark.parametrize("name", READ)
def test_garbled_content_is_refused_or_works(copy: Path, name: str) -> None:
    rng = np.random.default_rng(len(name))
    original = (copy / name).read_bytes()
    for _ in range(3):
        content = np.frombuffer(original, dtype=np.uint8).copy()
        content[rng.integers(0, len(content), size=8)] = rng.integers(0, 256, size=8)
        (copy / name).write_bytes(content.tobytes())
        seal(copy)
        with contextlib.suppress(BundleError):
            use(copy)


@pytest.mark.parametrize("name", [MANIFEST, *READ])
@pytest.mark.parametrize("kind", ["folder", "loop", "dangling link"])
def test_what_is_no_file_is_a_bundle_error(copy: Path, name: str, kind: str) -> None:
    (copy / name).unlink()
    if kind == "folder":
        (copy / name).mkdir()
    else:
        (copy / name).symlink_to(name if kind == "loop" else "nowhere")
    with pytest.raises(BundleError):
        use(copy)


@pytest.mark.parametrize("name", [MANIFEST, *READ])
def test_what_may_not_be_read_is_one_line(copy: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)  # tests may run as root, which can read every file
    with pytest.raises(BundleError, match="Permission denied.*readable for the user"):
        read_bundle(copy)


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), OSError(5, "Input/output error")])
def test_whatever_goes_wrong_in_reading_is_a_bundle_error(
    copy: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(pl, "read_parquet", fail)
    with pytest.raises(BundleError, match=str(copy)):
        read_bundle(copy)
