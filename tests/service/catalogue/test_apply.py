"""Changes applied at once, one by one, and up to the limits of a catalogue."""

import numpy as np

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.apply import apply_changes, compacted
from rqrec.service.catalogue.changes import Change, Delete, Result
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.filter import Condition
from tests.service.replication.replicas import IDS, contents, put, vectors


def test_what_follows_does_not_depend_on_batches(published: Snapshot, tokenizer: ItemTokenizer) -> None:
    """Invariant I2: the state depends on the order of the changes only, not on how they are batched."""
    rng = np.random.default_rng(0)
    changes: list[Change] = [
        Delete(item_id) if rng.random() < 0.3 else put(item_id, int(rng.integers(6)), published, tokenizer)
        for item_id in rng.choice(IDS, 60)
    ]
    whole, outcomes = apply_changes(published, changes, tokenizer, catalogue_version=60)
    state, one_by_one = published, []
    for number, one in enumerate(changes, start=1):
        state, more = apply_changes(state, [one], tokenizer, catalogue_version=number)
        one_by_one += more
    assert outcomes == one_by_one
    assert contents(whole) == contents(state)
    assert np.allclose(vectors(whole), vectors(state), atol=1e-5)
    assert whole.entries == state.entries


def test_rows_that_nothing_names_any_more_go(published: Snapshot, tokenizer: ItemTokenizer) -> None:
    changes: list[Change] = [put("100", number, published, tokenizer) for number in range(4)]
    state = published
    for one in [*changes, put("new", 1, published, tokenizer), Delete("new"), put("newer", 2, published, tokenizer)]:
        state, _ = apply_changes(state, [one], tokenizer, catalogue_version=state.catalogue_version + 1)
    assert len(state.table.rows) == len(published.table.rows) + 6
    assert compacted(state, at_least=5) is state
    kept = compacted(state, at_least=4)
    assert len(kept.table.rows) == len(published.table.rows) + 2
    assert contents(kept) == contents(state)
    assert kept.table.find(["new", "newer"])[0] == -1
    year = {"year": Condition(gte=2, lte=3)}
    for snapshot in (state, kept):
        places = snapshot.table.places
        passing = places[snapshot.filters.eligibility(year).allows(places)]
        assert {item.item_id for item in snapshot.table.items(passing)} == {"100", "newer"}
    history = kept.table.find(["101"])
    before, after = (
        snapshot.table.items(snapshot.recommender.recommend([history], k=9, beam_width=50)[0].leaves_K)
        for snapshot in (state, kept)
    )
    assert before == after
    more = [put("100", 5, published, tokenizer)]
    before_more, after_more = (
        apply_changes(snapshot, more, tokenizer, catalogue_version=9)[0] for snapshot in (state, kept)
    )
    assert contents(before_more) == contents(after_more)


def test_the_last_item_stays_and_a_prefix_is_never_full(published: Snapshot, tokenizer: ItemTokenizer) -> None:
    """Invariant I12: a collision code is the smallest free number, however large."""
    everything = list(contents(published))
    state, outcomes = apply_changes(published, [Delete(one) for one in everything], tokenizer, catalogue_version=64)
    assert [outcome.result for outcome in outcomes] == [Result.DELETED] * 63 + [Result.LAST_ITEM]
    assert list(contents(state)) == everything[-1:]
    more = [put(f"copy {number}", 0, published, tokenizer) for number in range(20)]
    _, outcomes = apply_changes(state, more, tokenizer, catalogue_version=84)
    assert [outcome.result for outcome in outcomes] == [Result.ADDED] * 20
    assert [outcome.semantic_id[-1] for outcome in outcomes] == list(range(20))  # 16 is the codebook's size
