"""Hybrids that are drawn while somebody looks: many positions between two species, and between two individuals, in one call.

Unlike ``blend`` nothing is written. A hybrid is known by the generator, two species, two seeds and two amounts, and these give the same image
at any time, alone or among others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field

from syntype.collection.names import drawn_name
from syntype.compute.grids import tile
from syntype.compute.tensors import to_uint8
from syntype.errors import TrainingError
from syntype.generators import Generator, family
from syntype.recipe import Settings
from syntype.synthesis._drawing import provenance_of, require_species
from syntype.synthesis.provenance import NOTICE, Provenance, animation_bytes, image_bytes

__all__ = ["FRAMES", "MAP", "HybridConfig", "Sheet", "hybrid_animation", "hybrid_image", "hybrid_sheet"]

FRAMES = 31
"""Images from one species to the next: a batch of the usual size holds them, and one of them is the middle."""
MAP = 9
"""Columns and rows of the map: species across, individuals down."""
_EXACT = 128
"""Images up to this size are sent without losses."""
_MARGIN = 8


class HybridConfig(Settings):
    """A hybrid: what lies between two species and two individuals of a generator."""

    first: str = Field(min_length=1, max_length=200)
    """Species at 0."""
    second: str = Field(min_length=1, max_length=200)
    """Species at 1; the same one again to look at its individuals only."""
    seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of the first individual."""
    other: int = Field(1, ge=0, le=2**31 - 1)
    """Seed of the second individual."""
    x: float = Field(0.5, ge=0, le=1)
    """Position between the species: 0 is the first, 1 the second."""
    y: float = Field(0.0, ge=0, le=1)
    """Position between the individuals: 0 is the first, 1 the second."""

    @property
    def title(self) -> str:
        """The species of the image: ``A``, ``B`` or ``A × B``."""
        if self.first == self.second or self.x == 0:
            return self.first
        return self.second if self.x == 1 else f"{self.first} × {self.second}"


@dataclass(frozen=True)
class Sheet:
    """Images of several hybrids in one file.

    Attributes:
        content: a WebP with the images row by row, each ``size`` pixels high and ``width`` wide.
        points: x and y of each image, in the order of the sheet.
        columns: images in a row.
        parts: number of sheets that the positions fill, of which this is one.
        generator_id: of the generator.
        seconds: that the drawing took.
    """

    content: bytes
    points: list[tuple[float, float]]
    columns: int
    width: int
    size: int
    parts: int
    generator_id: str
    seconds: float


