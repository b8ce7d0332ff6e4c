"""Summary of a collection: images per species, licences, duplicates and problems."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from syntype.collection.bins import BINS, bin_of
from syntype.collection.columns import SPLITS
from syntype.collection.duplicates import THUMBNAIL, first_of_same, near_duplicates
from syntype.collection.names import plot_label
from syntype.collection.table import Collection
from syntype.errors import checks_arguments, shortened, shown_list
from syntype.run import OWN_RUN, Run

__all__ = ["InspectResult", "inspect", "near_pairs", "plot_long_tail"]

_COLOURS = ("#b2182b", "#ef8a62", "#67a9cf", "#2166ac")  # from red (rare) to blue (common); readers with colour blindness can tell them apart
_SHOWN = 8


@dataclass(frozen=True)
class InspectResult:
    """What ``inspect`` found.

    Attributes:
        species: one row per species, the most common first: ``species``, ``images``, ``groups``, images in each split, ``bin``.
        near: pairs of near duplicates: ``first``, ``second`` (image_id), ``detail``, ``bits`` (in which their hashes differ, of 64), ``same_group``,
            ``same_split``, ``same_species``.
        problems: one sentence each, the most serious first.
        counts: all other results, as plain values.
    """

    name: str
    species: pd.DataFrame
    near: pd.DataFrame
    problems: tuple[str, ...]
    counts: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """All results as plain values. Near duplicates are only counted, not listed."""
        return {"name": self.name, **self.counts, "problems": list(self.problems), "species": self.species.to_dict(orient="records")}

    def text(self) -> str:
        """All results as text for a terminal."""
        c = self.counts
        lines = [f"{self.name}: {c['num_images']:,} images, {c['num_species']:,} species, {c['num_groups']:,} groups", ""]
        shown = self.species if len(self.species) <= 40 else pd.concat([self.species.head(20), self.species.tail(20)])
        width = max([7, *(len(name) for name in shown["species"])])
        lines.append(f"{'species':<{width}} {'images':>7} {'groups':>7} {'train':>6} {'val':>6} {'test':>6}  bin")
        longest = int(self.species["images"].max()) if len(self.species) else 1
        row: Any
        for number, row in enumerate(shown.itertuples(index=False)):
            if len(shown) < len(self.species) and number == 20:
                lines.append(f"… {len(self.species) - 40:,} more species …")
            bar = "█" * max(1, round(16 * math.log1p(row.images) / math.log1p(longest))) if row.images else ""
            lines.append(f"{row.species:<{width}} {row.images:>7,} {row.groups:>7,} {row.train:>6,} {row.val:>6,} {row.test:>6,}  {row.bin:<8}{bar}")
        lines += ["", "training images  " + "   ".join(f"{name}: {number} species" for name, number in c["bins"].items())]
        lines.append("licences         " + _tally(c["licences"]))
        size = c["sizes"]
        lines.append(f"sizes            shorter side {size['shorter_min']} to {size['shorter_max']} px, median {size['shorter_median']} px")
        near = c["near_duplicates"]
        pairs = f"{near['pairs']} near ({near['within_group']} within a group, {near['across_groups']} across groups)"
        lines.append(f"duplicates       {c['num_duplicates']} exact, {pairs}")
        if c["num_refused"]:
            lines.append(f"set aside        {c['num_refused']} files: " + _tally(c["refused"]))
        lines += ["", *(f"! {problem}" for problem in self.problems)] if self.problems else ["", "no problems found"]
        return "\n".join(lines)


@checks_arguments
def inspect(collection: Collection, run: Run = OWN_RUN, encode: Callable[[np.ndarray], np.ndarray] | None = None) -> InspectResult:
    """Count images, and look for problems that would make the verdict of a study unreliable.

    These are: duplicates or groups in more than one split, one picture under two species, and species names that are nearly the same.

    Args:
        collection: any collection; it is not changed.
        run: Records progress and messages. Default: standard error.
        encode: function from images (uint8, NHWC) to features (float, shape (N, D)). If given, near duplicates must be similar in these features
            too, not only in hashes and thumbnails. Example: ``load_encoder("lite2").encode``.

    Returns:
        tables of species and of near duplicates, problems as sentences, and counts.

    Example:
        >>> import syntype
        >>> found = syntype.inspect(syntype.Collection.open("out/reef"))
        >>> found.counts["num_species"], found.problems
        (4, ())
    """
    table = collection.table
    species = _species_table(collection)
    near = near_pairs(collection, encode)
    refused = _refused(collection.root / "refused.csv")
    problems = _problems(collection, species, near, refused)
    shorter = table[["width", "height"]].min(axis=1).dropna().astype(int)
    training = species["train"] if (species[list(SPLITS)].sum(axis=1) > 0).any() else species["images"]
    in_bins = Counter(bin_of(int(count)) for count in training)
    counts = {
        "num_images": len(table),
        "num_species": len(collection.species),
        "num_groups": int(collection.groups().max()) + 1 if len(table) else 0,
        "num_refused": sum(refused.values()),
        "num_duplicates": int((first_of_same(table) != np.arange(len(table))).sum()),
        "splits": {split: int((table["split"] == split).sum()) for split in SPLITS},
        "bins": {name: in_bins.get(name, 0) for name in BINS},
        "licences": _count(table["licence"]),
        "origins": _count(table["origin"]),
        "sizes": {
            "shorter_min": int(shorter.min()) if len(shorter) else 0,
            "shorter_median": int(shorter.median()) if len(shorter) else 0,
            "shorter_max": int(shorter.max()) if len(shorter) else 0,
        },
        "near_duplicates": {
            "pairs": len(near),
            "within_group": int(near["same_group"].sum()),
            "across_groups": int((~near["same_group"]).sum()),
            "across_splits": int((~near["same_split"]).sum()),
            "across_species": int((~near["same_species"]).sum()),
        },
        "refused": refused,
    }
    return InspectResult(collection.name, species, near, tuple(problems), counts)


def _species_table(collection: Collection) -> pd.DataFrame:
    table, labels = collection.table, collection.labels()
    n = len(collection.species)
    known = labels >= 0
    columns: dict[str, Any] = {"species": list(collection.species), "images": np.bincount(labels[known], minlength=n)}
    pairs = np.unique(np.stack([collection.groups()[known], labels[known]], axis=1), axis=0)
    columns["groups"] = np.bincount(pairs[:, 1], minlength=n)
    for split in SPLITS:
        columns[split] = np.bincount(labels[known & (table["split"] == split).fillna(False).to_numpy(dtype=bool)], minlength=n)
    result = pd.DataFrame(columns)
    basis = result["train"] if table["split"].notna().any() else result["images"]
    result["bin"] = [bin_of(int(count)) for count in basis]
    return result.sort_values(["images", "species"], ascending=[False, True]).reset_index(drop=True)


def near_pairs(collection: Collection, encode: Callable[[np.ndarray], np.ndarray] | None) -> pd.DataFrame:
    """Pairs of photographs whose whole pictures are nearly the same: the columns of ``InspectResult.near``. ``encode`` as for ``inspect``."""
    table, groups = collection.table, collection.groups()
    whole = collection.where(np.ones(len(table), dtype=bool))
    whole.table["box"] = None  # compare whole pictures: a box contains only one fish

    def thumbnails(rows: np.ndarray) -> np.ndarray:
        return np.stack(list(whole.iterate_pixels(THUMBNAIL, rows)))

    pairs = near_duplicates(table, thumbnails, encode)
    a, b = pairs["first"].to_numpy(dtype=np.int64), pairs["second"].to_numpy(dtype=np.int64)
    split, name, ids = (
        table["split"].fillna("").to_numpy(dtype=object),
        table["species"].to_numpy(dtype=object),
        table["image_id"].to_numpy(dtype=object),
    )
    columns = {"first": ids[a], "second": ids[b], "detail": pairs["detail"].to_numpy(), "bits": pairs["bits"].to_numpy(dtype=np.int64)}
    columns["same_group"] = groups[a] == groups[b]
    return pd.DataFrame({**columns, "same_split": split[a] == split[b], "same_species": name[a] == name[b]}).astype(
        {"same_group": bool, "same_split": bool, "same_species": bool}
    )


def _problems(collection: Collection, species: pd.DataFrame, near: pd.DataFrame, refused: Mapping[str, int]) -> list[str]:
    table = collection.table
    found = []
    for what, column in (("groups", "group"), ("pictures with the same bytes", "sha256")):
        spread = table.dropna(subset=[column, "split"]).groupby(column)["split"].nunique()
        names = [str(name)[:16] for name in spread.index[spread > 1]]
        if names:
            found.append(f"{len(names)} {what} lie in more than one split: {shown_list(names, _SHOWN)}. Import again, so that the test stays unseen.")
    names_of = table.groupby("sha256")["species"].nunique()
    if (double := table[table["sha256"].isin(names_of.index[names_of > 1]) & table.duplicated(["sha256", "box"], keep=False)]).size:
        rows = [" and ".join(sorted(set(part["species"].dropna()))) for _, part in double.groupby("sha256")]
        found.append(f"{len(rows)} pictures are listed under two species: {shown_list(sorted(set(rows)), _SHOWN)}. Remove the wrong rows.")
    if count := int((~near["same_split"]).sum()):
        found.append(f"{count} pairs of near duplicates lie in different splits: the test is a little easier than it should be.")
    if count := int((~near["same_species"]).sum()):
        found.append(f"{count} pairs of near duplicates have different species: look whether one is misnamed.")
    if pairs := _like_names(collection.species):
        alike = shown_list([f"{shortened(a)!r} and {shortened(b)!r}" for a, b in pairs], _SHOWN, 150)
        found.append(f"{len(pairs)} pairs of species' names are nearly the same: {alike}. Is it one species?")
    if table["split"].notna().any():
        untested = species[(species["images"] > 0) & (species["test"] == 0)]["species"].tolist()
        if untested:
            found.append(f"{len(untested)} species cannot be tested, as they have one group only: {shown_list(untested, _SHOWN)}.")
        untrained = species[(species["test"] > 0) & (species["train"] == 0)]["species"].tolist()
        if untrained:
            found.append(f"{len(untrained)} species are tested but have no training image: {shown_list(untrained, _SHOWN)}.")
    if count := int(table["licence"].isna().sum()):
        found.append(f"{count} images have no licence: fill in a licence column before sharing anything made from them.")
    for note, count in _count(table["note"].str.split(":").str[0]).items():
        if note != "none":
            found.append(f"{count} images: {note} (see the column 'note').")
    if refused:
        found.append(f"{sum(refused.values())} files were set aside: {_tally(refused)}. See refused.csv.")
    return found


def _like_names(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pairs of names that differ only in case, spacing or punctuation, or, if long (10 letters or more), in one or two letters."""
    plain = sorted(("".join(letter for letter in name.casefold() if letter.isalnum()), name) for name in names)
    pairs: dict[tuple[str, str], None] = {}
    # Misspelt names mostly share the beginning or the end, so they are neighbours when names are sorted by letters from the left or the right.
    for order in (plain, sorted(plain, key=lambda item: item[0][::-1])):
        for (a, first), (b, second) in pairwise(order):
            if a == b or (min(len(a), len(b)) >= 10 and _nearly_equal(a, b)):
                pairs[min(first, second), max(first, second)] = None
    return list(pairs)


