"""Clients over HTTP, each on a connection of its own: little code, for they share the cores with the server."""

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

JSON = "application/json"


class Answer(NamedTuple):
    """To one request."""

    line: bytes
    """The first line of the request."""
    asked: float
    """When, by `time.perf_counter`."""
    seconds: float
    status: int
    head: bytes


class Answers(NamedTuple):
    """To all requests of some clients."""

    answers: list[Answer]
    seconds: float

    @property
    def per_s(self) -> float:
        """Requests answered per second."""
        return len(self.answers) / self.seconds

    def percentile_s(self, percent: float) -> float:
        """What so many percent of the requests waited at most."""
        return float(np.percentile([answer.seconds for answer in self.answers], percent))


def request(path: str, body: bytes, content_type: str = JSON, method: str = "POST") -> bytes:
    """A whole request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def upload(path: str, picture: bytes, method: str = "POST", field: str = "image") -> bytes:
    """A whole request with a picture's file in a form."""
    disposition = f'Content-Disposition: form-data; name="{field}"; filename="picture.jpg"'
    body = f"--bench\r\n{disposition}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + picture + b"\r\n--bench--\r\n"
    return request(path, body, "multipart/form-data; boundary=bench", method)


def ask(url: str, requests: Iterator[bytes], clients: int, seconds: float) -> Answers:
    """Let clients ask one request after the other, each one at least; raises SystemExit when one is refused."""
    found = asyncio.run(_ask(url, requests, clients, seconds, pause_s=0.0))
    if refused := [answer.head for answer in found.answers if answer.status >= 400]:
        raise SystemExit(refused[0].decode())
    return found


def ask_at_rate(url: str, requests: Iterator[bytes], clients: int, seconds: float, per_s: float) -> Answers:
    """Let clients ask so often together, or as often as they are answered; answers may be refusals."""
    return asyncio.run(_ask(url, requests, clients, seconds, pause_s=clients / per_s))


async def _ask(url: str, requests: Iterator[bytes], clients: int, seconds: float, pause_s: float) -> Answers:
    host, port = url.removeprefix("http://").split(":")
    answers: list[Answer] = []
    started = time.perf_counter()

    async def ask_on(number: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        due = started + pause_s * number / clients
        while True:
            await asyncio.sleep(due - time.perf_counter())
            due = max(due + pause_s, time.perf_counter())
            if reader.at_eof():  # servers end connections on which nobody asked for some seconds
                writer.close()
                reader, writer = await asyncio.open_connection(host, int(port))
            answers.append(await _exchange(reader, writer, next(requests)))
            if max(due, time.perf_counter()) >= started + seconds:
                break
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(ask_on(number) for number in range(clients)))
    return Answers(answers, time.perf_counter() - started)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, whole: bytes) -> Answer:
    asked = time.perf_counter()
    writer.write(whole)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    status = int(head.split(b" ", 2)[1])
    return Answer(
        whole[: whole.index(b"\r")], asked, time.perf_counter() - asked, status, head + body if status >= 400 else head
    )
