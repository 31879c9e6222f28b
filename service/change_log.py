"""The catalogue's changes in Redis: a stream that gives them one order, and what the older ones of them came to.

Under the model's version lie `changes`, the stream; `entries`, a hash of every item written, as of a position in the
stream; `log`, which says of which position, and up to which the stream was cut; and `carried`, which says up to where
the streams of models before this one were carried over. Nothing of these expires.
"""

import contextlib
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, NamedTuple, cast

from redis.exceptions import WatchError

from service.changes import Change, Entry, entry_from_json, entry_to_json, to_json
from service.redis_client import RedisGate, add_rename
from service.shared_table import version_prefix

START = "0-0"
READ_AT_ONCE = 500
WRITTEN_AT_ONCE = 1000
STAGED_LIVES_S = 3600
NOT_BEGUN = ""
NOTHING = "nothing"  # marks a position


class Event(NamedTuple):
    """A change as it stands in the stream.

    Attributes:
        position: Where.
        change: See `service.changes`.
        token: Its writer's.
        origin: The model version that it was written for, if it was carried over from there.
    """

    position: str
    change: str
    token: str
    origin: str = ""


@dataclass(frozen=True)
class LogState:
    """What `log` says, as its fields.

    Attributes:
        epoch: Names the stream; another one is a stream that began anew.
        position: The last change that is among the entries.
        catalogue_version: How many changes that makes.
        cut_after: Changes up to this position may be gone from the stream.
    """

    epoch: str
    position: str
    catalogue_version: int
    cut_after: str

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> "LogState | None":
        """The inverse of `asdict` after a passage through Redis; None where there is no log."""
        if not fields:
            return None
        version = int(fields["catalogue_version"])
        return cls(fields["epoch"], fields["position"], version, fields["cut_after"])


