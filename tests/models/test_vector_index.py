import numpy as np

from rqrec.models.vector_index import VectorIndex, unit_rows
from tests.models.conftest import grouped_vectors


def test_an_index_grown_row_by_row_holds_every_row_once() -> None:
    units = unit_rows(grouped_vectors(3000))
    index = VectorIndex.build(units[:2000]).with_rows(units[:2500]).with_rows(units)
    assert sorted(index.order_X.tolist()) == list(range(3000))
    mask = np.random.default_rng(0).random(3000) < 0.1
    few = index.among(mask)
    assert sorted(few.order_X.tolist()) == np.flatnonzero(mask).tolist()
    assert sorted(few.rows(units[0], 10_000).tolist()) == np.flatnonzero(mask).tolist()
    assert len(few.rows(units[0], 20)) == 20
