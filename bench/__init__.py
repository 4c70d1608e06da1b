"""Benchmarks, in the environment of the service."""

import app  # noqa: F401  sets how threads wait, before anything is loaded that has some