class ChangeLog:
    """Reads and writes the changes of one model version.

    Args:
        gate: Redis.
        version: The model's version, part of every key.
    """

    def __init__(self, gate: RedisGate, version: str) -> None:
        self._gate = gate
        prefix = version_prefix(version)
        self._stream, self._entries, self._log = f"{prefix}:changes", f"{prefix}:entries", f"{prefix}:log"
        self._carried = f"{prefix}:carried"
        self.version = version

    async def append(self, change: Change, token: str) -> None:
        """Adds a change.

        Raises:
            RedisAway: If Redis is, or cannot hold it; the change may have been added nonetheless.
        """
        fields: dict[Any, Any] = {"change": to_json(change), "token": token}
        await self._gate.call(self._gate.client.xadd, self._stream, fields)

    async def read(self, after: str) -> tuple[LogState | None, list[Event]]:
        """What the log says, None where there is none, and at the same moment the next changes of the stream.

        Raises:
            RedisAway: If Redis is.
        """
        pipeline = self._gate.client.pipeline(transaction=True)
        pipeline.hgetall(self._log)
        pipeline.xrange(self._stream, min=f"({after}", count=READ_AT_ONCE)
        log, events = await self._gate.call(pipeline.execute)
        return LogState.of(log), [
            Event(position, fields.get("change", ""), fields.get("token", ""), fields.get("origin", ""))
            for position, fields in events
        ]

    async def entries(self) -> tuple[LogState | None, dict[str, Entry | None]]:
        """What the log says, and the entries of that moment.

        Raises:
            RedisAway: If Redis is.
            BadChange: If there is something else.
        """
        pipeline = self._gate.client.pipeline(transaction=True)
        pipeline.hgetall(self._log)
        pipeline.hgetall(self._entries)
        log, entries = await self._gate.call(pipeline.execute)
        return LogState.of(log), {item_id: entry_from_json(text) for item_id, text in entries.items()}

    async def save(
        self,
        before: LogState | None,
        entries: Mapping[str, Entry | None],
        *,
        position: str,
        catalogue_version: int,
    ) -> None:
        """Writes the entries as of a position; where there was no log, a new one begins there.

        Nothing happens if another replica was faster.

        Args:
            before: What the log said when the caller read it last.
            entries: All items written since the bundle was published.
            position: The last change that they came of.
            catalogue_version: How many changes that makes.

        Raises:
            RedisAway: If Redis is.
        """
        client, staged = self._gate.client, f"{self._entries}:{uuid.uuid4()}"
        texts = {item_id: entry_to_json(entry) for item_id, entry in entries.items()}
        pairs = iter(texts.items())
        while chunk := dict(islice(pairs, WRITTEN_AT_ONCE)):
            pipeline = client.pipeline(transaction=False)
            pipeline.hset(staged, mapping=cast("dict[Any, Any]", chunk))
            pipeline.expire(staged, STAGED_LIVES_S)
            await self._gate.call(pipeline.execute)
        # Of the stream stays what came after the last saving: who is that far behind need not begin anew.
        epoch, cut_after = (before.epoch, before.position) if before is not None else (str(uuid.uuid4()), position)
        after = LogState(epoch, position, catalogue_version, cut_after)
        await self._gate.call(self._switch, before, after, staged if texts else None)

    async def carry_from(self, version: str) -> None:
        """Notes that the changes of another model version are to be carried over into these.

        Raises:
            RedisAway: If Redis is.
        """
        await self._gate.call(self._gate.client.hsetnx, self._carried, version, NOT_BEGUN)

    async def carried(self) -> dict[str, str]:
        """Up to which position the changes of other model versions were carried over, by version.

        Raises:
            RedisAway: If Redis is.
        """
        return cast("dict[str, str]", await self._gate.call(self._gate.client.hgetall, self._carried))

    async def append_carried(self, source: str, before: str, after: str, changes: Sequence[tuple[Change, str]]) -> bool:
        """Adds changes that were carried over, unless another replica was faster.

        Args:
            source: The model version that they were carried from.
            before: Up to which position its changes had been carried over when the caller looked.
            after: Up to which they are then.
            changes: With the model version that each was written for.

        Returns:
            Whether they were added.

        Raises:
            RedisAway: If Redis is.
        """
        added: bool = await self._gate.call(self._append_carried, source, before, after, changes)
        return added

    async def _append_carried(
        self, source: str, before: str, after: str, changes: Sequence[tuple[Change, str]]
    ) -> bool:
        async with self._gate.client.pipeline(transaction=True) as pipeline:
            await pipeline.watch(self._carried)
            if await cast("Awaitable[str | None]", pipeline.hget(self._carried, source)) != before:
                return False
            pipeline.multi()  # type: ignore[no-untyped-call]
            for change, origin in changes:
                pipeline.xadd(self._stream, {"change": to_json(change), "token": "", "origin": origin})
            pipeline.hset(self._carried, source, after)
            try:
                await pipeline.execute()
            except WatchError:
                return False
        return True

    async def _switch(self, before: LogState | None, after: LogState, staged: str | None) -> None:
        async with self._gate.client.pipeline(transaction=True) as pipeline:
            await pipeline.watch(self._log, self._stream)
            if LogState.of(await cast("Awaitable[dict[str, str]]", pipeline.hgetall(self._log))) != before:
                return
            # After a loss the stream may already hold a change that came in before anybody noticed.
            is_lost = before is None and await cast("Awaitable[str]", pipeline.type(self._stream)) == "none"
            pipeline.multi()  # type: ignore[no-untyped-call]
            pipeline.delete(self._entries)
            if staged is not None:
                add_rename(pipeline, staged, self._entries)
                pipeline.persist(self._entries)
            if before is not None:
                pipeline.xtrim(self._stream, minid=after.cut_after, approximate=False)
            elif is_lost and after.position != START:  # every later change shall have a later position
                pipeline.xadd(self._stream, {"change": NOTHING}, id=after.position)
            pipeline.hset(self._log, mapping=cast("dict[Any, Any]", asdict(after)))
            with contextlib.suppress(WatchError):
                await pipeline.execute()


def is_before(position: str, other: str) -> bool:
    """Whether a position in the stream comes before another."""
    return _numbers(position) < _numbers(other)


def _numbers(position: str) -> tuple[int, ...]:
    return tuple(map(int, position.split("-")))
