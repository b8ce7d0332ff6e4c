"""Curate a synthetic collection: refuse copies, images of the wrong species, and images that are like no photograph.

Every image stays in the collection; its row says what became of it and why. The filters learn from the training split alone.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from syntype.collection.experts import BEFORE
from syntype.collection.table import Collection
from syntype.curation.copies import CopyDetector, NearestReal
from syntype.curation.filters import SpeciesMargin, Typicality
from syntype.encoders import encode_collection, load_encoder
from syntype.errors import CollectionError, require_known
from syntype.recipe import Settings
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["REASONS", "CurateConfig", "CurateResult", "copy_detector", "curate", "group_names"]

REASONS = ("copy", "species", "distribution")
"""Why a filter refuses, in the order in which they are asked; the first that objects is recorded."""
ENCODER = "lite2"


class CurateConfig(Settings):
    """Settings of ``curate``."""

    size: int = Field(64, ge=32)
    """Side in pixels at which images are compared."""
    copy_quantile: float = Field(0.015, gt=0, lt=0.5)
    """Share of different real photographs that would be called copies."""
    margin_quantile: float = Field(0.1, ge=0, lt=1)
    """Share of held-out real photographs that would fail the species margin."""
    distribution_quantile: float = Field(0.05, ge=0, lt=1)
    """Share of real photographs that would be called untypical of their species."""
    seed: int = 0
    """Of the folds and of the photographs that calibrate."""


@dataclass(frozen=True)
class CurateResult:
    """What curation decided.

    Attributes:
        collection: every image, with ``verdict``, ``reason``, ``nearest_real_id``, ``nearest_real_distance``, ``margin``, ``typicality``.
        num_images: all of them.
        num_accepted: those that may be used.
        refused: number refused for each of ``REASONS``.
        num_refused_by_expert: refused before, and left so.
    """

    collection: Collection
    num_images: int
    num_accepted: int
    refused: dict[str, int]
    num_refused_by_expert: int

    def summary(self) -> dict[str, Any]:
        """Plain numbers for ``--json``."""
        return {
            "num_images": self.num_images,
            "num_accepted": self.num_accepted,
            "refused": dict(self.refused),
            "num_refused_by_expert": self.num_refused_by_expert,
        }


@keeps_run("curate")
def curate(synthetic: Collection, real: Collection, config: CurateConfig, out: Path | str, run: Run = OWN_RUN) -> CurateResult:
    """Judge every synthetic image and write the judged collection to ``out`` (images are hard links where the disk allows).

    Three filters, calibrated on real photographs: ``CopyDetector``, ``SpeciesMargin`` (log-odds, column ``margin``) and ``Typicality``
    (column ``typicality``); their thresholds stand in the history of ``collection.json``. A file whose bytes are those of a real
    validation or test photograph is refused as a copy too. Rows that an expert refused stay refused; a verdict of an earlier
    curation is given anew.

    Args:
        synthetic: images with species; from any generator.
        real: the photographs that the generator learnt from; the filters are calibrated on its split ``train``.
        config: size at which images are compared, and the share of real photographs that each filter may refuse.
        out: folder of the curated collection; new or empty.
        run: where progress, messages and events go; by default a run folder in ``out``, with progress on standard error.

    Returns:
        the curated collection, and how many images were accepted, and refused for which reason.

    Raises:
        CollectionError: there are no synthetic images, some have no species, ``out`` is the synthetic collection's own folder, or the
            real collection has no training photographs of a species asked for.
        UnknownNameError: a species that the real collection does not know.

    Example:
        >>> import syntype
        >>> synthetic, reef = syntype.Collection.open("out/synthetic"), syntype.Collection.open("out/reef")
        >>> curated = syntype.curate(synthetic, reef, syntype.CurateConfig(size=32), "out/curated")
        >>> curated.num_images, sorted(curated.refused)
        (9, ['copy', 'distribution', 'species'])
        >>> usable = curated.collection.select(usable=True)
    """
    out = Path(out)
    out = Path(out)
    if out.resolve() == synthetic.root.resolve():
        raise CollectionError(f"{out}: is the synthetic collection itself, which curation leaves as it is. Give --out a new folder.")
    reference = real.training()
    labels = _labels(synthetic, real, reference)
    reference_labels, groups = reference.labels(), group_names(reference)
    encoder = load_encoder(ENCODER)

    with run.progress("Encoding images", len(reference) + len(synthetic)) as bar:
        known = encode_collection(encoder, reference, pixels=config.size, progress=bar.advance)
        features = encode_collection(encoder, synthetic, pixels=config.size, progress=bar.advance)
    detector = copy_detector(reference, config.size, config.copy_quantile, config.seed, run)
    with run.progress("Looking for copies", len(synthetic)) as bar:
        nearest = _with_held_back(detector.nearest(synthetic.pixels(config.size), progress=bar.advance), synthetic, real)
    run.say("Calibrating the species margin on held-out groups")
    species = SpeciesMargin(known, reference_labels, groups, quantile=config.margin_quantile, seed=config.seed)
    typical = Typicality(known, reference_labels, groups, quantile=config.distribution_quantile)

    objections = [nearest.is_copy, ~species.accepts(features, labels), ~typical.accepts(features, labels)]
    margins = species.margin(features, labels)
    table = _judged(synthetic.table, objections, nearest, np.where(np.isfinite(margins), margins, np.nan), typical.typicality(features, labels))
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
    accepted = int((table["verdict"] == "accepted").sum())
    return CurateResult(collection, len(table), accepted, {name: int((reasons == name).sum()) for name in REASONS}, int((reasons == "expert").sum()))


_detectors: dict[tuple[object, ...], CopyDetector] = {}
"""The detector made last, by what it was made from: a study asks for the same one in every repetition, and calibration takes half a minute."""


def copy_detector(reference: Collection, size: int, quantile: float, seed: int, run: Run) -> CopyDetector:
    """A ``CopyDetector`` for the photographs of ``reference``, which must be of the training split."""
    ids, groups = reference.table["image_id"].tolist(), group_names(reference)
    boxes = reference.table["box"].fillna("").astype(str)
    key = (reference.fingerprint, *ids, *groups, *boxes, size, quantile, seed)
    if key not in _detectors:
        _detectors.clear()
        with run.progress("Calibrating the copy detector", CopyDetector.num_calibrating(len(reference))) as bar:
            images, labels = reference.pixels(size), reference.labels()
            _detectors[key] = CopyDetector(images, ids, groups, labels, quantile=quantile, seed=seed, progress=bar.advance)
    return _detectors[key]


def group_names(collection: Collection) -> np.ndarray:
    """Group of each image, shape (N,), str; an image without one is a group of its own."""
    groups, ids = collection.table["group"], collection.table["image_id"]
    return np.array([f"image {own}" if pd.isna(group) else f"group {group}" for group, own in zip(groups, ids, strict=True)], dtype=str)


def _labels(synthetic: Collection, real: Collection, reference: Collection) -> np.ndarray:
    """Positions of the synthetic images' species in the real vocabulary."""
    if not len(synthetic):
        raise CollectionError(f"{synthetic.root}: holds no images. Draw some with: syntype generate")
    names = synthetic.table["species"]
    if names.isna().any():
        raise CollectionError(
            f"{synthetic.root}: {int(names.isna().sum())} images have no species. Import them again with --species-column or a folder a species."
        )
    learnt = {name for name, count in reference.counts().items() if count}
    require_known(f"species of {real.root}", names.unique(), real.species)
    for name in names.unique():
        if name not in learnt:
            raise CollectionError(
                f"{real.root}: has no training photographs of {name!r}, so synthetic images of it cannot be judged. Add photographs, or leave it out."
            )
    return pd.Categorical(names, categories=list(real.species)).codes.astype(np.int64)


