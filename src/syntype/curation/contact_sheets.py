"""Contact sheets for the eye of an expert: photographs beside those they are compared with, as one HTML page and as PNG pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from syntype.collection.names import drawn_name
from syntype.files import atomic_write

__all__ = ["SIDE", "Card", "Panel", "Section", "write_page", "write_sheets"]

SIDE = 176
"""Side of the pictures, in pixels."""
_GAP, _PAD = 4, 12
_LINE = 17  # height of a line of text
_WIDTH, _ROWS = 1680, 5  # of a sheet, at most
_INK, _PALE, _FRAME = (20, 20, 20), (110, 110, 110), (190, 30, 45)


@dataclass(frozen=True)
class Panel:
    """One picture of a card.

    Attributes:
        image: uint8, shape (SIDE, SIDE, 3).
        role: what it is ("this photograph", "looks like").
        name: species, drawn in italics; may be empty.
        detail: a short line below ("2 %").
    """

    image: np.ndarray
    role: str
    name: str
    detail: str


@dataclass(frozen=True)
class Card:
    """One photograph in question, which is the first of the panels; ``title`` names it."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Section:
    """Cards of one kind, with as many panels each.

    Attributes:
        stem: beginning of the names of its files.
        title: heading.
        text: what to do with these photographs.
    """

    stem: str
    title: str
    text: str
    cards: Sequence[Card] = field(default_factory=tuple)


def write_sheets(section: Section, out: Path) -> list[Path]:
    """Draw the cards of a section on PNG pictures of at most 1,680 pixels in width, several a page, and name them ``STEM-01.png`` and so on."""
    if not section.cards:
        return []
    panels = max(len(card.panels) for card in section.cards)
    width = panels * (SIDE + _GAP) - _GAP + 2 * _PAD
    height = SIDE + 5 * _LINE + 2 * _PAD
    columns = max(1, _WIDTH // width)
    each = columns * _ROWS
    paths = []
    for page, start in enumerate(range(0, len(section.cards), each), start=1):
        cards = section.cards[start : start + each]
        across, down = min(columns, len(cards)), -(-len(cards) // columns)
        sheet = Image.new("RGB", (across * width, down * height), "white")
        for place, card in enumerate(cards):
            _draw_card(sheet, card, place % columns * width, place // columns * height, width)
        path = out / f"{section.stem}-{page:02d}.png"
        with atomic_write(path) as temporary:
            sheet.save(temporary, "PNG", compress_level=1)  # a third of the time, a tenth larger
        paths.append(path)
    return paths


def _draw_card(sheet: Image.Image, card: Card, left: int, top: int, width: int) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left + 3, top + 3, left + width - 4, top + SIDE + 5 * _LINE + 2 * _PAD - 4), outline=(215, 215, 215))
    _write(pen, (left + _PAD, top + _PAD - 3), card.title, width - 2 * _PAD, _font("Bold"), _INK)
    for number, panel in enumerate(card.panels):
        x, y = left + _PAD + number * (SIDE + _GAP), top + _PAD + _LINE + 2
        sheet.paste(Image.fromarray(panel.image), (x, y))
        if number == 0:
            pen.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), outline=_FRAME, width=3)
        y += SIDE + 2
        _write(pen, (x, y), panel.role, SIDE, _font(""), _PALE)
        y += _LINE
        for text in _lines(drawn_name(panel.name), SIDE) if panel.name else ():
            _write(pen, (x, y), text, SIDE, _font("Oblique"), _INK)
            y += _LINE
        _write(pen, (x, y), panel.detail, SIDE, _font(""), _INK)


def _lines(name: str, width: int) -> list[str]:
    """A name in at most two lines."""
    font = _font("Oblique")
    words, lines = name.split(), [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width and len(lines) < 2:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _write(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int, font: ImageFont.FreeTypeFont, colour: tuple[int, ...]) -> None:
    """One line of text, with an ellipsis in its middle if it is wider than there is room."""
    shown = text
    while font.getlength(shown) > width and len(text) > 4:
        text = text[: len(text) // 2] + text[len(text) // 2 + 1 :]
        shown = f"{text[: len(text) // 2]}…{text[len(text) // 2 :]}"
    pen.text(place, shown, fill=colour, font=font)


@cache
def _font(style: str) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path  # its font has more letters than Pillow's

    name = f"DejaVuSans-{style}.ttf" if style else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), 12)


_STYLE = """body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1500px;padding:0 1rem;color:#141414;background:#fff}
h1{font-size:1.5rem}h2{margin-top:2.5rem;font-size:1.2rem}p{max-width:75ch}
.cards{display:flex;flex-wrap:wrap;gap:14px}.card{border:1px solid #d7d7d7;border-radius:6px;padding:10px}
.card h3{font-size:.85rem;margin:0 0 6px;overflow-wrap:anywhere;max-width:540px}.panels{display:flex;gap:6px}
figure{margin:0;width:176px}figure img{width:176px;height:176px;display:block}figure:first-child img{outline:3px solid #be1e2d;outline-offset:-3px}
figcaption{font-size:.82rem;overflow-wrap:anywhere}figcaption span{color:#6e6e6e;display:block}figcaption b{font-weight:400;display:block}"""


def write_page(title: str, text: Sequence[str], sections: Sequence[Section], path: Path) -> None:
    """Write all sections as one HTML page that needs no other file."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(title)}</title>",
        f"<style>{_STYLE}</style></head>",
    ]
    parts += [f"<body><h1>{html.escape(title)}</h1>", *(f"<p>{html.escape(line)}</p>" for line in text)]
    for section in sections:
        parts += [f"<h2>{html.escape(section.title)}</h2>", f"<p>{html.escape(section.text)}</p>", '<div class="cards">']
        for card in section.cards:
            parts.append(f'<div class="card"><h3>{html.escape(card.title)}</h3><div class="panels">')
            parts += [_figure(panel) for panel in card.panels]
            parts.append("</div></div>")
        parts.append("</div>")
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join([*parts, "</body></html>", ""]), encoding="utf-8", errors="replace")


def _figure(panel: Panel) -> str:
    buffer = io.BytesIO()
    Image.fromarray(panel.image).save(buffer, "JPEG", quality=88)
    source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    name = html.escape(drawn_name(panel.name, any_font=True)) if panel.name else ""
    words = f"<span>{html.escape(panel.role)}</span><i>{name}</i><b>{html.escape(panel.detail)}</b>"
    alt = html.escape(f"{panel.role}: {name}", quote=True)
    return f'<figure><img src="{source}" alt="{alt}"><figcaption>{words}</figcaption></figure>'
