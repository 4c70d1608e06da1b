from pathlib import Path

import pytest

from indexer.index import kinds


def test_a_container_has_the_memory_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(kinds, "CGROUP_LIMIT", limit)
    machine = kinds.usable_memory()

    limit.write_text("max\n")
    assert kinds.usable_memory() == machine
    limit.write_text(f"{2**30}\n")
    assert (kinds.usable_memory(), kinds.machine_share()) == (2**30, 2**28)
    limit.write_text(f"{2**60}\n")
    assert kinds.usable_memory() == machine
