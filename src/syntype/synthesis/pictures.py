"""Pictures that show drawn images at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["labelled_grid"]


def labelled_grid(images: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """A table of images with a name before each row and above each column: uint8, shape (height, width, 3).

    Args:
        images: uint8, shape (rows * columns, height, width, 3).
    """
    from matplotlib.font_manager import findfont  # slow to import

    height, width = images.shape[1:3]
    font = ImageFont.truetype(findfont("DejaVu Sans"), max(12, height // 6))  # matplotlib brings it; Pillow's own loses the spaces of names
    gap = height // 8
    left = max((round(font.getlength(name)) for name in rows), default=0) + 2 * gap
    top = max((round(font.getlength(name)) for name in columns), default=0) + 2 * gap  # names above stand upright
    board = Image.new("RGB", (left + len(columns) * width, top + len(rows) * height), "white")
    for number, image in enumerate(images):
        board.paste(Image.fromarray(image), (left + number % len(columns) * width, top + number // len(columns) * height))
    draw = ImageDraw.Draw(board)
    for number, name in enumerate(rows):
        draw.text((left - gap, top + (number + 0.5) * height), name, "black", font, anchor="rm")
    for number, name in enumerate(columns):
        label = Image.new("RGB", (top, width), "white")
        ImageDraw.Draw(label).text((gap, width / 2), name, "black", font, anchor="lm")
        board.paste(label.transpose(Image.Transpose.ROTATE_90), (left + number * width, 0))
    return np.asarray(board)
