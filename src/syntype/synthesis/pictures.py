"""Overview images with labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from syntype.collection.names import drawn_name

__all__ = ["labelled_grid"]


def labelled_grid(images: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """A grid of images with a label for each row and column.

    Args:
        images: Images in row-major order, uint8, shape (len(rows) * len(columns), height, width, 3).
        rows: Labels of the rows.
        columns: Labels of the columns.

    Returns:
        uint8, shape (height, width, 3), RGB.
    """
    from matplotlib.font_manager import findfont  # slow to import

    height, width = images.shape[1:3]
    rows, columns = [drawn_name(name) for name in rows], [drawn_name(name) for name in columns]
    font = ImageFont.truetype(findfont("DejaVu Sans"), max(12, height // 6))  # the font of matplotlib: Pillow's default font drops spaces
    gap = height // 8
    left = max((round(font.getlength(name)) for name in rows), default=0) + 2 * gap
    top = max((round(font.getlength(name)) for name in columns), default=0) + 2 * gap  # column labels are rotated by 90 degrees
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
