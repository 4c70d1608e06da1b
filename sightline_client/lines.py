"""Streams of lines: JSON Lines and server-sent events, cut where bytes say so and not where Unicode might."""

from collections.abc import Iterator


class Lines:
    """Cuts what arrives piece by piece into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, piece: bytes) -> Iterator[str]:
        """The lines that are complete now."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode()


class Events:
    """The data of server-sent events; their names, ids and comments are left out."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._data: list[str] = []

    def add(self, piece: bytes) -> Iterator[str]:
        """The data of the events that are complete now."""
        for line in self._lines.add(piece):
            field, _, value = line.partition(":")
            if field == "data":
                self._data.append(value.removeprefix(" "))
            elif not line and self._data:
                yield "\n".join(self._data)
                self._data = []
