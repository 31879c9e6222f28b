"""Finds the name of the client of a request. Permits, rate limits and fair queueing are counted by this name."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Network = IPv4Network | IPv6Network
FORWARDED_FOR = b"x-forwarded-for"
IPV6_SITE_BITS = 64  # one host can use any address of such a network
UNKNOWN = "unknown"  # a socket without an address, such as a Unix socket


class ClientIdentity:
    """Finds the name of the client that sent a request.

    The name is the IP address of the connection, which a client cannot choose. If that address belongs to a trusted
    proxy, the client is named by a header that the proxy sends: by the API key in the key header, which the proxy has
    checked; without a key, by the last address in X-Forwarded-For that is not a trusted proxy. If the connection does
    not come from a trusted proxy, both headers are ignored, because the client may have invented them.

    Args:
        trusted_proxies: Networks of the trusted proxies.
        key_header: Name of the header with the API key, such as X-API-Key.
    """

    def __init__(self, trusted_proxies: Sequence[Network], key_header: str) -> None:
        self._trusted = tuple(trusted_proxies)
        self._key_header = key_header.lower().encode("latin-1")
        self._is_trusted = lru_cache(maxsize=4096)(self._is_in_trusted_network)

    def identify(self, scope: Scope) -> str:
        """Returns the name of the client that sent a request.

        Args:
            scope: The request's ASGI scope.

        Returns:
            An IPv4 address, an IPv6 network such as `2001:db8::/64`, or `key:` followed by the client's API key;
            `unknown` if the connection has no address.
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
        """Returns whether an IP address belongs to a trusted proxy. A proxy sends the requests of many clients."""
        return bool(self._trusted) and self._is_trusted(address)

    def _is_in_trusted_network(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)


@lru_cache(maxsize=4096)
def site_of(address: str) -> str:
    """Returns the name under which the requests or connections of one IP address are counted.

    An IPv4 address is returned unchanged. For an IPv6 address, its network is returned, such as `2001:db8::/64`,
    because one host can use every address of such a network. An IPv4 address in IPv6 form (`::ffff:1.2.3.4`) becomes
    IPv4. Text that is no IP address is returned unchanged.
    """
    if ":" not in address:
        return address
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Network((int(found), IPV6_SITE_BITS), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)
