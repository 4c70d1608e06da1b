"""Whether the process lives, whether it can serve, and what it measures."""

import logging

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.access.scopes import GuardedRoute
from app.dependencies import TheResources
from app.errors import NotReady
from app.observation.sizes import sizes
from app.openapi import problems
from app.schemas.health import Health, Readiness

router = APIRouter(tags=["health"], route_class=GuardedRoute)
logger = logging.getLogger("sightline")


@router.get("/healthz", summary="Whether the process lives")
async def healthz() -> Health:
    return Health()


@router.get("/readyz", summary="Whether it can serve", responses=problems(503))
def readyz(resources: TheResources) -> Readiness:
    """Model loaded, database reachable, index open, and not about to stop; else 503 names what is missing."""
    if resources.jobs.stopping:
        raise NotReady("the server is about to stop")
    missing = "model"
    try:
        encoder = resources.open_encoder(resources.settings.model)
        missing = "database"
        resources.collections.ready()
        missing = "index"
        resources.collections.infos()
    except Exception as error:  # whatever it is, the server is not ready
        logger.exception("not ready: %s", missing)
        raise NotReady(f"the {missing} cannot be used; the server's log says why") from error
    return Readiness(
        model=resources.settings.model,
        fingerprint=encoder.fingerprint,
        device=list(getattr(encoder, "providers", ())),
    )


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
def metrics(request: Request, resources: TheResources) -> Response:
    now = sizes(resources.collections, resources.jobs.store, resources.encoders.opened, resources.settings.data_dir)
    counted = (resources.batches.registry, resources.searches.registry, resources.thumbnails.registry)
    rendered = request.app.state.metrics.render(counted, now)
    return Response(rendered, media_type=CONTENT_TYPE_LATEST)
