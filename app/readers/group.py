"""The readers of a server: started by the process that writes, and again when one dies."""

import logging
import multiprocessing
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from app.encoders import OpenEncoder
from app.readers.process import run_reader
from app.settings import Settings

log = logging.getLogger("sightline")

LOOK_S = 0.5
"""Between two looks whether all readers live."""
LONGEST_REST_S = 30.0
"""Before others are started in the place of those that end again and again: a start takes seconds of all cores."""
SPARE_S = 5.0
"""For a reader to end beyond the time that its requests get."""


class Readers:
    """As many processes as the settings say, which accept connections on one listening socket.

    Args:
        listener: Theirs; nobody else accepts on it.
        folder: For the socket on which the writer takes what they send on; nobody but this user can look into it.
        open_encoder: See `app.state.open_resources`; it is sent to the processes.
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        folder: Path,
        open_encoder: OpenEncoder | None = None,
        *,
        access_log: bool,
    ) -> None:
        self._listener, self._path = listener, folder / "writer"
        self._arguments = settings, listener, self._path, open_encoder, access_log
        self._context, self._count = multiprocessing.get_context("spawn"), settings.workers
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._processes: list[SpawnProcess] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        """Where the writer listens."""

    def __enter__(self) -> Self:
        self.socket.bind(str(self._path))
        self.socket.listen(2048)
        self._processes = [self._start() for _ in range(self._count)]
        threading.Thread(target=self._watch, name="readers", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
        self.socket.close()

    def end(self) -> None:
        """Let them answer what they have begun, and end; nobody accepts connections any more."""
        self._ending.set()
        with self._lock:
            for process in self._processes:
                process.terminate()
            until = time.monotonic() + self._arguments[0].shutdown_timeout_s + SPARE_S
            for process in self._processes:
                process.join(max(0.0, until - time.monotonic()))
                process.kill()
                process.join()
        self._listener.close()

    def kill(self) -> None:
        """End them whatever they do; beside `end`, which then returns at once."""
        self._ending.set()
        for process in self._processes:
            process.kill()

    def _watch(self) -> None:
        rest_s, ended_at = LOOK_S, time.monotonic()
        while not self._ending.wait(rest_s):
            wait([process.sentinel for process in self._processes], timeout=LOOK_S)
            with self._lock:
                any_ended = not self._ending.is_set() and self._replace()
            if any_ended:
                rest_s, ended_at = min(2 * rest_s, LONGEST_REST_S), time.monotonic()
            elif time.monotonic() - ended_at > 2 * LONGEST_REST_S:
                rest_s = LOOK_S

    def _replace(self) -> bool:
        """Start others in the place of those that ended, if any did; where there is no room, it is tried again."""
        ended = [place for place, process in enumerate(self._processes) if not process.is_alive()]
        for place in ended:
            process = self._processes[place]
            log.error("reader %s ended with exit code %s; another takes its place", process.pid, process.exitcode)
            try:
                self._processes[place] = self._start()
            except OSError as error:
                log.error("no reader can be started: %s", error)
        return bool(ended)

    def _start(self) -> SpawnProcess:
        process = self._context.Process(target=run_reader, args=self._arguments, name="reader", daemon=True)
        with _deaf():
            process.start()
        return process


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started meanwhile hear nothing of a terminal: the writer does, and then tells its readers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
