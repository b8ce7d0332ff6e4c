"""How well are animals told from what surrounds them, by one photograph's colours and by a network that learns outlines from all photographs?

    python benchmarks/outlines.py [--images 1000] [--size 64] [--out FOLDER]

On the drawn reef the truth is known: an animal is where it hides what it is drawn upon (plants before it count as animal). Beside the overlap
stands how much of the animal is covered, because a part that is missing, a tail perhaps, is missing in every pasted image. Writes the result
and the page ``outlines``, and docs/images/outlines.png.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from common.results import Page, options, publish, rewrite, table
from PIL import Image

from syntype.collection.reef_drawing import draw_individual, draw_mask
from syntype.generators.copy_paste.outlines import learnt_masks
from syntype.generators.copy_paste.segmentation import segment

NUM_SPECIES, SEED, PURPOSE = 40, 7, 11
SHOWN = 8


def main() -> None:
    parser = options("outlines", __doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64)
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("outlines", report, arguments)
        return
    images, truth = drawn(arguments.images, arguments.size)
    ways = {"colours alone": segment(images), "learnt together": learnt_masks(images, torch.device("cpu"))}
    masks = {name: found.numpy() > 127 for name, found in ways.items()}
    rows = [images[:SHOWN], *(np.repeat(part[:SHOWN, :, :, None] * np.uint8(255), 3, axis=3) for part in (*masks.values(), truth))]
    picture = Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))
    path = arguments.docs / "images" / "outlines.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.BICUBIC).quantize(256).save(path)
    figures = {name: compared(found, truth) for name, found in masks.items()}
    publish("outlines", {"images": arguments.images, "size": arguments.size}, figures, report, arguments)


def drawn(count: int, size: int, num_species: int = NUM_SPECIES) -> tuple[np.ndarray, np.ndarray]:
    """Individuals of a reef's species in turn, uint8 (count, size, size, 3), and where they are, bool (count, size, size)."""
    which = [(SEED, PURPOSE, number % num_species, number, 0, size) for number in range(count)]
    return np.stack([draw_individual(*one) for one in which]), np.stack([draw_mask(*one) for one in which])


def overlap(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each image."""
    return (masks & truth).sum((1, 2)) / np.maximum((masks | truth).sum((1, 2)), 1)


def compared(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Figures of masks against the true ones."""
    each, both = overlap(found, truth), (found & truth).sum((1, 2))
    covered, right = (float((both / np.maximum(part.sum((1, 2)), 1)).mean()) for part in (truth, found))
    return {"overlap": float(each.mean()), "worst_tenth": float(np.quantile(each, 0.1)), "covered": covered, "right": right}


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    names = {
        "colours alone": "colours of the one photograph (used by `collage`)",
        "learnt together": "a network trained on all photographs (used by `pose_transfer`)",
    }
    alone, together = (figures[name] for name in names)
    rows = [
        [names[name], f"{one['overlap']:.3f}", f"{one['worst_tenth']:.2f}", f"{one['covered']:.0%}", f"{one['right']:.0%}"]
        for name, one in figures.items()
        if name in names
    ]
    return Page(
        title="Finding the outline of an animal",
        question="How well does each of the two segmentation methods find the animal in a photograph?",
        answer=f"A network trained on all photographs together reaches a mean overlap of {together['overlap']:.3f} with the true outlines, colours "
        f"of the single photograph {alone['overlap']:.3f}; it misses {1 - together['covered']:.0%} of the animal instead of "
        f"{1 - alone['covered']:.0%}.",
        headline=[("mean overlap (IoU), all photographs", f"{together['overlap']:.3f}"), ("colours alone", f"{alone['overlap']:.3f}")],
        body=[
            "Overlap: intersection over union (IoU) of found and true mask; 1 is best. Worst tenth: one image in ten is below this overlap. Covered: "
            "share of the true animal that the mask covers. Correct: share of the mask that is animal.",
            "",
            *table(["method", "overlap, mean", "worst tenth below", "covered", "correct"], rows),
            "",
            "![Pictures and masks in four rows](../images/outlines.png)",
            "",
            "The first pictures; below them the masks from colours alone, the masks of the trained network, and the true masks.",
        ],
        method=[
            f"{settings['images']} pictures, {settings['size']} px, of {NUM_SPECIES} species of the drawn reef, each of another individual. Neither "
            "method is told where an animal is."
        ],
    )


if __name__ == "__main__":
    main()
