"""Do images, or training photographs, repeat photographs that are held back for validation and test?

Four searches, each calibrated on photographs of other individuals:

copies    ``CopyDetector`` among the held-back photographs of the same species: the threshold, and how often chance alone passes it, are
          measured between training photographs of different groups
animals   the animal of a held-back photograph, elsewhere or drawn again (``parts.nearest_animals``)
pieces    the middle of a held-back photograph, pixel by pixel, somewhere in an image (``parts.nearest_pieces``)
places    the surroundings of a held-back photograph, around another animal (``parts.nearest_places``)

More copies than chance explains, or a place or animal too often taken from held-back photographs, and nothing measured on these photographs can
be trusted: ``LeakageError``. Fewer, and the held-back photographs concerned are left out, with all of their group.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import stats

from syntype.collection.pixels import photograph_parts
from syntype.collection.soft_labels import soft_labels
from syntype.collection.table import Collection
from syntype.curation.curate import copy_bank, copy_detector, group_names
from syntype.curation.parts import Origins, nearest_animals, nearest_pieces, nearest_places
from syntype.errors import LeakageError
from syntype.files import atomic_write, write_json
from syntype.run import Run

__all__ = ["Leaks", "find_leaks", "held_back_apart"]

SIGNIFICANT = 0.001
"""Chance of refusing images that have nothing to do with the held-back photographs, for each search."""
MOST_LEFT_OUT = 0.1
"""Largest share of the held-back groups that is left out. Beyond it the study is refused, as the rest would be another test."""
_SHOWN = 24


@dataclass
class Leaks:
    """What was found.

    Attributes:
        num_images: number of images compared, training photographs not counted.
        num_held: number of held-back photographs.
        pairs: one dict a pair: ``image``, ``photograph`` (image_ids), ``split``, ``distance``, ``found_by`` (copies, animals, pieces or places),
            and for the first 24 ``pictures`` (two data URIs).
        left_out: image_ids of the held-back photographs to leave out.
        reasons: why the images are refused, one sentence each; empty if they are not.
        unclear: why copies could not be told from other photographs, one sentence each: photographs of different individuals look too alike,
            or are too few.
    """

    num_images: int = 0
    num_held: int = 0
    pairs: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All attributes as JSON values."""
        return dict(vars(self))

    def save(self, folder: Path) -> Path:
        """Write ``leakage.json`` and ``leakage.html``, a page with the pictures of the pairs. Returns the path of the page."""
        write_json(folder / "leakage.json", self.to_json())
        rows = [
            f'<p><img src="{one["pictures"][0]}" alt="Image"> <img src="{one["pictures"][1]}" alt="Held-back photograph"><br>'
            f"{html.escape(one['image'])} and {html.escape(one['photograph'])} ({one['split']}); found by: {one['found_by']}</p>"
            for one in self.pairs
            if "pictures" in one
        ]
        words = self.reasons or [f"{len(self.left_out)} photographs were left out of validation and test."]
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Leakage</title><style>body{font:16px sans-serif;max-width:50rem;'
            "margin:auto}img{width:9rem}</style><h1>Images that repeat validation or test photographs</h1>"
            + "".join(f"<p>{html.escape(word)}</p>" for word in words)
            + "<p>Left: an image used for training. Right: the held-back photograph that it repeats.</p>"
            + "".join(rows)
        )
        with atomic_write(folder / "leakage.html") as temporary:
            temporary.write_text(page, encoding="utf-8")
        return folder / "leakage.html"


