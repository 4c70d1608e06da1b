"""The retrievers, over classes that stand for those of LangChain and LlamaIndex, which bring too much along."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from sightline_client import Client, NewItem
from tests.pictures import picture


class LangChainRetriever(BaseModel):
    def invoke(self, query: str) -> Any:
        return self._get_relevant_documents(query, run_manager=None)  # type: ignore[attr-defined]


class LlamaIndexRetriever:
    def retrieve(self, query: str) -> Any:
        return self._retrieve(QueryBundle(query))  # type: ignore[attr-defined]


@dataclass
class QueryBundle:
    query_str: str


@dataclass
class Document:
    id: str
    page_content: str
    metadata: dict[str, Any]


@dataclass
class TextNode:
    id_: str
    text: str
    metadata: dict[str, Any]


@dataclass
class NodeWithScore:
    node: TextNode
    score: float


STANDINS = {
    "langchain_core": {},
    "langchain_core.callbacks": {"CallbackManagerForRetrieverRun": object},
    "langchain_core.documents": {"Document": Document},
    "langchain_core.retrievers": {"BaseRetriever": LangChainRetriever},
    "llama_index": {},
    "llama_index.core": {},
    "llama_index.core.retrievers": {"BaseRetriever": LlamaIndexRetriever},
    "llama_index.core.schema": {"NodeWithScore": NodeWithScore, "QueryBundle": QueryBundle, "TextNode": TextNode},
}


@pytest.fixture
def retriever(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, members in STANDINS.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    name = f"examples.{request.param}_retriever"
    yield import_module(name).SightlineRetriever
    del sys.modules[name]


@pytest.fixture
def filled(sightline: Client) -> Client:
    for number, colour in enumerate(("red", "green", "blue")):
        item = NewItem(colour, image=picture(colour), text=f"a {colour} thing", metadata={"n": number})
        sightline.put_item(item)
    return sightline


@pytest.mark.parametrize("retriever", ["langchain"], indirect=True)
def test_langchain_gets_documents(filled: Client, retriever: Any) -> None:
    first, second = retriever(client=filled, options={"limit": 2, "filter": {"n": {"$gt": 0}}}).invoke("blue")
    assert (first.id, first.page_content, first.metadata["n"]) == ("blue", "a blue thing", 2)
    assert first.metadata["image_url"].endswith("/items/blue/image")
    assert first.metadata["score"] > second.metadata["score"]


@pytest.mark.parametrize("retriever", ["llamaindex"], indirect=True)
def test_llamaindex_gets_nodes(filled: Client, retriever: Any) -> None:
    first, second = retriever(filled, limit=2).retrieve("green")
    assert (first.node.id_, first.node.text, first.node.metadata["n"]) == ("green", "a green thing", 1)
    assert first.score > second.score
