"""A bundle → the state that it was published with, its search engine loaded and warmed up."""

import numpy as np
from numpy.typing import NDArray

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.error import reading
from rqrec.models.bundle.layout import HALF_SEARCH_GRAPH, RETRIEVER_WEIGHTS, SEARCH_GRAPH
from rqrec.models.growing_array import GrowingArray
from rqrec.models.onnx_session import cuda_is_available
from rqrec.models.search.new_items import NewItems
from rqrec.models.search.onnx_engine import OnnxEngine
from rqrec.models.search.recommender import Recommender, SearchEngine
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.service.catalogue.filters import Filters
from rqrec.service.catalogue.item import as_shown
from rqrec.service.catalogue.item_table import ItemTable
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.serving.device import check_device
from rqrec.service.settings import Backend, Device, Precision, Settings
from rqrec.service.telemetry import Metrics

WARM_UP_LENGTHS = (1, 20)


def load_snapshot(bundle: Bundle, settings: Settings, metrics: Metrics) -> Snapshot:
    """The state that a bundle was published with, warmed up.

    Raises:
        BundleError: If the bundle cannot be used.
        NoDevice: If what the settings want to search with is not there.
    """
    check_device(settings)
    with reading(bundle.path, "the content"):
        return _load(bundle, settings, metrics)


def _load(bundle: Bundle, settings: Settings, metrics: Metrics) -> Snapshot:
    manifest, items, learned = bundle.manifest, as_shown(bundle.items), bundle.learned
    trie = SemanticIdTrie.build(learned.codes_RL, codebook_size=manifest.codebook_size)
    # Room for as many items again takes memory only once they are written.
    item_vectors = GrowingArray(learned.vectors_RD[trie.row_of_leaf_N], room=trie.num_leaves)
    popularity_N = learned.popularity_R[trie.row_of_leaf_N]
    recommender = Recommender(
        load_search_engine(bundle, trie, item_vectors.rows, settings),
        trie,
        max_history=manifest.max_history,
        popularity_N=popularity_N,
        new_items=NewItems.from_mask(popularity_N == 0, item_vectors.rows, relevance_weight=manifest.relevance_weight),
    )
    with reading(bundle.path, SEARCH_GRAPH):
        _warm_up(recommender, settings)
    table = ItemTable.from_bundle(items, trie)
    filters = Filters(items, table, metrics, cache_bytes=settings.filter_cache_bytes, prepare=recommender.prepared)
    return Snapshot(manifest.version, 0, table, recommender, filters, item_vectors)


def _warm_up(recommender: Recommender, settings: Settings) -> None:
    """Searches, so that no request pays for the first time.

    Raises:
        ValueError: If the search finds what is not there.
    """
    for length in WARM_UP_LENGTHS:
        history, leaves = np.zeros(length, dtype=np.int64), recommender.trie.num_leaves
        (found,) = recommender.recommend([history], k=1, beam_width=settings.beam_width)
        if not ((found.leaves_K >= 0) & (found.leaves_K < leaves)).all():
            raise ValueError(f"it finds {found.leaves_K.tolist()} among {leaves} leaves")


def load_search_engine(
    bundle: Bundle, trie: SemanticIdTrie, item_vectors_ND: NDArray[np.float32], settings: Settings
) -> SearchEngine:
    """The engine that the settings name, loaded with the bundle's weights."""
    half = settings.precision is Precision.HALF
    if settings.backend is Backend.TORCH:
        # The one import inside a function: serving by ONNX Runtime must work where torch is not installed.
        from rqrec.models.search.torch_engine import load_torch_engine  # noqa: PLC0415

        weights, config = bundle.path / RETRIEVER_WEIGHTS, bundle.manifest.retriever
        with reading(bundle.path, RETRIEVER_WEIGHTS):
            return load_torch_engine(weights, config, trie, item_vectors_ND, settings.device, half=half)
    cuda = settings.device is Device.CUDA or (settings.device is Device.AUTO and cuda_is_available())
    graph = HALF_SEARCH_GRAPH if cuda and half else SEARCH_GRAPH
    max_history = bundle.manifest.max_history
    with reading(bundle.path, graph):
        return OnnxEngine(bundle.path / graph, trie, item_vectors_ND, cuda=cuda, max_history=max_history)
