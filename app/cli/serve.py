"""`sightline serve`: the server, in the foreground."""

import errno
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.access.loopback import is_loopback
from app.cli.console import CommandFailed, err
from app.cli.hangup import Hangup, begin_anew, passed_listener
from app.cli.options import DataDir, Device, ModelName, Port, load_settings, on_folder

if TYPE_CHECKING:
    from app.encoders import OpenEncoder
    from app.settings import Settings
    from app.state import Resources


_METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""See `app.observation.metrics.SHARED`."""
_LONGEST_PATH = 90
"""Bytes of a folder's path in which a socket has a name of up to 10: macOS allows 103 in all, Linux 107."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Port = None,
    data_dir: DataDir = None,
    model: ModelName = None,
    device: Device = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that answer searches, beside the one that writes.", show_default="0")
    ] = None,
    allow_anonymous: Annotated[
        bool | None, typer.Option("--allow-anonymous", help="Serve beyond this machine without a key.")
    ] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; SIGHUP reads the settings anew.

    Every setting can also stand in sightline.toml or in a SIGHTLINE_... variable; the key only there.
    """

    def checked_settings() -> "Settings":
        settings = load_settings(
            host=host,
            port=port,
            data_dir=data_dir,
            model=model,
            device=device,
            workers=workers,
            allow_anonymous=allow_anonymous,
        )
        refuse_strangers(settings)
        check_tracing(settings)
        return settings

    settings, hangup = checked_settings(), Hangup(checked_settings)
    with leave_on_sigterm(), passed_listener() or listen(settings) as listener, shared_folder(settings) as folder:
        # Importing the rooms takes a second, which other verbs need not wait for.
        from app.state import open_resources

        with open_resources(settings) as resources:
            run_server(resources, listener, access_log=True, hangup=hangup, folder=folder)
    if hangup.kept:
        begin_anew(hangup.kept)


def refuse_strangers(settings: "Settings") -> None:
    """Raise unless the server answers this machine only, or has a key, or is meant to be open."""
    if settings.allow_anonymous or is_loopback(settings.host) or _has_key(settings):
        return
    raise CommandFailed(
        f"on {settings.host} anyone who reaches this machine could read and change everything: make a key by "
        f"{on_folder('keys create', settings.data_dir)}, or set SIGHTLINE_API_KEY (at least 16 characters), "
        "or give --allow-anonymous if that is meant"
    )


def _has_key(settings: "Settings") -> bool:
    from indexer.stores.database import CATALOGUE
    from indexer.stores.keys import has_keys

    return settings.api_key is not None or has_keys(settings.data_dir / CATALOGUE)


def _tell_who_may_come(settings: "Settings") -> None:
    if _has_key(settings):
        return
    if is_loopback(settings.host):
        err.print(
            "There is no key, so it answers this machine only; "
            f"{on_folder('keys create', settings.data_dir)} makes one.",
            highlight=False,
            markup=False,
        )
    else:
        err.print("[bold red]There is no key: whoever reaches it can read and change everything.[/]", highlight=False)


def check_tracing(settings: "Settings") -> None:
    """Raise where traces are asked for and cannot be sent."""
    if settings.otlp_endpoint is None:
        return
    try:
        import_module("app.observation.tracing")
    except ImportError as error:
        raise CommandFailed(
            f"SIGHTLINE_OTLP_ENDPOINT needs the extra `otel` (pip install 'sightline[otel]'): {error}"
        ) from error


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


@contextmanager
def shared_folder(settings: "Settings") -> Iterator[Path | None]:
    """A folder for what the processes of a server share while they run, which nobody else can look into.

    Metrics are counted there, too, if it is entered before the rooms are imported.
    """
    if not settings.workers:
        yield None
        return
    with TemporaryDirectory(prefix="sightline-", ignore_cleanup_errors=True) as name:
        if len(os.fsencode(name)) > _LONGEST_PATH:
            raise CommandFailed(f"the path {Path(name).parent} is too long for a socket; let TMPDIR name a shorter one")
        os.environ[_METRICS] = name
        try:
            yield Path(name)
        finally:
            del os.environ[_METRICS]


def address(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_server(
    resources: "Resources",
    listener: socket.socket,
    *,
    access_log: bool,
    hangup: Hangup | None = None,
    folder: Path | None = None,
    open_encoder: "OpenEncoder | None" = None,
) -> None:
    """Serve on `listener` until a signal ends it; requests that run then may end.

    Args:
        folder: What readers share with this process, where the settings ask for any.
        open_encoder: For readers; see `app.state.open_resources`.
    """
    from app.memory import set_aside
    from app.observation.logs import write_logs
    from app.readers.group import Readers
    from app.server import compose_app
    from app.serving import Server, configure

    settings = resources.settings
    write_logs(settings.log_format, with_access=access_log)
    app = compose_app(settings, lambda: nullcontext(resources), folder)
    with ExitStack() as stack:
        readers = None
        if folder:
            readers = stack.enter_context(Readers(settings, listener, folder, open_encoder, access_log=access_log))
        config = configure(app, settings, behind_readers=readers is not None)
        ends = (readers.end, readers.kill) if readers else ()
        server = Server(config, resources.jobs.stop, settings.shutdown_delay_s, *ends)
        set_aside()
        err.print(f"Sightline serves {address(listener)}", highlight=False)
        _tell_who_may_come(settings)
        if hangup:
            stack.enter_context(hangup.watch(listener, server.stop))
        with suppress(KeyboardInterrupt):  # passed on after the server has ended in good order
            server.run([readers.socket if readers else listener])
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
