"""The tools for assistants, by the protocol's own client over stdio."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, ImageContent, TextContent, Tool

from tests.app.conftest import ITEMS, Run
from tests.pictures import data_uri, picture

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


def talk(url: str, ask: Callable[[Client], Awaitable[T]], **env: str) -> T:
    """Talk to `sightline mcp`, started as an assistant starts it."""
    arguments = ["-m", "app", "mcp", "--url", url]
    server = StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT, env=env)

    async def run() -> T:
        async with Client(server) as client:
            return await ask(client)

    return asyncio.run(run())


def call(url: str, *tools: tuple[str, dict[str, Any]], api_key: str = "") -> list[CallToolResult]:
    """Use tools, one after the other."""

    async def ask(client: Client) -> list[CallToolResult]:
        return [await client.call_tool(name, arguments) for name, arguments in tools]

    return talk(url, ask, SIGHTLINE_API_KEY=api_key)


def structured(answer: CallToolResult) -> dict[str, Any]:
    assert answer.structured_content is not None, answer.content
    return answer.structured_content


@pytest.fixture
def shop(server_url: str) -> str:
    for colour, price in (("red", 5), ("green", 6), ("blue", 7)):
        item = {"image": data_uri(picture(colour)), "text": f"a {colour} thing", "metadata": {"price": price}}
        httpx.put(f"{server_url}{ITEMS}/{colour}", json=item).raise_for_status()
    return server_url


def test_the_tools_say_what_they_take_and_that_they_change_nothing(shop: str) -> None:
    async def ask(client: Client) -> list[Tool]:
        assert client.server_info.name == "sightline"
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in talk(shop, ask)}
    assert set(tools) == {"search", "classify", "look"}
    assert set(tools["search"].input_schema["properties"]) == {
        "query",
        "unlike",
        "image_url",
        "item",
        "filter",
        "limit",
    }
    assert all(tool.annotations and tool.annotations.read_only_hint and tool.description for tool in tools.values())


def test_search_finds_by_words_and_items_within_a_filter(shop: str) -> None:
    words, like, cheap = call(
        shop,
        ("search", {"query": "red", "limit": 1}),
        ("search", {"item": "blue", "unlike": "red", "limit": 1}),
        ("search", {"query": "red", "filter": {"price": {"$gt": 5}}}),
    )
    assert structured(words)["total"] == 3
    [hit] = structured(words)["hits"]
    assert (hit["id"], hit["text"], hit["metadata"]) == ("red", "a red thing", {"price": 5})
    assert [hit["id"] for hit in structured(like)["hits"]] == ["green"]
    assert sorted(hit["id"] for hit in structured(cheap)["hits"]) == ["blue", "green"]


def test_an_item_is_labelled_and_looked_at(shop: str) -> None:
    labelled, seen = call(shop, ("classify", {"item": "blue", "labels": ["red", "blue"]}), ("look", {"item": "blue"}))
    best, other = structured(labelled)["result"]
    assert (best["label"], other["label"]) == ("blue", "red")
    assert best["score"] + other["score"] == pytest.approx(1)
    [content] = seen.content
    assert isinstance(content, ImageContent)
    assert content.mime_type == "image/jpeg"


def test_what_is_refused_is_told_to_the_assistant(shop: str) -> None:
    refused = [
        ("look", {"item": "missing"}, "Item not found"),
        ("search", {}, "/query"),
        ("search", {"query": "red", "filter": {"$what": 1}}, "Filter invalid"),
        ("search", {"image_url": "http://10.0.0.1/a.jpg"}, "URL forbidden"),
        ("search", {"image_url": "a.jpg"}, "no http(s) URL"),
        ("classify", {"labels": ["a", "b"]}, "exactly one of image and item"),
    ]
    answers = call(shop, *((name, arguments) for name, arguments, _ in refused))
    for answer, (_, _, reason) in zip(answers, refused, strict=True):
        [content] = answer.content
        assert isinstance(content, TextContent)
        assert answer.is_error
        assert reason in content.text


def test_a_server_that_is_away_is_told_when_a_tool_is_used() -> None:
    [answer] = call("http://127.0.0.1:9", ("search", {"query": "red"}), api_key="a" * 16)
    assert answer.is_error
    assert "no server answered" in str(answer.content)


def test_without_the_extra_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    monkeypatch.delitem(sys.modules, "app.tools", raising=False)
    ran = run("mcp")
    assert (ran.code, ran.out) == (1, "")
    assert "install sightline[cpu,mcp]" in ran.err
