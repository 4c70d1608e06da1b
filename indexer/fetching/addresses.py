"""Which network addresses a URL from outside may lead to."""

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress

from indexer.errors import FetchFailed, UrlForbidden

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All public IPv6 addresses. Outside are loopback, unique-local, link-local, site-local, multicast, IPv4-mapped and
IPv4-compatible addresses, and NAT64 (64:ff9b::/96, 64:ff9b:1::/48), whose last 32 bits are any IPv4 address."""

# Written out, because what `ipaddress` knows of the registries of IANA differs between versions of Python.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host, seen from its virtual machines; public in all but its routing
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays to 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: a tunnel to an IPv4 address of the sender's choice
        "3fff::/20",  # documentation
    )
)


def is_allowed(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Whether an address is public unicast, or in an allowed network."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if any(address in network or (mapped is not None and mapped in network) for network in allowed):
        return True
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


def check_host(host: str, allowed: Sequence[Network] = ()) -> None:
    """Raise `UrlForbidden` for an address, in whatever form, that is not allowed; a name is not resolved."""
    with suppress(FetchFailed):
        resolve(host, 0, allowed, socket.AI_NUMERICHOST)


def resolve(host: str, port: int, allowed: Sequence[Network] = (), flags: int = 0) -> list[str]:
    """The addresses of a name, in the resolver's order, once it is sure that each of them is allowed.

    How long the resolver may take is for the system to say (`resolv.conf`); it cannot be interrupted.

    Args:
        flags: For the resolver, see `socket.getaddrinfo`.

    Raises:
        UrlForbidden: One of the addresses is not allowed.
        FetchFailed: There is no such name, or (transient) the name servers do not answer.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    except socket.gaierror as error:
        transient = error.errno == socket.EAI_AGAIN
        raise FetchFailed("the name in the URL does not resolve to an address", transient=transient) from error
    except (OSError, ValueError) as error:
        raise FetchFailed("the name in the URL cannot be resolved") from error
    if not addresses or not all(is_allowed(address, allowed) for address in addresses):
        raise UrlForbidden("the URL leads to an address that is not public")
    return list(dict.fromkeys(map(str, addresses)))
