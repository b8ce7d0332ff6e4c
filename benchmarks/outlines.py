"""How well does each way of segmentation find the animal in an image, and how long does it take?

    python benchmarks/outlines.py [--images 300] [--size 64 128] [--out FOLDER]

The images are of the drawn reef, where the true mask is known: the animal is where it hides the background (plants in front of it count as
animal). The ways are those of the families `collage` (colours of one image) and `pose_transfer` (a network trained on all images), and OpenCV's
`grabCut`.
Everything runs on one thread; time is CPU time. Writes the result and the page ``outlines``, and docs/images/outlines.png.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from common.results import Page, options, publish, rewrite, stamp, table
from PIL import Image

from syntype.collection.reef_drawing import draw_individual, draw_mask
from syntype.generators.copy_paste.outlines import self_trained_masks
from syntype.generators.copy_paste.segmentation import Outlines, ellipse, full_size_outlines, segment

NUM_SPECIES, SEED, PURPOSE = 40, 7, 11
SHOWN = 8
MARGIN = 0.08  # of the image's side: where grabCut's rectangle ends
ROUNDS = 5  # of grabCut
COLOURS, NETWORK = "colours of one image", "network trained on all images"
USED_BY = {COLOURS: " (family `collage`)", NETWORK: " (family `pose_transfer`)"}


@dataclass(frozen=True)
class Measured:
    """One way at one image size: masks, bool (N, size, size), and CPU seconds an image."""

    way: str
    masks: np.ndarray
    seconds: float


def main() -> None:
    parser = options("outlines", __doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--size", type=int, nargs="+", default=[64, 128])
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("outlines", report, arguments)
        return
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    for size in arguments.size:
        images, truth = drawn(arguments.images, size)
        measured = measure(images)
        figures[f"{size} px, {arguments.images} images"] = {**{one.way: compared(one, truth) for one in measured}, "measured": stamp()}
        if size == arguments.size[0]:
            draw(images, truth, measured, arguments)
    publish("outlines", {"opencv": cv2.__version__}, figures, report, arguments)


def measure(images: np.ndarray) -> list[Measured]:
    """Masks and time of every way that can be run here. What starts from another way's masks takes that way's time as well."""
    results = [timed(COLOURS, segment, images), timed(NETWORK, by_network, images)]
    cv2.setNumThreads(1)
    middle = np.stack([ellipse(images.shape[1]).numpy() > 0.5] * len(images))
    results.append(timed("OpenCV grabCut, started with a rectangle", lambda images: grab_cut(images, None), images))
    results.append(timed("OpenCV grabCut, started with an ellipse", lambda images: grab_cut(images, middle), images))
    for one in results[:2]:
        cut = timed(f"{one.way}, then OpenCV grabCut", lambda images, start=one.masks: grab_cut(images, start), images)
        results.append(replace(cut, seconds=one.seconds + cut.seconds))
    return results


def by_network(images: np.ndarray) -> Outlines:
    return self_trained_masks(images, torch.device("cpu"))


def grab_cut(images: np.ndarray, start: np.ndarray | None) -> Outlines:
    """OpenCV's grabCut of each image, and of its result the one animal as the project's own segmentation chooses it.

    Args:
        start: bool, shape (N, size, size), what is probably animal; None for a rectangle that leaves out the rim.
    """
    size = images.shape[1]
    edge = max(1, round(MARGIN * size))
    found = np.zeros(images.shape[:3], np.float32)
    for row, image in enumerate(images):
        labels = np.full((size, size), cv2.GC_PR_BGD, np.uint8)
        mode, rectangle = cv2.GC_INIT_WITH_MASK, None
        if start is None:
            mode, rectangle = cv2.GC_INIT_WITH_RECT, (edge, edge, size - 2 * edge, size - 2 * edge)
        else:
            labels[start[row]] = cv2.GC_PR_FGD
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)
        with suppress(cv2.error):  # no pixel of one of the two kinds to fit colours to
            cv2.grabCut(np.ascontiguousarray(image[:, :, ::-1]), labels, rectangle, *models, ROUNDS, mode)
        found[row] = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return full_size_outlines(images, torch.from_numpy(found), torch.from_numpy(found))


def timed(name: str, way: Callable[[np.ndarray], Outlines], images: np.ndarray) -> Measured:
    began = time.process_time()
    masks = way(images).masks.numpy() > 127
    seconds = (time.process_time() - began) / len(images)
    print(f"{name}, {images.shape[1]} px: {1000 * seconds:.1f} ms an image", flush=True)
    return Measured(name, masks, seconds)


def draw(images: np.ndarray, truth: np.ndarray, results: list[Measured], arguments: argparse.Namespace) -> None:
    """The first images and their masks, one row a way, the true masks last."""
    shown = [one.masks for one in results[:4]]
    rows = [images[:SHOWN], *(np.repeat(part[:SHOWN, :, :, None] * np.uint8(255), 3, axis=3) for part in (*shown, truth))]
    picture = Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))
    path = arguments.docs / "images" / "outlines.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.BICUBIC).quantize(256).save(path)


def drawn(count: int, size: int, num_species: int = NUM_SPECIES) -> tuple[np.ndarray, np.ndarray]:
    """Individuals of a reef's species in turn, uint8 (count, size, size, 3), and where they are, bool (count, size, size)."""
    which = [(SEED, PURPOSE, number % num_species, number, 0, size) for number in range(count)]
    return np.stack([draw_individual(*one) for one in which]), np.stack([draw_mask(*one) for one in which])


