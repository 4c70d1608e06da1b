"""Libraries that embed without a server, measured in a process of their own, by their own Python.

`in_process.py transformers|clip-retrieval HF_FOLDER INPUTS`: INPUTS holds `texts.txt` and `pictures/`. For each line
`WHAT BATCH SECONDS` on standard input one with embedded per second and seconds of a batch on standard output.
"""

import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

Embed = Callable[[int], int]
"""Embeds a batch of so many; how many it were."""


def transformers_ways(model: str, inputs: Path) -> dict[str, Embed]:
    """Its pipelines, which decode and preprocess, too."""
    from transformers import (
        CLIPImageProcessor,
        CLIPTextModelWithProjection,
        CLIPTokenizerFast,
        CLIPVisionModelWithProjection,
        pipeline,
    )

    tokenizer, processor = CLIPTokenizerFast.from_pretrained(model), CLIPImageProcessor.from_pretrained(model)
    of_texts = pipeline(
        "feature-extraction", model=CLIPTextModelWithProjection.from_pretrained(model), tokenizer=tokenizer
    )
    of_pictures = pipeline(
        "image-feature-extraction",
        model=CLIPVisionModelWithProjection.from_pretrained(model),
        image_processor=processor,
    )
    texts = itertools.cycle((inputs / "texts.txt").read_text().splitlines())
    pictures = itertools.cycle(map(str, sorted((inputs / "pictures").iterdir())))

    def embed(pipe: Callable[..., list[object]], source: itertools.cycle, batch: int) -> int:  # type: ignore[type-arg]
        return len(pipe(list(itertools.islice(source, batch)), batch_size=batch))

    return {
        "texts": lambda batch: embed(of_texts, texts, batch),
        "pictures": lambda batch: embed(of_pictures, pictures, batch),
    }


def clip_retrieval_ways(model: str, inputs: Path) -> dict[str, Embed]:
    """Its inference over a folder; the model stays loaded between calls."""
    from clip_retrieval.clip_inference.main import main

    def embed(batch: int) -> int:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "in"
            folder.mkdir()
            files = sorted((inputs / "pictures").iterdir())
            count = 4 * batch  # starting its workers takes as long as many pictures
            for number, file in zip(range(count), itertools.cycle(files), strict=False):
                shutil.copy(file, folder / f"{number:06d}.jpg")
            main(
                str(folder),
                str(Path(name) / "out"),
                clip_model=f"hf_clip:{model}",
                batch_size=batch,
                num_prepro_workers=2,
                enable_text=False,
            )
        return count

    return {"pictures": embed}


def measure(embed: Embed, batch: int, seconds: float) -> tuple[float, float]:
    """Embedded per second, and the median seconds of a call."""
    times, count, ends = [], 0, time.perf_counter() + seconds
    while not times or time.perf_counter() < ends:
        started = time.perf_counter()
        count += embed(batch)
        times.append(time.perf_counter() - started)
    return count / sum(times), median(times)


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # they print, and so do processes that they start
    ways = {"transformers": transformers_ways, "clip-retrieval": clip_retrieval_ways}[sys.argv[1]]
    embed = ways(sys.argv[2], Path(sys.argv[3]))
    print(*embed, file=answers, flush=True)
    for line in sys.stdin:
        what, batch, seconds = line.split()
        print(*measure(embed[what], int(batch), float(seconds)), file=answers, flush=True)


if __name__ == "__main__":
    main()
