"""A running server as tools of the Model Context Protocol, so that assistants can search a catalogue."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from app.version import read_version
from sightline_client import AsyncClient, Hit, SightlineError, Term
from sightline_client.inputs import given

INSTRUCTIONS = (
    "Search a catalogue of pictures and texts by meaning: describe what is looked for in plain words. "
    "Hits carry their metadata, whose fields a filter can use. Look at a hit before you say what its picture shows."
)
READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True)
PICTURE_WIDTH = 512

ImageUrl = Annotated[
    str | None, Field(description="An http(s) URL of a picture, which the server must be able to reach.")
]
ItemId = Annotated[str | None, Field(description="The id of an item of the catalogue.")]
Filter = Annotated[
    dict[str, Any] | None,
    Field(
        description="Only items whose metadata matches, e.g. "
        '{"price": {"$lt": 100}, "brand": {"$in": ["Puma", "Nike"]}, "$not": {"sold": true}}.'
    ),
]


class Found(BaseModel):
    """A hit."""

    id: str
    score: float
    text: str | None
    metadata: dict[str, Any] | None


class Search(BaseModel):
    """The best hits first, of so many items that match the filter."""

    hits: list[Found]
    total: int


class Label(BaseModel):
    """A label, and its probability among those given."""

    label: str
    score: float


class Tools:
    """What an assistant can do with one collection of a server."""

    def __init__(self, sightline: AsyncClient, collection: str) -> None:
        self._sightline, self._collection = sightline, collection

    async def search(
        self,
        query: Annotated[str | None, Field(description="What to look for, in plain words.")] = None,
        unlike: Annotated[str | None, Field(description="What hits should not be like, in plain words.")] = None,
        image_url: ImageUrl = None,
        item: ItemId = None,
        filter: Filter = None,
        limit: Annotated[int, Field(ge=1, le=100)] = 10,
    ) -> Search:
        """Find items by words, by a picture, by another item (more like it), or by all of these together."""
        terms = [Term(query)] if query else []
        terms += [Term(image=image_url)] if image_url else []
        terms += [Term(item=item)] if item else []
        terms += [Term(unlike, weight=-0.5)] if unlike else []
        options = given({"limit": limit, "filter": filter})
        with _told():
            found = await self._sightline.search(terms, collection=self._collection, **options)
        return Search(hits=[_describe(hit) for hit in found.hits], total=found.total)

    async def classify(
        self,
        labels: Annotated[list[str], Field(min_length=2, description="What the picture may show, e.g. dress, shoe.")],
        item: ItemId = None,
        image_url: ImageUrl = None,
    ) -> list[Label]:
        """Tell which of the labels fits the picture of an item, or one at an URL, with their probabilities."""
        with _told():
            answer = await self._sightline.classify(labels, item=item, image=image_url, collection=self._collection)
        return [Label(label=found.label, score=found.score) for found in answer.labels]

    async def look(self, item: Annotated[str, Field(description="The id of an item.")]) -> Image:
        """Look at an item's picture."""
        with _told():
            picture = await self._sightline.image(item, collection=self._collection, width=PICTURE_WIDTH)
        return Image(data=picture, format="jpeg")


def make_server(sightline: AsyncClient, collection: str) -> MCPServer:
    """A server of the protocol, with the tools."""
    version = read_version()
    server = MCPServer("sightline", title="Sightline", instructions=INSTRUCTIONS, version=version, log_level="WARNING")
    tools = Tools(sightline, collection)
    for tool in (tools.search, tools.classify, tools.look):
        server.add_tool(tool, annotations=READ_ONLY)
    return server


def _describe(hit: Hit) -> Found:
    return Found(id=hit.id, score=hit.score, text=hit.text, metadata=hit.metadata)


@contextmanager
def _told() -> Iterator[None]:
    """What the server or its client refuses is told to the assistant, who can do better."""
    try:
        yield
    except (SightlineError, ValueError) as error:
        raise ToolError(str(error)) from error
