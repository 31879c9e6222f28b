"""A catalogue that changes: states for the tests that look into it."""

from dataclasses import replace

import numpy as np

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.apply import apply_changes, compacted
from rqrec.service.catalogue.changes import Delete, Put
from rqrec.service.catalogue.item_content import Written, tokenise_all
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.filter import Condition

GENRES = ("Animation", "Horror", "Romance", "War")
HORROR = {"genres": Condition(any_of=["Horror"])}


def states(published: Snapshot, tokenizer: ItemTokenizer) -> list[Snapshot]:
    """A catalogue with more and more items written, written again, deleted and written anew; compacted on the way."""
    rng, found = np.random.default_rng(0), [published]
    ids = [item.item_id for item in published.table.bundle_items[:20]] + [f"new {number}" for number in range(20)]
    for round_ in range(8):
        changes: list[Put | Delete] = []
        for item_id in rng.choice(ids, 10).tolist():
            if rng.random() < 0.3:
                changes.append(Delete(item_id))
                continue
            film = {"title": f"A film {rng.integers(9)}", "genres": [GENRES[rng.integers(4)]], "year": 1990}
            vector = rng.standard_normal(tokenizer.text_width).tolist()
            (put,) = tokenise_all([Written(item_id, film, vector)], published.filters.schema, tokenizer)
            leaf = published.table.leaf_of_id.get(item_id)
            if leaf is not None and rng.random() < 0.5:  # such an item keeps its leaf
                codes = published.trie.codes_of(np.array([leaf]))[0, :-1].tolist()
                put = replace(put, codes=tuple(codes))
            changes.append(put)
        state, _ = apply_changes(found[-1], changes, tokenizer, catalogue_version=round_ + 1)
        found.append(compacted(state, at_least=1) if round_ == 5 else state)
    assert max((one.table.row_of_leaf_N >= 0).sum() for one in found) > 3
    assert found[-1].table.rows.lineage is not found[5].table.rows.lineage  # the compaction has freed rows
    return found
