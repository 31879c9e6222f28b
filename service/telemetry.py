"""Prometheus metrics: what is measured."""

import asyncio
import time
from collections.abc import Mapping
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from starlette.types import Scope

SECONDS_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
RATIO_BUCKETS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
PAGE_SHARE = 0.25  # of a core, at the most, for a flood of scrapes
UNMATCHED = "unmatched"
OTHER_METHOD = "other"
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}


class MetricsPage:
    """The metrics as Prometheus reads them, made for all who ask at the same time, and never for long.

    Args:
        registry: The metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._making: asyncio.Task[bytes] | None = None
        self._not_before = 0.0

    async def text(self) -> bytes:
        """The page, with what happened until now."""
        if self._making is None:
            self._making = asyncio.create_task(self._make())
        return await asyncio.shield(self._making)

    async def _make(self) -> bytes:
        await asyncio.sleep(max(self._not_before - time.monotonic(), 0))
        self._making = None  # whoever asks from here on wants a later page
        begin = time.monotonic()
        page = generate_latest(self._registry)
        end = time.monotonic()
        self._not_before = end + (end - begin) / PAGE_SHARE
        return page


class Metrics:
    """The metrics of one app, in a registry of their own.

    No label takes a value that a client chooses: routes are templates, methods and stages come from fixed lists.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.page = MetricsPage(registry)
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "rqrec_http_requests_total", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "rqrec_http_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ["route", "method"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        stage_seconds = Histogram(
            "rqrec_recommend_stage_duration_seconds",
            "Time of the stages of a recommendation: encode (ids to leaves), queue, search, lookup (leaves to items).",
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
        self.queue_depth = Gauge("rqrec_queue_depth", "Requests that wait for a search.", registry=registry)
        self.search_crashes = Counter(
            "rqrec_search_crashes_total", "Crashes of a search thread, which then begins anew.", registry=registry
        )
        self.shed = Counter(
            "rqrec_requests_shed_total",
            "Requests not answered: overload, rate (of one client), deadline (504), abandoned (nobody waits).",
            ["reason"],
            registry=registry,
        )
        self.connections = Gauge("rqrec_connections", "Open connections.", registry=registry)
        self.connections_refused = Counter(
            "rqrec_connections_closed_total",
            "Connections closed by the service: all (no place), client (its share is taken), displaced (idle, for a "
            "new one), silent (a time limit passed).",
            ["reason"],
            registry=registry,
        )
        self.eligible_ratio = Histogram(
            "rqrec_beam_eligible_ratio",
            "Share of the catalogue that a request's filter and exclusions left.",
            buckets=RATIO_BUCKETS,
            registry=registry,
        )
        self.unknown_history_items = Counter(
            "rqrec_unknown_history_items_total", "History ids that the catalogue does not hold.", registry=registry
        )
        self.fallbacks = Counter("rqrec_fallback_total", "Answers by a fallback.", ["kind"], registry=registry)
        self.invalid_beams = Counter(
            "rqrec_invalid_beams_total", "Beams that led to no item of the catalogue; stays 0.", registry=registry
        )
        self.short_results = Counter(
            "rqrec_results_short_total", "Answers with fewer items than asked for.", registry=registry
        )
        self.cache_requests = Counter(
            "rqrec_cache_requests_total", "Looked-up keys.", ["tier", "result"], registry=registry
        )
        self.catalogue_items = Gauge("rqrec_catalogue_items", "Items that can be recommended.", registry=registry)
        self.catalogue_version = Gauge(
            "rqrec_catalogue_version", "Changes of the catalogue since the bundle was published.", registry=registry
        )
        self.catalogue_changes = Counter(
            "rqrec_catalogue_changes_total",
            "Changes of the catalogue that were applied, by what came of them.",
            ["result"],
            registry=registry,
        )
        self.catalogue_lag = Gauge(
            "rqrec_catalogue_lag_events", "Changes that were read and are not applied yet.", registry=registry
        )
        self.catalogue_current = Gauge(
            "rqrec_catalogue_current",
            "1 if the active model had all changes of the catalogue when it looked last, or uses no Redis.",
            registry=registry,
        )
        self.catalogue_repairs = Counter(
            "rqrec_catalogue_repairs_total",
            "Times that Redis had lost a part of the catalogue and this replica put it back.",
            registry=registry,
        )
        self.redis_evicts = Gauge(
            "rqrec_redis_evicts", "1 if Redis drops keys when it is full, which loses writes.", registry=registry
        )
        self.redis_up = Gauge("rqrec_redis_up", "1 if Redis answered last, 0 if not or not used.", registry=registry)
        self.redis_errors = Counter("rqrec_redis_errors_total", "Failed calls of Redis.", registry=registry)
        self.model_loads = Counter(
            "rqrec_model_reload_total",
            "Models loaded, at the start and later, by how it went.",
            ["result"],
            registry=registry,
        )
        self.answers = Counter(
            "rqrec_model_answers_total",
            "Recommendations answered, by the part of who answered.",
            ["part"],
            registry=registry,
        )
        self.shadow_answers = Counter(
            "rqrec_shadow_answers_total",
            "Recommendations that a shadow was to answer too: answered, skipped (the service was busy), failed.",
            ["result"],
            registry=registry,
        )
        self.shadow_overlap = Histogram(
            "rqrec_shadow_overlap_ratio",
            "Share of a list's items that the shadow had in its list too.",
            buckets=RATIO_BUCKETS,
            registry=registry,
        )
        self.model = Info("rqrec_model", "The model that answers.", registry=registry)
        self.codebook_usage = Gauge(
            "rqrec_model_codebook_usage_ratio", "Share of a level's codes in use.", ["level"], registry=registry
        )
        self.collision_ratio = Gauge(
            "rqrec_model_collision_ratio", "Share of items that needed a collision code.", registry=registry
        )

        # A counter that first appears with its first count has not increased, and no alert would notice.
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

    @cache  # noqa: B019 - as few as routes times methods times statuses, and as long-lived as the registry's own
    def _of_request(self, route: str, method: str, status: int) -> tuple[Counter, Histogram]:
        return self.requests.labels(route, method, str(status)), self.request_seconds.labels(route, method)

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Counts an answered request."""
        route = getattr(scope.get("route"), "path_format", UNMATCHED)
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        count, duration = self._of_request(route, method, status)
        count.inc()
        duration.observe(seconds)

    def describe_model(self, version: str, tokenizer_figures: Mapping[str, float]) -> None:
        """Sets the gauges that describe the loaded model."""
        self.model.info({"version": version})
        for name, value in tokenizer_figures.items():
            if name.startswith("usage_"):
                self.codebook_usage.labels(name.removeprefix("usage_")).set(value)
        self.collision_ratio.set(tokenizer_figures.get("collision_ratio", 0.0))
