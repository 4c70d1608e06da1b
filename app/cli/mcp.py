"""`sightline mcp`: a running server as tools for assistants."""

import asyncio

from app.cli.console import CommandFailed
from app.cli.options import DEFAULT_URL, ApiKey, CollectionName, Url


def mcp(url: Url = DEFAULT_URL, collection: CollectionName = "default", api_key: ApiKey = None) -> None:
    """Serve search and classification to assistants, by the Model Context Protocol over stdin and stdout.

    An assistant's configuration names this command; it talks to the running server at --url.
    """
    try:
        from app.tools import make_server
    except ImportError as error:
        raise CommandFailed("this needs the extra `mcp`: install sightline[cpu,mcp]") from error
    from sightline_client import AsyncClient, Retry

    async def run() -> None:
        async with AsyncClient(url, api_key, retry=Retry(attempts=3)) as sightline:
            await make_server(sightline, collection).run_stdio_async()

    asyncio.run(run())
