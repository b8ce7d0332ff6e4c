"""Curation of a synthetic collection: reject copies, images of the wrong species, and out-of-distribution images.

Every image stays in the collection, with a verdict and a reason in its row. The filters are fitted to the training split only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from syntype.collection.experts import BEFORE
from syntype.collection.names import count_unknown
from syntype.collection.pixels import photograph_parts
from syntype.collection.soft_labels import blends_left_out, soft_labels
from syntype.collection.table import Collection
from syntype.curation.copies import CopyDetector, NearestReal
from syntype.curation.filters import Margin, SpeciesMargin, Typicality
from syntype.encoders import Encoder, duty_conflict, encode_collection, is_zero_shot, load_encoder, load_zero_shot
from syntype.errors import CollectionError, UnknownNameError
from syntype.recipe import Seed, Settings
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["REASONS", "CurateConfig", "CurateResult", "copies_of", "copy_bank", "copy_detector", "curate", "group_names"]

REASONS = ("copy", "species", "distribution")
"""Reasons for a rejection, in order. If several filters reject an image, the first reason is recorded."""


class CurateConfig(Settings):
    """Settings of ``curate``."""

    size: int = Field(64, ge=32)
    """Side in pixels at which images are compared. For an encoder that was made for larger images, species margin and typicality see them at its own
    side, but no larger than the synthetic images are."""
    encoder: str = "lite2"
    """Network whose features give species margin and typicality: ``lite2``, ``timm:NAME[:FILE]`` or ``open_clip:NAME[:FILE]``, such as
    ``open_clip:hf-hub:imageomics/bioclip-2``. Not one that generators are trained or judged with."""
    margin: Margin = "classifier"
    """What tells the species: ``classifier`` (a logistic regression on the photographs), ``nearest_mean`` (the mean of each species' photographs) or
    ``zero_shot`` (the species' names, with an ``open_clip`` encoder)."""
    copy_quantile: float = Field(0.015, gt=0, lt=0.5)
    """False-positive rate of the copy detector: fraction of photographs that it would call a copy of a different photograph."""
    margin_quantile: float = Field(0.1, ge=0, lt=1)
    """Fraction of held-out photographs that the species filter would reject."""
    distribution_quantile: float = Field(0.05, ge=0, lt=1)
    """Fraction of photographs that the out-of-distribution filter would reject."""
    seed: Seed = 0
    """Seed of the cross-validation folds and of the photographs used for calibration."""

    @model_validator(mode="after")
    def _encoder_fits(self) -> Self:
        if self.margin == "zero_shot" and not is_zero_shot(self.encoder):
            raise ValueError(f"margin: zero_shot names species by texts, which {self.encoder!r} does not know. Give encoder open_clip:NAME")
        if conflict := duty_conflict(curate=self.encoder):
            raise ValueError(conflict)
        return self


@dataclass(frozen=True)
class CurateResult:
    """Result of ``curate``.

    Attributes:
        collection: All images, with the columns ``verdict``, ``reason``, ``nearest_real_id``, ``nearest_real_distance``, ``margin``,
            ``looks_like`` and ``typicality``.
        num_images: Number of images.
        num_accepted: Number of accepted images.
        refused: Number of rejected images for each of ``REASONS``.
        num_refused_by_expert: Number of images that an expert had rejected before; they stay rejected.
        num_accepted_by_expert: Number of images that an expert had accepted before and that are no copies; they stay accepted.
    """

    collection: Collection
    num_images: int
    num_accepted: int
    refused: dict[str, int]
    num_refused_by_expert: int
    num_accepted_by_expert: int

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        return {
            "num_images": self.num_images,
            "num_accepted": self.num_accepted,
            "refused": dict(self.refused),
            "num_refused_by_expert": self.num_refused_by_expert,
            "num_accepted_by_expert": self.num_accepted_by_expert,
        }


@keeps_run("curate")
def curate(synthetic: Collection, real: Collection, config: CurateConfig, out: Path | str, run: Run = OWN_RUN) -> CurateResult:
    """Check every synthetic image, and write a collection with the verdicts.

    Three filters are calibrated on real photographs: ``CopyDetector`` (column ``nearest_real_distance``), ``SpeciesMargin`` (columns
    ``margin`` and ``looks_like``, the other species that the image fits best) and ``Typicality`` (column ``typicality``). Their thresholds are
    recorded in the history of ``collection.json``. A file that is identical to a validation or test photograph is rejected as a copy too. An image
    between two species (column ``label_weights``) is judged against both: it must not look like a third species, and must be typical of one of the
    two. What an expert rejected stays rejected, and what an expert accepted stays accepted unless it is a copy; verdicts of an earlier curation are
    replaced. Image files are hard links if the disk supports them.

    Args:
        synthetic: The collection to curate; it is not changed.
        real: The collection of photographs that the generator was trained on.
        config: Settings.
        out: Folder of the new collection.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        The collection with verdicts, and the number of accepted and rejected images.

    Raises:
        CollectionError: There are no synthetic images, some have no species, ``out`` is the folder of ``synthetic``, or the real collection has
            no training photographs of a species.
        UnknownNameError: A species is not in the real collection.

    Example:
        >>> import syntype
        >>> synthetic, reef = syntype.Collection.open("out/synthetic"), syntype.Collection.open("out/reef")
        >>> curated = syntype.curate(synthetic, reef, syntype.CurateConfig(size=32), "out/curated")
        >>> curated.num_images, sorted(curated.refused)
        (9, ['copy', 'distribution', 'species'])
        >>> usable = curated.collection.select(usable=True)
    """
    out = Path(out)
    if out.resolve() == synthetic.root.resolve():
        raise CollectionError(f"{out}: is the synthetic collection itself, which curation does not change. Give --out a new folder.")
    reference = real.training()
    labels, seconds = _labels(synthetic, real, reference)
    reference_labels, groups = reference.labels(), group_names(reference)
    encoder, namer = load_encoder(config.encoder), None
    if config.margin == "zero_shot":
        with run.progress("Reading the names of the species", len(real.species)) as bar:
            namer = load_zero_shot(config.encoder, real, progress=bar.advance)
    pixels = _side_for(encoder, synthetic, config.size)
    with run.progress("Encoding images", len(reference) + len(synthetic)) as bar:
        known = encode_collection(encoder, reference, pixels=pixels, progress=bar.advance)
        features = encode_collection(encoder, synthetic, pixels=pixels, progress=bar.advance)
    detector = copy_detector(reference, config.size, config.copy_quantile, config.seed, run)
    with run.progress("Searching for copies", len(synthetic)) as bar:
        nearest = _with_held_back(copies_of(detector, synthetic, config.size, bar.advance), synthetic, real)
    run.say("Calibrating the species margin on held-out groups")
    species = SpeciesMargin(known, reference_labels, groups, quantile=config.margin_quantile, seed=config.seed, by=config.margin, namer=namer)
    typical = Typicality(known, reference_labels, groups, quantile=config.distribution_quantile)

    objections = [nearest.is_copy, ~species.accepts(features, labels, seconds), ~typical.accepts(features, labels, seconds)]
    margins = species.margin(features, labels, seconds)
    margins[~np.isfinite(margins)] = np.nan
    others = [real.species[rival] if rival >= 0 else None for rival in species.rivals(features, labels, seconds)]
    table = _judged(synthetic.table, objections, nearest, margins, typical.typicality(features, labels, seconds))
    table = table.assign(looks_like=pd.array(others, dtype="string"))
    step = {
        "stage": "curate",
        "settings": config.model_dump(),
        "synthetic": synthetic.fingerprint,
        "real": real.fingerprint,
        "encoder": f"{encoder.name}: {encoder.backbone.weights}",
        "thresholds": {
            "nearest_real_distance": {"copy_at_or_below": detector.threshold},
            "margin": {"accepted_from": {real.species[label]: value for label, value in species.thresholds.items()}},
            "typicality": {"accepted_from": {real.species[label]: value for label, value in typical.thresholds.items()}},
        },
    }
    _link_images(synthetic, out, run)
    info = synthetic.info
    collection = Collection.create(
        out, table, name=synthetic.name, species=synthetic.species, sources=info.get("sources", []), history=[*info.get("history", []), step]
    )
    reasons = table["reason"]
    accepted = table["verdict"] == "accepted"
    by_expert = (int((reasons == "expert").sum()), int((accepted & table["reviewer"].notna()).sum()))
    return CurateResult(collection, len(table), int(accepted.sum()), {name: int((reasons == name).sum()) for name in REASONS}, *by_expert)


_detectors: dict[tuple[object, ...], CopyDetector] = {}
"""Cache of the last detector, by its inputs: a study needs the same one in every repetition, and calibration takes half a minute."""


def copy_detector(reference: Collection, size: int, quantile: float, seed: int, run: Run) -> CopyDetector:
    """A ``CopyDetector`` for the photographs of ``reference``, which must be those of the training split."""
    ids, groups = reference.table["image_id"].tolist(), group_names(reference)
    boxes = reference.table["box"].fillna("").astype(str)
    key = (reference.fingerprint, *ids, *groups, *boxes, size, quantile, seed)
    if key not in _detectors:
        _detectors.clear()
        with run.progress("Calibrating the copy detector", CopyDetector.num_calibrating(len(reference))) as bar:
            _detectors[key] = copy_bank(reference, size, quantile=quantile, seed=seed, progress=bar.advance)
    return _detectors[key]


def copy_bank(photographs: Collection, size: int, **settings: Any) -> CopyDetector:
    """A ``CopyDetector`` for photographs of any split, whose padding is not compared. ``settings``: its further arguments, such as a threshold."""
    ids, parts = photographs.table["image_id"].tolist(), photograph_parts(photographs.table, size)
    return CopyDetector(photographs.pixels(size), ids, group_names(photographs), photographs.labels(), parts=parts, **settings)


def copies_of(detector: CopyDetector, images: Collection, size: int, progress: Callable[[int], None] | None = None,
              allowed: np.ndarray | None = None) -> NearestReal:  # fmt: skip
    """The nearest photograph of each image of a collection, whose padding is not compared; see ``CopyDetector.nearest``."""
    return detector.nearest(images.pixels(size), parts=photograph_parts(images.table, size), allowed=allowed, progress=progress)


def group_names(collection: Collection) -> np.ndarray:
    """Group of each image: str, shape (N,). An image without a group is a group of its own."""
    groups, ids = collection.table["group"], collection.table["image_id"]
    return np.array([f"image {own}" if pd.isna(group) else f"group {group}" for group, own in zip(groups, ids, strict=True)], dtype=str)


def _side_for(encoder: Encoder, synthetic: Collection, size: int) -> int:
    """Side in pixels at which images are decoded for an encoder: photographs are to be no sharper than synthetic images."""
    if encoder.input_size is None:
        return size
    sides = synthetic.table[["width", "height"]].max(axis=1).to_numpy(np.float64, na_value=np.nan)
    known = sides[np.isfinite(sides)]
    return max(size, min(encoder.input_size, int(np.median(known)))) if len(known) else size


def _labels(synthetic: Collection, real: Collection, reference: Collection) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions of the synthetic images' species in the real vocabulary, and of the second species of images between two (None without any)."""
    if not len(synthetic):
        raise CollectionError(f"{synthetic.root}: has no images. Make some with: syntype generate")
    names = synthetic.table["species"]
    if names.isna().any():
        raise CollectionError(
            f"{synthetic.root}: {int(names.isna().sum())} images have no species. Import them again with --species-column or a folder a species."
        )
    learnt = np.array(list(reference.counts().values())) > 0
    _, told = blends_left_out(synthetic.table, real.species)
    if told:
        raise CollectionError(f"{synthetic.root}: has {told}. Take these images out, or give the photographs that the generator was trained on.")
    found = soft_labels(synthetic.table, real.species)
    unknown = count_unknown(names[found.main < 0].value_counts().to_dict(), real.species)
    if unknown:
        first = names[found.main < 0].iloc[0]
        raise UnknownNameError(f"species of {real.root}", first, real.species, f"{synthetic.root} has {unknown}. Correct these names.")
    mixed = found.second >= 0
    for label in dict.fromkeys([*found.main.tolist(), *found.second[mixed].tolist()]):
        if not learnt[label]:
            name = real.species[label]
            raise CollectionError(
                f"{real.root}: has no training photographs of {name!r}, so its synthetic images cannot be checked. Add some, or leave it out."
            )
    return found.main, found.second if mixed.any() else None


def _with_held_back(nearest: NearestReal, synthetic: Collection, real: Collection) -> NearestReal:
    """Also mark files that are identical to a validation or test photograph. These photographs have no other use here."""
    held_back = real.select(split=("val", "test")).hashed().table
    owner = dict(zip(held_back["sha256"].dropna(), held_back.loc[held_back["sha256"].notna(), "image_id"], strict=True))
    found = [owner.get(digest) if isinstance(digest, str) else None for digest in synthetic.hashed().table["sha256"]]
    same = np.array([name is not None for name in found], dtype=bool)
    ids = np.where(same, np.array(found, dtype=object), nearest.ids)
    return NearestReal(ids, np.where(same, np.float32(0), nearest.distances), nearest.is_copy | same)


def _judged(table: pd.DataFrame, objections: list[np.ndarray], nearest: NearestReal, margins: np.ndarray, typicality: np.ndarray) -> pd.DataFrame:
    """The table with verdicts, reasons (the first that applies) and the values of the filters."""
    found = np.full(len(table), None, dtype=object)
    for name, objects in reversed(list(zip(REASONS, objections, strict=True))):
        found[objects] = name
    rejected = ((table["verdict"] == "refused") & (table["reason"] == "expert")).fillna(False).to_numpy(dtype=bool)
    accepted = ((table["verdict"] == "accepted") & table["reviewer"].notna()).fillna(False).to_numpy(dtype=bool) & (found != "copy")
    expert = rejected | accepted
    reasons = found.copy()
    reasons[accepted], reasons[rejected] = None, "expert"
    verdicts, filtered = (["accepted" if reason is None else "refused" for reason in which] for which in (reasons, found))
    # What the filters say of an expert's row is kept too: without it, a copy could be accepted later.
    columns = {BEFORE[0]: filtered, BEFORE[1]: [reason or "none" for reason in found]}
    before = {name: [value if own else None for value, own in zip(values, expert, strict=True)] for name, values in columns.items()}
    kept = {name: pd.array(values, dtype="string") for name, values in before.items()} if expert.any() else {}
    return table.drop(columns=list(BEFORE), errors="ignore").assign(
        **kept,
        reviewer=table["reviewer"].where(pd.Series(expert, index=table.index)),
        verdict=pd.array(verdicts, dtype="string"),
        reason=pd.array(reasons, dtype="string"),
        nearest_real_id=pd.array(nearest.ids, dtype="string"),
        nearest_real_distance=pd.array(nearest.distances.astype(np.float64), dtype="Float64"),
        margin=pd.array(margins, dtype="Float64"),
        typicality=pd.array(typicality, dtype="Float64"),
    )


def _link_images(source: Collection, out: Path, run: Run) -> None:
    for name in run.track(source.table["file_name"].tolist(), "Linking images"):
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # the run was repeated in the same folder
        try:
            os.link(source.root / name, target)
        except OSError:  # on another disk, or the disk does not support hard links
            shutil.copyfile(source.root / name, target)
