"""The service's settings, read from environment variables with the prefix RQREC_."""

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from limits import parse
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import from_json
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rqrec.service.contract.fields import VALUE_ERROR, EventType
from rqrec.service.default_bundle import default_bundle
from rqrec.service.outcomes.outcome_counts import OutcomeKind
from rqrec.service.outcomes.policy import DAY_S, Promotion
from rqrec.service.redis.url import read_redis_url
from rqrec.service.users.event_rules import DEFAULT_RULES, MAX_EVENT_TYPES, EventRule


class Backend(StrEnum):
    """The engine of the search: ONNX Runtime, which needs no torch, or PyTorch."""

    ONNX = "onnx"
    TORCH = "torch"


class Device(StrEnum):
    """The device of the search. AUTO means the GPU if the backend finds one, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """The precision of the search on a GPU. A CPU always uses float32."""

    FP32 = "fp32"
    HALF = "half"


class LogFormat(StrEnum):
    """The format of log lines."""

    TEXT = "text"
    JSON = "json"


class Settings(BaseSettings):
    """All settings of the service. Each is read from an environment variable, such as RQREC_PORT for `port`.

    The README lists all settings in a table.
    """

    model_config = SettingsConfigDict(env_prefix="RQREC_", env_ignore_empty=True, extra="ignore", allow_inf_nan=False)

    bundle: Path = Field(
        default_factory=default_bundle,
        description="a bundle, or a folder of bundles with `current`; by default the one of artifacts/*/bundles "
        "published last below the working folder",
    )
    backend: Backend = Field(Backend.ONNX, description="engine of the search")
    device: Device = Field(Device.AUTO, description="device of the search")
    precision: Precision = Field(Precision.FP32, description="precision of a GPU: half is faster and less exact")
    search_workers: int = Field(
        1, ge=1, le=256, description="batches searched at the same time, one thread each; one more in a backlog"
    )
    max_batch: int = Field(16, ge=1, le=1024, description="most requests in one batch; twice as many in a backlog")
    max_queue: int = Field(
        410, ge=1, description="most requests that wait, those whose body is arriving included; more are answered 429"
    )
    max_admin_requests: int = Field(
        32, ge=1, description="most requests with the admin token at one time; more are answered 429"
    )
    timeout_ms: int = Field(
        5000, ge=1, le=600_000, description="time for the answer where a request sets none, in milliseconds"
    )
    beam_width: int = Field(50, ge=1, le=500, description="beams kept at every level where a request sets no width")
    read_items: int = Field(
        50,
        ge=20,  # of the recorded answers that a bundle is checked with
        description="most recent items of a history that a search reads, of those that the model can read",
    )
    filter_cache_bytes: int = Field(64 << 20, ge=0, description="memory for the cache of recent filters")
    redis_url: SecretStr | None = Field(
        None,
        description="redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://; without it, no Redis is used",
    )
    redis_timeout_s: float = Field(0.25, gt=0, description="longest wait for one answer of Redis")
    redis_retries: int = Field(1, ge=0, le=10, description="retries of a failed call, after a jittered pause")
    redis_connections: int = Field(16, ge=1, description="most connections to Redis, beside one for users' histories")
    redis_pause_s: float = Field(1.0, ge=0, description="pause after an error, in which Redis is not called")
    redis_check_s: float = Field(5.0, gt=0, description="interval of the checks of the table and the entries in Redis")
    rollout_poll_s: float = Field(0.5, gt=0, description="interval of the polls for changes of the models' roles")
    redis_empty_wait_s: float = Field(
        3.0, ge=0, description="wait at the start while Redis is empty: other replicas may put back what it lost"
    )
    ready_without_redis: bool = Field(
        False, description="be ready even if Redis was never reached, so that written and deleted items are unknown"
    )
    redis_table_ttl_s: int = Field(
        86_400, ge=0, description="how long a version's table stays in Redis after its last replica; 0: no table at all"
    )
    catalogue_poll_s: float = Field(0.1, gt=0, description="interval of the polls for changes of the catalogue")
    catalogue_save_every: int = Field(
        1000, ge=1, description="number of changes after which older ones leave the stream"
    )
    tombstone_s: float = Field(
        3600.0, gt=0, description="how long deleted items are remembered, and a replica without Redis keeps its changes"
    )
    write_timeout_s: float = Field(5.0, gt=0, description="longest wait for a change of the catalogue to be confirmed")
    data_dir: Path = Field(
        Path("data"),
        description="folder of the event store events.sqlite, made with the first event; with redis_url, Redis is the "
        "event store",
    )
    event_types: Annotated[dict[EventType, EventRule], NoDecode] = Field(
        DEFAULT_RULES,
        min_length=1,
        max_length=MAX_EVENT_TYPES,
        description='what each type of event does, as JSON such as {"view": {}, "purchase": {"conversion": true}}; '
        "history (default true), dislike and conversion (default false)",
    )
    user_history: int = Field(500, ge=1, le=10_000, description="most entries that are stored of a user's history")
    user_ttl_s: int = Field(
        180 * 86_400, ge=60, description="how long a history is stored after the user's last event, in seconds"
    )
    impression_ttl_s: int = Field(7 * 86_400, ge=60, description="how long is stored what a user was shown, in seconds")
    promotion: Promotion = Field(
        Promotion.ADVISE,
        description="off: outcomes are not counted; advise: GET /models, the metrics and the log say whether a canary "
        "is better; auto: the service also promotes it or rolls it back",
    )
    promotion_outcome: OutcomeKind = Field(
        OutcomeKind.CLICKS, description="the outcome that decides about a canary: clicks or conversions"
    )
    promotion_deadline_s: float = Field(
        14 * DAY_S, gt=0, description="how long a canary runs at most; then it is rolled back, in seconds"
    )
    promotion_check_s: float = Field(10.0, gt=0, description="interval of the looks at the outcomes")
    promotion_tightest_at: float = Field(
        2500.0,
        gt=0,
        description="impressions at which the interval of the outcome test is tightest; 25000 for rates of .01",
    )
    guardrail_requests: int = Field(
        2000, ge=1, description="requests of both models on a replica before it compares what follows"
    )
    guardrail_errors: float = Field(0.01, ge=0, le=1, description="how much higher a canary's share of errors may be")
    guardrail_short_lists: float = Field(
        0.02, ge=0, le=1, description="how much higher a canary's share of lists with too few items may be"
    )
    guardrail_p99_ratio: float = Field(2.0, gt=0, description="how many times as long a canary's p99 may be")
    admin_token: SecretStr | None = Field(
        None, min_length=1, description="bearer token of the admin routes; without it they are off"
    )
    max_history_items: int = Field(1000, ge=1, description="longest history or exclude list of a request")
    max_body_bytes: int = Field(1 << 20, ge=1, description="largest request body")
    max_bodies_bytes: int = Field(64 << 20, ge=1, description="memory for the bodies of all requests")
    max_head_bytes: int = Field(16 << 10, ge=1024, description="largest request line with headers")
    max_connections: int = Field(
        2048,
        ge=1,
        description="most open connections; a new one then displaces the one idle longest. ulimit -n may lower it",
    )
    max_client_connections: int = Field(
        1024, ge=1, description="most open connections of one address that is not a trusted proxy"
    )
    head_timeout_s: float = Field(10.0, gt=0, description="time for a request's headers, from its first byte")
    body_timeout_s: float = Field(5.0, gt=0, description="time for a request's body, from its headers")
    send_timeout_s: float = Field(10.0, gt=0, description="longest time that a client may read nothing of its answer")
    keep_alive_s: float = Field(75.0, gt=0, description="longest time that a connection may be idle")
    trusted_proxies: Annotated[list[IPv4Network | IPv6Network], NoDecode] = Field(
        default_factory=list,
        description="networks whose X-Forwarded-For and client keys are trusted, such as 10.0.0.0/8,fd00::/8",
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="origins whose web pages may call, such as https://shop.example, separated by commas; default none",
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*/?$",
        description="prefix under which a proxy serves this service, such as /rec; the proxy may remove it or not",
    )
    explorer: bool = Field(True, description="answer GET / with the explorer, a page for looking at the model")
    rate_limit: str | None = Field(
        None, description="most requests of one client, such as 100/second or 5000/hour; without it, no limit"
    )
    rate_limit_header: str = Field(
        "X-API-Key",
        pattern="^[A-Za-z0-9-]+$",
        description="header in which a trusted proxy names a client by a key; other clients are named by their address",
    )
    log_format: LogFormat = Field(LogFormat.TEXT, description="text, or json with request_id and trace_id")
    log_requests: bool = Field(False, description="log a line for every request")
    otlp_endpoint: str | None = Field(
        None, description="address that traces are sent to (OTLP over HTTP); needs the extra otel"
    )
    drain_s: float = Field(
        0.0, ge=0, description="seconds after SIGTERM in which requests are still answered, while /readyz says 503"
    )
    grace_s: float = Field(25.0, ge=1, description="longest wait after that for accepted requests, in seconds")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 in a container")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")

    @field_validator("redis_url")
    @classmethod
    def _names_a_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            read_redis_url(url.get_secret_value())
        return url

    @field_validator("trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _is_a_list(cls, text: object) -> object:
        """Reads a list from JSON or from text that is separated by commas."""
        if not isinstance(text, str):
            return text
        if text.lstrip().startswith("["):
            return _read_json(text, 'a list such as a,b or ["a", "b"]')
        return [part.strip() for part in text.split(",") if part.strip()]

    @field_validator("event_types", mode="before")
    @classmethod
    def _is_an_object(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        expected = 'a JSON object such as {"view": {}, "purchase": {"conversion": true}}'
        rules = _read_json(text, expected)
        if not isinstance(rules, dict):
            raise ValueError(f"expected {expected}, got {text[:60]!r}")  # noqa: TRY004, pydantic expects it
        return rules

    @field_validator("root_path")
    @classmethod
    def _without_slash_at_the_end(cls, text: str) -> str:
        return text.removesuffix("/")

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, text: str) -> str:
        try:
            text.encode("idna")
        except UnicodeError as error:
            raise ValueError(f"must be a host name or an IP address: {error}") from error
        return text

    @field_validator("port", mode="before")
    @classmethod
    def _is_not_an_address(cls, text: object) -> object:
        if isinstance(text, str) and text.startswith("tcp://"):
            raise ValueError(
                f"expected a port, got {text[:60]!r}, which Kubernetes sets where a Service is named rqrec; set "
                "enableServiceLinks: false in the pod"
            )
        return text

    @field_validator("rate_limit")
    @classmethod
    def _is_a_rate(cls, text: str | None) -> str | None:
        if text is None:
            return text
        try:
            rate = parse(text)
        except ValueError as error:
            raise ValueError(f"expected a rate such as 5/second or 5000/hour, got {text[:60]!r}") from error
        if rate.amount < 1:
            raise ValueError("must allow at least one request, such as 1/second")
        return text


def faults_of(error: ValidationError) -> list[str]:
    """Returns one line for each environment variable that cannot be used, with the reason.

    Args:
        error: The error that `Settings()` has raised.
    """
    faults = dict[str, str]()
    for fault in reversed(error.errors()):
        name, *within = map(str, fault["loc"])
        place = f"{'.'.join(within)}: " if within else ""
        faults[name.upper()] = place + fault["msg"].removeprefix(VALUE_ERROR)
    return [f"RQREC_{name}: {reason}" for name, reason in faults.items()]


def _read_json(text: str, expected: str) -> object:
    try:
        return from_json(text)
    except ValueError as error:
        raise ValueError(f"expected {expected}, got {text[:60]!r} ({error})") from error
