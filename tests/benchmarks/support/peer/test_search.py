import numpy as np

from benchmarks.support.peer.search import TransformersPeer
from benchmarks.support.synthetic import CODEBOOK_SIZE, synthetic_codes


def test_the_peer_returns_items_of_the_catalogue_only() -> None:
    codes_NL = synthetic_codes(60, seed=0)
    peer = TransformersPeer(codes_NL, codebook_size=CODEBOOK_SIZE)
    found_BKL = peer.search(codes_NL[np.arange(8).reshape(2, 4)], k=5, beam_width=6)()
    catalogue = {tuple(codes) for codes in codes_NL.tolist()}
    for user in found_BKL.tolist():
        assert len({tuple(codes) for codes in user}) == 5
        assert {tuple(codes) for codes in user} <= catalogue
