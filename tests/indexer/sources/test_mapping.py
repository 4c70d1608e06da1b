"""Columns by their usual names."""

import pytest

from indexer.errors import SourceInvalid
from indexer.sources import Mapping, guess_mapping
from indexer.sources.mapping import check_mapping, guess_nested


@pytest.mark.parametrize(
    ("columns", "mapping"),
    [
        (["SKU", "Name", "Image URL", "price"], Mapping("SKU", "Image URL", "Name", ("price",))),
        (["id", "title", "image_link", "brand"], Mapping("id", "image_link", "title", ("brand",))),
        (["Handle", "Title", "Image Src"], Mapping("Handle", "Image Src", "Title", ())),
        (["productId", "productDisplayName"], Mapping("productId", None, "productDisplayName", ())),
        (["id", "image.src", "title"], Mapping("id", "image.src", "title", ())),
        (["image.bytes", "image.path", "text"], Mapping(None, "image", "text", ())),
        (["a", "", " "], Mapping(None, None, None, ("a",))),
        (["title", "id", "ID"], Mapping("id", None, "title", ("ID",))),
        ([], Mapping(None, None, None, ())),
    ],
)
def test_the_guess(columns: list[str], mapping: Mapping) -> None:
    assert guess_mapping(columns) == mapping


def test_objects_are_kept_whole_unless_a_role_takes_a_field_of_theirs() -> None:
    columns = ["id", "image.url", "image.alt", "size.eu", "size.uk", "title"]
    mapping = guess_nested(columns, ["id", "image", "size", "title"])
    assert mapping == Mapping("id", "image.url", "title", ("image.alt", "size"))


def test_a_column_that_is_not_there_is_named_and_long_lists_are_cut() -> None:
    columns = [f"c{n}" for n in range(1000)]
    with pytest.raises(SourceInvalid, match="no column x; it has c0, c1") as caught:
        check_mapping("a.csv", columns, Mapping(None, None, "x"), guess_mapping(columns))
    assert len(caught.value.detail) < 500
    check_mapping("a.jsonl", ["a.b.c"], Mapping(None, None, "a.b"), guess_mapping(["a.b.c"]))


def test_without_metadata_a_given_mapping_keeps_all_other_columns() -> None:
    columns = ["nr", "shot.file", "shot.by", "title", "brand"]
    guess = guess_nested(columns, ["nr", "shot", "title", "brand"])
    given = Mapping("nr", "shot.file", "brand")
    assert check_mapping("a.jsonl", columns, given, guess).metadata == ("shot.by", "title")
    assert check_mapping("a.jsonl", columns, Mapping("nr", "shot.file", "brand", ()), guess).metadata == ()
    assert check_mapping("a.jsonl", columns, None, guess) == guess
