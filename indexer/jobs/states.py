"""The states of a job: by themselves, since clients name them and need no database."""

from typing import Literal

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
UNFINISHED: tuple[State, ...] = ("queued", "running")