def find_leaks(real: Collection, images: Sequence[Collection], *, size: int, run: Run, seed: int = 0, quantile: float = 0.015) -> Leaks:
    """Compare training photographs and images with the held-back photographs (splits ``val`` and ``test``).

    Args:
        real: the photographs, all splits.
        images: the collections of images that are used for training, with species of ``real``. Others are left out, as no arm uses them.
        size: side in pixels at which images are compared.
        run: records progress.
        seed: seed of all draws.
        quantile: as in ``CopyDetector``.
    """
    held, train = _labelled(real.select(split=("val", "test"))), _labelled(real.select(split="train", usable=True))
    parts = [_labelled(Collection(one.root, one.table, real.species, one.info)) for one in images]
    found = Leaks(sum(map(len, parts)), len(held))
    if not len(held) or not len(train):
        return found
    search = _Search(held, train, size, quantile, seed, run)
    validation = held.table["split"].eq("val").to_numpy(dtype=bool)
    among = search.allowed(train.labels())
    search.copies(found, [train], among, "training photographs")
    late = held.where(validation)
    if len(late):  # validation photographs, too, choose what is tested
        search.copies(found, [late], search.allowed(late.labels()) & ~validation[None], "validation photographs")
    if parts:
        labels = np.concatenate([one.labels() for one in parts])
        seconds = np.concatenate([soft_labels(one.table, real.species).second for one in parts])  # of images between two species
        # A training photograph that repeats a held-back one is known; images made from it honestly are not counted a second time.
        known = held.table["image_id"].isin(found.left_out).to_numpy(dtype=bool)
        search.copies(found, parts, (search.allowed(labels) | search.allowed(seconds)) & ~known[None], "synthetic images")
        if not found.reasons:  # the certain and quick search first
            search.origins(found, parts, labels)
    found.pairs.sort(key=lambda one: (one["distance"] is None, one["distance"]))  # the surest first
    for place, one in enumerate(found.pairs):
        shown = one.pop("pixels")
        if place < _SHOWN:
            one["pictures"] = [_data_uri(picture) for picture in shown]
    return found


def held_back_apart(real: Collection, images: Sequence[Collection], *, size: int, run: Run, out: Path | None = None, seed: int = 0,
                    quantile: float = 0.015) -> tuple[Collection, Leaks]:  # fmt: skip
    """The photographs without the held-back ones that training would see, and what was found.

    Args:
        real, images, size, run, seed, quantile: as for ``find_leaks``.
        out: folder for ``leakage.json`` and ``leakage.html``, written if anything was found; None for no files.

    Raises:
        LeakageError: more was found than chance explains.
    """
    found = find_leaks(real, images, size=size, run=run, seed=seed, quantile=quantile)
    if out is not None and (found.pairs or found.reasons):
        out.mkdir(parents=True, exist_ok=True)
        found.save(out)
    if found.reasons:
        first = ", ".join(f"{one['image']} and {one['photograph']}" for one in found.pairs[:3])
        where = f" Pictures of the pairs: {out / 'leakage.html'}." if out is not None else ""
        raise LeakageError(
            f"{real.root}: {' '.join(found.reasons)} First pairs: {first}.{where} Take these images out, or make them again from the training "
            "photographs alone; put photographs of one individual into one split with --group-column."
        )
    for sentence in found.unclear:
        run.say(sentence)
    if found.left_out:
        run.say(f"{len(found.left_out)} validation or test photographs are repeated in training, and are left out.")
        real = real.where(~real.table["image_id"].isin(found.left_out).to_numpy(dtype=bool))
    return real, found


