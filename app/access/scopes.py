"""Which scope each route needs, in one table; a route that is not in it needs `admin`."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from fastapi.routing import APIRoute
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from app.access.caller import Caller, caller_of
from app.errors import Forbidden
from indexer.stores.keys import ANY, Scope

OPEN: Final = None
"""Of routes that anybody may ask."""

_C = "/v1/collections/{name}"

SCOPES: Mapping[str, Scope | None] = {
    "GET /": OPEN,
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
    "GET /metrics": "read",
    "GET /v1/collections": "read",
    f"PUT {_C}": "admin",
    f"GET {_C}": "read",
    f"DELETE {_C}": "admin",
    f"GET {_C}/search": "read",
    f"POST {_C}/search": "read",
    f"POST {_C}/search/batch": "read",
    f"POST {_C}/search/upload": "read",
    f"POST {_C}/select": "read",
    f"GET {_C}/quality": "read",
    f"GET {_C}/items": "read",
    f"POST {_C}/items": "write",
    f"POST {_C}/items/delete": "write",
    f"GET {_C}/items/{{item_id}}": "read",
    f"PUT {_C}/items/{{item_id}}": "write",
    f"DELETE {_C}/items/{{item_id}}": "write",
    f"GET {_C}/items/{{item_id}}/image": "read",
    f"POST {_C}/items/{{item_id}}/explain": "read",
    f"GET {_C}/rules": "read",
    f"GET {_C}/rules/{{rule}}": "read",
    f"PUT {_C}/rules/{{rule}}": "write",
    f"DELETE {_C}/rules/{{rule}}": "write",
    f"GET {_C}/flags": "read",
    f"POST {_C}/ingest": "write",
    f"POST {_C}/reembed": "admin",
    f"GET {_C}/generations": "read",
    f"POST {_C}/generations/{{number}}/activate": "admin",
    f"POST {_C}/generations/{{number}}/canary": "admin",
    f"DELETE {_C}/generations/{{number}}": "admin",
    "POST /v1/mapping": "read",
    "GET /v1/jobs": "read",
    "GET /v1/jobs/{job_id}": "read",
    "GET /v1/jobs/{job_id}/events": "read",
    "GET /v1/jobs/{job_id}/errors": "read",
    "POST /v1/jobs/{job_id}/cancel": "write",
    "POST /v1/embeddings": "read",
    "POST /v1/classify": "read",
    "GET /v1/models": "read",
    "GET /v1/models/{model}": "read",
    "POST /knn-service": "read",
    "POST /metadata": "read",
    "GET /indices-list": "read",
}

EVERYWHERE = frozenset({"GET /metrics"})
"""Routes that tell of all collections at once, and so are for keys of all."""


class GuardedRoute(APIRoute):
    """A route that looks at its caller's key before it reads anything of the body."""

    async def handle(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer, or raise `Forbidden`."""
        if scope["method"] in (self.methods or ()):  # else 405 follows
            operation = f"{scope['method']} {self.path_format}"
            needed = SCOPES.get(operation, "admin")
            if needed is not OPEN:
                caller = caller_of(scope)
                caller.require(needed, self.summary or operation)
                _check_collection(caller, operation, scope["path_params"])
        await super().handle(scope, receive, send)


def _check_collection(caller: Caller, operation: str, parameters: Mapping[str, str]) -> None:
    if "name" in parameters:
        # As the route will read it: were it decoded in another way, a key could reach what it is not for.
        caller.require_collection(unquote(parameters["name"], errors="replace"))
    elif operation in EVERYWHERE and ANY not in caller.patterns:
        raise Forbidden("this tells of all collections, and needs a key for all")
