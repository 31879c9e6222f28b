from typing import Any, cast

from rqrec.service.search.batch_search import search_key


class Snapshot:
    """As much of a snapshot as a batch key reads."""

    class recommender:  # noqa: N801 - an attribute of snapshots
        max_history = 64


def test_only_lists_without_reserved_places_share_a_batch_whatever_their_length() -> None:
    snapshot, everything = cast("Any", Snapshot()), cast("Any", None)

    def key(k: int, *, reserved: int) -> Any:
        return search_key(snapshot, everything, beam_width=50, k=k, history_length=3, reserved=reserved)

    assert key(5, reserved=0) == key(10, reserved=0)
    assert key(5, reserved=2) == key(5, reserved=3)
    assert len({key(5, reserved=2), key(10, reserved=2), key(10, reserved=0)}) == 3
