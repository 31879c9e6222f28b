"""Reads the URL of a Redis. It may hold a password, so no message repeats any part of it."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis import ConnectionPool
from redis.exceptions import RedisError

SENTINEL_PORT, SERVER_PORT, LAST_PORT = 26379, 6379, 65535
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
# Of a connection; what would change how it behaves is a setting.
OPTIONS = {
    *("db", "client_name", "protocol", "username", "password", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile"),
    *("ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname", "socket_keepalive"),
}
ODD_CHARACTERS = "user and password must be percent-encoded, such as %40 for @, %2F for / and %23 for #"


@dataclass(frozen=True)
class RedisUrl:
    """What a URL says.

    Attributes:
        text: The URL.
        kind: `server`, `sentinel` or `cluster`.
        is_tls: Whether connections are encrypted.
        addresses: Hosts and ports, of sentinels or of some nodes; empty for one server.
        username: Of an ACL.
        password: Of Redis.
        master: The name that Sentinels know.
        database: Its number.
    """

    text: str = field(repr=False)
    kind: str
    is_tls: bool
    addresses: list[tuple[str, int]] = field(default_factory=list)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    master: str = ""
    database: int = 0


def read_redis_url(text: str) -> RedisUrl:
    """Reads a URL.

    redis://, rediss:// (TLS) and unix:// name a server; `redis+sentinel://host:port,host:port/<master>/<db>` the
    Sentinels and the master's name; `redis+cluster://host:port,host:port` some nodes of a cluster. User and password
    of an ACL stand in the URL, as does `?ssl_ca_certs=…` for TLS to one server.

    Raises:
        ValueError: If it is none of these.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(f"is no URL: an IPv6 address stands in brackets, and {ODD_CHARACTERS}") from None
    if parts.scheme not in SCHEMES or not text.startswith(f"{parts.scheme}://"):
        raise ValueError(f"must begin with one of {', '.join(SCHEMES)}, followed by ://")
    if parts.fragment or parts.netloc.count("@") > 1:
        raise ValueError(f"has a character too many: {ODD_CHARACTERS}")
    scheme, _, kind = parts.scheme.partition("+")
    if kind:
        return _several(text, parts, kind, is_tls=scheme == "rediss")
    if unknown := {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} - OPTIONS:
        raise ValueError(
            f"has {len(unknown)} options after ? that a connection does not take, which takes "
            f"{', '.join(sorted(OPTIONS))}; {ODD_CHARACTERS}"
        )
    if scheme == "unix" and not parts.path:
        raise ValueError("must name a socket: unix:///path/of/the.sock?db=0")
    if scheme != "unix":
        _check_server(parts)
    try:
        ConnectionPool.from_url(text).make_connection()  # connects only when it is used
    except (TypeError, ValueError, RedisError):
        raise ValueError(f"has options after ? that a connection does not take; {ODD_CHARACTERS}") from None
    return RedisUrl(text, "server", scheme == "rediss")


def _check_server(parts: SplitResult) -> None:
    address = parts.netloc.rpartition("@")[2]
    if address:  # else localhost
        _address(address, SERVER_PORT)
    _database(parts.path.strip("/"))


def _several(text: str, parts: SplitResult, kind: str, *, is_tls: bool) -> RedisUrl:
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = map(unquote, credentials.partition(":"))
    names = parts.path.strip("/").split("/")
    if kind == "sentinel":
        if not hosts or not names[0] or len(names) > 2:
            raise ValueError("of Sentinels must be redis+sentinel://host:port,host:port/<master>/<db>")
        master, database = names[0], _database(names[1] if len(names) > 1 else "")
    else:
        if not hosts or names not in (["0"], [""]):
            raise ValueError("of a cluster must be redis+cluster://host:port,host:port, without a database")
        master, database = "", 0
    port = SENTINEL_PORT if kind == "sentinel" else SERVER_PORT
    addresses = [_address(one, port) for one in hosts.split(",")]
    return RedisUrl(text, kind, is_tls, addresses, username or None, password or None, master, database)


def _address(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, default_port if parts.port is None else parts.port
    except ValueError:
        host, port = None, 0
    if not host or not 0 < port <= LAST_PORT or parts.username is not None:
        raise ValueError(f"must name hosts and ports such as localhost:6379 or [::1]:6379; {ODD_CHARACTERS}")
    return host, port


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"must end in the number of a database, such as /0; {ODD_CHARACTERS}")
    return int(text or 0)
