"""The items that clients wrote, as a change log in a real Redis has them, reach the file from which training reads."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.support.running import RedisServer
from rqrec.service.catalogue.changes import Change, Delete, Entry, Forget, Put
from rqrec.service.catalogue.item import Item
from rqrec.service.events.event import Event as UserEvent
from rqrec.service.export_events import written_items
from rqrec.service.export_events.__main__ import EXIT_UNAVAILABLE, main
from rqrec.service.export_events.items_export import ItemsExport
from rqrec.service.export_events.items_file import NAME, ItemsFile
from rqrec.service.redis.client import RedisGate
from rqrec.service.redis.options import RedisOptions
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.log_view import Event, LogHeader
from rqrec.service.replication.positions import START
from rqrec.service.replication.stamped_entries import StampedEntry
from rqrec.service.replication.stamps import Stamps
from rqrec.service.serving.shared_rollout import SharedRollout
from rqrec.service.telemetry import Metrics
from tests.service.events.opened_store import OpenedStore

VERSION, OLDER, STAMP, SAVED = "v1", "1700000000000-0", "1700000000000-1", "1700000000000-9"
ENTRIES = f"rqrec:{{{VERSION}}}:entries"


class Log:
    """A change log in Redis, which no service follows."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._gate = RedisGate(RedisOptions(url, timeout_s=2.0, retries=1, max_connections=4, pause_s=0.2), Metrics())
        self._log = ChangeLog(self._gate, VERSION)

    def begin(self, entries: Mapping[str, Entry | None]) -> None:
        """Makes the model active and its log new, with these entries and no later event."""
        stamped = {item_id: StampedEntry(STAMP, entry) for item_id, entry in entries.items()}
        stamps = Stamps(dict.fromkeys(entries, STAMP))

        async def begin() -> None:
            await SharedRollout(self._gate, empty_for_s=0).note_active(VERSION)
            header = LogHeader("an epoch", SAVED, len(entries), SAVED, len(entries), stamps.digest)
            assert await self._log.begin((await self._log.look(START)).tag, START, stamped, header)

        self._runner.run(begin())

    def append(self, *changes: Change, stamp: str = "") -> None:
        """Appends changes; those with a stamp as if they were migrated from another model."""
        origin = Event(stamp, "", origin="v0" if stamp else "")
        self._runner.run(self._log.append_all((change, origin) for change in changes))

    def close(self) -> None:
        self._runner.run(self._gate.close())
        self._runner.close()


@pytest.fixture
def log(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    monkeypatch.setenv("RQREC_REDIS_URL", redis_server.url)
    monkeypatch.setattr(written_items, "PAUSE_S", 0.0)
    log = Log(redis_server.url)
    yield log
    log.close()


def put(item_id: str, *codes: int, hidden: Mapping[str, Any] | None = None, **attributes: Any) -> Put:
    return Put(Item(item_id, json.dumps(attributes)), codes or (1, 1), b"", json.dumps(hidden or {}))


def entry(item_id: str, collision_code: int = 0, **attributes: Any) -> Entry:
    return Entry(put(item_id, **attributes), (1, 1, collision_code))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / NAME).read_text(encoding="utf-8").splitlines()]


def names(folder: Path) -> list[str]:
    return [row["item_id"] for row in rows(folder)]


def test_lists_numbers_and_vectors_stay_as_they_were_written(log: Log, tmp_path: Path) -> None:
    hidden = {"text_vector": [0.1, -2.5], "vectors": {"image": [1.0, 2.0, 3.0]}}
    log.begin({"a": entry("a", genres=["War", "Horror"], year=1985, price=9.99, code="007", image=None)})
    log.append(put("b", genres=[], year=None, price=1.0, code="é", image=None, hidden=hidden))
    main([str(tmp_path)])
    written: dict[str, Any] = {"item_id": "a", "genres": ["War", "Horror"], "year": 1985, "price": 9.99, "code": "007"}
    other: dict[str, Any] = {"item_id": "b", "genres": [], "year": None, "price": 1.0, "code": "é"}
    assert pl.read_ndjson(tmp_path / NAME).to_dicts() == [
        {**written, "image": None, "text_vector": None},
        {**other, "image": [1.0, 2.0, 3.0], "text_vector": [0.1, -2.5]},
    ]