def overlap(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each image."""
    return (masks & truth).sum((1, 2)) / np.maximum((masks | truth).sum((1, 2)), 1)


def compared(found: Measured, truth: np.ndarray) -> dict[str, float]:
    """Figures of masks against the true ones."""
    each, both = overlap(found.masks, truth), (found.masks & truth).sum((1, 2))
    recall, precision = (float((both / np.maximum(part.sum((1, 2)), 1)).mean()) for part in (truth, found.masks))
    return {
        "iou": float(each.mean()),
        "iou_tenth": float(np.quantile(each, 0.1)),
        "recall": recall,
        "precision": precision,
        "milliseconds": 1000 * found.seconds,
    }


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    parts = {name: {way: one for way, one in part.items() if way != "measured"} for name, part in figures.items()}
    own = {name: (part[COLOURS]["iou"], part[NETWORK]["iou"]) for name, part in parts.items()}
    best = ", ".join(f"{network:.3f} against {colours:.3f} ({name})" for name, (colours, network) in own.items())
    rivals = {name: [one["iou"] for way, one in part.items() if "grabCut" in way] for name, part in parts.items()}
    cut = ", ".join(f"{max(ious):.3f} ({name})" for name, ious in rivals.items() if ious)
    body = [
        "IoU: intersection over union of found and true mask, 1 is best; one image in ten lies below the 10th percentile. Recall: share of the "
        "true animal that the mask covers. Precision: share of the mask that is animal. Time: milliseconds of one processor core an image, "
        "training of the network included."
    ]
    for name, part in parts.items():
        rows = [
            [
                f"{way}{USED_BY.get(way, '')}",
                f"{one['iou']:.3f}",
                f"{one['iou_tenth']:.2f}",
                f"{one['recall']:.0%}",
                f"{one['precision']:.0%}",
                "–" if one["milliseconds"] is None else f"{one['milliseconds']:.1f}",
            ]
            for way, one in part.items()
        ]
        heads = ["segmentation", "IoU, mean", "IoU, 10th percentile", "recall", "precision", "ms an image"]
        body += ["", f"## {name}", "", *table(heads, rows)]
    body += ["", "![The first images and their masks](../images/outlines.png)", "", "The first images, below them their masks, the true masks last."]
    return Page(
        title="Segmentation: finding the animal in an image",
        question="How well does each way of segmentation find the animal, and would OpenCV do better?",
        answer=f"The network trained on all images finds the animal better than the colours of one image: mean IoU {best}. The best way with "
        f"OpenCV's grabCut reaches {cut}.",
        headline=[(f"mean IoU of the network, {name}", f"{network:.3f}") for name, (_, network) in own.items()],
        body=body,
        method=[
            f"Images of {NUM_SPECIES} species of the drawn reef, each of another individual. No way is told where an animal is. grabCut's masks go "
            "through the same last step as the project's own: the largest piece near the middle, without holes."
            f" OpenCV {settings['opencv']}."
        ],
    )


if __name__ == "__main__":
    main()
