"""Tables that are counted stay those of the bundle if the sources lack most of what it has learnt."""

import numpy as np
import pytest

from rqrec.models.bundle.item_features import read_item_features
from rqrec.training.data.splits import Sequences
from rqrec.training.retrain.counted import counted_anew, grown_transitions
from rqrec.training.retriever.decoder_settings import DecoderSettings
from tests.models.conftest import random_retriever
from tests.training.retrain.conftest import Shop


@pytest.mark.parametrize("share", [0.0, 0.4, 0.6])
def test_tables_stay_if_most_old_interactions_are_missing(timed_shop: Shop, share: float) -> None:
    bundle = timed_shop.bundle
    learnt, rows = int(bundle.learned.popularity_R.sum()), len(bundle.items)
    new_NE = np.concatenate([read_item_features(bundle), read_item_features(bundle)[:2]])  # two new items
    model = random_retriever(bundle.learned.trie)
    assert model.long_term is not None
    before, old = model.long_term.items.weight.clone(), round(share * learnt)
    is_new_I = np.arange(old + 20) >= old
    items_I = np.random.default_rng(0).integers(0, rows, old + 20).astype(np.int32)
    sequences = Sequences.from_arrays(items_I, np.array([0, old + 20]))
    transitions = counted_anew(model, sequences, is_new_I, new_NE, DecoderSettings(), bundle)
    assert len(transitions.starts_N) == rows + 2 + 1
    kept = grown_transitions(bundle, rows + 2)
    assert kept is not None
    stays = share < 0.5
    assert model.long_term.items.weight.equal(before) == stays
    assert (transitions.items_P.tolist() == kept.items_P.tolist()) == stays
    assert kept.starts_N[-3:].tolist() == [len(kept.items_P)] * 3  # nothing follows new items