def test_the_last_content_of_each_item_is_written_and_no_deleted_item(log: Log, tmp_path: Path) -> None:
    log.begin({"a": entry("a", year=1), "b": entry("b", year=1), "gone": None, "c": entry("c", year=1)})
    log.append(put("a", year=2), Delete("b"), put("d", year=2), Delete("d"), put("e", year=1), put("e", year=2))
    log.append(Forget("c"), Forget("gone"))  # the first has no effect, because the item is there
    main([str(tmp_path)])
    assert {row["item_id"]: row["year"] for row in rows(tmp_path)} == {"a": 2, "c": 1, "e": 2}


def test_a_migrated_change_counts_only_if_it_is_later_than_the_item(log: Log, tmp_path: Path) -> None:
    log.begin({"a": entry("a", year=2), "gone": None})
    log.append(put("a", year=1), put("gone", year=1), put("other", year=1), stamp=OLDER)
    main([str(tmp_path)])
    assert {row["item_id"]: row["year"] for row in rows(tmp_path)} == {"a": 2, "other": 1}


def test_items_come_in_the_order_of_their_collision_codes(log: Log, tmp_path: Path) -> None:
    log.begin({"third": entry("third", 2), "first": entry("first", 0), "second": entry("second", 1)})
    log.append(put("fourth"), put("first"), put("moved"), put("third", 5, 5), put("third"))
    main([str(tmp_path)])
    assert names(tmp_path) == ["first", "second", "fourth", "moved", "third"]


def test_the_file_goes_with_the_last_item(log: Log, tmp_path: Path) -> None:
    log.begin({"a": entry("a")})
    main([str(tmp_path)])
    assert names(tmp_path) == ["a"]
    (tmp_path / f".unfinished-1-{NAME}").touch()  # of a process that was killed
    log.append(Delete("a"))
    main([str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["interactions"]


def test_a_damaged_log_leaves_the_file_and_exports_the_events(
    log: Log, redis_server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.begin({"a": entry("a"), "b": entry("b", 1)})
    main([str(tmp_path)])
    client: Any = redis_server.client
    client.hset(ENTRIES, "a", "no entry")
    store = OpenedStore(redis_server.url)
    store.run(store.store.append([UserEvent("e1", "anna", "a", "view", 1_700_000_000.0)]))
    store.close()
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path)])
    assert exit_info.value.code == EXIT_UNAVAILABLE
    assert f"the change log of the model {VERSION} in Redis is damaged: start the service" in capsys.readouterr().err
    assert names(tmp_path) == ["a", "b"]
    (part,) = tmp_path.rglob("part-*.parquet")
    assert pl.read_parquet(part)["event_id"].to_list() == ["e1"]


def test_without_an_active_model_the_command_says_so(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path)])
    assert exit_info.value.code == EXIT_UNAVAILABLE
    assert "Redis does not say which model is active: start the service" in capsys.readouterr().err


def test_a_table_of_items_that_is_there_already_is_not_replaced(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.begin({"a": entry("a")})
    (tmp_path / "items.csv").write_text("item_id\nmine\n", encoding="utf-8")
    main([str(tmp_path)])
    assert not (tmp_path / NAME).exists()
    warning = f"{NAME} is not written, because {tmp_path / 'items.csv'} is a table of items too"
    assert warning in capsys.readouterr().err


def test_a_repeated_export_reads_and_writes_only_what_has_changed(
    log: Log, redis_server: RedisServer, tmp_path: Path
) -> None:
    async def export_three_times() -> list[int]:
        gate = RedisGate(RedisOptions(redis_server.url, 2.0, 1, 4, 0.2), Metrics())
        items, written = ItemsExport(gate, ItemsFile(tmp_path)), []
        for change in (None, None, put("b")):
            if change is not None:
                await ChangeLog(gate, VERSION).append(change, "")
            await items.update()
            written.append((tmp_path / NAME).stat().st_ino)
        await gate.close()
        return written

    log.begin({"a": entry("a")})
    first, second, third = asyncio.run(export_three_times())
    assert first == second != third
    assert names(tmp_path) == ["a", "b"]
