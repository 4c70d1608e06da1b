"""Both galleries of a comparison as one HTML file that stands alone: no script, and nothing is fetched."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from app.cli.client import Client, RequestRefused
from app.cli.comparison import Compared, Hit, Show
from app.cli.outcome import SIDES, measures, name_of
from app.data_uris import data_uri

THUMBNAIL_PX = 160

_STYLE = Path(__file__).with_suffix(".css")

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
<div class=wide><table><tr><th></th>{heads}</tr>
{rows}
</table></div>
{sections}
</body>
</html>
"""


def make_page(client: Client, job: dict[str, Any], compared: Sequence[Compared], show: Show) -> str:
    """The page as HTML; pictures are thumbnails of the server's."""
    pictures = dict(_pictures(client, [hit for one in compared for hit in (*one.active, *one.candidate)], show))
    report = job["report"]
    mean = sum(one.overlap for one in compared) / max(1, len(compared))
    return _PAGE.format(
        style=_STYLE.read_text(encoding="utf-8"),
        title=escape(f"Collection {job['collection']}: {' and '.join(report[side]['model'] for side in SIDES)}"),
        summary=f"{len(compared)} queries, mean overlap {mean:.2f}. What only one of both found has a dashed frame.",
        heads="".join(f"<th scope=col>{name_of(report, side)}</th>" for side in SIDES),
        rows="\n".join(_row(row) for row in measures(report)),
        sections="\n".join(_section(one, report, pictures) for one in compared),
    )


def _pictures(client: Client, hits: Iterable[Hit], show: Show) -> Iterator[tuple[str, str]]:
    """Thumbnails by the addresses of their pictures, as `data:` URIs; those that cannot be had are left out."""
    addresses = list(dict.fromkeys(hit["image_url"] for hit in hits if hit["image_url"]))
    for done, address in enumerate(addresses, 1):
        try:
            thumbnail = client.content(f"{address}?width={THUMBNAIL_PX}")
        except RequestRefused:
            continue
        yield address, data_uri(thumbnail, "image/jpeg")
        show("Pictures", done, len(addresses))


def _row(row: tuple[str, ...]) -> str:
    name, *values = map(escape, row)
    return f"<tr><th scope=row>{name}</th>{''.join(f'<td>{value}</td>' for value in values)}</tr>"


def _section(compared: Compared, report: dict[str, Any], pictures: dict[str, str]) -> str:
    sides = {"active": compared.active, "candidate": compared.candidate}
    galleries = [
        f"<div><h3>{name_of(report, side)} <span class=quiet>{escape(report[side]['model'])}</span></h3>\n"
        f"<ol>{''.join(_figure(n, hit, compared.common, pictures) for n, hit in enumerate(hits, 1))}</ol></div>"
        for side, hits in sides.items()
    ]
    return (
        f'<section><h2 dir="auto">{escape(compared.query)}</h2>'
        f"<span class=quiet>overlap {compared.overlap:.2f}</span>\n"
        f"<div class=both>{''.join(galleries)}</div></section>"
    )


def _figure(rank: int, hit: Hit, common: set[str], pictures: dict[str, str]) -> str:
    text, id_, only = escape(hit["text"] or ""), escape(hit["id"]), hit["id"] not in common
    picture = pictures.get(hit["image_url"] or "")
    shown = (
        f'<img src="{picture}" alt="{text or id_}">' if picture else f'<div class=words dir="auto">{text or id_}</div>'
    )
    mark = "<b>only here</b> " if only else ""
    return (
        f"<li{' class=only' if only else ''}><figure>{shown}<figcaption>{rank} · {hit['score']:.3f} {mark}"
        f'<span dir="auto">{text if picture else ""}</span>{id_}</figcaption></figure></li>\n'
    )
