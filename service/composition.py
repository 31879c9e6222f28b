"""Builds the objects of the service from the settings. Each object gets only the settings that it needs."""

import functools
from collections.abc import Callable, Sequence

from rqrec.service.admission.admin_token import AdminToken
from rqrec.service.admission.admission import Admission, AdmissionLimits
from rqrec.service.admission.client_identity import ClientIdentity
from rqrec.service.events.redis_store import RedisEventStore
from rqrec.service.events.sqlite_store import SqliteEventStore
from rqrec.service.events.store import EventStore, StoreLimits
from rqrec.service.outcomes.confidence_sequence import ConfidenceSequence
from rqrec.service.outcomes.guardrails import Guardrails
from rqrec.service.outcomes.outcome_test import OutcomeTest
from rqrec.service.outcomes.policy import Policy
from rqrec.service.outcomes.trial_metrics import TrialMetrics
from rqrec.service.redis.client import RedisGate
from rqrec.service.redis.options import RedisOptions
from rqrec.service.search.batch_search import Key, Result, SearchBatcher, Work
from rqrec.service.search.batcher import Batcher
from rqrec.service.serving.loading import LoadOptions
from rqrec.service.serving.model_options import ModelOptions
from rqrec.service.serving.model_switch import ModelSwitch
from rqrec.service.serving.promotion import PromotionWatch
from rqrec.service.serving.runtime import RequestLimits, Runtime
from rqrec.service.serving.served_model import ServedModel
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics
from rqrec.service.users.event_rules import EventRules
from rqrec.service.users.metrics import UserMetrics
from rqrec.service.users.users import UserLimits, Users

EVENTS_FILE = "events.sqlite"
Search = Callable[[Key, Sequence[Work]], Sequence[Result]]


def build_runtime(settings: Settings, metrics: Metrics, search: Search) -> Runtime:
    """Builds the `Runtime`, which holds all parts of the service. `Runtime.start` then starts these parts.

    The parts are the models, the search queue, the admission (refuses requests under overload) and the Redis client.

    Args:
        settings: All settings.
        metrics: The metrics of the app.
        search: Function that searches one batch of requests. It gets what all requests of the batch have in common,
            such as the beam width, and a list with the input of each request, such as its history. It returns a list
            with one result for each request, such as a ranking of items.
    """
    gate = None if settings.redis_url is None else RedisGate(redis_options(settings), metrics)
    batcher: SearchBatcher = Batcher(
        search,
        metrics,
        workers=settings.search_workers,
        max_batch=settings.max_batch,
        max_queue=settings.max_queue,
    )
    models, store = _model_switch(settings, gate, metrics), event_store(settings, gate)
    return Runtime(
        models=models,
        batcher=batcher,
        admission=_admission(settings, metrics, batcher),
        gate=gate,
        users=_users(settings, store, metrics),
        promotion=_promotion(settings, models, store, metrics),
        metrics=metrics,
        limits=request_limits(settings),
    )


def request_limits(settings: Settings) -> RequestLimits:
    """Returns the limits and default values of one request."""
    return RequestLimits(
        max_body_bytes=settings.max_body_bytes,
        max_history_items=settings.max_history_items,
        beam_width=settings.beam_width,
        timeout_s=settings.timeout_ms / 1000,
    )


def redis_options(settings: Settings) -> RedisOptions:
    """Returns the options of the Redis client. `settings.redis_url` must not be None."""
    assert settings.redis_url is not None
    return RedisOptions(
        url=settings.redis_url.get_secret_value(),
        timeout_s=settings.redis_timeout_s,
        retries=settings.redis_retries,
        max_connections=settings.redis_connections,
        pause_s=settings.redis_pause_s,
    )


def load_options(settings: Settings) -> LoadOptions:
    """Returns the options with which a bundle (the published files of a model) is loaded."""
    return LoadOptions(
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
        beam_width=settings.beam_width,
        read_items=settings.read_items,
        filter_cache_bytes=settings.filter_cache_bytes,
    )


def _model_options(settings: Settings) -> ModelOptions:
    return ModelOptions(
        load=load_options(settings),
        poll_every_s=settings.catalogue_poll_s,
        save_every=settings.catalogue_save_every,
        write_timeout_s=settings.write_timeout_s,
        tombstones_live_s=settings.tombstone_s,
        check_every_s=settings.redis_check_s,
        table_lives_s=settings.redis_table_ttl_s,
        ready_without_redis=settings.ready_without_redis,
        accepts_writes=settings.admin_token is not None,
    )


def _model_switch(settings: Settings, gate: RedisGate | None, metrics: Metrics) -> ModelSwitch:
    return ModelSwitch(
        settings.bundle,
        functools.partial(ServedModel.open, gate=gate, metrics=metrics, options=_model_options(settings)),
        gate,
        metrics,
        poll_every_s=settings.rollout_poll_s,
        empty_wait_s=settings.redis_empty_wait_s,
        check_every_s=settings.redis_check_s,
        ready_without_redis=settings.ready_without_redis,
    )


def _users(settings: Settings, store: EventStore, metrics: Metrics) -> Users:
    rules = EventRules(settings.event_types)
    limits = UserLimits(settings.max_history_items, settings.user_history, settings.impression_ttl_s)
    return Users(store, rules, UserMetrics(metrics.registry, settings.event_types), limits)


def _promotion(settings: Settings, models: ModelSwitch, store: EventStore, metrics: Metrics) -> PromotionWatch:
    guardrails = Guardrails(
        min_requests=settings.guardrail_requests,
        max_more_errors=settings.guardrail_errors,
        max_more_short_lists=settings.guardrail_short_lists,
        max_p99_ratio=settings.guardrail_p99_ratio,
    )
    sequence = ConfidenceSequence(tightest_at=settings.promotion_tightest_at)
    policy = Policy(sequence, guardrails, deadline_s=settings.promotion_deadline_s)
    return PromotionWatch(
        models,
        store,
        OutcomeTest(settings.promotion_outcome, policy),
        settings.promotion,
        TrialMetrics(metrics.registry),
        check_every_s=settings.promotion_check_s,
    )


def event_store(settings: Settings, gate: RedisGate | None) -> EventStore:
    """Returns the event store: Redis if the service uses it, else an SQLite file.

    Args:
        settings: All settings.
        gate: The client of Redis; None if no Redis is used.
    """
    rules = EventRules(settings.event_types)
    limits = StoreLimits(
        user_history=settings.user_history,
        user_ttl_s=settings.user_ttl_s,
        impression_ttl_s=settings.impression_ttl_s,
        history_types=rules.stored_types,
        click_types=rules.click_types,
        conversion_types=rules.conversion_types,
    )
    if gate is None:
        return SqliteEventStore(settings.data_dir / EVENTS_FILE, limits)
    return RedisEventStore(gate, limits)


def _admission(settings: Settings, metrics: Metrics, batcher: SearchBatcher) -> Admission:
    token = settings.admin_token
    return Admission(
        AdmissionLimits(
            max_queue=settings.max_queue,
            max_admin_requests=settings.max_admin_requests,
            max_bodies_bytes=settings.max_bodies_bytes,
            timeout_s=settings.timeout_ms / 1000,
            body_timeout_s=settings.body_timeout_s,
        ),
        ClientIdentity(settings.trusted_proxies, settings.rate_limit_header),
        AdminToken(None if token is None else token.get_secret_value()),
        metrics,
        running=lambda: batcher.running,
        seconds_per_request=lambda: batcher.seconds_per_request,
    )
