"""What the documents say is what the code does."""

import re
from pathlib import Path

from app.errors import STATUS_AND_TYPE
from app.settings import Settings

ROOT = Path(__file__).parents[2]
OF_HTTP = {"bad-request", "not-found", "method-not-allowed", "invalid-request"}
"""Types of problems that no error of ours stands for."""


def test_every_setting_stands_in_the_documents_with_its_default_and_meaning() -> None:
    rows = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        default = "none" if field.default in (None, ()) else str(field.default)
        default = default.lower() if isinstance(field.default, bool) else default
        assert f"| `SIGHTLINE_{name.upper()}` | {default} | {field.description} |" in rows
    assert rows.count("SIGHTLINE_") == len(Settings.model_fields)


def test_every_type_of_problem_is_explained_with_its_status() -> None:
    rows = re.findall(r"^\| (\d*) ?\| (`.*?`) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    explained = {(word, status) for status, words in rows for word in re.findall(r"`([\w-]+)`", words)}
    served = {(word, str(status)) for status, word in STATUS_AND_TYPE.values() if not word.startswith("snapshot-")}
    assert served <= explained
    assert {word for word, _ in explained} == {word for _, word in STATUS_AND_TYPE.values()} | OF_HTTP


def test_the_documents_that_are_linked_are_there() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in document.read_text(encoding="utf-8").split("](")[1:]:
            target, _, heading = link.partition(")")[0].partition("#")
            if not target.startswith("http"):
                linked = document.parent / target if target else document
                assert linked.exists(), f"{document.name}: {target}"
                assert not heading or heading in anchors(linked), f"{document.name}: {target}#{heading}"


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
