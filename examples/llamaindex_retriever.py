"""A LlamaIndex retriever: pip install llama-index-core ./sightline_client."""

import asyncio
from typing import Unpack

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from sightline_client import Client, Hit, SearchOptions


class SightlineRetriever(BaseRetriever):
    """Finds items of a collection as nodes; `options` are those of `Client.search`, such as limit and filter."""

    def __init__(self, client: Client, collection: str = "default", **options: Unpack[SearchOptions]) -> None:
        super().__init__()
        self._client, self._collection, self._options = client, collection, options

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._client.search(query_bundle.query_str, collection=self._collection, **self._options)
        return [_node(hit) for hit in found.hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(hit: Hit) -> NodeWithScore:
    metadata = {**(hit.metadata or {}), "image_url": hit.image_url}
    return NodeWithScore(node=TextNode(id_=hit.id, text=hit.text or "", metadata=metadata), score=hit.score)