def hybrid_sheet(generator: Generator, config: HybridConfig, layout: Literal["strip", "map"], part: int = 0) -> Sheet:
    """Draw one batch of the images among which somebody chooses.

    Args:
        generator: as ``load_generator`` returns it.
        config: the hybrid; a ``strip`` has its ``y``.
        layout: ``strip``: ``FRAMES`` positions from species to species; of one species twice, from individual to individual. ``map``: ``MAP`` x
            ``MAP`` positions, species across and individuals down.
        part: which batch; the first ones are spread over all positions, so that each further one refines.

    Raises:
        UnsupportedError: the family has no blends; for a map, it cannot change species and individual apart.
        UnknownNameError: the generator does not know a species.
        TrainingError: the generator produced infinite or NaN values.
    """
    points = _spread_map() if layout == "map" else [_along(config, place) for place in _spread(FRAMES)]
    batch = max(1, generator.model.sampling_batch_size)
    parts = -(-len(points) // batch)
    chosen = points[batch * (part % parts) :][:batch]
    began = time.monotonic()
    images = _draw(generator, config, chosen)
    seconds = round(time.monotonic() - began, 3)
    columns = min(6, len(chosen))
    blank = np.zeros((-len(chosen) % columns, *images.shape[1:]), np.uint8)
    about = _provenance(generator, config, {"positions": [list(point) for point in chosen]})
    content = image_bytes(tile(np.concatenate([images, blank]), columns), "webp", about, quality=100 if generator.size <= _EXACT else 90)
    return Sheet(content, chosen, columns, images.shape[2], images.shape[1], parts, generator.generator_id, seconds)


def hybrid_image(generator: Generator, config: HybridConfig, *, visibly: bool = False) -> bytes:
    """Draw one hybrid, as a PNG with its provenance.

    Args:
        visibly: enlarge it and write below it that it is synthetic, for viewers who will not read the file's metadata.

    Raises:
        UnsupportedError, UnknownNameError, TrainingError: see ``hybrid_sheet``.
    """
    image = _draw(generator, config, [(config.x, config.y)])[0]
    return image_bytes(
        _captioned(image, config) if visibly else image, "png", _provenance(generator, config, {"amount": config.x, "individual": config.y})
    )


def hybrid_animation(
    generator: Generator, config: HybridConfig, suffix: Literal["webp", "gif"], *, visibly: bool = False, milliseconds: int = 80
) -> bytes:
    """Draw the way from one species to the other and back, as an animation with its provenance; ``config.x`` does not matter.

    Of one species with itself it is the way from one individual to the other.

    Args:
        visibly: see ``hybrid_image``.
        milliseconds: duration of each image.

    Raises:
        UnsupportedError, UnknownNameError, TrainingError: see ``hybrid_sheet``.
    """
    points = [_along(config, place) for place in sorted(_spread(FRAMES))]
    frames = list(_draw(generator, config, points))
    if visibly:
        frames = [_captioned(frame, config.model_copy(update={"x": x, "y": y})) for frame, (x, y) in zip(frames, points, strict=True)]
    about = _provenance(generator, config, {"positions": [list(point) for point in points]})
    return animation_bytes([*frames, *frames[-2:0:-1]], suffix, about, milliseconds=milliseconds)


def _draw(generator: Generator, config: HybridConfig, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Images at positions: uint8, shape (N, height, width, 3)."""
    require_species(generator, (config.first, config.second))
    num = len(points)
    pairs, seeds = [(config.first, config.second)] * num, [(config.seed, config.other)] * num
    amounts, individuals = [x for x, _ in points], [y for _, y in points]
    if not any(individuals):
        images = generator.blend(pairs, seeds, amounts, "species")
    elif config.first == config.second or not any(amounts):
        images = generator.blend(pairs, seeds, individuals, "latent")
    else:
        images = generator.blend(pairs, seeds, amounts, "both", individuals)
    if not bool(images.isfinite().all()):
        raise TrainingError(f"generator {generator.generator_id}: produced infinite or NaN values. Train it again with a lower learning rate.")
    return to_uint8(images)


def _provenance(generator: Generator, config: HybridConfig, where: dict[str, Any]) -> Provenance:
    """Where an image comes from, in the form of ``blend``."""
    details = {"species": [config.first, config.second], "seeds": [config.seed, config.other], "of": "both", **where}
    whole = config.title if "amount" in where else " × ".join(dict.fromkeys((config.first, config.second)))
    return provenance_of(generator, whole, config.seed, {"blend": details}, family(generator.family).digital_source_type)


def _along(config: HybridConfig, place: float) -> tuple[float, float]:
    """A position of the strip."""
    return (0.0, place) if config.first == config.second else (place, config.y)


def _spread(num: int) -> list[float]:
    """``num`` positions from 0 to 1: the middle and the ends first, then those between, each time twice as fine."""
    order, step = [(num - 1) // 2, 0, num - 1], num - 1
    while step > 1:
        step = (step + 1) // 2
        order += range(0, num, step)
    return [round(place / (num - 1), 6) for place in dict.fromkeys(order)]


def _spread_map() -> list[tuple[float, float]]:
    """All positions of the map, coarse ones first."""
    order = {value: rank for rank, value in enumerate(_spread(MAP))}
    return sorted(((x, y) for x in order for y in order), key=lambda point: max(order[point[0]], order[point[1]]))


def _captioned(image: np.ndarray, config: HybridConfig) -> np.ndarray:
    """The image, enlarged pixel by pixel to about 512 pixels, over a bar that says what it is."""
    from matplotlib.font_manager import findfont  # slow to import

    factor = max(1, 512 // image.shape[0])
    large = image.repeat(factor, 0).repeat(factor, 1)
    width = large.shape[1]
    size = max(11, width // 26)
    share = "" if config.first == config.second else f"  ({round(100 * (1 - config.x))} % : {round(100 * config.x)} %)"
    lines = [NOTICE, f"{drawn_name(config.first)}{'' if config.first == config.second else ' × ' + drawn_name(config.second)}{share}"]
    bar = Image.new("RGB", (width, 2 * (size + _MARGIN) + _MARGIN), "black")
    draw = ImageDraw.Draw(bar)
    for number, line in enumerate(lines):
        font = ImageFont.truetype(findfont("DejaVu Sans"), size)
        while font.getlength(line) > width - 2 * _MARGIN and font.size > 6:
            font = font.font_variant(size=font.size - 1)
        draw.text((_MARGIN, _MARGIN + number * (size + _MARGIN)), line, "white", font)
    return np.concatenate([large, np.asarray(bar)])
