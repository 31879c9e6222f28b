"""The service's settings, read from environment variables with the prefix RQREC_."""

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from limits import parse
from pydantic import Field, SecretStr, field_validator
from pydantic_core import from_json
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rqrec.service.default_bundle import default_bundle
from rqrec.service.redis.url import read_redis_url


class Backend(StrEnum):
    """What searches: ONNX Runtime, which needs no torch, or PyTorch."""

    ONNX = "onnx"
    TORCH = "torch"


class Device(StrEnum):
    """Where the search computes; AUTO takes the GPU if the backend finds one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """In which numbers a GPU computes; a CPU always takes float32."""

    FP32 = "fp32"
    HALF = "half"


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


class Settings(BaseSettings):
    """All settings; the README has them as a table. Build one and hand it to `create_app`."""

    model_config = SettingsConfigDict(env_prefix="RQREC_", env_ignore_empty=True, extra="ignore", allow_inf_nan=False)

    bundle: Path = Field(
        default_factory=default_bundle,
        description="a bundle, or a folder of bundles with `current`; by default the one of artifacts/*/bundles "
        "published last below the working folder",
    )
    backend: Backend = Field(Backend.ONNX, description="engine of the search")
    device: Device = Field(Device.AUTO, description="where the search computes")
    precision: Precision = Field(Precision.FP32, description="numbers of a GPU: half is faster and less exact")
    search_workers: int = Field(
        1, ge=1, le=256, description="batches searched at the same time, one thread each; one more in a backlog"
    )
    max_batch: int = Field(
        16, ge=1, le=1024, description="requests in one batch at the most; twice as many in a backlog"
    )
    max_queue: int = Field(
        256, ge=1, description="requests that may wait, their bodies' arrival included; beyond, they are answered 429"
    )
    max_admin_requests: int = Field(32, ge=1, description="the same for requests with the admin token, on their own")
    timeout_ms: int = Field(5000, ge=1, le=600_000, description="time for a request that names none, in milliseconds")
    beam_width: int = Field(50, ge=1, le=500, description="beams kept at every level where a request names no width")
    filter_cache_bytes: int = Field(64 << 20, ge=0, description="memory for filters answered lately")
    redis_url: SecretStr | None = Field(
        None,
        description="redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://; without it, all in process",
    )
    redis_timeout_s: float = Field(0.25, gt=0, description="longest wait for one answer of Redis")
    redis_retries: int = Field(1, ge=0, le=10, description="further tries of a failed call, after a jittered pause")
    redis_connections: int = Field(16, ge=1, description="connections to Redis at the most")
    redis_pause_s: float = Field(1.0, ge=0, description="after an error, Redis is not asked for this long")
    redis_check_s: float = Field(5.0, gt=0, description="how often the table in Redis is looked after")
    ready_without_redis: bool = Field(
        False, description="be ready though Redis is away since the start, and items written or deleted are not known"
    )
    redis_table_ttl_s: int = Field(
        86_400, ge=60, description="a version's table stays this long after its last replica"
    )
    catalogue_poll_s: float = Field(0.1, gt=0, description="how often changes of the catalogue are looked for")
    catalogue_save_every: int = Field(1000, ge=1, description="changes after which older ones leave the stream")
    write_timeout_s: float = Field(5.0, gt=0, description="longest wait until a change of the catalogue is confirmed")
    admin_token: SecretStr | None = Field(
        None, min_length=1, description="bearer token of the admin routes; without it they are off"
    )
    max_history_items: int = Field(1000, ge=1, description="longest history or exclude list of a request")
    max_body_bytes: int = Field(1 << 20, ge=1, description="largest request body")
    max_bodies_bytes: int = Field(64 << 20, ge=1, description="memory for all bodies that are being read or answered")
    max_head_bytes: int = Field(16 << 10, ge=1024, description="largest request line with its headers")
    max_connections: int = Field(
        2048,
        ge=1,
        description="open connections; beyond, the longest idle one makes room. At most what ulimit -n allows",
    )
    max_client_connections: int = Field(
        1024, ge=1, description="open connections of one address that is no trusted proxy"
    )
    head_timeout_s: float = Field(10.0, gt=0, description="time for a request's headers, from its first byte")
    body_timeout_s: float = Field(5.0, gt=0, description="time for a request's body, from its headers")
    send_timeout_s: float = Field(10.0, gt=0, description="a client that reads nothing for so long is cut off")
    keep_alive_s: float = Field(75.0, gt=0, description="an idle connection is closed after so long")
    trusted_proxies: Annotated[list[IPv4Network | IPv6Network], NoDecode] = Field(
        default_factory=list,
        description="networks whose X-Forwarded-For and client keys are believed, such as 10.0.0.0/8,fd00::/8",
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="origins whose pages may call, such as https://shop.example, separated by commas; none by default",
    )
    rate_limit: str | None = Field(
        None, description="requests of one client, such as 100/second or 5000/hour; without it, as many as it likes"
    )
    rate_limit_header: str = Field(
        "X-API-Key",
        pattern="^[A-Za-z0-9-]+$",
        description="the header in which a trusted proxy names a client by a key; all others are told apart by address",
    )
    log_format: LogFormat = Field(LogFormat.TEXT, description="text, or json with request_id and trace_id")
    log_requests: bool = Field(False, description="log a line for every request")
    otlp_endpoint: str | None = Field(None, description="where traces go (OTLP over HTTP); needs the extra otel")
    drain_s: float = Field(0.0, ge=0, description="seconds after SIGTERM that it answers, though not ready")
    grace_s: float = Field(25.0, ge=1, description="seconds that it then waits for what it accepted")
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
        """A list in JSON, or separated by commas."""
        if not isinstance(text, str):
            return text
        if text.lstrip().startswith("["):
            return from_json(text)
        return [part.strip() for part in text.split(",") if part.strip()]

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, text: str) -> str:
        try:
            text.encode("idna")
        except UnicodeError as error:
            raise ValueError(f"is no name of a host, nor an address: {error}") from error
        return text

    @field_validator("rate_limit")
    @classmethod
    def _is_a_rate(cls, text: str | None) -> str | None:
        if text is not None and parse(text).amount < 1:
            raise ValueError("must let at least one request pass, such as 1/second")
        return text
