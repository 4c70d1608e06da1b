"""`sightline sample`: the sample catalogue, drawn into a folder."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import out
from app.cli.progress import sample_progress


def sample(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made if it does not exist.")],
    items: Annotated[int, typer.Option(help="How many items.", min=1)] = 360,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.")] = 7,
) -> None:
    """Draw a catalogue of garments, shoes and bags, to try Sightline with."""
    from app.sample import draw_sample

    with sample_progress() as on_progress:
        catalogue = draw_sample(folder, items=items, seed=seed, on_progress=on_progress)
    out.print(f"Drew {items} items; their catalogue is {catalogue}", highlight=False, markup=False, soft_wrap=True)
