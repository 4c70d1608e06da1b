"""A reader's process."""

import multiprocessing
import os
import shutil
import socket
import threading
from contextlib import nullcontext
from pathlib import Path

from app.cli.serve import leave_on_sigterm
from app.encoders import OpenEncoder
from app.memory import set_aside
from app.observation.logs import write_logs
from app.readers.accepting import SharingServer
from app.readers.following import Following
from app.readers.forwarding import Forward
from app.readers.reader import Reader
from app.server import compose_app
from app.serving import configure
from app.settings import Settings
from app.state import Resources, open_resources


def run_reader(
    settings: Settings, listener: socket.socket, writer: Path, open_encoder: OpenEncoder | None, access_log: bool
) -> None:
    """Answer on `listener` until SIGTERM, or until the writer ends.

    Args:
        writer: Its socket, in a folder that is removed if the writer could not do so.
    """
    threading.Thread(target=_end_with_the_writer, args=(writer.parent,), daemon=True).start()
    write_logs(settings.log_format, with_access=access_log)
    with leave_on_sigterm(), open_resources(settings, open_encoder, read_only=True) as resources:
        server = SharingServer(configure(answering(resources, writer), settings))
        set_aside()
        server.run([listener])


def answering(resources: Resources, writer: Path) -> Reader:
    """What a reader serves, over a data folder that is only read.

    Args:
        writer: The socket to which it sends on what it does not answer.
    """
    app = compose_app(resources.settings, lambda: nullcontext(resources), writer.parent)
    return Reader(app, Forward(writer), Following(resources.collections), resources.settings)


def _end_with_the_writer(folder: Path) -> None:
    writer = multiprocessing.parent_process()
    assert writer is not None
    writer.join()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)  # at once: another writer may open the data folder now
