"""Who sends a request, as routes see them."""

from dataclasses import dataclass, field

from starlette.types import Scope as AsgiScope

from app.access.quotas import Quotas, Unit
from app.errors import Forbidden
from indexer.stores.keys import ANY, Key, Scope


@dataclass(slots=True)
class Caller:
    """The holder of a key; or anybody, of a server without one."""

    name: str
    """The key's id; without a key the address."""
    key: Key | None
    quotas: Quotas
    needed: Scope | None = None
    """What the route asks for, once there is one."""
    _began: set[Unit] = field(default_factory=set)

    @property
    def patterns(self) -> tuple[str, ...]:
        """Of the names of the collections that it may see."""
        return self.key.patterns if self.key else (ANY,)

    def covers(self, collection: str) -> bool:
        """Whether it may see a collection."""
        return self.key is None or self.key.covers(collection)

    def require(self, scope: Scope, purpose: str) -> None:
        """Raise `Forbidden` unless its key has the scope that a purpose needs."""
        self.needed = scope
        if self.key is not None and scope not in self.key.scopes:
            given = ", ".join(self.key.named_scopes)
            raise Forbidden(f"{purpose!r} needs a key with the scope {scope}; yours has {given}")

    def require_collection(self, name: str) -> None:
        """Raise `Forbidden` unless its key is for a collection; whether there is one of that name is not told."""
        if not self.covers(name):
            raise Forbidden(f"this key is for the collections {', '.join(self.patterns)}")

    def take(self, unit: Unit, count: int = 1) -> None:
        """Use up some of a quota, as much as the request needs once it could begin to; raises `RateLimited`."""
        if self.quotas.limits:
            self.quotas.take(self.name, unit, count, even_if_none_left=unit in self._began)
            self._began.add(unit)


def address_of(scope: AsgiScope) -> str:
    """Where a request comes from, as far as the proxies that are trusted tell."""
    return scope["client"][0] if scope.get("client") else "unknown"


def caller_of(scope: AsgiScope) -> Caller:
    """Who sends a request that has passed the gate."""
    caller = scope["caller"]
    assert isinstance(caller, Caller)
    return caller
