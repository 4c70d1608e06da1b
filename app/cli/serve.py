"""`sightline serve`: the server, in the foreground."""

import errno
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.cli.console import CommandFailed, err
from app.cli.options import DataDir, Device, ModelName, Port, load_settings

if TYPE_CHECKING:
    from app.settings import Settings
    from app.state import Resources


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Port = None,
    data_dir: DataDir = None,
    model: ModelName = None,
    device: Device = None,
    allow_anonymous: Annotated[
        bool | None, typer.Option("--allow-anonymous", help="Serve beyond this machine without a key.")
    ] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Every setting can also stand in sightline.toml or in a SIGHTLINE_... variable; the key only there.
    """
    settings = load_settings(
        host=host, port=port, data_dir=data_dir, model=model, device=device, allow_anonymous=allow_anonymous
    )
    refuse_strangers(settings)
    # Importing the rooms takes a second, which other verbs need not wait for.
    from app.state import open_resources

    with leave_on_sigterm(), listen(settings) as listener, open_resources(settings) as resources:
        run_server(resources, listener, access_log=True)


def refuse_strangers(settings: "Settings") -> None:
    """Raise unless the server answers this machine only, or has a key, or is meant to be open."""
    if settings.api_key or settings.allow_anonymous or _is_loopback(settings.host):
        return
    raise CommandFailed(
        f"on {settings.host} anyone who reaches this machine could read and change everything: "
        "set SIGHTLINE_API_KEY (at least 16 characters), or give --allow-anonymous if that is meant"
    )


def listen(settings: "Settings") -> socket.socket:
    """A listening socket, so that a taken port is told before the model is loaded."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # Python says the address once more
        if error.errno == errno.EADDRINUSE:
            reason += "; choose another with --port (make demo PORT=...)"
        raise CommandFailed(f"cannot listen on {settings.host}, port {settings.port}: {reason}") from error


def address(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_server(resources: "Resources", listener: socket.socket, *, access_log: bool) -> None:
    """Serve on `listener` until a signal ends it; requests that run then may end."""
    import uvicorn

    from app.memory import set_aside
    from app.protocol import Protocol
    from app.server import compose_app
    from app.serving import Server

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    settings = resources.settings
    app = compose_app(settings, lambda: nullcontext(resources))
    config = uvicorn.Config(
        app, http=Protocol, access_log=access_log, timeout_graceful_shutdown=settings.shutdown_timeout_s
    )
    server = Server(config, resources.jobs.stop)
    set_aside()
    err.print(f"Sightline serves {address(listener)}", highlight=False)
    with suppress(KeyboardInterrupt):  # passed on after the server has ended in good order
        server.run([listener])
    if not server.started:
        raise CommandFailed("the server did not start; its log says why")


@contextmanager
def leave_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the process with exit code 0, after what is open has been closed."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(*_: object) -> NoReturn:
    sys.exit(0)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
