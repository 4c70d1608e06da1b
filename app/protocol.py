"""uvicorn's protocol, told apart in one thing: what it refuses itself is answered with a problem document, too."""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.errors import MEDIA_TYPE
from app.schemas.problem import Problem

MALFORMED = Problem(
    type="bad-request",
    title="Bad request",
    status=400,
    detail="this is no HTTP request that can be read; its address may be longer than 65,535 bytes",
)


class Protocol(HttpToolsProtocol):
    """HTTP/1.1."""

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, and close the connection."""
        body = MALFORMED.model_dump_json(exclude_none=True).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[400] + head + b"\r\n" + body)
        self.transport.close()
