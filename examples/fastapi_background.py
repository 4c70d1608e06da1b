"""Embed on upload from a FastAPI service: it answers its user first, then tells Sightline.

pip install fastapi python-multipart uvicorn ./sightline_client; uvicorn examples.fastapi_background:app --port 9000
curl -X PUT -F title='red dress' -F photo=@dress.jpg http://127.0.0.1:9000/products/1042
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Form, Request, UploadFile

from sightline_client import AsyncClient, NewItem, SightlineError

logger = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, AsyncClient]]:
    """One client for the whole service, so that connections are kept."""
    async with AsyncClient() as sightline:
        yield {"sightline": sightline}


app = FastAPI(lifespan=lifespan)


@app.put("/products/{sku}", status_code=202)
async def put_product(
    sku: str, title: Annotated[str, Form()], photo: UploadFile, request: Request, tasks: BackgroundTasks
) -> dict[str, str]:
    """Keep the product, wherever this service keeps them, and embed it when the user has the answer."""
    item = NewItem(sku, image=await photo.read(), text=title)
    tasks.add_task(embed, request.state.sightline, item)
    return {"sku": sku}


async def embed(sightline: AsyncClient, item: NewItem) -> None:
    """The client has tried again where that may help; what it gives up is told to whoever runs this service."""
    try:
        await sightline.put_item(item)
    except SightlineError:
        logger.exception("product %s cannot be found by search yet", item.id)
