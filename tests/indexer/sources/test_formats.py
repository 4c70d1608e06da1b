"""What holds for every format."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.errors import SourceInvalid
from indexer.sources import BadRow, Row, Source, read_source, version
from tests.indexer.sources.catalogues import FORMATS, compress, expected, products, read


@pytest.fixture(scope="module", params=FORMATS)
def path(request: pytest.FixtureRequest) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield FORMATS[request.param](Path(folder), products())


@pytest.fixture(scope="module")
def source(path: Path) -> Source:
    return read_source(path)


def test_the_same_catalogue_gives_the_same_rows(source: Source) -> None:
    assert read(list(source)) == expected(products())
    assert source.count() == 50


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(after=st.integers(0, 55))
def test_reading_goes_on_after_any_row(source: Source, after: int) -> None:
    assert read(list(source.rows(after))) == expected(products())[after:]


def test_a_reader_that_stops_early_leaves_nothing_open(source: Source) -> None:
    rows = source.rows()  # an unclosed file is a warning, and a warning is an error
    assert next(rows).number == 1
    del rows


def test_the_version_is_that_of_the_content(path: Path) -> None:
    first = version(path)
    assert version(path) == first
    folder = path if path.is_dir() else path.parent
    file = next(file for file in sorted(folder.iterdir()) if file.is_file())
    data = file.read_bytes()
    file.write_bytes(data + b"\n")
    assert version(path) != first
    file.write_bytes(data)


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_or_cut_file_is_refused_or_breaks_off_with_words(tmp_path: Path, name: str) -> None:
    """However little is left of a file, the rows before the cut come, and no error but ours."""
    path = FORMATS[name](tmp_path, products())
    file = path if path.is_file() else tmp_path / "shard-002.tar"
    data = file.read_bytes()
    for length in (0, 1, 5, 300, len(data) // 3, len(data) // 2, len(data) - 600, len(data) - 9):
        file.write_bytes(data[:length])
        rows: list[Row | BadRow] = []
        with suppress(SourceInvalid):
            rows.extend(read_source(path))  # keeps what came before an error
        wrong = [row for row, right in zip(read(rows), expected(products()), strict=False) if row != right]
        assert len(rows) <= 50
        assert len(wrong) <= 1  # the one that the end of a file without a mark cut


@pytest.mark.parametrize("name", FORMATS)
def test_damage_anywhere_raises_no_error_but_ours(tmp_path: Path, name: str) -> None:
    path = FORMATS[name](tmp_path, products(12))
    file = path if path.is_file() else tmp_path / "shard-000.tar"
    data = file.read_bytes()
    dice = random.Random(7)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(dice.choice((1, 4, 30))):
            damaged[dice.randrange(len(data))] = dice.randrange(256)
        file.write_bytes(damaged)
        with suppress(SourceInvalid):
            source = read_source(path)
            assert source.count() == len(list(source))


def test_a_file_that_is_gone_is_our_error_too(tmp_path: Path) -> None:
    source = read_source(FORMATS["csv"](tmp_path, products(1)))
    (tmp_path / "catalog.csv").unlink()
    for read_again in (lambda: list(source), source.count):
        with pytest.raises(SourceInvalid):
            read_again()


@pytest.mark.parametrize("name", ["csv.gz", "jsonl.gz", "tar", "tar.gz"])
@pytest.mark.parametrize("cut", [0.4, 0.8])
def test_a_file_that_breaks_off_gives_what_comes_before_and_says_where(tmp_path: Path, name: str, cut: float) -> None:
    path = FORMATS[name](tmp_path, products())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    source, rows = read_source(path), []
    with pytest.raises(SourceInvalid, match="can be read up to row") as caught:
        rows.extend(source)  # keeps what came before the error
    assert int(50 * cut) - 10 <= len(rows) < 50
    assert read(rows) == expected(products())[: len(rows)]
    assert f"up to row {len(rows)} only" in caught.value.detail
    with pytest.raises(SourceInvalid, match="to its end"):
        source.count()


def test_a_zstd_file_that_breaks_off_does_so_too(tmp_path: Path) -> None:
    data = b"".join(b'{"id": %d, "title": "red %d"}\n' % (n, n * 7919) for n in range(20_000))
    (tmp_path / "a.jsonl.zst").write_bytes(compress(data, "zst")[:-1000])
    rows: list[Row | BadRow] = []
    with pytest.raises(SourceInvalid, match="can be read up to row"):
        rows.extend(read_source(tmp_path / "a.jsonl.zst"))
    assert 5_000 < len(rows) < 20_000


def test_a_bad_row_counts_in_every_place(tmp_path: Path) -> None:
    lines = ["id,title", "1,a", ",b", "3,c,d", "", "4,e"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    source = read_source(tmp_path / "a.csv")
    assert source.count() == len(list(source)) == 4
    assert [row.number for row in source.rows(2)] == [3, 4]
