"""The audit log: what was done that needs the scope `admin`, one JSON object a line, beside the catalogue."""

import getpass
import json
import logging
import os
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette.types import Scope as AsgiScope

from app.access.caller import Caller
from app.observation.logs import request_id

logger = logging.getLogger("sightline")

FILE = "audit.jsonl"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Entry:
    """What was done, by whom, and what came of it; no key, picture or text of anybody."""

    action: str
    actor: str
    """The id of a key; the address of whoever needs none; the user of a command."""
    target: str = ""
    status: int | None = None
    address: str | None = None
    request_id: str | None = None
    at: str = field(default_factory=_now)

    @classmethod
    def of_request(cls, scope: AsgiScope, caller: Caller, address: str, status: int) -> "Entry":
        """A request that a route answered."""
        action = f"{scope['method']} {getattr(scope.get('route'), 'path_format', scope['path'])}"
        return cls(action, caller.name, scope["path"], status, address, request_id.get())

    @classmethod
    def of_command(cls, action: str, target: str) -> "Entry":
        """Something that a command did to the data folder."""
        return cls(action, f"user {getpass.getuser()}", target)


class AuditLog:
    """The file of a data folder, opened anew for each line, so that it may be moved away at any time."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE

    def write(self, entry: Entry) -> None:
        """Add a line, whole even beside other processes, and even after one that a full disk cut off."""
        line = json.dumps(asdict(entry), ensure_ascii=False) + "\n"
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(file).st_size
            cut_off = size and os.pread(file, 1, size - 1) != b"\n"
            os.write(file, ("\n" * bool(cut_off) + line).encode("utf-8", "replace"))
        finally:
            os.close(file)

    async def write_soon(self, entry: Entry) -> None:
        """As `write`, off the event loop; what was done stays done where there is no room to note it."""
        try:
            await to_thread.run_sync(self.write, entry)
        except OSError as error:
            logger.error("not in the audit log: %s: %s", asdict(entry), error)

    def read(self, limit: int) -> list[dict[str, Any]]:
        """The last entries, oldest first, without lines that a full disk cut off, of which the log tells."""
        if not self._path.exists():
            return []
        with self._path.open(encoding="utf-8") as file:
            return [entry for line in deque(file, maxlen=limit) if (entry := _parse(line)) is not None]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:
        logger.warning("a line of the audit log was cut off: %s", line.strip())
        return None
