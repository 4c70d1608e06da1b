"""What the documents say is what the code does."""

import re
from pathlib import Path

from app.settings import Settings

ROOT = Path(__file__).parents[2]


def test_every_setting_stands_in_the_documents_with_its_default_and_meaning() -> None:
    rows = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        default = "none" if field.default in (None, ()) else str(field.default)
        default = default.lower() if isinstance(field.default, bool) else default
        assert f"| `SIGHTLINE_{name.upper()}` | {default} | {field.description} |" in rows
    assert rows.count("SIGHTLINE_") == len(Settings.model_fields)


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
