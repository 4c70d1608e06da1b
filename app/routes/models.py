"""Models that this server can use."""

import logging
from typing import Annotated

from fastapi import APIRouter, Path

from app.access.scopes import GuardedRoute
from app.dependencies import TheStore
from app.openapi import READING, problems
from app.schemas.models import Model, ModelList
from models.errors import ModelError

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=GuardedRoute)
logger = logging.getLogger("sightline")


@router.get("", summary="List models", responses=problems())
def list_models(store: TheStore) -> ModelList:
    """A model whose manifest cannot be read is left out; the server's log tells of it."""
    models = []
    for name in store.names():
        try:
            models.append(Model.of(name, store.manifest(name)))
        except ModelError as error:
            logger.warning("model %s is left out: %s", name, error)
    return ModelList(data=models)


@router.get("/{model}", summary="Describe a model", responses=READING | problems(503))
def get_model(model: Annotated[str, Path(examples=["default"])], store: TheStore) -> Model:
    return Model.of(model, store.manifest(model))
