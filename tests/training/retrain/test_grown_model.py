"""The networks of a larger catalogue: known items keep their rows, others start from the nearest known items."""

import numpy as np
import pytest
import torch

from rqrec.models.bundle.item_features import read_item_features
from rqrec.models.items.content_neighbours import ContentNeighbours
from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.retrain.grown_model import OWN, PREFIXES, SHORT_TERM, bundle_retriever, grown_retriever
from tests.training.retrain.conftest import Shop


class Grown:
    """The shop's retriever for two more items, which have the features of the items 3 and 5."""

    def __init__(self, shop: Shop) -> None:
        self.bundle = shop.bundle
        self.codes_NL = np.concatenate([self.bundle.learned.codes_RL, self._new_codes()])
        known_RE = read_item_features(self.bundle)
        self.features_NE = np.concatenate([known_RE, known_RE[[3, 5]]])
        self.old_trie, self.trie = (self._trie(codes) for codes in (self.bundle.learned.codes_RL, self.codes_NL))
        self.old, self.new = bundle_retriever(self.bundle), grown_retriever(self.bundle, self.trie, self.features_NE)

    def _new_codes(self) -> np.ndarray:
        used = {tuple(codes[:2]) for codes in self.bundle.learned.codes_RL.tolist()}
        levels = self.bundle.learned.codes_RL.shape[1]
        first, second = next((a, b) for a in range(16) for b in range(16) if (a, b) not in used)
        return np.array([[first, second, *[0] * (levels - 3), last] for last in (0, 1)])

    def _trie(self, codes: np.ndarray) -> SemanticIdTrie:
        return SemanticIdTrie.build(codes, codebook_size=self.bundle.manifest.codebook_size)

    def vectors(self, model: Retriever, trie: SemanticIdTrie) -> np.ndarray:
        """Item vectors by row of the table."""
        popularity = np.ones(trie.num_leaves, dtype=np.int64)
        features = self.features_NE[: trie.num_leaves]
        tensors = CatalogueTensors.from_trie(trie, features, popularity, torch.device("cpu"))
        return model.item_vectors(tensors).numpy()[trie.leaf_of_row_N]


@pytest.fixture(scope="module")
def grown(timed_shop: Shop) -> Grown:
    return Grown(timed_shop)


def test_every_learnt_item_keeps_its_vector(grown: Grown) -> None:
    learnt = np.flatnonzero(grown.bundle.learned.popularity_R > 0)
    before, after = grown.vectors(grown.old, grown.old_trie), grown.vectors(grown.new, grown.trie)
    np.testing.assert_allclose(after[learnt], before[learnt], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [OWN, SHORT_TERM])
def test_a_new_item_starts_from_its_neighbours(grown: Grown, name: str) -> None:
    before, after = (model.state_dict()[name].numpy() for model in (grown.old, grown.new))
    learnt = grown.bundle.learned.popularity_R > 0
    neighbours = ContentNeighbours(grown.bundle.projection_EP, grown.bundle.contents_RP[learnt], before[learnt])
    np.testing.assert_allclose(after[-2:], neighbours.vectors(grown.features_NE[-2:]), rtol=1e-5)
    assert (after[: len(before)][learnt] == before[learnt]).all()


def test_known_prefixes_are_copied_and_a_new_one_is_the_mean_of_its_items(grown: Grown) -> None:
    before, after = (model.state_dict()[PREFIXES].numpy() for model in (grown.old, grown.new))
    old, new = (np.unique(codes[:, :2], axis=0).tolist() for codes in (grown.bundle.learned.codes_RL, grown.codes_NL))
    assert len(after) == len(new) == len(old) + 1
    for number, prefix in enumerate(new):
        if prefix in old:
            assert (after[number] == before[old.index(prefix)]).all()
        else:
            learnt = grown.bundle.learned.popularity_R > 0
            rows = [old.index(codes) for codes in grown.bundle.learned.codes_RL[learnt, :2].tolist()]
            neighbours = ContentNeighbours(grown.bundle.projection_EP, grown.bundle.contents_RP[learnt], before[rows])
            expected = neighbours.vectors(grown.features_NE[-2:]).mean(axis=0)
            np.testing.assert_allclose(after[number], expected, rtol=1e-4, atol=1e-7)