class _Search:
    """The held-back photographs, ready to be searched, and how often chance takes others for them."""

    def __init__(self, held: Collection, train: Collection, size: int, quantile: float, seed: int, run: Run) -> None:
        self.held, self.train, self.size, self.seed, self.run = held, train, size, seed, run
        self.labels, self.groups = held.labels(), group_names(held)
        detector = copy_detector(train, size, quantile, seed, run)
        ids = held.table["image_id"].tolist()
        self.detector = copy_bank(held, size, threshold=detector.threshold)
        self._row = {name: row for row, name in enumerate(ids)}
        hits, compared = detector.chance
        # Upper 95 % limit of the rate: few photographs to calibrate on allow no small one (Garwood 1936).
        self.rate = float(min(1.0, stats.chi2.ppf(0.95, 2 * (hits + 1)) / 2 / max(1, compared)))

    def allowed(self, labels: np.ndarray) -> np.ndarray:
        """Whether a held-back photograph is of an image's species: bool, shape (N, num_held)."""
        return np.asarray(labels[:, None] == self.labels[None], dtype=bool)

    def copies(self, found: Leaks, images: Sequence[Collection], allowed: np.ndarray, what: str) -> None:
        """Search for copies of held-back photographs among ``images``, and add what is found."""
        pixels, names = _pixels(images, self.size), [str(name) for one in images for name in one.table["image_id"]]
        with self.run.progress(f"Comparing {what} with those held back", len(pixels)) as bar:
            parts = np.concatenate([photograph_parts(one.table, self.size) for one in images])
            nearest = self.detector.nearest(pixels, parts=parts, allowed=allowed, progress=bar.advance)
        rows = np.flatnonzero(nearest.is_copy)
        for row in rows[np.argsort(nearest.distances[rows], kind="stable")]:
            self._add(found, names[row], pixels[row], self._row[nearest.ids[row]], float(nearest.distances[row]), "copies")
        groups = np.unique(self.groups[[self._row[name] for name in nearest.ids[rows]]])
        all_groups = len(np.unique(self.groups))
        # A held-back photograph is found by chance if any of the images of its species passes.
        by_chance = 1 - (1 - self.rate) ** allowed.sum(0)
        chance = float(sum(by_chance[self.groups == name].max() for name in np.unique(self.groups)))
        by_luck, most = float(stats.poisson.isf(SIGNIFICANT, chance)), MOST_LEFT_OUT * all_groups
        if chance > most and max(1, most) < len(groups) <= by_luck:  # the search itself finds too much to be of use
            found.unclear.append(
                f"{len(rows)} {what} look like validation or test photographs of {len(groups)} of {all_groups} individuals, tracks or specimens, "
                f"but photographs of different individuals look as alike (chance explains {min(chance, all_groups):.1f}), so copies cannot be told."
            )
            return
        if len(groups) > max(1, min(by_luck, most)):
            found.reasons.append(
                f"{len(rows)} {what} repeat validation or test photographs of {len(groups)} individuals, tracks or specimens; chance explains "
                f"about {min(chance, all_groups):.1f} of {all_groups}, and at most {MOST_LEFT_OUT:.0%} can be left out."
            )
        left = self.held.table["image_id"][np.isin(self.groups, groups)].astype(str)
        found.left_out = sorted({*found.left_out, *left})

    def origins(self, found: Leaks, images: Sequence[Collection], labels: np.ndarray) -> None:
        """Test whether animals, pieces or places of the images come from held-back photographs."""
        pixels, names = _pixels(images, self.size), [str(name) for one in images for name in one.table["image_id"]]
        bank = np.concatenate([self.held.pixels(self.size), self.train.pixels(self.size)])
        species = np.concatenate([self.labels, self.train.labels()])
        groups = np.unique(np.concatenate([self.groups, group_names(self.train)]), return_inverse=True)[1]
        back = np.arange(len(bank)) < len(self.held)
        self.run.say("Comparing the animals and places of the synthetic images with those of all photographs")
        results: dict[str, Origins] = {
            "places": nearest_places(pixels, bank, groups, back, seed=self.seed),
            "pieces": nearest_pieces(pixels, labels, bank, species, groups, back, seed=self.seed),
            "animals": nearest_animals(pixels, labels, bank, species, groups, back, seed=self.seed),
        }
        for what, result in results.items():
            if result.p_value > SIGNIFICANT:
                continue
            found.reasons.append(
                f"The {what} of {result.hits} of {len(result.rows)} synthetic images resemble validation or test photographs most, where "
                f"{result.expected:.0f} would by chance (p = {result.p_value:.4f}): they were made from these photographs."
            )
            for position in np.argsort(-result.leads, kind="stable"):
                if back[result.nearest[position]]:
                    row = int(result.rows[position])
                    self._add(found, names[row], pixels[row], int(result.nearest[position]), None, what)

    def _add(self, found: Leaks, name: str, picture: np.ndarray, row: int, distance: float | None, how: str) -> None:
        record = self.held.table.iloc[row]
        found.pairs.append({
            "image": name, "photograph": str(record["image_id"]), "split": str(record["split"]), "distance": distance, "found_by": how,
            "pixels": (picture, self.held.pixels(self.size)[row]),
        })  # fmt: skip


def _labelled(collection: Collection) -> Collection:
    return collection.where(collection.labels() >= 0)


def _pixels(images: Sequence[Collection], size: int) -> np.ndarray:
    return np.concatenate([one.pixels(size) for one in images])


def _data_uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
