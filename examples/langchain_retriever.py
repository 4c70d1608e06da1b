"""A LangChain retriever: pip install langchain-core ./sightline_client."""

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from sightline_client import Client, Hit


class SightlineRetriever(BaseRetriever):
    """Finds items of a collection as documents; `options` are those of `Client.search`, such as limit and filter."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    client: Client = Field(default_factory=Client)
    collection: str = "default"
    options: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        found = self.client.search(query, collection=self.collection, **self.options)
        return [_document(hit) for hit in found.hits]


def _document(hit: Hit) -> Document:
    metadata = {**(hit.metadata or {}), "score": hit.score, "image_url": hit.image_url}
    return Document(id=hit.id, page_content=hit.text or "", metadata=metadata)
