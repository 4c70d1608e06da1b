from pathlib import Path

import pytest

from indexer.index import hardware


def test_a_container_has_the_memory_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(hardware, "CGROUP_LIMIT", limit)
    machine = hardware.usable_memory()

    limit.write_text("max\n")
    assert hardware.usable_memory() == machine
    limit.write_text(f"{2**30}\n")
    assert (hardware.usable_memory(), hardware.machine_share()) == (2**30, 2**28)
    limit.write_text(f"{2**60}\n")
    assert hardware.usable_memory() == machine
