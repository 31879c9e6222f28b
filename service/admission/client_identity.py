"""Client identity: the name by which fairness, rate limits and budgets tell clients apart."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Network = IPv4Network | IPv6Network
FORWARDED_FOR = b"x-forwarded-for"
IPV6_SITE_BITS = 64  # one host can use any address of such a network
UNKNOWN = "unknown"  # a socket without an address, such as a Unix socket


class ClientIdentity:
    """Tells clients apart by the address that they connect from, which they cannot choose.

    A trusted proxy names the client that it forwards. The client is then the key in the key header, which the proxy has
    checked, or else the last address in X-Forwarded-For that is not a trusted proxy. From any other address, both
    headers are ignored.

    Args:
        trusted_proxies: Networks of the proxies.
        key_header: Name of the key header, such as X-API-Key.
    """

    def __init__(self, trusted_proxies: Sequence[Network], key_header: str) -> None:
        self._trusted = tuple(trusted_proxies)
        self._key_header = key_header.lower().encode("latin-1")
        self._is_trusted = lru_cache(maxsize=4096)(self._is_in_trusted_network)

    def identify(self, scope: Scope) -> str:
        """The name of the client that sent a request.

        Args:
            scope: The request's ASGI scope.

        Returns:
            An address, an IPv6 network, or `key:` and the client's key.
        """
        address = scope["client"][0] if scope.get("client") else UNKNOWN
        if not self._trusted or not self._is_trusted(address):
            return site_of(address)
        forwarded: list[str] = []
        for name, value in scope["headers"]:
            if name == self._key_header and value:
                return f"key:{value.decode('latin-1')}"
            if name == FORWARDED_FOR:
                forwarded += value.decode("latin-1").split(",")
        for hop in reversed(forwarded):
            if not self._is_trusted(hop.strip()):
                return site_of(hop.strip())
        return site_of(address)

    def is_proxy(self, address: str) -> bool:
        """Whether an address is a trusted proxy, whose connections carry the requests of many clients."""
        return bool(self._trusted) and self._is_trusted(address)

    def _is_in_trusted_network(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)


@lru_cache(maxsize=4096)
def site_of(address: str) -> str:
    """The address itself; for IPv6 its network of 64 bits, because one host gets a whole network."""
    if ":" not in address:
        return address
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Network((int(found), IPV6_SITE_BITS), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)
