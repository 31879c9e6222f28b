"""The options of a model: how it is loaded, and how its catalogue follows the changes in Redis."""

from dataclasses import dataclass

from rqrec.service.serving.loading import LoadOptions


@dataclass(frozen=True)
class ModelOptions:
    """The options of a model: how it is loaded, and how its catalogue follows the changes in Redis.

    Attributes:
        load: How to load the bundle.
        poll_every_s: Pause between two reads of the change log, in seconds.
        save_every: Number of changes after which the change log is compacted: old events are deleted from its stream.
        write_timeout_s: Longest time until a write is confirmed, in seconds.
        tombstones_live_s: Shortest time for which the deletion of an item is remembered, in seconds.
        check_every_s: Pause between two checks of the data in Redis, in seconds.
        table_lives_s: How long the table of items stays in Redis after the last replica stops, in seconds; 0 for no
            table.
        ready_without_redis: Whether the model is ready even if the changes in Redis were never read.
        accepts_writes: Whether items can be written, so that the text encoder is kept in memory.
    """

    load: LoadOptions
    poll_every_s: float
    save_every: int
    write_timeout_s: float
    tombstones_live_s: float
    check_every_s: float
    table_lives_s: int
    ready_without_redis: bool
    accepts_writes: bool
