"""Loads a bundle as a snapshot: the catalogue as it was published, and the search engine, which is warmed up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.error import BundleError, reading
from rqrec.models.bundle.golden import Golden, golden_faults
from rqrec.models.bundle.layout import HALF_SEARCH_GRAPH, RETRIEVER_WEIGHTS, SEARCH_GRAPH
from rqrec.models.growing_array import GrowingArray
from rqrec.models.onnx_session import cuda_is_available
from rqrec.models.search.control.further_items import FurtherItems
from rqrec.models.search.history.own_items import OwnItems
from rqrec.models.search.new.new_item_scores import NewItemScores
from rqrec.models.search.new.new_items import NewItems
from rqrec.models.search.onnx_engine import OnnxEngine
from rqrec.models.search.recommender import Recommender, SearchEngine
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.service.catalogue.filters import Filters
from rqrec.service.catalogue.item import as_shown
from rqrec.service.catalogue.item_table import ItemTable
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.serving.device import check_device
from rqrec.service.settings import Backend, Device, Precision
from rqrec.service.telemetry import Metrics

WARM_UP_LENGTHS = (1, 20)  # items of a history; longer ones follow, up to the longest that the model reads


@dataclass(frozen=True)
class LoadOptions:
    """The options with which a bundle, the published files of a model, is loaded.

    Attributes:
        backend: Engine of the search.
        device: Device of the search.
        precision: Precision of the search on a GPU.
        beam_width: Number of beams kept at every level of a warm-up search.
        read_items: The largest number of most recent history items that a search reads. A model that was trained on
            longer histories knows nearly as much from these, and is faster (docs/experiments.md).
        filter_cache_bytes: Memory for the cache of recent filters, in bytes.
    """

    backend: Backend
    device: Device
    precision: Precision
    beam_width: int
    read_items: int
    filter_cache_bytes: int


def load_proven_snapshot(bundle: Bundle, options: LoadOptions, metrics: Metrics) -> Snapshot:
    """Loads a bundle as `load_snapshot` does, and checks that it gives the answers that were recorded at publishing.

    Args:
        bundle: The bundle.
        options: How to load the bundle.
        metrics: Counts lookups in the filter cache.

    Raises:
        BundleError: If the content of the bundle is invalid, or if it does not give the recorded answers.
        NoDevice: If the engine or the device is not available.
    """
    snapshot = load_snapshot(bundle, options, metrics)
    golden = [Golden.from_json(fields) for fields in bundle.manifest.golden]
    if faults := golden_faults(snapshot.recommender, golden):
        raise BundleError(
            f"bundle {bundle.path} does not give its recorded answers here, so it is not served: {faults[0]}"
        )
    return snapshot


def load_snapshot(bundle: Bundle, options: LoadOptions, metrics: Metrics) -> Snapshot:
    """Loads the catalogue and the search engine of a bundle (the files of a model), and runs warm-up searches.

    Args:
        bundle: The bundle.
        options: How to load the bundle.
        metrics: Counts lookups in the filter cache.

    Returns:
        The snapshot: the catalogue as it was published, and the search engine.

    Raises:
        BundleError: If the content of the bundle is invalid.
        NoDevice: If the engine or the device is not available.
    """
    check_device(options.backend, options.device)
    with reading(bundle.path, "the content"):
        return _load(bundle, options, metrics)


def _load(bundle: Bundle, options: LoadOptions, metrics: Metrics) -> Snapshot:
    manifest, items, learned = bundle.manifest, as_shown(bundle.items), bundle.learned
    trie, item_vectors = learned.trie, learned.vectors
    popularity_N = learned.popularity_R[trie.row_of_leaf_N]
    is_new_N, vectors_ND, weight = popularity_N == 0, item_vectors.rows, manifest.relevance_weight
    own = manifest.history_bonus.own
    recommender = Recommender(
        load_search_engine(bundle, trie, vectors_ND, options),
        trie,
        max_history=min(manifest.max_history, options.read_items),
        popularity_N=popularity_N,
        new_items=_new_items(bundle, is_new_N, vectors_ND),
        own_items=None if own is None else OwnItems(own, is_new_N, vectors_ND, relevance_weight=weight),
        further_items=FurtherItems(popularity_N, vectors_ND, relevance_weight=weight) if weight else None,
    )
    with reading(bundle.path, SEARCH_GRAPH):
        _warm_up(recommender, options.beam_width)
    table = ItemTable.from_bundle(items, trie)
    filters = Filters(items, table, metrics, cache_bytes=options.filter_cache_bytes, prepare=recommender.prepared)
    return Snapshot(
        manifest.version,
        0,
        table,
        recommender,
        filters,
        item_vectors,
        manifest.retriever_config.compared_width,
        GrowingArray(np.empty((0, bundle.projection_EP.shape[1]), dtype=np.float32)),
        exclude_history=manifest.exclude_history,
    )


def _new_items(bundle: Bundle, is_new_N: BoolArray, vectors_ND: FloatArray) -> NewItems:
    """The new items, with the index of the bundle if it has one."""
    weight = bundle.manifest.relevance_weight
    if bundle.new_items is None or not weight:
        return NewItems.from_mask(is_new_N, vectors_ND, relevance_weight=weight)
    return NewItems(bundle.new_items, is_new_N, NewItemScores(weight))


def _warm_up(recommender: Recommender, beam_width: int) -> None:
    """Runs searches, because the first ones of an engine are slow.

    Each history is at most twice as long as the one before. So a graph that reads fewer items than its manifest says
    fails before the search takes much memory.

    Raises:
        ValueError: If the search returns leaves that the trie does not have.
        Exception: If the graph cannot read as many items as its manifest says.
    """
    lengths, longest = [*WARM_UP_LENGTHS], recommender.max_history
    while lengths[-1] < longest:
        lengths.append(min(2 * lengths[-1], longest))
    for length in lengths:
        history, leaves = np.zeros(length, dtype=np.int64), recommender.trie.num_leaves
        (found,) = recommender.recommend([history], k=1, beam_width=beam_width)
        if not ((found.leaves_K >= 0) & (found.leaves_K < leaves)).all():
            raise ValueError(f"expected leaves in [0, {leaves}) from the search, got {found.leaves_K.tolist()}")


def load_search_engine(
    bundle: Bundle, trie: SemanticIdTrie, item_vectors_ND: NDArray[np.float32], options: LoadOptions
) -> SearchEngine:
    """Loads the search engine with the weights of a bundle, which has the published files of a model.

    Args:
        bundle: The bundle.
        trie: The trie of the semantic IDs of the bundle's N items.
        item_vectors_ND: The item vectors of width D, float32, in the order of the trie's leaves.
        options: The engine, the device and the precision to use.

    Raises:
        BundleError: If a file of the bundle is invalid, or if half precision is asked for and the bundle lacks it.
    """
    half = options.precision is Precision.HALF
    following = bundle.manifest.history_bonus.following_items(bundle.transitions)
    max_history = min(bundle.manifest.max_history, options.read_items)
    if options.backend is Backend.TORCH:
        # Imported here, because serving with ONNX Runtime must work without torch.
        from rqrec.models.search.torch_engine import load_torch_engine  # noqa: PLC0415

        weights, config = bundle.path / RETRIEVER_WEIGHTS, bundle.manifest.retriever
        with reading(bundle.path, RETRIEVER_WEIGHTS):
            return load_torch_engine(
                weights,
                config,
                trie,
                item_vectors_ND,
                options.device,
                half=half,
                following=following,
                max_history=max_history,
            )
    cuda = options.device is Device.CUDA or (options.device is Device.AUTO and cuda_is_available())
    if cuda and half and not bundle.manifest.half_search:
        raise BundleError(
            f"RQREC_PRECISION=half needs {HALF_SEARCH_GRAPH}, which {bundle.path} does not have: publish again with "
            "`rqrec train … --set PublishSettings.half_precision=True`, or set RQREC_PRECISION=fp32"
        )
    graph = HALF_SEARCH_GRAPH if cuda and half else SEARCH_GRAPH
    with reading(bundle.path, graph):
        return OnnxEngine(
            bundle.path / graph, trie, item_vectors_ND, cuda=cuda, max_history=max_history, following=following
        )
