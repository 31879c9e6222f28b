"""Applying changes: against a dictionary, in random order, with compactions and new starts."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.new.new_item_scores import ANCHORS, CAUTION
from rqrec.service.catalogue.apply import apply_changes, compacted, with_entries
from rqrec.service.catalogue.changes import Delete, Entry, Put, Result
from rqrec.service.catalogue.item import Item
from rqrec.service.catalogue.item_table import Codes
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.composition import load_options
from rqrec.service.contract.filter import Condition
from rqrec.service.serving.loading import load_snapshot
from rqrec.service.telemetry import Metrics
from tests.service.conftest import settings_for

FOREIGN = [f"new {number}" for number in range(5)]
SHAPES = 3  # of content: a prefix and features each
GENRES = ["Horror", "War", "Opera"]


@pytest.fixture(scope="module")
def published(bundle: Bundle) -> Snapshot:
    return load_snapshot(with_unknown_items(bundle), load_options(settings_for(bundle.path)), Metrics())


@pytest.fixture(scope="module")
def tokenizer(bundle: Bundle) -> ItemTokenizer:
    return ItemTokenizer(with_unknown_items(bundle))


def with_unknown_items(bundle: Bundle) -> Bundle:
    """The bundle, as if nobody had chosen every fifth film."""
    popularity_R = np.where(np.arange(len(bundle.items)) % 5 == 0, 0, bundle.learned.popularity_R)
    return replace(bundle, learned=replace(bundle.learned, popularity_R=popularity_R))


def a_put(item_id: str, shape: int, attributes: dict[str, Any], published: Snapshot, tokenizer: ItemTokenizer) -> Put:
    prefix = tuple(published.trie.codes_of(np.array([shape]))[0, :-1].tolist())
    features = np.full(tokenizer.featurizer.width, shape + 1, dtype=np.float32)
    features[shape::SHAPES] *= -1
    return Put(Item(item_id, json.dumps({"title": item_id, **attributes})), prefix, features.tobytes())


class Catalogue(RuleBasedStateMachine):
    """The catalogue as `service.catalogue.apply` makes it, and as a dictionary.

    Invariant I2: the state follows from the bundle and the changes. Invariant I12: no two items get one semantic ID.
    """

    def __init__(self, published: Snapshot, tokenizer: ItemTokenizer) -> None:
        super().__init__()
        self.published, self.tokenizer = published, tokenizer
        self.share_of_none = published.recommender._popularity.log_share_of_none
        self.known_ids = [item.item_id for item in published.table.bundle_items]
        self.popularity = dict(zip(self.known_ids, published.recommender._popularity.log_share_N.tolist(), strict=True))

    @initialize()
    def begin(self) -> None:
        self.state = self.published
        table = self.published.table
        codes = map(tuple, table.codes_of(table.places).tolist())
        self.model: dict[str, tuple[str, Codes]] = {
            item.item_id: (item.payload, one) for item, one in zip(table.bundle_items, codes, strict=True)
        }

    def ids(self, number: int) -> str:
        return (self.known_ids[:6] + FOREIGN)[number % 11]

    @rule(
        writes=st.lists(
            st.tuples(
                st.integers(0, 10),
                st.one_of(st.none(), st.integers(0, SHAPES - 1)),
                st.integers(1990, 1994),
                st.lists(st.sampled_from(GENRES), unique=True),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def write(self, writes: list[tuple[int, int | None, int, list[str]]]) -> None:
        changes: list[Put | Delete] = []
        for number, shape, year, genres in writes:
            item_id, content = self.ids(number), {"year": year, "genres": genres}
            changes.append(
                Delete(item_id) if shape is None else a_put(item_id, shape, content, self.published, self.tokenizer)
            )
        version = self.state.catalogue_version + len(changes)
        self.state, outcomes = apply_changes(self.state, changes, self.tokenizer, catalogue_version=version)
        for change, outcome in zip(changes, outcomes, strict=True):
            old = self.model.pop(change.item_id, None)
            if isinstance(change, Delete):
                assert outcome.result is (Result.UNKNOWN_ITEM if old is None else Result.DELETED)
                continue
            assert outcome.result is (Result.ADDED if old is None else Result.REPLACED)
            taken = {codes[-1] for _, codes in self.model.values() if codes[:-1] == change.codes}
            same = old is not None and old[1][:-1] == change.codes
            free = next(code for code in range(1000) if code not in taken)
            assert outcome.semantic_id == (old[1] if same and old is not None else (*change.codes, free))
            self.model[change.item_id] = (change.item.payload, outcome.semantic_id)

    @rule()
    def compact(self) -> None:
        self.state = compacted(self.state, at_least=1)

    @rule()
    def start_anew_from_the_entries(self) -> None:
        entries: dict[str, Entry | None] = dict(self.state.entries)
        version = self.state.catalogue_version
        self.state = with_entries(self.published, entries, self.tokenizer, catalogue_version=version)

    @invariant()
    def everything_is_found_where_it_stands(self) -> None:
        table = self.state.table
        items, codes = table.items(table.places), map(tuple, table.codes_of(table.places).tolist())
        found = {item.item_id: (item.payload, one) for item, one in zip(items, codes, strict=True)}
        assert found == self.model
        assert len(table) == len(table.places) == len({one for _, one in found.values()})
        assert table.find([*found, "unheard-of"]).tolist() == [*table.places.tolist(), -1]
        gone = [one for one in (*self.known_ids, *FOREIGN) if one not in found]
        assert (table.find(gone) == -1).all()
        everything = self.state.recommender.everything
        assert everything.count == len(table)
        assert table.num_live_rows == sum(entry is not None for entry in self.state.entries.values())
        assert not {one for one, entry in self.state.entries.items() if entry is None} & set(FOREIGN)
        again = Eligibility.from_mask(table.trie, everything.mask_N, everything.added_S)
        for one, other in zip(everything.penalties, again.penalties, strict=True):
            assert (one == other).all()
        assert (everything.eligible_below == again.eligible_below).all()
        assert everything.num_leaves == again.num_leaves

    @invariant()
    def items_below_a_prefix_come_in_order(self) -> None:
        table = self.state.table
        for length in range(1, table.trie.num_levels + 1):
            prefix = table.trie.codes_of(np.array([1]))[0, :length].tolist()
            below = table.codes_of(table.below(prefix)).tolist()
            assert below == sorted(list(one) for _, one in self.model.values() if list(one[:length]) == prefix)

    @rule(
        year=st.integers(1990, 1994),
        genre=st.sampled_from(GENRES),
        numbers=st.sets(st.integers(0, 10)),
        k=st.integers(1, 90),
        reserved=st.integers(0, 3),
        history=st.lists(st.integers(0, 10), min_size=1, max_size=3),
    )
    def recommend(self, year: int, genre: str, numbers: set[int], k: int, reserved: int, history: list[int]) -> None:
        table, recommender = self.state.table, self.state.recommender
        conditions: dict[str, dict[str, Condition]] = {
            "all": {},
            "year": {"year": Condition(lte=year)},
            "genres": {"genres": Condition(any_of=[genre])},
            "neither": {"genres": Condition(none_of=[genre]), "year": Condition(gte=year)},
            "ids": {"item_id": Condition(any_of=[self.ids(number) for number in range(8)])},
        }
        excluded = table.find([self.ids(number) for number in numbers])
        excluded = excluded[excluded >= 0]
        places = table.find([self.ids(number) for number in history])
        history_T = places[places >= 0]
        for condition in conditions.values():
            eligibility = self.state.filters.eligibility(condition) if condition else recommender.everything
            wanted = {one for one, (payload, _) in self.model.items() if meets(one, json.loads(payload), condition)}
            assert self.ids_at(table.places[eligibility.allows(table.places)]) == sorted(wanted)
            assert eligibility.count == len(wanted)
            wanted -= set(self.ids_at(excluded))
            popular = recommender.popular(k=k, excluded=excluded, eligibility=eligibility)
            shares = sorted((self.popularity.get(one, self.share_of_none) for one in wanted), reverse=True)
            np.testing.assert_allclose(popular.scores_K, shares[:k], rtol=1e-5)
            assert set(self.ids_at(popular.leaves_K)) <= wanted
            if len(history_T):
                self.compare(history_T, excluded, eligibility, wanted, k, reserved)

    def compare(self, history_T: Any, excluded: Any, eligibility: Any, wanted: set[str], k: int, reserved: int) -> None:
        (found,) = self.state.recommender.recommend(
            [history_T], k=k, beam_width=100, excluded=[excluded], eligibility=eligibility, reserved=[reserved]
        )
        scores, new = self.brute_force(history_T, wanted)
        best = sorted(scores, key=lambda one: -scores[one])
        kept = sorted((one for one in best if one in new), key=lambda one: -scores[one])[:reserved]
        best = [*kept, *(one for one in best if one not in kept)][:k]
        np.testing.assert_allclose(
            found.scores_K, sorted((scores[one] for one in best), reverse=True), rtol=1e-3, atol=1e-3
        )
        ids = [item.item_id for item in self.state.table.items(found.leaves_K)]
        assert len(set(ids)) == len(ids) == min(k, len(wanted))
        np.testing.assert_allclose([scores[one] for one in ids], found.scores_K, rtol=1e-3, atol=1e-3)

    def brute_force(self, history_T: Any, wanted: set[str]) -> tuple[dict[str, float], set[str]]:
        """Every wanted item's score, and which are new: all leaves are searched as the bundle was published."""
        state, trie = self.state, self.published.trie
        everything, nothing = Eligibility.everything(trie), np.full((1, 1), -1)
        history_T = history_T[-state.recommender.max_history :]
        found = state.recommender._engine.search(
            history_T[None], np.array([len(history_T)]), nothing, everything, beam_width=100
        )
        leaves = found.leaves_BK[0]
        at_leaf = {
            state.table.items(np.array([leaf]))[0].item_id: (log_prob, score)
            for leaf, log_prob, score in zip(leaves, found.log_probs_BK[0], found.scores_BK[0], strict=True)
            if leaf >= 0 and state.table.place_of_leaf_N[leaf] == leaf
        }
        anchors = sorted((both for one, both in at_leaf.items() if one in wanted), key=lambda both: -both[1])[:ANCHORS]
        weight = state.recommender._new_items._scores.relevance_weight  # type: ignore[union-attr]
        offset = sum(log_prob - (score - log_prob) / weight for log_prob, score in anchors) / max(len(anchors), 1)
        scores, new = {}, set()
        for one in wanted:
            (place,) = state.table.find([one])
            is_unknown = place >= trie.num_leaves or state.recommender._new_items._is_new_N[place]  # type: ignore[union-attr]
            if not is_unknown:
                scores[one] = float(at_leaf[one][1])
                continue
            vector = state.item_vectors.rows[place]
            relevance = found.queries_BD[0] @ (vector / max(np.linalg.norm(vector), 1e-12)) / weight - CAUTION
            scores[one] = float(min(relevance + offset, 0) + weight * relevance)
            new.add(one)
        return scores, new

    def ids_at(self, places: Any) -> list[str]:
        return sorted(item.item_id for item in self.state.table.items(places))


def meets(item_id: str, attributes: dict[str, Any], conditions: dict[str, Condition]) -> bool:
    """Whether an item passes a filter, said plainly."""
    for name, one in conditions.items():
        value: Any = item_id if name == "item_id" else attributes.get(name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        if one.any_of is not None and not set(values) & set(one.any_of):
            return False
        if one.none_of is not None and set(values) & set(one.none_of):
            return False
        if one.gte is not None and (value is None or value < one.gte):
            return False
        if one.lte is not None and (value is None or value > one.lte):
            return False
    return True


def test_the_catalogue_is_what_a_dictionary_says(published: Snapshot, tokenizer: ItemTokenizer) -> None:
    class OfThisBundle(Catalogue):
        def __init__(self) -> None:
            super().__init__(published, tokenizer)

    run_state_machine_as_test(OfThisBundle, settings=settings(max_examples=30, stateful_step_count=12, deadline=None))
