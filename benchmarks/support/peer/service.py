"""The same service with transformers.generate in place of the search, for comparison.

RQREC_BUNDLE=… RQREC_PORT=… python -m benchmarks.support.peer.service
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.support.peer.search import TransformersPeer
from rqrec.models.search.padding import pad
from rqrec.models.search.ranking import Ranking
from rqrec.service.app import create_app
from rqrec.service.search.batch_search import Found, Key, SearchKey, SearchWork, Work
from rqrec.service.server.draining import serve
from rqrec.service.settings import Settings

_peers: dict[str, TransformersPeer] = {}


def search(key: Key, batch: Sequence[Work]) -> list[Found]:
    """Replaces the service's search. The peer has random weights, and cannot exclude items.

    Args:
        key: The snapshot and beam width of the batch.
        batch: The searches; no lists to explain.
    """
    assert isinstance(key, SearchKey)
    works = [work for work in batch if isinstance(work, SearchWork)]
    trie, k = key.snapshot.trie, max(work.k for work in works)
    if key.snapshot.version not in _peers:
        _peers[key.snapshot.version] = TransformersPeer(trie.codes_NL, codebook_size=trie.codebook_size)
    history_BT = pad([work.history[-key.snapshot.recommender.max_history :] for work in works], filler=0)
    codes_BTL = trie.codes_of(history_BT.ravel()).reshape(*history_BT.shape, trie.num_levels)
    found_BKL = _peers[key.snapshot.version].search(codes_BTL, k=k, beam_width=key.beam_width)()
    zeros_K = np.zeros(k, dtype=np.float32)
    return [
        Found(Ranking(trie.find(found_KL), zeros_K, zeros_K).first(work.k))
        for found_KL, work in zip(found_BKL, works, strict=True)
    ]


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    settings = Settings()
    serve(create_app(settings, search=search), settings)


if __name__ == "__main__":
    main()
