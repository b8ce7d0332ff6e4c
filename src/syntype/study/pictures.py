"""Pictures of the report: plots as SVG in the colours of the page, and thumbnails as data URIs."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from syntype.collection.names import plot_label

__all__ = ["data_uri", "plot_forest", "plot_tail", "plot_worth"]

# Matplotlib needs actual colours. These two are placeholders that are replaced by the page's colours in the finished SVG.
_INK, _FAINT = "#010203", "#040506"
_SWAP = {_INK: "currentColor", _FAINT: "var(--faint)"}
_ACCENT, _SECOND = "#0b7a75", "#d1782b"


def data_uri(image: np.ndarray) -> str:
    """An image, uint8 (H, W, 3), as a ``data:`` URI. It is a PNG: lossless, and for thumbnails as small as a good JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def plot_forest(rows: Sequence[tuple[str, Mapping[str, Any] | None]], told: Callable[[str], str] = str, *, minimum_effect: float, name: str,
                emphasise: int = 1) -> str:  # fmt: skip
    """A forest plot as SVG: one effect per row with its interval, in percentage points.

    Args:
        rows: (label, effect as from ``Effect.to_json``); the effect is None if nothing could be measured.
        told: what the words of the plot are in the language of the report.
        minimum_effect: smallest gain that matters, as a fraction; drawn as a dashed line.
        name: prefix of the SVG's ids; unique in the page.
        emphasise: number of rows, from the first, that are drawn with thicker lines.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 0.9 + 0.34 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    known = [100 * end for _, effect in rows if effect for end in effect["interval"]]
    low, high = min([*known, -1.0]), max([*known, 1.0])
    margin = 0.06 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    for row, (_, effect) in enumerate(rows):
        if effect is None:
            axes.text(0, row, "  " + told("no test photographs"), va="center", ha="left", fontsize=8.5, color=_INK, style="italic")
            continue
        heavy = row < emphasise
        ends = [100 * end for end in effect["interval"]]
        axes.plot(ends, [row, row], color=_ACCENT, linewidth=3.2 if heavy else 1.6, solid_capstyle="butt", zorder=3)
        axes.plot([100 * effect["value"]], [row], marker="D" if heavy else "o", markersize=8 if heavy else 5.5, color=_ACCENT, zorder=4)
    axes.axvline(0, color=_INK, linewidth=1)
    axes.axvline(100 * minimum_effect, color=_SECOND, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    for label in axes.get_yticklabels()[:emphasise]:
        label.set_fontweight("bold")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(told("← worse | difference in recall, percentage points | better →").replace(" | ", "\u2003\u2003"))
    axes.grid(axis="x", color=_FAINT, linewidth=0.6)
    return _svg(figure, axes, name)


def plot_tail(species: Sequence[Mapping[str, Any]], told: Callable[[str], str] = str, *, num_seeds: int, name: str) -> str:
    """Plot the number of training images of every species as SVG, the most common species first.

    Bars show real images; marks show the total with accepted synthetic images.

    Args:
        species: entries of the study's ``species`` list.
        told: as for ``plot_forest``.
        num_seeds: repetitions, over which ``accepted`` is summed.
        name: prefix of the SVG's ids.
    """
    from matplotlib.figure import Figure

    ordered = sorted(species, key=lambda entry: (-entry["num_train"], entry["name"]))
    real = np.array([entry["num_train"] for entry in ordered], dtype=float)
    added = np.array([entry["accepted"] / num_seeds for entry in ordered])
    figure = Figure(figsize=(7.6, 3.4 if len(ordered) <= 60 else 2.6), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(ordered))
    axes.bar(places, real, width=0.85, color=_ACCENT, label=told("real photographs"))
    if added.any():  # marks, not stacked bars: on a logarithmic axis the height of the upper bar would be misleading
        filled = added > 0
        axes.plot(places[filled], (real + added)[filled], linestyle="", marker="_", markersize=9, markeredgewidth=2.4, color=_SECOND,
                  label=told("with accepted synthetic images"))  # fmt: skip
    axes.set_yscale("log" if real.max(initial=1) > 20 * max(real.min(), 1) else "linear")
    axes.set_ylim(bottom=0.8 if axes.get_yscale() == "log" else 0)
    axes.set_ylabel(told("training images"))
    axes.set_xlim(-0.6, len(ordered) - 0.4)
    if len(ordered) <= 60:
        axes.set_xticks(
            places,
            [plot_label(entry["name"], any_font=True) for entry in ordered],
            rotation=60,
            ha="right",
            rotation_mode="anchor",
            style="italic",
            fontsize=7.5,
        )
    else:
        axes.set_xlabel(told(f"{len(ordered)} species, the most photographed first"))
    axes.grid(axis="y", color=_FAINT, linewidth=0.6)
    legend = axes.legend(frameon=False, fontsize=8.5, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    for text in legend.get_texts():
        text.set_color(_INK)
    return _svg(figure, axes, name)


def plot_worth(worth: Mapping[str, Any], told: Callable[[str], str] = str, *, name: str) -> str:
    """Plot recall against the number of photographs as SVG, with the recall of the synthetic images across.

    Args:
        worth: the study's entry ``worth``.
        told: as for ``plot_forest``.
        name: prefix of the SVG's ids.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.0), layout="constrained")
    axes = figure.add_subplot()
    curve, made = worth["curve"], worth["synthetic"]
    places = [point["photographs"] for point in curve]
    low, high = (np.array([100 * point["interval"][end] for point in curve]) for end in (0, 1))
    line = axes.plot(places, [100 * point["rising"] for point in curve], color=_ACCENT, linewidth=2, label=told("photographs alone"))[0]
    band = axes.fill_between(places, low, high, color=_ACCENT, alpha=0.18, linewidth=0, label=told("95 % interval"))
    axes.plot(places, [100 * point["recall"] for point in curve], color=_ACCENT, linestyle="", marker="o", markersize=5)
    axes.axhspan(*(100 * end for end in made["recall_interval"]), color=_SECOND, alpha=0.14, linewidth=0)
    label = told(f"{worth['photographs']:.3g} photographs and synthetic images, with interval")
    across = axes.axhline(100 * made["recall"], color=_SECOND, linewidth=2, linestyle=(0, (5, 3)), label=label)
    if made["equivalent_photographs"] is not None:
        axes.plot([worth["photographs"] + made["equivalent_photographs"]], [100 * made["recall"]], color=_SECOND, marker="D", markersize=8)
    axes.axvline(worth["photographs"], color=_INK, linewidth=1, linestyle=(0, (1, 2)))
    axes.set_xlim(0, 1.03 * max(places))
    axes.set_xlabel(told("real training photographs of each rare species (dotted line: those of the collection)"))
    axes.set_ylabel(told("recall of the rare species, %"))
    axes.grid(color=_FAINT, linewidth=0.6)
    legend = axes.legend(
        handles=[line, band, across], frameon=False, fontsize=8.5, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0
    )
    for text in legend.get_texts():
        text.set_color(_INK)
    return _svg(figure, axes, name)


def _svg(figure: Any, axes: Any, name: str) -> str:
    import matplotlib

    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("bottom", "left"))
        spine.set_color(_INK)
    axes.tick_params(colors=_INK)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser draws the text, with fonts of its own
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    for colour, replacement in _SWAP.items():
        text = text.replace(colour, replacement)
    # Without a fixed width and height, the drawing is scaled to the width of the page.
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1)
