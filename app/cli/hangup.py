"""SIGHUP: the server begins anew, with the settings as they are by then, on the socket that it has.

No connection is refused: what connects meanwhile waits. The socket is passed on as systemd passes one to a service that
it starts (`sd_listen_fds(3)`), which therefore works, too.
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from app.cli.console import CommandFailed

log = logging.getLogger("sightline")

_PASSED = 3
"""The first descriptor that is passed on."""


class Hangup:
    """Whether SIGHUP has come.

    Args:
        check: Raises `BadParameter` or `CommandFailed` where the settings are wrong by now: the server then goes on.
    """

    def __init__(self, check: Callable[[], object]) -> None:
        self._check = check
        self.kept: socket.socket | None = None
        """The socket to begin anew with, once it has come."""

    @contextmanager
    def watch(self, listener: socket.socket, stop: Callable[[], None]) -> Iterator[None]:
        """Stop the server when it comes; in a terminal it says that the terminal is gone, and ends the process."""
        if sys.stdin and sys.stdin.isatty():
            yield
            return

        def begin_anew(*_: object) -> None:
            try:
                self._check()
            except (typer.BadParameter, CommandFailed) as error:
                log.error("the settings are not read anew: %s", error)
                return
            self.kept = self.kept or listener.dup()  # the server closes its own
            stop()

        before = signal.signal(signal.SIGHUP, begin_anew)
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)


def passed_listener() -> socket.socket | None:
    """The listening socket that was passed to this process, if one was."""
    if os.environ.pop("LISTEN_PID", None) != str(os.getpid()):
        return None
    os.environ.pop("LISTEN_FDS", None)
    return socket.socket(fileno=_PASSED)


def begin_anew(listener: socket.socket) -> NoReturn:
    """Run this command once more in this process, which nobody need notice who started it."""
    os.dup2(listener.fileno(), _PASSED)
    environment = os.environ | {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - the same command
