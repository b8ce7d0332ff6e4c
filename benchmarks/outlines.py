"""How well are animals told from what surrounds them, by one photograph's colours and by outlines that photographs teach together?

    python benchmarks/outlines.py [--images 1000] [--size 64] [--out FOLDER]

On the drawn reef the truth is known: an animal is where it hides what it is drawn upon (plants before it count as animal). Beside the overlap
stands how much of the animal is covered, since what is missing, a tail perhaps, no pasted image can show. The result is written to
docs/benchmarks/outlines.md and docs/images/outlines.png.
"""

from __future__ import annotations

import argparse
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from fish4knowledge import add_outputs, machine, write_page
from PIL import Image

from syntype.collection import reef_drawing
from syntype.generators.copy_paste.outlines import self_trained_masks
from syntype.generators.copy_paste.segmentation import segment

NUM_SPECIES, SEED, PURPOSE = 40, 7, 11
SHOWN = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_outputs(parser, "outlines")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64)
    arguments = parser.parse_args()
    images, truth = drawn(arguments.images, arguments.size)
    ways = {"colours alone": segment(images), "learnt together": self_trained_masks(images, torch.device("cpu"))}
    masks = {name: found.numpy() > 127 for name, found in ways.items()}
    rows = [images[:SHOWN], *(np.repeat(part[:SHOWN, :, :, None] * np.uint8(255), 3, axis=3) for part in (*masks.values(), truth))]
    picture = Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.BICUBIC).quantize(256).save(arguments.docs / "images" / "outlines.png")
    write_page(report(masks, truth, arguments), "outlines", arguments.docs)


def drawn(count: int, size: int, num_species: int = NUM_SPECIES) -> tuple[np.ndarray, np.ndarray]:
    """Individuals of a reef's species in turn, uint8 (count, size, size, 3), and where they are, bool (count, size, size)."""
    paint, truth = reef_drawing._paint_fish, []

    def watched(image: np.ndarray, *what: Any) -> None:
        paint(image, *what)
        black, white = np.zeros_like(image), np.ones_like(image)
        for ground in (black, white):
            paint(ground, *what)
        truth.append((white - black).mean(axis=0) < 0.5)  # where the ground hardly shines through

    with patch.object(reef_drawing, "_paint_fish", watched):
        images = [reef_drawing.draw_individual(SEED, PURPOSE, number % num_species, number, 0, size) for number in range(count)]
    return np.stack(images), np.stack(truth)


def overlap(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each image."""
    return (masks & truth).sum((1, 2)) / np.maximum((masks | truth).sum((1, 2)), 1)


def report(masks: dict[str, np.ndarray], truth: np.ndarray, arguments: argparse.Namespace) -> str:
    """What was measured, as Markdown."""
    lines = [
        "# Telling animals from what surrounds them",
        "",
        f"Written by `python benchmarks/outlines.py --images {arguments.images} --size {arguments.size}`. Machine: {machine()}.",
        "",
        f"{len(truth)} pictures of {NUM_SPECIES} species of the drawn reef, each of another individual. `collage` cuts animals out by colours alone, "
        "`pose_transfer` by outlines that all photographs teach together. Nobody tells either where an animal is.",
        "",
        "| outlines | intersection over union: mean | the worst tenth below | of the animal covered | of what is covered animal |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, found in masks.items():
        each, both = overlap(found, truth), (found & truth).sum((1, 2))
        covered, right = ((both / np.maximum(part.sum((1, 2)), 1)).mean() for part in (truth, found))
        lines.append(f"| {name} | {each.mean():.3f} | {np.quantile(each, 0.1):.2f} | {covered:.0%} | {right:.0%} |")
    picture = "![Pictures and masks in four rows](../images/outlines.png)"
    return "\n".join([*lines, "", picture, "", "The first pictures; outlines by colours alone, learnt together, and the truth.", ""])


if __name__ == "__main__":
    main()
