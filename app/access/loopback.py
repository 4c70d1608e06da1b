"""Names and addresses of this machine itself."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a name or an address leads to this machine and no other."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
