"""A client of a running server, for the verbs that talk to one."""

import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from app.access.loopback import is_loopback
from app.cli.console import CommandFailed

if TYPE_CHECKING:
    import httpx

NO_CONTENT = 204
UNAUTHORIZED = 401
RETRY_STATUSES = frozenset({429, 502, 503, 504})


class RequestRefused(CommandFailed):
    """The server answered with a problem; `problem` is empty where it is none that Sightline tells."""

    def __init__(self, status: int, detail: str, problem: Mapping[str, Any]) -> None:
        super().__init__(detail)
        self.status = status
        self.problem = dict(problem)


class Client:
    """Sends JSON to a server and gives its answers; used as a context manager.

    Args:
        attempts: How often a request is sent before a server that is away, or too busy, is given up.
    """

    def __init__(self, url: str, api_key: str | None, *, attempts: int = 1, timeout_s: float = 300.0) -> None:
        import httpx  # a quarter of a second, which `--help` need not wait for

        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # A proxy from the environment is for far servers; it could not reach this machine's own.
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=httpx.Timeout(timeout_s, connect=5.0), trust_env=not is_local(url)
        )
        self._url = url
        self._attempts = attempts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def lines(self, path: str) -> list[str]:
        """The lines of a text; raises as `send`."""
        text = self._request("GET", path, None).text
        return [line for line in text.split("\n") if line]  # not `splitlines`: an id may hold other breaks

    def content(self, path: str) -> bytes:
        """The bytes that are there; raises as `send`."""
        return self._request("GET", path, None).content

    def send(self, method: str, path: str, json: object = None, *, once: bool = False) -> Any:
        """Send one request, and again after a pause while the server is away; give the answer's JSON.

        Args:
            once: However often it is sent, the server is to do it once.

        Returns:
            None where the answer has no content.

        Raises:
            RequestRefused: The server answered with a problem.
            CommandFailed: It could not be reached, or is another server.
        """
        headers = {"Idempotency-Key": uuid.uuid4().hex} if once else {}
        response = self._request(method, path, json, headers)
        if response.status_code == NO_CONTENT:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise CommandFailed(f"what answers at {self._url} is no Sightline server") from error

    def _request(
        self, method: str, path: str, json: object, headers: Mapping[str, str] | None = None
    ) -> "httpx.Response":
        import httpx

        for attempt in range(self._attempts):
            last = attempt == self._attempts - 1
            pause_s = min(0.5 * 2**attempt, 10.0)
            try:
                response = self._http.request(method, path, json=json, headers=headers)
            except (httpx.TransportError, httpx.InvalidURL) as error:
                if last:
                    raise CommandFailed(
                        f"no server answers at {self._url}: {error}; "
                        "start one with `sightline serve`, or name it with --url"
                    ) from error
            else:
                if response.status_code not in RETRY_STATUSES or last:
                    return _accepted(response)
                pause_s = max(pause_s, _asked_pause_s(response))
            time.sleep(pause_s)
        raise AssertionError("unreachable: the last attempt returns or raises")


def collection_path(name: str, *rest: str) -> str:
    """Path of a collection, or of something in it."""
    return "/".join(["/v1/collections", quote(name, safe=""), *rest])


def job_path(job_id: str, *rest: str) -> str:
    """Path of a job, or of something in it."""
    return "/".join(["/v1/jobs", quote(job_id, safe=""), *rest])


def _accepted(response: "httpx.Response") -> "httpx.Response":
    if response.is_success:
        return response
    try:
        problem = response.json()
        detail = f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        problem, detail = {}, f"the server answered with status {response.status_code}"
    if response.status_code == UNAUTHORIZED:
        detail = f"the server wants a key, by --api-key or SIGHTLINE_API_KEY: {detail}"
    raise RequestRefused(response.status_code, detail, problem)


def _asked_pause_s(response: "httpx.Response") -> float:
    value = response.headers.get("retry-after", "")
    return min(float(value), 60.0) if value.isdigit() else 0.0


def is_local(url: str) -> bool:
    """Whether the server is on this machine."""
    return is_loopback(urlsplit(url).hostname or "")
