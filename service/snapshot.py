"""One state of a model and its catalogue: all that answers a request, never changed.

Shapes: B requests of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.bundle import HALF_SEARCH_GRAPH, RETRIEVER_WEIGHTS, SEARCH_GRAPH, Bundle
from models.eligibility import Eligibility
from models.onnx_engine import OnnxEngine, cuda_is_available
from models.recommender import Ranking, Recommender, SearchEngine
from models.trie import IntArray, SemanticIdTrie
from service.filters import Filters
from service.settings import Backend, Device, Precision, Settings
from service.table import ItemTable
from service.telemetry import Metrics

WARM_UP_LENGTHS = (1, 20)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a request pins from start to end, so that no answer mixes two states.

    Attributes:
        version: The model's.
        catalogue_version: Changes since the bundle was published.
        table: Items and leaves.
        recommender: Histories of leaves to the best leaves.
        filters: Conditions to leaves.
    """

    version: str
    catalogue_version: int
    table: ItemTable
    recommender: Recommender
    filters: Filters

    @property
    def trie(self) -> SemanticIdTrie:
        """The catalogue's semantic IDs."""
        return self.table.trie


class SearchKey(NamedTuple):
    """What requests must share to be searched together."""

    snapshot: Snapshot
    eligibility: Eligibility
    beam_width: int
    longest_history: int


class SearchWork(NamedTuple):
    """One request's part of a search: leaves of its history, leaves it must not get in ascending order, and k."""

    history: IntArray
    excluded: IntArray
    k: int


def search_key(
    snapshot: Snapshot, eligibility: Eligibility, *, beam_width: int, k: int, history_length: int
) -> SearchKey:
    """The key of a request; histories share a batch with others of a like length, for all are padded to the longest."""
    longest = snapshot.recommender.max_history
    while longest >= 4 * history_length:
        longest //= 4
    return SearchKey(snapshot, eligibility, max(beam_width, k), longest)


def search(key: SearchKey, batch: Sequence[SearchWork]) -> list[Ranking]:
    """The best eligible leaves of each history."""
    found = key.snapshot.recommender.recommend(
        [work.history for work in batch],
        k=max(work.k for work in batch),
        beam_width=key.beam_width,
        excluded=[work.excluded for work in batch],
        eligibility=key.eligibility,
    )
    return [ranking.first(work.k) for ranking, work in zip(found, batch, strict=True)]


def load_snapshot(bundle: Bundle, settings: Settings, metrics: Metrics) -> Snapshot:
    """The state that a bundle was published with, warmed up."""
    manifest, items = bundle.manifest, bundle.items
    trie = SemanticIdTrie.build(items["semantic_id"].to_numpy(), codebook_size=manifest.codebook_size)
    recommender = Recommender(
        load_search_engine(bundle, trie, settings),
        trie,
        max_history=manifest.max_history,
        popularity_N=items["popularity"].to_numpy()[trie.row_of_leaf_N],
    )
    for length in WARM_UP_LENGTHS:
        recommender.recommend([np.zeros(length, dtype=np.int64)], k=1, beam_width=settings.beam_width)
    filters = Filters(items, trie, metrics, cache_bytes=settings.filter_cache_bytes)
    return Snapshot(manifest.version, 0, ItemTable.of(items, trie), recommender, filters)


def load_search_engine(bundle: Bundle, trie: SemanticIdTrie, settings: Settings) -> SearchEngine:
    """The engine that the settings name, loaded with the bundle's weights."""
    half = settings.precision is Precision.HALF
    item_vectors_ND = bundle.items["item_vector"].to_numpy()[trie.row_of_leaf_N]
    if settings.backend is Backend.TORCH:
        # The one import inside a function: serving by ONNX Runtime must work where torch is not installed.
        from models.torch_engine import load_torch_engine  # noqa: PLC0415

        weights, config = bundle.path / RETRIEVER_WEIGHTS, bundle.manifest.retriever
        return load_torch_engine(weights, config, trie, item_vectors_ND, settings.device, half=half)
    cuda = settings.device is Device.CUDA or (settings.device is Device.AUTO and cuda_is_available())
    graph = HALF_SEARCH_GRAPH if cuda and half else SEARCH_GRAPH
    max_history = bundle.manifest.max_history
    return OnnxEngine(bundle.path / graph, trie, item_vectors_ND, cuda=cuda, max_history=max_history)
