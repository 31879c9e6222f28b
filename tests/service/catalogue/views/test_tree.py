import numpy as np

from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.catalogue.views.tree import read_node


def test_every_node_counts_the_items_below_it(published: Snapshot, written: Snapshot) -> None:
    for snapshot, num_items in ((published, 64), (written, 64)):  # one added, one deleted
        table, below = snapshot.table, [list[int]()]
        assert read_node(table, []).num_items == num_items == len(table)
        while below:
            prefix = below.pop()
            node = read_node(table, prefix)
            assert node.num_items == len(table.below(prefix)) > 0
            codes = table.codes_of(table.below(prefix))
            if len(prefix) == codes.shape[1]:
                assert len(node.codes_C) == 0
                continue
            codes_C, counts_C = np.unique(codes[:, len(prefix)], return_counts=True)
            assert node.codes_C.tolist() == codes_C.tolist()
            assert node.counts_C.tolist() == counts_C.tolist()
            below += [[*prefix, code] for code in node.codes_C.tolist()]


def test_a_prefix_that_no_item_has_has_no_items(published: Snapshot) -> None:
    for prefix in ([999_999_999], [0] * 60, [15, 15, 15, 15]):
        assert (read_node(published.table, prefix).num_items, len(read_node(published.table, prefix).codes_C)) == (0, 0)
