"""Pictures sent to a server in every way that takes one."""

from collections.abc import Callable

import httpx

from tests.pictures import data_uri

ITEM = "/v1/collections/default/items/uploaded"
SEARCH = "/v1/collections/default/search"

Way = Callable[[httpx.Client, bytes], httpx.Response]

WAYS: dict[str, Way] = {
    "a file as an item": lambda client, data: client.put(ITEM, files={"image": ("a.png", data, "image/png")}),
    "a data URI as an item": lambda client, data: client.put(ITEM, json={"image": data_uri(data)}),
    "a file to search by": lambda client, data: client.post(f"{SEARCH}/upload", files={"image": data}),
    "a data URI to search by": lambda client, data: client.post(SEARCH, json={"query": {"image": data_uri(data)}}),
    "a data URI to embed": lambda client, data: client.post(
        "/v1/embeddings", json={"input": [{"image": data_uri(data)}]}
    ),
    "a data URI to label": lambda client, data: client.post(
        "/v1/classify", json={"image": data_uri(data), "labels": ["red", "blue"]}
    ),
}
