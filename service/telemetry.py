"""The Prometheus metrics of the service."""

import asyncio
import time
from collections.abc import Mapping
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from starlette.types import Scope

SECONDS_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
RATIO_BUCKETS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
PAGE_SHARE = 0.25  # most time that scrapes take of one core
UNMATCHED = "unmatched"
OTHER_METHOD = "other"
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}


class MetricsPage:
    """Makes the page of all metrics in Prometheus' text format. Scrapes at the same time share one page.

    Making pages takes at most PAGE_SHARE of the time of one CPU core: during a flood of scrapes, a scrape waits longer
    and more scrapes share a page.

    Args:
        registry: The registry of the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._making: asyncio.Task[bytes] | None = None
        self._not_before = 0.0

    async def text(self) -> bytes:
        """Returns the page of all metrics, with everything that was counted before this call.

        During a flood of calls, a call waits first, and several calls get the same page.
        """
        if self._making is None:
            self._making = asyncio.create_task(self._make())
        return await asyncio.shield(self._making)

    async def _make(self) -> bytes:
        await asyncio.sleep(max(self._not_before - time.monotonic(), 0))
        self._making = None  # a scrape from here on gets a later page
        begin = time.monotonic()
        page = generate_latest(self._registry)
        end = time.monotonic()
        self._not_before = end + (end - begin) / PAGE_SHARE
        return page


class Metrics:
    """All Prometheus metrics of one app, in a registry that belongs to this app alone.

    A client cannot create new label values: a path is counted as the template of its route, such as `/items/{item_id}`,
    or as `unmatched`, and an unusual HTTP method is counted as `other`.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.page = MetricsPage(registry)
        ProcessCollector(registry=registry)
        self._add_requests(registry)
        self._add_search(registry)
        self._add_recommendations(registry)
        self._add_catalogue(registry)
        self._add_redis(registry)
        self._add_models(registry)
        self._start_at_zero()

    def _add_requests(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "rqrec_http_requests_total", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "rqrec_http_request_duration_seconds",
            "Time from a request's complete headers until its whole answer is handed to the connection; "
            "includes the arrival of the body.",
            ["route", "method"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.shed = Counter(
            "rqrec_requests_shed_total",
            "Requests refused or dropped: overload (429), rate (429, limit of one client), deadline (408 or 504), "
            "abandoned (ended before its search began).",
            ["reason"],
            registry=registry,
        )
        self.connections = Gauge("rqrec_connections", "Open connections.", registry=registry)
        self.connections_refused = Counter(
            "rqrec_connections_closed_total",
            "Connections closed by the service: all (too many in all), client (too many of one address), displaced "
            "(idle, to make room for a new one), silent (a time limit passed).",
            ["reason"],
            registry=registry,
        )
        self.cache_requests = Counter(
            "rqrec_cache_requests_total",
            "Lookups in a cache, by cache and result.",
            ["tier", "result"],
            registry=registry,
        )

    def _add_search(self, registry: CollectorRegistry) -> None:
        stage_seconds = Histogram(
            "rqrec_recommend_stage_duration_seconds",
            "Time of each stage of a recommendation: encode (ids to leaves), queue, search, lookup (leaves to items).",
            ["stage"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.encode_seconds, self.queue_seconds, self.search_seconds, self.lookup_seconds = (
            stage_seconds.labels(stage) for stage in ("encode", "queue", "search", "lookup")
        )
        self.batch_size = Histogram(
            "rqrec_batch_size", "Requests in one search.", buckets=BATCH_BUCKETS, registry=registry
        )
        self.queue_depth = Gauge("rqrec_queue_depth", "Requests that wait in the search queue.", registry=registry)
        self.search_crashes = Counter(
            "rqrec_search_crashes_total", "Crashes of a search thread; the thread then restarts.", registry=registry
        )

    def _add_recommendations(self, registry: CollectorRegistry) -> None:
        self.eligible_ratio = Histogram(
            "rqrec_beam_eligible_ratio",
            "Share of the catalogue that is eligible after a request's filter and exclusions.",
            buckets=RATIO_BUCKETS,
            registry=registry,
        )
        self.unknown_history_items = Counter(
            "rqrec_unknown_history_items_total", "History ids that are not in the catalogue.", registry=registry
        )
        self.fallbacks = Counter(
            "rqrec_fallback_total",
            "Recommendations served by a fallback: popular (no usable history), degraded (changes of the catalogue are "
            "missing).",
            ["kind"],
            registry=registry,
        )
        self.invalid_beams = Counter(
            "rqrec_invalid_beams_total",
            "Recommended items that were not eligible; always 0 in a correct search.",
            registry=registry,
        )
        self.short_results = Counter(
            "rqrec_results_short_total",
            "Recommendations with fewer items than the request asked for.",
            registry=registry,
        )

    def _add_catalogue(self, registry: CollectorRegistry) -> None:
        self.catalogue_items = Gauge("rqrec_catalogue_items", "Items that can be recommended.", registry=registry)
        self.catalogue_version = Gauge(
            "rqrec_catalogue_version", "Changes of the catalogue since the bundle was published.", registry=registry
        )
        self.catalogue_changes = Counter(
            "rqrec_catalogue_changes_total",
            "Changes of the catalogue that were read, by result.",
            ["result"],
            registry=registry,
        )
        self.catalogue_lag = Gauge(
            "rqrec_catalogue_lag_events",
            "Changes of the catalogue that are read but not applied yet.",
            registry=registry,
        )
        self.catalogue_current = Gauge(
            "rqrec_catalogue_current",
            "1 if the active model had all changes of the catalogue at its last poll, or uses no Redis; else 0.",
            registry=registry,
        )
        self.catalogue_repairs = Counter(
            "rqrec_catalogue_repairs_total",
            "How often this replica restored a part of the catalogue that Redis had lost.",
            registry=registry,
        )

    def _add_redis(self, registry: CollectorRegistry) -> None:
        self.redis_evicts = Gauge(
            "rqrec_redis_evicts",
            "1 if Redis evicts keys when it is full, which loses writes; else 0.",
            registry=registry,
        )
        self.redis_up = Gauge(
            "rqrec_redis_up",
            "1 if the last call of Redis was answered; 0 if it failed, or if no Redis is used.",
            registry=registry,
        )
        self.redis_errors = Counter("rqrec_redis_errors_total", "Failed calls of Redis.", registry=registry)

    def _add_models(self, registry: CollectorRegistry) -> None:
        self.model_loads = Counter(
            "rqrec_model_reload_total",
            "Models loaded at the start and later, by result.",
            ["result"],
            registry=registry,
        )
        self.answers = Counter(
            "rqrec_model_answers_total",
            "Recommendations served, by model role (active, canary, shadow if named).",
            ["part"],
            registry=registry,
        )
        self.shadow_answers = Counter(
            "rqrec_shadow_answers_total",
            "Requests copied to a shadow model: answered, skipped (the service was busy), failed.",
            ["result"],
            registry=registry,
        )
        self.shadow_overlap = Histogram(
            "rqrec_shadow_overlap_ratio",
            "Share of the recommended items that the shadow model recommended too.",
            buckets=RATIO_BUCKETS,
            registry=registry,
        )
        self.model = Info("rqrec_model", "The active model.", registry=registry)
        self.codebook_usage = Gauge(
            "rqrec_model_codebook_usage_ratio", "Share of a level's codes that items use.", ["level"], registry=registry
        )
        self.collision_ratio = Gauge(
            "rqrec_model_collision_ratio",
            "Share of items that needed a collision code to be unique.",
            registry=registry,
        )

    def _start_at_zero(self) -> None:
        """Makes the known labels appear with 0: Prometheus sees no increase in a counter that first appears with 1."""
        for counter, values in (
            (self.shed, ("overload", "rate", "deadline", "abandoned")),
            (self.connections_refused, ("all", "client", "displaced", "silent")),
            (self.fallbacks, ("popular", "degraded")),
            (self.model_loads, ("loaded", "failed")),
            (self.answers, ("active", "canary")),
            (self.catalogue_changes, ("bad",)),
            (self.shadow_answers, ("answered", "skipped", "failed")),
        ):
            for value in values:
                counter.labels(value)

    @cache  # noqa: B019 - one entry a route, method and status, which the registry keeps as well
    def _of_request(self, route: str, method: str, status: int) -> tuple[Counter, Histogram]:
        return self.requests.labels(route, method, str(status)), self.request_seconds.labels(route, method)

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Counts one answered request, and records its time.

        Args:
            scope: The request's ASGI scope.
            status: HTTP status of the answer.
            seconds: Time that the answer took, in seconds.
        """
        route = getattr(scope.get("route"), "path_format", UNMATCHED)
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        count, duration = self._of_request(route, method, status)
        count.inc()
        duration.observe(seconds)

    def describe_model(self, version: str, tokenizer_figures: Mapping[str, float]) -> None:
        """Sets the gauges that describe the active model.

        Args:
            version: Version of the model.
            tokenizer_figures: Metrics of the semantic IDs from the bundle: `collision_ratio`, and `usage_<level>` for
                the used share of each level's codes. Other names are ignored.
        """
        self.model.info({"version": version})
        for name, value in tokenizer_figures.items():
            if name.startswith("usage_"):
                self.codebook_usage.labels(name.removeprefix("usage_")).set(value)
        self.collision_ratio.set(tokenizer_figures.get("collision_ratio", 0.0))
