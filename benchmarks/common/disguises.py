"""What people do to a picture: to a square one, and to a photograph before it is scaled to a square."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

__all__ = ["HARDER", "PAIRS", "SINGLE", "WHOLE", "disguised", "disguised_whole", "oblong"]

Disguise = Callable[[np.ndarray, np.random.Generator], np.ndarray]
WholeDisguise = Callable[[Image.Image, np.random.Generator], Image.Image]

# Of squares ----------------------------------------------------------------------------------------------------------------------


def mirror(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return np.ascontiguousarray(image[:, ::-1])


def crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """85 % of each side, from anywhere."""
    size = len(image)
    side = round(0.85 * size)
    left, top = rng.integers(0, size - side + 1, 2)
    return np.asarray(Image.fromarray(image[top : top + side, left : left + side]).resize((size, size), Image.Resampling.BICUBIC))


def light(factor: float) -> Disguise:
    return lambda image, _: np.clip(np.rint(image * factor), 0, 255).astype(np.uint8)


def blur(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.2)))


def jpeg(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer))


def turn(degrees: tuple[float, ...], corners: int = 0) -> Disguise:
    """About the centre, either way; the corners that come into view have one grey value."""

    def disguise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(Image.fromarray(image).rotate(float(rng.choice(degrees)), Image.Resampling.BICUBIC, fillcolor=(corners,) * 3))

    return disguise


SINGLE: dict[str, Disguise] = {
    "none": lambda image, _: image,
    "mirror image": mirror,
    "crop to 85 %": crop,
    "brightness × 0.7": light(0.7),
    "brightness × 1.3": light(1.3),
    "blur (σ 1.2 px)": blur,
    "JPEG 40": jpeg,
    "turn ± 5°, black corners": turn((-5, 5)),
    "turn ± 8°, black corners": turn((-8, 8)),
    "turn ± 5°, grey corners": turn((-5, 5), 120),
    "turn ± 8°, grey corners": turn((-8, 8), 120),
}
PARTS: dict[str, Disguise] = {
    "turn": turn((-8, -5, 5, 8)),
    "crop": crop,
    "mirror": mirror,
    "darker": light(0.7),
    "brighter": light(1.3),
    "blur": blur,
    "JPEG": jpeg,
}
"""What pairs are made of, in the order in which they are put on."""


def together(*names: str) -> Disguise:
    def disguise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for name in names:
            image = PARTS[name](image, rng)
        return image

    return disguise


HARDER: dict[str, Disguise] = {
    "brightness × 0.5": light(0.5),
    "brightness × 1.5": light(1.5),
    "all but darker, one after the other": together(*(name for name in PARTS if name != "darker")),
}
"""Beyond what the aim asks for."""
PAIRS = {f"{a} + {b}": together(a, b) for a, b in itertools.combinations(PARTS, 2) if {a, b} != {"darker", "brighter"}}


def disguised(images: np.ndarray, disguise: Disguise) -> np.ndarray:
    return np.stack([disguise(image, np.random.default_rng([number, 0xD15])) for number, image in enumerate(images)])


# Of whole photographs ------------------------------------------------------------------------------------------------------------


def oblong(image: Image.Image, number: int) -> Image.Image:
    """The middle of an image in the format 4:3, or 3:4 if ``number`` is odd."""
    return formatted(3 / 4 if number % 2 else 4 / 3, False)(image, np.random.default_rng(0))


def cut(share: float) -> WholeDisguise:
    """This share of each side, from anywhere."""

    def disguise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = round(image.width * share), round(image.height * share)
        return placed(image, width, height, rng)

    return disguise


def formatted(ratio: float | Callable[[Image.Image], float], anywhere: bool = True) -> WholeDisguise:
    """As much as possible in a format (width over height), from anywhere or from the middle."""

    def disguise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        wanted = ratio(image) if callable(ratio) else ratio
        lower = image.width / image.height < wanted
        width, height = (image.width, round(image.width / wanted)) if lower else (round(image.height * wanted), image.height)
        return placed(image, width, height, rng if anywhere else None)

    return disguise


def placed(image: Image.Image, width: int, height: int, rng: np.random.Generator | None) -> Image.Image:
    """A part of an image, from anywhere, or from the middle without a generator."""
    room = (image.width - width, image.height - height)
    left, top = (each // 2 if rng is None else int(rng.integers(0, each + 1)) for each in room)
    return image.crop((left, top, left + width, top + height))


def stretched(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    wide = bool(rng.integers(2))
    return image.resize((round(image.width * (4 / 3 if wide else 1)), round(image.height * (1 if wide else 4 / 3))), Image.Resampling.BICUBIC)


def turned(degrees: float, fill: int | None = None, expand: bool = False) -> WholeDisguise:
    """Either way, in its frame or in a larger one; the corners have a grey value, or the photograph's mean colour."""

    def disguise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        colour = tuple(int(value) for value in np.asarray(image).mean((0, 1))) if fill is None else (fill,) * 3
        return image.rotate(float(rng.choice([-degrees, degrees])), Image.Resampling.BICUBIC, expand=expand, fillcolor=colour)

    return disguise


def straightened(degrees: float) -> WholeDisguise:
    """Turned either way, and cut to the largest rectangle of the same format that has no corners."""

    def disguise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
        width, height = image.size
        share = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
        whole = image.rotate(float(rng.choice([-degrees, degrees])), Image.Resampling.BICUBIC)
        return placed(whole, int(share * width), int(share * height), None)

    return disguise


WHOLE: dict[str, WholeDisguise] = {
    "none": lambda image, _: image,
    "85 % of each side, off-centre": cut(0.85),
    "75 % of each side, off-centre": cut(0.75),
    "the square in the middle": formatted(1, False),
    "a square, off-centre": formatted(1),
    "16:9 or 9:16, off-centre": formatted(lambda image: 16 / 9 if image.width >= image.height else 9 / 16),
    "upright from oblong, or oblong from upright": formatted(lambda image: 3 / 4 if image.width >= image.height else 4 / 3),
    "stretched by 4:3": stretched,
    "turn ± 8°, mean colour in the corners": turned(8),
    "turn ± 15°, mean colour in the corners": turned(15),
    "turn ± 8° in a larger frame, black corners": turned(8, 0, True),
    "turn ± 15° in a larger frame, grey corners": turned(15, 120, True),
    "turn ± 8°, corners cut off": straightened(8),
    "turn ± 15°, corners cut off": straightened(15),
}


def disguised_whole(images: list[Image.Image], name: str) -> list[Image.Image]:
    """The images in one disguise."""
    return [WHOLE[name](image, np.random.default_rng([number, 0xED1])) for number, image in enumerate(images)]
