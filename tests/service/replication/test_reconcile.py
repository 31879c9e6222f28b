"""The join of entries, and entries as text."""

from hypothesis import given
from hypothesis import strategies as st

from rqrec.service.catalogue.changes import Entry, Put
from rqrec.service.catalogue.item import Item
from rqrec.service.replication.reconcile import joined
from rqrec.service.replication.stamped_entries import StampedEntry, entry_texts, read_entries
from rqrec.service.replication.stamps import Stamps

IDS = ["one", "two", "three"]


def stamped(item_id: str, time: int, *, is_deleted: bool) -> StampedEntry:
    """The entry of the change at a position: equal stamps mean the same change, so they mean equal entries."""
    put = Put(Item(item_id, f'{{"year":{time}}}'), (1, 2), bytes(8))
    return StampedEntry(f"{time}-0", None if is_deleted else Entry(put, (1, 2, 0)))


def known_by(times: dict[str, int]) -> dict[str, StampedEntry]:
    return {item_id: stamped(item_id, time, is_deleted=time % 3 == 0) for item_id, time in times.items()}


knowledge = st.dictionaries(st.sampled_from(IDS), st.integers(0, 20)).map(known_by)


@given(one=knowledge, other=knowledge, third=knowledge)
def test_a_join_is_the_same_in_any_order_and_any_number_of_times(
    one: dict[str, StampedEntry], other: dict[str, StampedEntry], third: dict[str, StampedEntry]
) -> None:
    """Invariant I7: the join is commutative, associative and idempotent."""
    assert joined(one, other) == joined(other, one)
    assert joined(joined(one, other), third) == joined(one, joined(other, third))
    assert joined(one, one) == one
    assert joined(joined(one, other), other) == joined(one, other)


@given(one=knowledge, other=knowledge)
def test_a_join_holds_the_later_entry_of_every_item(
    one: dict[str, StampedEntry], other: dict[str, StampedEntry]
) -> None:
    """Invariant I6: of two changes of an item, the one with the later stamp holds."""
    for item_id, entry in joined(one, other).items():
        candidates = [known[item_id] for known in (one, other) if item_id in known]
        assert entry == max(candidates, key=lambda candidate: int(candidate.stamp.split("-")[0]))


@given(entries=knowledge, damage=st.sampled_from(["cut", "another item", "garbage"]))
def test_an_altered_entry_is_not_read(entries: dict[str, StampedEntry], damage: str) -> None:
    """Invariant I5: an entry is read as it was written, or not at all."""
    texts = entry_texts(entries.items())
    assert read_entries([part for pair in texts.items() for part in pair]) == entries
    for item_id, text in texts.items():
        if damage == "another item":
            page = [f"{item_id}!", text]
        else:
            page = [item_id, text[:-1] if damage == "cut" else text.replace(" ", " x", 1)]
        assert read_entries(page) == {}


@given(notes=st.lists(st.tuples(st.sampled_from(IDS), st.integers(1, 20))))
def test_a_digest_depends_on_the_stamps_only(notes: list[tuple[str, int]]) -> None:
    """Invariant I5: equal stamps have equal digests, whatever was noted before; other stamps have others."""
    stamps = Stamps()
    for item_id, time in notes:
        stamps.note(item_id, f"{time}-0")
    again = Stamps(dict(reversed(list(stamps.items()))))
    assert stamps.digest == again.digest
    again.note("one", "99-0")
    assert stamps.digest != again.digest
