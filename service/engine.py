"""The loaded model: one snapshot of bundle, trie, recommender and catalogue, and the threads that search it."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from redis.asyncio import Redis

from models.bundle import (
    HALF_SEARCH_GRAPH,
    RETRIEVER_WEIGHTS,
    SEARCH_GRAPH,
    Bundle,
    read_bundle,
)
from models.eligibility import Eligibility
from models.onnx_engine import OnnxEngine, cuda_is_available
from models.recommender import Ranking, Recommender, SearchEngine
from models.trie import IntArray, SemanticIdTrie
from service.catalogue import Catalogue, InProcessCatalogue, RedisCatalogue
from service.filters import Filters
from service.schemas import Condition
from service.settings import Backend, Device, Precision, Settings
from service.telemetry import Metrics

WARM_UP_LENGTHS = (1, 20)


@dataclass(frozen=True)
class Snapshot:
    """All that answers a request, pinned by it from start to end, so that no answer mixes two models."""

    version: str
    trie: SemanticIdTrie
    recommender: Recommender
    catalogue: Catalogue
    filters: Filters


class Engine:
    """Loads a bundle and searches off the event loop.

    Attributes:
        snapshot: What answers requests now; None until loaded and after `stop`.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.snapshot: Snapshot | None = None
        self._threads = ThreadPoolExecutor(settings.search_workers, thread_name_prefix="rqrec-search")

    async def start(self) -> None:
        """Reads the bundle, fills the catalogue, warms the search up, then becomes ready.

        Raises:
            BundleError: If the bundle cannot be used.
        """
        loop = asyncio.get_running_loop()
        bundle, recommender = await loop.run_in_executor(self._threads, self._load)
        trie = recommender.trie
        own_copy = InProcessCatalogue(bundle.items)
        catalogue: Catalogue = own_copy
        version = bundle.manifest.version
        if self.settings.redis_url is not None:
            shared = RedisCatalogue(
                connect(self.settings), version, own_copy, self.metrics, pause_s=self.settings.redis_pause_s
            )
            await shared.publish()
            catalogue = shared
        self.metrics.describe_model(version, len(own_copy), bundle.manifest.metrics.get("tokenizer", {}))
        filters = Filters(bundle.items, trie, self.metrics, cache_bytes=self.settings.filter_cache_bytes)
        self.snapshot = Snapshot(version, trie, recommender, catalogue, filters)

    async def search(
        self,
        snapshot: Snapshot,
        history: IntArray,
        excluded: IntArray,
        eligibility: Eligibility,
        *,
        k: int,
        beam_width: int,
    ) -> Ranking:
        """The best eligible leaves of one history, computed in a thread."""

        def run() -> Ranking:
            (found,) = snapshot.recommender.recommend(
                [history], k=k, beam_width=beam_width, excluded=[excluded], eligibility=eligibility
            )
            return found

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def eligibility(self, snapshot: Snapshot, conditions: Mapping[str, Condition]) -> Eligibility:
        """The leaves that meet a filter; one not answered lately is worked out in a thread.

        Raises:
            InvalidFilter: If the catalogue cannot answer it.
        """
        if not conditions:
            return snapshot.recommender.everything
        return await asyncio.get_running_loop().run_in_executor(self._threads, snapshot.filters.eligibility, conditions)

    async def stop(self) -> None:
        """Stops being ready, finishes the searches that run, closes connections."""
        snapshot, self.snapshot = self.snapshot, None
        self._threads.shutdown(wait=True)
        if snapshot is not None:
            await snapshot.catalogue.close()

    def _load(self) -> tuple[Bundle, Recommender]:
        bundle = read_bundle(self.settings.bundle)
        manifest = bundle.manifest
        trie = SemanticIdTrie.build(bundle.items["semantic_id"].to_numpy(), codebook_size=manifest.codebook_size)
        popularity = bundle.items["popularity"].to_numpy()
        recommender = Recommender(
            load_search_engine(bundle, trie, self.settings),
            trie,
            max_history=manifest.max_history,
            popularity_N=popularity[trie.row_of_leaf_N],
        )
        for length in WARM_UP_LENGTHS:
            history = np.zeros(length, dtype=np.int64)
            recommender.recommend([history], k=1, beam_width=self.settings.beam_width)
        return bundle, recommender


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


def connect(settings: Settings) -> Redis:
    """A client of the Redis that the settings name."""
    assert settings.redis_url is not None
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        decode_responses=True,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_timeout_s,
    )
