"""How well does each way of segmentation find the animal in an image, and how long does it take?

    python benchmarks/outlines.py [--images 1000] [--size 64 128] [--out FOLDER]

The images are of the drawn reef, where the true mask is known: the animal is where it hides the background (plants in front of it count as
animal). The ways are those of the families `collage` (colours of one image) and `pose_transfer` (a network trained on all images), and OpenCV's
`grabCut` and `ximgproc.guidedFilter` (package `opencv-contrib-python-headless`; where it is not installed, these rows are left out).
Everything runs on one thread; time is CPU time. The result is written to docs/benchmarks/outlines.md and docs/images/outlines.png.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from fish4knowledge import add_outputs, machine, write_page
from PIL import Image

from syntype.collection import reef_drawing
from syntype.generators.copy_paste.outlines import self_trained_masks
from syntype.generators.copy_paste.segmentation import ellipse, full_size_masks, segment

try:
    import cv2
except ImportError:
    cv2 = None

NUM_SPECIES, SEED, PURPOSE = 40, 7, 11
SHOWN = 8
MARGIN = 0.08  # of the image's side: where grabCut's rectangle ends
ROUNDS = 5  # of grabCut


@dataclass(frozen=True)
class Measured:
    """One way at one image size: masks, bool (N, size, size), and CPU seconds an image."""

    way: str
    masks: np.ndarray
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_outputs(parser, "outlines")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, nargs="+", default=[64, 128])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for size in arguments.size:
        images, truth = drawn(arguments.images, size)
        results[size] = (truth, measure(images))
        if size == arguments.size[0]:
            draw(images, truth, results[size][1], arguments)
    write_page(report(results, arguments), "outlines", arguments.docs)


def measure(images: np.ndarray) -> list[Measured]:
    """Masks and time of every way that can be run here. What starts from another way's masks takes that way's time as well."""
    results = [timed("colours of one image", segment, images), timed("network trained on all images", by_network, images)]
    if cv2 is None:
        return results
    cv2.setNumThreads(1)
    middle = np.stack([ellipse(images.shape[1]).numpy() > 0.5] * len(images))
    results.append(timed("OpenCV grabCut, started with a rectangle", lambda images: grab_cut(images, None), images))
    results.append(timed("OpenCV grabCut, started with an ellipse", lambda images: grab_cut(images, middle), images))
    for one in results[:2]:
        cut = timed(f"{one.way}, then OpenCV grabCut", lambda images, start=one.masks: grab_cut(images, start), images)
        results.append(replace(cut, seconds=one.seconds + cut.seconds))
    for name, way in (("colours of one image", segment), ("network trained on all images", by_network)):
        results.append(timed(f"{name}, with OpenCV guidedFilter", lambda images, way=way: with_opencv_filter(way, images), images))
    return results


def by_network(images: np.ndarray) -> torch.Tensor:
    return self_trained_masks(images, torch.device("cpu"))


def grab_cut(images: np.ndarray, start: np.ndarray | None) -> torch.Tensor:
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
    return full_size_masks(images, torch.from_numpy(found))


def with_opencv_filter(way: Callable[[np.ndarray], torch.Tensor], images: np.ndarray) -> torch.Tensor:
    """A way of the project's own with OpenCV's guided filter in the place of its own."""

    def guided(guide: torch.Tensor, target: torch.Tensor, radius: int, epsilon: float) -> torch.Tensor:
        pairs = zip(guide[:, 0].numpy(), target[:, 0].numpy(), strict=True)
        return torch.from_numpy(np.stack([cv2.ximgproc.guidedFilter(one, other, radius, epsilon) for one, other in pairs]))[:, None]

    with patch.dict(segment.__globals__, _guided_filter=guided):
        return way(images)


def timed(name: str, way: Callable[[np.ndarray], torch.Tensor], images: np.ndarray) -> Measured:
    began = time.process_time()
    masks = way(images).numpy() > 127
    seconds = (time.process_time() - began) / len(images)
    print(f"{name}, {images.shape[1]} px: {1000 * seconds:.1f} ms an image", flush=True)
    return Measured(name, masks, seconds)


def draw(images: np.ndarray, truth: np.ndarray, results: list[Measured], arguments: argparse.Namespace) -> None:
    """The first images and their masks, one row a way, the true masks last."""
    shown = [one.masks for one in results[:4]]
    rows = [images[:SHOWN], *(np.repeat(part[:SHOWN, :, :, None] * np.uint8(255), 3, axis=3) for part in (*shown, truth))]
    picture = Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.BICUBIC).quantize(256).save(arguments.docs / "images" / "outlines.png")


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


def report(results: dict[int, tuple[np.ndarray, list[Measured]]], arguments: argparse.Namespace) -> str:
    """What was measured, as Markdown."""
    opencv = f"OpenCV {cv2.__version__}" if cv2 is not None else "OpenCV is not installed, so its rows are left out"
    lines = [
        "# Segmentation: finding the animal in an image",
        "",
        f"Written by `python benchmarks/outlines.py --images {arguments.images} --size {' '.join(map(str, arguments.size))}`. "
        f"Machine: {machine()}; {opencv}; one thread; time is CPU time.",
        "",
        f"{arguments.images} images of {NUM_SPECIES} species of the drawn reef, each of another individual. The family `collage` finds the animal "
        "by the colours of each image alone; `pose_transfer` trains a small network on all images (its training counts as time). No way is told where an "
        "animal is. grabCut's masks go through the same last step as the project's own: the largest piece near the middle, without holes.",
    ]
    for size, (truth, measured) in results.items():
        lines += [
            "",
            f"## {size} x {size} px",
            "",
            "| segmentation | IoU, mean | IoU, 10th percentile | recall of animal pixels | precision | CPU ms an image |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for one in measured:
            each, both = overlap(one.masks, truth), (one.masks & truth).sum((1, 2))
            recall, precision = ((both / np.maximum(part.sum((1, 2)), 1)).mean() for part in (truth, one.masks))
            figures = f"{each.mean():.3f} | {np.quantile(each, 0.1):.2f} | {recall:.0%} | {precision:.0%} | {1000 * one.seconds:.1f}"
            lines.append(f"| {one.way} | {figures} |")
    shown = "; ".join(one.way for one in next(iter(results.values()))[1][:4])
    picture = "![The first images and their masks](../images/outlines.png)"
    return "\n".join([*lines, "", picture, "", f"From top to bottom: the images; masks by {shown}; the true masks.", ""])


if __name__ == "__main__":
    main()
