"""Under which names a server answers, and whose pages may call it."""

import re
from dataclasses import dataclass

from starlette.datastructures import Headers

from app.access.loopback import is_loopback
from app.errors import HostUnknown, OriginForbidden
from app.settings import Settings

_HARMLESS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Doors:
    """The names that the server answers to, and the sites whose pages may call it.

    Any page that somebody looks at can send requests to their machine; of a server without keys these would be as good
    as their own. What such a page cannot do is to change the headers `Host` and `Origin`.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    is_local: bool

    @classmethod
    def of(cls, settings: Settings) -> "Doors":
        """By the settings; on loopback those of this machine are known without."""
        hosts = frozenset(host.lower() for host in settings.allowed_hosts)
        return cls(hosts, frozenset(settings.allowed_origins), is_loopback(settings.host))

    def check_host(self, headers: Headers, *, locked: bool) -> None:
        """Raise `HostUnknown` for a foreign name: it may lead here by a page that has changed where its own leads."""
        if not self.hosts and (locked or not self.is_local):
            return
        host = _without_port(headers.get("host", "")).lower()
        if host not in self.hosts and not (self.is_local and is_loopback(host)):
            raise HostUnknown(
                f"this server does not answer as {host!r}; SIGHTLINE_ALLOWED_HOSTS names what it is called"
            )

    def check_origin(self, method: str, headers: Headers) -> None:
        """Raise `OriginForbidden` where a page of another site wants to change or start something."""
        origin = headers.get("origin")
        if method in _HARMLESS or origin is None or origin in self.origins:
            return
        if origin.partition("://")[2] != headers.get("host", ""):
            raise OriginForbidden(
                f"pages of {origin} may not call this server; SIGHTLINE_ALLOWED_ORIGINS names who may"
            )


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host)
