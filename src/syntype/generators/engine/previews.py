"""Pictures of training: grids of generated images (one row a species, one column a seed), their animation, and loss curves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from syntype.compute.grids import ROWS, tile
from syntype.compute.tensors import to_tensor, to_uint8
from syntype.files import atomic_write
from syntype.generators.contract import GenerativeModel, ShowsProcess, TrainingData

__all__ = ["plot_curves", "preview_species", "save_animation", "save_grid", "save_process_strip"]

MAX_FRAMES = 48
"""Of the animation."""
MAX_FRAME_SIDE = 768
"""Longer side of its frames, in pixels, at most."""


def preview_species(species: tuple[str, ...], counts: np.ndarray, rows: int = 12) -> list[str]:
    """Species for a preview, commonest first: all if they are few, otherwise evenly spaced from the commonest to the rarest."""
    order = np.argsort(-counts, kind="stable")
    chosen = order if len(order) <= rows else order[np.linspace(0, len(order) - 1, rows).round().astype(int)]
    return [species[index] for index in chosen]


def save_grid(model: GenerativeModel, species: list[str], path: Path, columns: int = 8) -> None:
    """Save a grid of ``len(species)`` rows, with the same ``columns`` seeds in each row; an unconditional model gets different seeds in all cells.

    The file names the species of its rows (``grids.ROWS``), unless the model knows none.
    """
    names = [name for name in species for _ in range(columns)]
    seeds = [number % columns if model.is_conditional else number for number in range(len(names))]
    images = to_uint8(model.sample(names, seeds, **model.Controls().model_dump()))
    told = PngInfo()
    if model.is_conditional:
        told.add_itxt(ROWS, json.dumps(species, ensure_ascii=False))
    Image.fromarray(tile(images, columns)).save(path, pnginfo=told)


def save_process_strip(model: ShowsProcess, data: TrainingData, species: list[str], path: Path) -> None:
    """Save a picture of the diffusion process, for one photograph of each species."""
    rows = [int(np.flatnonzero(data.labels == data.species.index(name))[0]) for name in species]
    Image.fromarray(model.process_strip(to_tensor(data.images[rows]), species, list(range(len(species))))).save(path)


def save_animation(folder: Path, path: Path) -> None:
    """Save the grids in a folder, in the order of their steps, as an animated WebP of at most ``MAX_FRAMES`` frames; the last is shown longest.

    Nothing is written if there are fewer than two grids.
    """
    grids = sorted(folder.glob("*-*.png"), key=lambda grid: (int(grid.stem.rpartition("-")[2]), grid.stem.startswith("final")))
    if len(grids) < 2:
        return
    chosen = [grids[place] for place in np.linspace(0, len(grids) - 1, min(len(grids), MAX_FRAMES)).round().astype(int)]
    frames: list[Image.Image] = []
    for grid in chosen:
        with Image.open(grid) as image:
            image.thumbnail((MAX_FRAME_SIDE, MAX_FRAME_SIDE))
            if not frames or image.size == frames[0].size:  # the last grid of an adaptation has the new species only, in another size
                frames.append(image.convert("RGB"))
    with atomic_write(path) as temporary:
        durations = [150] * (len(frames) - 1) + [2000]
        frames[0].save(temporary, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=80)


def plot_curves(events: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Plot every figure of the progress log against the step, one panel each: raw values in a light colour, averages over 2 % of the values in a dark
    one.

    Args:
        events: of a run; those without a step are ignored.
    """
    from matplotlib.figure import Figure

    curves: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        if "step" in event:
            for name in event.keys() - {"time", "event", "step", "seconds", "images_per_second", "skipped"}:
                curves.setdefault(name, []).append((event["step"], float(event[name])))
    if not curves:
        return
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    width_in, height_in = 3.4 * columns, 2.1 * rows
    figure = Figure(figsize=(width_in, height_in))
    # Margins in inches: to measure every label, as a constrained layout does, takes longer than a short training.
    figure.subplots_adjust(0.55 / width_in, 0.3 / height_in, 1 - 0.1 / width_in, 1 - 0.3 / height_in, wspace=0.25, hspace=0.45)
    for number, (name, points) in enumerate(sorted(curves.items())):
        axes = figure.add_subplot(rows, columns, number + 1)
        steps, values = np.array(points).T
        width = max(1, len(values) // 50)
        axes.plot(steps, values, color="#9bbfc4" if width > 1 else "#0b5d66", linewidth=0.8)
        if width > 1:
            axes.plot(np.convolve(steps, np.ones(width) / width, "valid"), np.convolve(values, np.ones(width) / width, "valid"), color="#0b5d66")
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.tick_params(labelsize=7)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
