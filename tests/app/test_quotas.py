from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.access.kept import InFile
from app.access.quotas import Quotas
from app.errors import RateLimited


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(quotas: Quotas, caller: str, tries: int) -> int:
    """How many of so many tries are let through."""
    count = 0
    for _ in range(tries):
        try:
            quotas.take(caller, "requests")
        except RateLimited:
            continue
        count += 1
    return count


def test_a_full_quota_may_be_used_at_once_and_fills_up_evenly(clock: Clock) -> None:
    quotas = Quotas({"requests": 60}, clock)

    assert taken(quotas, "a", 100) == 60
    clock.now += 10
    assert taken(quotas, "a", 100) == 10
    clock.now += 3600
    assert taken(quotas, "a", 100) == 60


def test_in_no_minute_come_more_than_twice_as_many(clock: Clock) -> None:
    quotas, count = Quotas({"requests": 60}, clock), 0
    for _ in range(120):
        count += taken(quotas, "a", 5)
        clock.now += 0.5

    assert count == pytest.approx(120, abs=1)


def test_callers_and_units_do_not_share(clock: Clock) -> None:
    quotas = Quotas({"requests": 1, "rows": 1}, clock)

    assert [taken(quotas, caller, 2) for caller in "ab"] == [1, 1]
    quotas.take("a", "rows")
    quotas.take("a", "pictures", 1000)


def test_who_has_begun_may_end_and_waits_the_longer(clock: Clock) -> None:
    quotas = Quotas({"rows": 60}, clock)
    quotas.take("a", "rows", 100)
    quotas.take("a", "rows", 20, even_if_none_left=True)

    with pytest.raises(RateLimited) as refused:
        quotas.take("a", "rows")
    assert refused.value.headers == {"Retry-After": "61"}
    clock.now += 61
    quotas.take("a", "rows")


def test_the_headers_tell_what_is_left(clock: Clock) -> None:
    quotas = Quotas({"requests": 60, "rows": 600, "pictures": None}, clock)
    quotas.take("a", "requests")
    quotas.take("a", "rows", 300)

    assert dict(quotas.headers("a")) == {
        b"ratelimit-policy": b'"requests";q=60;w=60, "rows";q=600;w=60',
        b"ratelimit": b'"requests";r=59;t=1, "rows";r=300;t=30',
    }


def test_processes_that_share_a_file_count_together(clock: Clock, tmp_path: Path) -> None:
    one, other = (Quotas({"requests": 60, "rows": 6}, clock, InFile(tmp_path / "quotas")) for _ in range(2))

    assert (taken(one, "a", 40), taken(other, "a", 40), taken(one, "b", 100)) == (40, 20, 60)
    one.take("a", "rows")
    assert one.headers("a") == other.headers("a")
    clock.now += 10
    assert (taken(other, "a", 5), taken(one, "a", 100)) == (5, 5)


def test_no_request_is_counted_twice_or_not_at_all_at_once(tmp_path: Path) -> None:
    quotas = [Quotas({"requests": 500}, lambda: 0.0, InFile(tmp_path / "quotas")) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        counts = pool.map(lambda number: taken(quotas[number % 4], "a", 200), range(8))

    assert sum(counts) == 500


def test_who_has_used_up_most_is_remembered_longest(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.access.kept.SLOTS", 2)
    monkeypatch.setattr("app.access.kept.NEAR", 2)
    quotas = Quotas({"requests": 60}, clock, InFile(tmp_path / "quotas"))
    quotas.take("a", "requests", 60)
    for caller in ("b", "c", "d"):
        quotas.take(caller, "requests", 30)

    assert taken(quotas, "a", 1) == 0
    assert taken(quotas, "d", 60) == 30


def test_who_came_least_lately_is_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.access.kept.REMEMBERED", 2)
    quotas = Quotas({"requests": 1}, clock)
    for caller in "abc":
        quotas.take(caller, "requests")

    assert [taken(quotas, caller, 1) for caller in "cba"] == [0, 0, 1]