def _with_held_back(nearest: NearestReal, synthetic: Collection, real: Collection) -> NearestReal:
    """Add the one comparison with validation and test photographs that teaches nothing: the very same file."""
    held_back = real.select(split=("val", "test")).table
    owner = dict(zip(held_back["sha256"].dropna(), held_back.loc[held_back["sha256"].notna(), "image_id"], strict=True))
    found = [owner.get(digest) if isinstance(digest, str) else None for digest in synthetic.table["sha256"]]
    same = np.array([name is not None for name in found], dtype=bool)
    ids = np.where(same, np.array(found, dtype=object), nearest.ids)
    return NearestReal(ids, np.where(same, np.float32(0), nearest.distances), nearest.is_copy | same)


def _judged(table: pd.DataFrame, objections: list[np.ndarray], nearest: NearestReal, margins: np.ndarray, typicality: np.ndarray) -> pd.DataFrame:
    """The table with verdicts, the first objection as reason, and what they rest on."""
    expert = ((table["verdict"] == "refused") & (table["reason"] == "expert")).fillna(False).to_numpy(dtype=bool)
    reasons = np.full(len(table), None, dtype=object)
    for name, objects in reversed(list(zip(REASONS, objections, strict=True))):
        reasons[objects] = name
    reasons[expert] = "expert"
    refused = np.array([reason is not None for reason in reasons], dtype=bool)
    return table.drop(columns=list(BEFORE), errors="ignore").assign(
        reviewer=table["reviewer"].where(pd.Series(expert, index=table.index)),
        verdict=pd.array(np.where(refused, "refused", "accepted"), dtype="string"),
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
        target.unlink(missing_ok=True)  # a run that is repeated in the same folder
        try:
            os.link(source.root / name, target)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(source.root / name, target)
