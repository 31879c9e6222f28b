"""How to load a model, and how its catalogue follows Redis."""

from dataclasses import dataclass

from rqrec.service.serving.loading import LoadOptions


@dataclass(frozen=True)
class ModelOptions:
    """How to load a model, and how its catalogue follows Redis.

    Attributes:
        load: How to load the bundle.
        poll_every_s: Pause between two looks for changes of the catalogue, in seconds.
        save_every: Number of changes after which the entries are saved.
        write_timeout_s: Longest wait for a change to be confirmed, in seconds.
        tombstones_live_s: How long deleted items are remembered at least, in seconds.
        check_every_s: Pause between two checks of the table in Redis, in seconds.
        table_lives_s: Time to live of the table in Redis after its last replica stops, in seconds.
        ready_without_redis: Whether the model is ready before the changes of the catalogue were read once.
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