def _nearly_equal(a: str, b: str) -> bool:
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return all(ratio() > 0.95 for ratio in (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio))  # the first two are bounds of the third


def _refused(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    reasons: Counter[str] = Counter()
    with path.open(encoding="utf-8", errors="replace", newline="") as file, suppress(csv.Error):  # a damaged list is counted as far as it goes
        reasons.update(row.get("reason") or "unknown" for row in csv.DictReader(line.replace("\0", "") for line in file))
    return dict(reasons.most_common())


def _count(values: pd.Series) -> dict[str, int]:
    return {str(name): int(number) for name, number in values.fillna("none").value_counts().items()}


def _tally(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{shortened(name)}: {number:,}" for name, number in list(counts.items())[:_SHOWN])
    return shown + (f", … ({len(counts) - _SHOWN} more)" if len(counts) > _SHOWN else "")


@checks_arguments
def plot_long_tail(counts: Collection | Mapping[str, int], path: Path) -> Path:
    """Plot the number of training images of every species on a logarithmic scale, the most common first, coloured by bin.

    Args:
        counts: number of images per species; or a collection, of which the training images are counted (all images, if it has no splits).
        path: file to write, ending in .png, .svg or .pdf.

    Returns:
        ``path``.

    Example:
        >>> import syntype
        >>> syntype.plot_long_tail({"Aus primus": 120, "Aus secundus": 6}, "long-tail.svg").name
        'long-tail.svg'
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    if isinstance(counts, Collection):
        has_splits = counts.table["split"].notna().any()
        counts = (counts.where(counts.table["split"] == "train") if has_splits else counts).counts()
    items = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    names, heights = [name for name, _ in items], np.array([count for _, count in items], dtype=float)
    bins = [bin_of(int(count)) for count in heights]
    colours = dict(zip(BINS, _COLOURS, strict=True))
    few = len(items) <= 40
    figure = Figure(figsize=(max(6.0, 0.28 * len(items) + 2) if few else 10.0, 5.0 if few else 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    where = np.arange(len(items))
    if few:
        axes.bar(where, heights, width=0.8, color=[colours[name] for name in bins])
        axes.set_xticks(where, [plot_label(name) for name in names], rotation=60, ha="right", rotation_mode="anchor", fontsize=9, style="italic")
        for x, count in zip(where, heights, strict=True):
            axes.annotate(f"{int(count):,}", (x, max(count, 1)), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=7, color="#333333")
    else:  # bars thinner than a pixel are drawn unevenly, so fill the area under steps instead
        for name, colour in colours.items():
            inside = [position for position, of in enumerate(bins) if of == name]
            if inside:
                span = np.arange(inside[0], inside[-1] + 2)
                tops = heights[inside[0] : inside[-1] + 1]
                axes.fill_between(span, np.append(tops, tops[-1]), 0.5, step="post", color=colour, linewidth=0)
        axes.set_xlabel(f"{len(items):,} species, the most common first")
    axes.set_yscale("log")
    axes.set_ylim(0.7, max(10.0, heights.max(initial=1) * 1.8))
    axes.set_xlim(-0.7 if few else 0, max(len(items) - (0.3 if few else 0), 1))
    axes.set_ylabel("training images")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    number = Counter(bins)
    axes.legend(handles=[Patch(color=colours[name], label=f"{name}: {number[name]:,} species") for name in BINS if number[name]],
                frameon=False, ncols=4, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)  # fmt: skip  # above the bars
    figure.savefig(path, dpi=150)
    return Path(path)
