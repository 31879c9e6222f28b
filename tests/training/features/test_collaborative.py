import numpy as np

from rqrec.training.data.splits import Sequences
from rqrec.training.features.collaborative import cooccurrence_vectors


def test_items_of_the_same_sequences_lie_close() -> None:
    rows = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [3, 4, 5], [5, 3, 4], [4, 5, 3]] * 3
    train = Sequences.from_arrays(np.array(rows, dtype=np.int32).ravel(), np.arange(0, len(rows) * 3 + 1, 3))
    vectors = cooccurrence_vectors(train, 7, dim=4, seed=0)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > similarity[0, 4] + 0.1
    assert not vectors[6].any()
