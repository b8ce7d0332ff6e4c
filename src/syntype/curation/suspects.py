"""The search for photographs with a wrong name, for an expert to look at: a table, a page and contact sheets. Nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from syntype.collection.inspection import near_pairs
from syntype.collection.table import Collection
from syntype.curation.contact_sheets import SIDE, Card, Panel, Section, write_page, write_sheets
from syntype.curation.label_noise import (
    distance_to_species,
    nearest_in_species,
    num_label_errors,
    out_of_fold,
    reduced,
    robust_deviations,
    suggestions,
)
from syntype.encoders import encode_collection, load_encoder
from syntype.errors import CollectionError, percent, shown_list
from syntype.files import atomic_write
from syntype.recipe import Seed, Settings
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["KINDS", "SuspectsConfig", "SuspectsResult", "find_suspects"]

KINDS = ("label", "near-duplicate", "outlier")
"""Why a photograph is listed: another species is more probable; the same picture has another name; it is unlike all others of its species."""
_COLUMNS = (
    "kind", "rank", "image_id", "file_name", "original_name", "species", "suggested_species", "probability_given", "probability_suggested", "score",
    "group", "split", "beside_image_id",
)  # fmt: skip


class SuspectsConfig(Settings):
    """Settings of ``find_suspects``."""

    encoder: str = "lite2"
    """Network that describes the photographs (``lite1``, ``lite2``, ``timm:NAME[:FILE]``, ``open_clip:NAME[:FILE]``)."""
    size: int = Field(192, ge=32, le=1024)
    """Side in pixels of the squares that it looks at; a model that was made for images of one side has its own."""
    folds: int = Field(5, ge=2, le=20)
    """Number of parts of the collection. Each is judged by a classifier that learns from the others."""
    min_groups: int = Field(4, ge=2)
    """Species with fewer groups (specimens, observations, tracks) are not judged."""
    neighbours: int = Field(5, ge=1)
    """Number of photographs of the species to which the distance of a photograph is measured."""
    deviations: float = Field(4.0, gt=0)
    """A photograph is an outlier if its distance lies so many robust standard deviations above the median of its species."""
    most: int = Field(300, ge=1)
    """Largest number of photographs that are listed for each reason."""
    seed: Seed = 0
    """Seed of the parts."""


@dataclass(frozen=True)
class SuspectsResult:
    """Result of ``find_suspects``.

    Attributes:
        table: one row per suspect, the most suspicious of each kind first: the columns of ``suspects.csv``.
        num_images: number of photographs that were judged.
        num_listed: number of suspects of each of ``KINDS``.
        num_estimated: how many names are probably wrong, by confident learning; photographs that are hard to identify count too.
        too_few: species with too few groups to judge.
        page: the HTML page.
    """

    table: pd.DataFrame
    num_images: int
    num_listed: dict[str, int]
    num_estimated: int
    too_few: tuple[str, ...]
    page: Path

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        return {
            "num_images": self.num_images,
            "num_listed": dict(self.num_listed),
            "num_estimated": self.num_estimated,
            "too_few_to_judge": list(self.too_few),
            "page": str(self.page),
        }


@keeps_run("suspects")
def find_suspects(collection: Collection, config: SuspectsConfig, out: Path | str, run: Run = OWN_RUN) -> SuspectsResult:
    """List the photographs that most probably have a wrong name, and draw each beside those to compare it with.

    A classifier on features of a pre-trained network gives every photograph the probability of each species. It never learns from photographs of the
    same group: a video track does not vote for itself. Confident learning tells how many names are probably wrong; so many are listed, those with
    the lowest odds of their name first (kind ``label``). Pictures that are nearly the same and have two names (``near-duplicate``), and photographs
    unlike all others of their species (``outlier``: a label, a hand, an empty frame) are listed too. All splits are looked at. Synthetic and refused
    images are left out.

    The folder gets ``suspects.csv``, ``suspects.html`` and contact sheets such as ``label-01.png``.

    Args:
        collection: The photographs; they are not changed.
        config: Settings.
        out: Folder to write to.
        run: Records progress. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        The suspects and their numbers.

    Raises:
        CollectionError: No two species have enough groups to be judged.

    Example:
        >>> import syntype
        >>> reef = syntype.Collection.open("out/reef")
        >>> found = syntype.find_suspects(reef, syntype.SuspectsConfig(size=64), "out/suspects")
        >>> sorted(found.num_listed), found.page.name
        (['label', 'near-duplicate', 'outlier'], 'suspects.html')
    """
    out = Path(out)
    real = (collection.table["origin"].fillna("real") == "real").to_numpy(dtype=bool)
    photographs = collection.where(real & (collection.labels() >= 0)).select(usable=True)
    too_few = _too_few(photographs, config.min_groups)
    encoder = load_encoder(config.encoder)
    pixels = encoder.input_size or config.size
    with run.progress("Describing photographs", len(photographs)) as bar:
        raw = encode_collection(encoder, photographs, pixels=pixels, size=config.size, progress=bar.advance)
    features = reduced(raw)
    labels, groups = photographs.labels(), photographs.groups()
    with run.progress("Judging their names", config.folds) as bar:
        probabilities = out_of_fold(
            features, labels, groups, len(photographs.species), folds=config.folds, seed=config.seed, progress=lambda: bar.advance()
        )
    judged = ~np.isin(labels, [photographs.species.index(name) for name in too_few])
    best, odds = suggestions(probabilities, labels)
    estimated = num_label_errors(probabilities[judged], labels[judged])
    run.say("Searching for outliers and near duplicates")
    strange = robust_deviations(distance_to_species(features, labels, groups, config.neighbours), labels)
    pairs = near_pairs(photographs, encoder.encode)

    found = _Found(photographs, features, labels, groups, probabilities, best)
    order = np.argsort(np.where(judged, odds, np.inf), kind="stable")
    by_label = [int(row) for row in order[:estimated] if odds[row] < 0][: config.most]
    found.set_aside = set(by_label)
    far = np.argsort(-np.nan_to_num(strange, nan=-np.inf), kind="stable")
    outliers = [int(row) for row in far if judged[row] and strange[row] >= config.deviations and row not in found.set_aside][: config.most]
    double = _double_named(photographs, pairs)[: config.most]
    rows = [
        *(found.label_row(row, float(-odds[row]), rank) for rank, row in enumerate(by_label, start=1)),
        *(found.pair_row(one, other, score, rank) for rank, (one, other, score) in enumerate(double, start=1)),
        *(found.outlier_row(row, float(strange[row]), rank) for rank, row in enumerate(outliers, start=1)),
    ]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "suspects.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.4g")
    num_listed = {kind: int((table["kind"] == kind).sum()) for kind in KINDS}
    page = out / "suspects.html"
    _draw(found, table, too_few, config, page, run)
    return SuspectsResult(table, len(photographs), num_listed, estimated, too_few, page)


def _too_few(photographs: Collection, least: int) -> tuple[str, ...]:
    """Species with photographs, but with fewer groups than are needed.

    Raises:
        CollectionError: fewer than two species remain.
    """
    labels, groups = photographs.labels(), photographs.groups()
    counts = {name: len(np.unique(groups[labels == label])) for label, name in enumerate(photographs.species)}
    there = {name: count for name, count in counts.items() if count}
    few = tuple(name for name, count in there.items() if count < least)
    if len(there) - len(few) < 2:
        raise CollectionError(
            f"{photographs.root}: {len(there) - len(few)} species have at least {least} groups (specimens, observations or tracks); two are "
            f"needed to compare. Too few: {shown_list(few, 8)}. Add photographs, or lower it with --set min_groups=2."
        )
    return few


def _double_named(photographs: Collection, pairs: pd.DataFrame) -> list[tuple[int, int, float]]:
    """Pairs of rows that show nearly the same picture under two names, and how alike they are (0..1); the same bytes come first."""
    position = {name: row for row, name in enumerate(photographs.table["image_id"])}
    labels, hashes = photographs.labels(), photographs.table["sha256"].to_numpy(dtype=object)
    result = []
    for key, rows in pd.Series(np.arange(len(hashes))).groupby(hashes):
        first = int(rows.iloc[0])
        result += [(first, int(row), 1.0) for row in rows if key and labels[row] != labels[first]]
    for one, other, detail, same in zip(pairs["first"], pairs["second"], pairs["detail"], pairs["same_species"], strict=True):
        if not same:
            result.append((position[one], position[other], float(detail)))
    return result


class _Found:
    """What is known of every photograph, and the rows of the table.

    Attributes:
        set_aside: photographs that are no example of their species, as their own names are in doubt.
    """

    def __init__(self, photographs: Collection, features: np.ndarray, labels: np.ndarray, groups: np.ndarray, probabilities: np.ndarray,
                 best: np.ndarray) -> None:  # fmt: skip
        self.photographs, self.table, self.species = photographs, photographs.table, photographs.species
        self.features, self.labels, self.groups, self.probabilities, self.best = features, labels, groups, probabilities, best
        self.set_aside: set[int] = set()

    def example(self, row: int, label: int) -> int | None:
        """The photograph of a species, of another group and without doubt, that is most like that of the row."""
        fitting = np.flatnonzero((self.labels == label) & (self.groups != self.groups[row]))
        return nearest_in_species(self.features, row, np.array([one for one in fitting if one not in self.set_aside], dtype=np.int64))

    def label_row(self, row: int, score: float, rank: int) -> dict[str, Any]:
        label = int(self.best[row])
        given, suggested = self.probabilities[row, self.labels[row]], self.probabilities[row, label]
        more = {"suggested_species": self.species[label], "probability_given": given, "probability_suggested": suggested}
        return self._row("label", row, rank, score, self.example(row, label), more)

    def outlier_row(self, row: int, score: float, rank: int) -> dict[str, Any]:
        return self._row("outlier", row, rank, score, self.example(row, int(self.labels[row])), {})

    def pair_row(self, row: int, other: int, score: float, rank: int) -> dict[str, Any]:
        return self._row("near-duplicate", row, rank, score, other, {"suggested_species": self.species[self.labels[other]]})

    def _row(self, kind: str, row: int, rank: int, score: float, beside: int | None, more: dict[str, Any]) -> dict[str, Any]:
        table = self.table
        known = {name: table[name].iloc[row] for name in ("image_id", "file_name", "original_name", "species", "group", "split")}
        other = None if beside is None else table["image_id"].iloc[beside]
        plain = {name: None if pd.isna(value) else value for name, value in known.items()}
        return {"kind": kind, "rank": rank, **plain, "score": score, "beside_image_id": other, **more}


def _draw(found: _Found, table: pd.DataFrame, too_few: Sequence[str], config: SuspectsConfig, page: Path, run: Run) -> None:
    """Write the page and the contact sheets."""
    position = {name: row for row, name in enumerate(found.table["image_id"])}
    plans: dict[str, list[tuple[str, list[tuple[int, str, str, str]]]]] = {kind: [] for kind in KINDS}
    for one in table.to_dict("records"):
        row = position[one["image_id"]]
        beside = None if pd.isna(one["beside_image_id"]) else position[str(one["beside_image_id"])]
        file = Path(str(one["file_name"] if pd.isna(one["original_name"]) else one["original_name"])).name
        title = f"{one['rank']}.  {file}  ·  {one['image_id']}"
        name = str(one["species"])
        if one["kind"] == "label":
            own = found.example(row, int(found.labels[row]))
            given, suggested = percent(one["probability_given"]), percent(one["probability_suggested"])
            panels = [(row, "this photograph", "", f"group {found.groups[row] + 1}" if pd.isna(one["group"]) else f"group {one['group']}")]
            panels += [] if own is None else [(own, "is called", name, given)]
            panels += [] if beside is None else [(beside, "looks more like", str(one["suggested_species"]), suggested)]
        elif one["kind"] == "outlier":
            panels = [(row, "this photograph", name, f"{one['score']:.1f} deviations away")]
            panels += [] if beside is None else [(beside, "nearest of its species", name, "")]
        else:
            panels = [(row, "this photograph", name, "")]
            panels += [] if beside is None else [(beside, "the same under another name", str(one["suggested_species"]), f"{one['score']:.0%} alike")]
        plans[one["kind"]].append((title, panels))
    wanted = sorted({panel[0] for cards in plans.values() for _, panels in cards for panel in panels})
    images: dict[int, np.ndarray] = {}
    with run.progress("Drawing contact sheets", len(wanted)) as bar:
        for row, image in zip(wanted, found.photographs.iterate_pixels(SIDE, np.array(wanted, dtype=np.int64)), strict=True):
            images[row] = image
            bar.advance()
    sections = [
        Section(kind, f"{_TITLES[kind]}: {len(cards):,}", _TEXTS[kind],
                [Card(title, [Panel(images[row], role, name, detail) for row, role, name, detail in panels]) for title, panels in cards])
        for kind, cards in plans.items()
    ]  # fmt: skip
    for section in sections:
        write_sheets(section, page.parent)
    text = [
        f"{len(found.labels):,} photographs of {len(np.unique(found.labels)):,} species were judged. The red frame is the photograph in question."
    ]
    if too_few:
        text.append(f"Too few to judge, with fewer than {config.min_groups} groups: {shown_list(too_few, 40)}.")
    write_page(f"Photographs to look at: {found.photographs.name}", text, sections, page)


_TITLES = {
    "label": "Another species is more probable",
    "near-duplicate": "The same picture under two names",
    "outlier": "Unlike all others of its species",
}
_TEXTS = {
    "label": "The most doubtful first. The percentages are those of a classifier that has seen no photograph of the same group. Correct names are "
    "listed too, of photographs that are hard to identify: dark, blurred, seen from an unusual side.",
    "near-duplicate": "At least one of the two names is wrong.",
    "outlier": "Often no organism, another part of it, another life stage, a drawing, or a box in the wrong place.",
}
