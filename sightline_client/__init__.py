"""A typed client of Sightline, sync and async.

with Client("http://127.0.0.1:8000") as sightline:
    sightline.put_item(NewItem("coat", text="green rain coat", image=Path("coat.jpg")))
    for hit in sightline.search("something for the rain", limit=3).hits:
        print(hit.id, hit.score, hit.text)
"""

from sightline_client import results
from sightline_client.async_client import AsyncClient
from sightline_client.client import Client
from sightline_client.errors import (
    AnswerInvalid,
    ConnectionFailed,
    IngestStopped,
    JobFailed,
    NotFound,
    RequestRefused,
    SightlineError,
)
from sightline_client.ingest import FailedItem, IngestReport
from sightline_client.inputs import NewItem, Query, Search, SearchOptions, Term
from sightline_client.pictures import Picture
from sightline_client.results import *  # noqa: F403 - what `__all__` names there
from sightline_client.retrying import Retry

__all__ = [
    "AnswerInvalid",
    "AsyncClient",
    "Client",
    "ConnectionFailed",
    "FailedItem",
    "IngestReport",
    "IngestStopped",
    "JobFailed",
    "NewItem",
    "NotFound",
    "Picture",
    "Query",
    "RequestRefused",
    "Retry",
    "Search",
    "SearchOptions",
    "SightlineError",
    "Term",
]
__all__ += results.__all__
