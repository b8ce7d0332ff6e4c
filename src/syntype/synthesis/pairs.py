"""A picture with photographs on the left and synthetic images of the same species on the right, one species per row."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from syntype.collection import Collection
from syntype.collection.names import drawn_name
from syntype.errors import CollectionError
from syntype.synthesis.provenance import NOTICE, Provenance, read_provenance, write_image

__all__ = ["draw_pairs", "write_pairs"]

_INK, _FAINT = "black", "#666666"


def write_pairs(photographs: Collection, synthetic: Collection, species: Sequence[str], size: int, columns: int, path: Path) -> Path:
    """Write a picture of the first training photographs of each species, from as many groups as possible, beside its first accepted synthetic images.

    The licences and terms of the photographs stand below, and the file has the mark of synthetic images.

    Args:
        photographs: a collection; only the training split is shown.
        synthetic: images made by one generator; those that curation or an expert refused are not shown.
        species: one for each row.
        size: side of each image, in pixels.
        columns: largest number of photographs, and of synthetic images, in a row.
        path: file to write; ends in .jpg or .png.

    Returns:
        ``path``.

    Raises:
        CollectionError: no synthetic image of these species was accepted.
    """
    train, accepted, rows, shown = photographs.training(), synthetic.select(usable=True, species=list(species)), [], []
    if not len(accepted):
        raise CollectionError(f"{synthetic.root}: no image was accepted. Look at the column reason in its table.")
    for name in species:
        own = train.select(species=name)
        within = own.table.groupby(own.groups()).cumcount().to_numpy()  # 0 for the first photograph of its group
        order = np.argsort(within, kind="stable")[:columns]
        chosen = own.where(np.isin(np.arange(len(own)), order))
        shown.append(chosen.table)
        made = accepted.select(species=name)
        made = made.where(np.arange(len(made)) < columns)
        rows.append((f"{drawn_name(name)}, {len(own)} photographs", chosen.pixels(size), made.pixels(size)))
    notices = dict.fromkeys(
        str(value) for table in shown for column in ("rights_holder", "licence", "terms") if column in table for value in table[column].dropna()
    )
    foot = f"Photographs: {'; '.join(notices)}" if notices else ""
    mark = read_provenance(accepted.root / accepted.table["file_name"].iloc[0])
    mark = replace(mark or Provenance("unknown", "unknown", "", 0), species=", ".join(species))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(draw_pairs(rows, size, columns, foot), path, mark, quality=90)
    return path


def draw_pairs(rows: Sequence[tuple[str, np.ndarray, np.ndarray]], size: int, columns: int, foot: str) -> np.ndarray:
    """Draw the rows of ``write_pairs``.

    Args:
        rows: for each, its heading, and photographs and synthetic images, uint8, shape (at most columns, size, size, 3) each.
        size: side of each image, in pixels.
        columns: width of each half, in images.
        foot: text below.

    Returns:
        uint8, shape (height, width, 3), RGB.
    """
    from matplotlib.font_manager import findfont  # slow to import

    gap, line = max(8, size // 6), max(14, size // 5)
    font, small = (ImageFont.truetype(findfont("DejaVu Sans"), max(10, size // part)) for part in (8, 10))
    width = 2 * columns * size + 3 * gap
    wrapped = textwrap.wrap(foot, max(20, int(width / small.getlength("n"))))
    height = line + len(rows) * (size + line) + gap + len(wrapped) * line
    board = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(board)
    left, right = gap, 2 * gap + columns * size
    draw.text((left, line / 2), "Photographs", _INK, font, anchor="lm")
    draw.text((right, line / 2), NOTICE.partition(".")[0] + "s", _INK, font, anchor="lm")
    for number, (heading, *halves) in enumerate(rows):
        top = line + number * (size + line)
        draw.text((left, top + line / 2), heading, _FAINT, small, anchor="lm")
        for start, images in zip((left, right), halves, strict=True):
            for place, image in enumerate(images):
                board.paste(Image.fromarray(image), (start + place * size, top + line))
    for number, text in enumerate(wrapped):
        draw.text((left, height - (len(wrapped) - number) * line + line / 2), text, _FAINT, small, anchor="lm")
    return np.asarray(board)
