"""Pictures that show drawn images at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["label_board"]


def label_board(images: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """A table of images with a name before each row and above each column: uint8, shape (height, width, 3).

    Args:
        images: uint8, shape (rows * columns, size, size, 3).
    """
    size = images.shape[1]
    font = ImageFont.load_default(max(12, size // 6))
    gap = size // 8
    left = max((round(font.getlength(name)) for name in rows), default=0) + 2 * gap
    top = max((round(font.getlength(name)) for name in columns), default=0) + 2 * gap  # names above stand upright
    board = Image.new("RGB", (left + len(columns) * size, top + len(rows) * size), "white")
    for number, image in enumerate(images):
        board.paste(Image.fromarray(image), (left + number % len(columns) * size, top + number // len(columns) * size))
    draw = ImageDraw.Draw(board)
    for number, name in enumerate(rows):
        draw.text((left - gap, top + (number + 0.5) * size), name, "black", font, anchor="rm")
    for number, name in enumerate(columns):
        label = Image.new("RGB", (top, size), "white")
        ImageDraw.Draw(label).text((gap, size / 2), name, "black", font, anchor="lm")
        board.paste(label.transpose(Image.Transpose.ROTATE_90), (left + number * size, 0))
    return np.asarray(board)
