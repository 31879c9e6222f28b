"""Parses the URL of one Redis server, of Redis Sentinels, or of a Redis cluster.

A URL may hold a password, so no error message repeats any part of the URL.
"""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis import ConnectionPool
from redis.exceptions import RedisError

SENTINEL_PORT, SERVER_PORT, LAST_PORT = 26379, 6379, 65535
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
# Options of a connection. How a connection behaves (timeouts, retries) comes from the settings.
OPTIONS = {
    *("db", "client_name", "protocol", "username", "password", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile"),
    *("ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname", "socket_keepalive"),
}
ODD_CHARACTERS = "user and password must be percent-encoded, such as %40 for @, %2F for / and %23 for #"


@dataclass(frozen=True)
class RedisUrl:
    """The parts of a Redis URL.

    For one server, redis-py parses the URL itself: only `text`, `kind` and `is_tls` are set, even if the URL has a
    user, a password or a database.

    Attributes:
        text: The whole URL.
        kind: `server`, `sentinel` or `cluster`.
        is_tls: Whether connections are encrypted.
        addresses: Hosts and ports of the Sentinels, or of some nodes of the cluster.
        username: The ACL user; None for the default user.
        password: The password; None if there is none.
        master: The name of the master that the Sentinels watch; empty for a cluster.
        database: The number of the database; 0 for a cluster.
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
    """Parses the URL of one Redis server, of Redis Sentinels, or of a Redis cluster, and returns its parts.

    The forms are:
    - one server: `redis://host:port/<db>`, or `unix:///path/of/the.sock`;
    - Sentinels: `redis+sentinel://host:port,host:port/<master>/<db>`;
    - a cluster: `redis+cluster://host:port,host:port`, with some of its nodes.

    With `rediss` instead of `redis`, connections are encrypted (TLS). The URL may hold a user and a password. The URL
    of one server may hold options, such as `?ssl_ca_certs=…`.

    Args:
        text: The URL.

    Raises:
        ValueError: If the URL has none of these forms.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(f"is no URL: write an IPv6 address in brackets; {ODD_CHARACTERS}") from None
    if parts.scheme not in SCHEMES or not text.startswith(f"{parts.scheme}://"):
        raise ValueError(f"must begin with one of {', '.join(SCHEMES)}, followed by ://")
    if parts.fragment or parts.netloc.count("@") > 1:
        raise ValueError(f"has a # or a second @: {ODD_CHARACTERS}")
    scheme, _, kind = parts.scheme.partition("+")
    if kind:
        return _several(text, parts, kind, is_tls=scheme == "rediss")
    if unknown := {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} - OPTIONS:
        raise ValueError(
            f"has {len(unknown)} unknown options after ?, and must use only "
            f"{', '.join(sorted(OPTIONS))}; {ODD_CHARACTERS}"
        )
    if scheme == "unix" and not parts.path:
        raise ValueError("must name a socket: unix:///path/of/the.sock?db=0")
    if scheme != "unix":
        _check_server(parts)
    try:
        ConnectionPool.from_url(text).make_connection()  # checks the options; does not connect yet
    except (TypeError, ValueError, RedisError):
        raise ValueError(f"has an option after ? with a bad value; {ODD_CHARACTERS}") from None
    return RedisUrl(text, "server", scheme == "rediss")


def _check_server(parts: SplitResult) -> None:
    address = parts.netloc.rpartition("@")[2]
    if address:  # without an address it is localhost
        _address(address, SERVER_PORT)
    _database(parts.path.strip("/"))


def _several(text: str, parts: SplitResult, kind: str, *, is_tls: bool) -> RedisUrl:
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = map(unquote, credentials.partition(":"))
    names = parts.path.strip("/").split("/")
    if kind == "sentinel":
        if not hosts or not names[0] or len(names) > 2:
            raise ValueError("must be, for Sentinels, redis+sentinel://host:port,host:port/<master>/<db>")
        master, database = names[0], _database(names[1] if len(names) > 1 else "")
    else:
        if not hosts or names not in (["0"], [""]):
            raise ValueError("must be, for a cluster, redis+cluster://host:port,host:port, without a database")
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
        raise ValueError(f"must end with a database number, such as /0; {ODD_CHARACTERS}")
    return int(text or 0)
