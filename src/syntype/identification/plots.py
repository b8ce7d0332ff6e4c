"""Plots of the confusions of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from syntype.collection.names import plot_label
from syntype.identification.metrics import Metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_confusion"]

_MAX_SPECIES = 60  # with more species the labels of a matrix are not legible
_PAIRS = 30


def plot_confusion(metrics: Metrics, species: Sequence[str], path: Path) -> None:
    """Plot the confusion matrix as PNG; with more than 60 tested species, a bar chart of the 30 most frequent confusions.

    The matrix has one row per true species with test images, sorted by the number of training images, descending. Each row sums to 1.
    """
    tested = np.flatnonzero(metrics.confusion.sum(axis=1))
    if 0 < len(tested) <= _MAX_SPECIES:
        figure = _matrix(metrics, species, tested[np.argsort(-metrics.counts_real[tested], kind="stable")])
    else:
        figure = _pairs(metrics, species)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def _matrix(metrics: Metrics, species: Sequence[str], order: np.ndarray) -> Figure:
    from matplotlib.figure import Figure

    shares = metrics.confusion[np.ix_(order, order)] / metrics.confusion[order].sum(axis=1, keepdims=True)
    side = max(4.0, 0.26 * len(order) + 1.5)
    figure = Figure(figsize=(side + 0.8, side))
    axes = figure.subplots()
    drawn = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    small = 6.5 if len(order) > 30 else 8
    tested = metrics.confusion.sum(axis=1)
    axes.set_xticks(range(len(order)), [plot_label(species[i]) for i in order], rotation=90, fontsize=small, style="italic")
    axes.set_yticks(range(len(order)), [f"{plot_label(species[i])} ({metrics.counts_real[i]}; {tested[i]})" for i in order], fontsize=small)
    axes.set_xlabel("identified as", fontsize=small + 1)
    axes.set_ylabel("true species (real training images; test images)", fontsize=small + 1)
    for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
        if len(order) <= 30:
            value = shares[row, column]
            axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=6, color="white" if value > 0.55 else "black")
    axes.set_title(f"accuracy {metrics.accuracy:.3f}, macro recall {metrics.macro_recall:.3f}", fontsize=small + 2)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.04, pad=0.02)
    bar.ax.tick_params(labelsize=small)
    bar.set_label("share of the true species' test images" + (" (cells in %)" if len(order) <= 30 else ""), fontsize=small)
    return figure


def _pairs(metrics: Metrics, species: Sequence[str]) -> Figure:
    from matplotlib.figure import Figure

    pairs = metrics.worst_pairs(_PAIRS)[::-1]
    figure = Figure(figsize=(8, max(2.0, 0.24 * len(pairs) + 1)))
    axes = figure.subplots()
    if not pairs:
        axes.text(0.5, 0.5, "no confusions", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return figure
    axes.barh(range(len(pairs)), [share for *_, share in pairs], color="#4c78a8")
    tested = metrics.confusion.sum(axis=1)
    names = [f"{plot_label(species[true])} → {plot_label(species[predicted])} ({number} of {tested[true]})" for true, predicted, number, _ in pairs]
    axes.set_yticks(range(len(pairs)), names, fontsize=7)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the true species' test images", fontsize=8)
    axes.set_title(f"the {len(pairs)} most frequent confusions (true → identified as)", fontsize=9)
    return figure
