"""A server on loopback that answers exactly the bytes it is told to, well-formed or not."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


Answer = bytes | Callable[[Request, socket.socket], bytes | None]
"""Bytes to send, or a function that makes them, or sends them itself and gives None to end the connection."""


@dataclass
class Server:
    """What a running server does and has seen; `answers` may be changed while it runs."""

    port: int
    answers: dict[str, Answer]
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answer(body: bytes = b"", status: int = 200, **headers: str) -> bytes:
    """A well-formed answer; `a_b="c"` is the header `a-b: c`."""
    fields = {"content-length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    return answer(status=status, location=location)


def flood(first: bytes, piece: bytes) -> Answer:
    """Send something, and then a piece for ever."""

    def send(_: Request, connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(piece)

    return send


@contextmanager
def serve(answers: Mapping[str, Answer], host: str = "127.0.0.1") -> Iterator[Server]:
    """Run a server that gives `answers` by path, and 404 to all others."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            server.connections += 1
            with contextlib.suppress(OSError):
                while (request := read_request(self.rfile)) is not None:
                    server.requests.append(request)
                    found = server.answers.get(request.target, answer(status=404))
                    data = found if isinstance(found, bytes) else found(request, self.connection)
                    if data is None:
                        return
                    self.connection.sendall(data)

    class Listener(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    with Listener((host, 0), Handler) as listener:
        server = Server(listener.server_address[1], dict(answers))
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()


def read_request(stream: BinaryIO) -> Request | None:
    first = stream.readline().decode("latin-1").split()
    if len(first) < 2:
        return None
    headers: dict[str, str] = {}
    while (line := stream.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(first[0], first[1], headers, stream.read(int(headers.get("content-length", "0"))))
