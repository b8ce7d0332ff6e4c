"""Fidelity: how similar to photographs the synthetic images are, how varied they are, and how many of them are copies.

For few images it also says what chance alone explains (``chance``): an interval of KID, and whether images lie nearer to training photographs
than photographs that no training has seen.

The measures are computed from features of EfficientNet-Lite0. This network is not used for training, curation or classification. Both sides
have the same number of images of each species, so that a different mix of species does not look like a difference between the images.

On request, the distances are also measured in the features of another encoder, as published figures are: in those of a DINOv2 network (Stein et al.
2023, arXiv 2306.04675), or CMMD in those of a CLIP network. ``distances`` names the source of each measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from syntype.collection.names import count_unknown
from syntype.collection.table import Collection
from syntype.curation.curate import copies_of, copy_detector, group_names
from syntype.curation.leaks import held_back_apart
from syntype.encoders import Encoder, check_duties, encode_collection, is_zero_shot, load_encoder
from syntype.errors import CollectionError, checks_arguments
from syntype.recipe import Seed, Settings
from syntype.run import OWN_RUN, Run
from syntype.study.chance import ALARM, KidChance, Memorising, kid_chance, memorising, nearness
from syntype.study.distances import cmmd, compare, frechet_distance, kid, num_pairs, vendi_ratio

__all__ = ["Distances", "EvaluateConfig", "EvaluateResult", "distances_in", "evaluate"]

ENCODER = "lite0"
FEWEST = 50
"""Images on each side below which the figures mean nothing: the five neighbours of an image are then a tenth of all images, and KID differs
between two draws from one distribution by as much as between good and bad generators."""


class EvaluateConfig(Settings):
    """Settings of ``evaluate``."""

    split: Literal["train", "val", "test"] = "test"
    """Split whose photographs are compared with the synthetic images."""
    size: int = Field(64, ge=32)
    """Side in pixels at which images are compared (the encoder sees them enlarged to 128)."""
    neighbours: int = Field(5, ge=1)
    """Number of neighbours k in precision, recall, density and coverage. If there are too few images, it is one less than their number."""
    copy_quantile: float = Field(0.015, gt=0, lt=0.5)
    """As in ``CurateConfig``."""
    encoder: str | None = None
    """A further encoder in whose features the distances are measured too (see ``load_encoder``), for example
    ``timm:vit_base_patch14_dinov2.lvd142m``. The figures of Lite0 stay as they are."""
    seed: Seed = 0
    """Random seed of the draw that gives both sides the same mix of species."""


class Distances(NamedTuple):
    """Distances between synthetic images and photographs in the features of one encoder. Published figures are comparable only if they are from the
    same encoder, and the Fréchet distance only if it is from as many images.

    Attributes:
        encoder: name of the encoder and its weights.
        num_features: length of its feature vectors.
        kid: unbiased squared MMD, as ``EvaluateResult.kid``.
        kid_chance: 95 % interval of ``kid``, and its p value.
        frechet_distance: plain Fréchet distance (FD), see ``distances.frechet_distance``; None unless there are more images on each side than
            features, because it would then mostly say how few images there are.
        cmmd: see ``distances.cmmd``; None if the encoder is no CLIP model.
    """

    encoder: str
    num_features: int
    kid: float
    kid_chance: KidChance
    frechet_distance: float | None
    cmmd: float | None

    def in_words(self, num_images: int) -> str:
        """The figures in a sentence.

        Args:
            num_images: number of images on each side.
        """
        name, (low, high, p_value) = self.encoder.rpartition(": ")[0], self.kid_chance
        told = f"In {name} features KID is {self.kid:.3g} (95 % interval {low:.3g} to {high:.3g}; p = {p_value:.3f})"
        if self.cmmd is not None:
            told += f", CMMD is {self.cmmd:.3g}"
        if self.frechet_distance is None:
            few = f"{num_images} images on each side are too few for {self.num_features} features"
            return f"{told}. The Fréchet distance (FD) is not given: {few}, it would mostly say how few they are."
        return (
            f"{told}, and the Fréchet distance (FD) {self.frechet_distance:.4g}. FD falls as images are added: compare it only between equal numbers."
        )

    def summary(self) -> dict[str, Any]:
        """The values that ``--json`` prints."""
        low, high, p_value = self.kid_chance
        values = {name: value for name, value in self._asdict().items() if name != "kid_chance"}
        return {**values, "kid_interval": None if math.isnan(low) else [low, high], "kid_p": p_value}


@dataclass(frozen=True)
class EvaluateResult:
    """Fidelity of a synthetic collection.

    Attributes:
        encoder: name of the encoder and its weights.
        kid: unbiased squared MMD; 0 on average for two samples of one distribution (so it may be slightly negative).
        precision: in [0, 1]: fraction of synthetic images that lie among the real ones.
        recall: in [0, 1]: fraction of real images that lie among the synthetic ones.
        density: mean number of real neighbourhoods that contain a synthetic image, divided by k; about 1 for one distribution, may exceed 1.
        coverage: in [0, 1]: fraction of real images that have a synthetic image in their neighbourhood.
        vendi_ratio: variety within species, synthetic divided by real (1: the same); None if no species has two images on both sides.
        copy_rate: in [0, 1]: fraction of all usable synthetic images that are copies of training photographs.
        num_synthetic: number of synthetic images compared.
        num_real: number of photographs compared.
        species: names of the species compared.
        left_out: species of the synthetic collection without photographs in the split.
        num_left_out: number of validation and test photographs left out, because training photographs or synthetic images repeat them.
        kid_chance: 95 % interval of ``kid``, and the p value of the test whether it is more than chance; see ``chance.KidChance``.
        memorising: whether images are nearer to training photographs than held-back photographs are; see ``chance.Memorising``. None with the split
            ``train``, which holds nothing back.
        note: what to know before the figures are used: that there are too few images; None if there are enough.
        other_encoder: distances in the features of ``EvaluateConfig.encoder``; None if none was asked for.
    """

    encoder: str
    kid: float
    precision: float
    recall: float
    density: float
    coverage: float
    vendi_ratio: float | None
    copy_rate: float
    num_synthetic: int
    num_real: int
    species: tuple[str, ...]
    left_out: tuple[str, ...]
    kid_chance: KidChance
    memorising: Memorising | None
    num_left_out: int = 0
    note: str | None = None
    other_encoder: Distances | None = None

    def in_words(self) -> list[str]:
        """What the figures that chance could explain say, in sentences."""
        low, high, p_value = self.kid_chance
        sentences = [
            f"KID is {self.kid:.3f} (95 % interval {low:.3f} to {high:.3f}). "
            + (
                f"Chance does not explain that: the images differ from photographs (p = {p_value:.3f})."
                if p_value <= ALARM
                else f"So many photographs could differ as much by chance (p = {p_value:.2f}): no difference was shown."
            )
        ]
        if self.memorising is not None:
            found = self.memorising
            if found.alarm:
                start = (
                    "The images lie nearer to training photographs than photographs do that no training has seen: the generator repeats its training"
                )
            else:
                start = "No sign that the images repeat training photographs"
            sentences.append(
                f"{start} (an image is nearer in {found.nearer:.0%} of the comparisons, and {found.nearest_tenth:.0%} of the nearest tenth are "
                f"images; chance gives 50 % of both; p = {found.p_value:.3f})."
            )
        if self.other_encoder is not None:
            sentences.append(self.other_encoder.in_words(self.num_synthetic))
        return sentences

    def summary(self) -> dict[str, Any]:
        """The values that ``--json`` prints."""
        names = (
            "encoder",
            "kid",
            "precision",
            "recall",
            "density",
            "coverage",
            "copy_rate",
            "vendi_ratio",
            "num_synthetic",
            "num_real",
            "num_left_out",
        )
        low, high, p_value = self.kid_chance
        return {
            **{name: getattr(self, name) for name in names},
            "kid_interval": None if math.isnan(low) else [low, high],
            "kid_p": p_value,
            "memorising": None if self.memorising is None else {**self.memorising._asdict(), "alarm": self.memorising.alarm},
            "num_species": len(self.species),
            "left_out": list(self.left_out),
            "other_encoder": None if self.other_encoder is None else self.other_encoder.summary(),
            "in_words": self.in_words(),
            "note": self.note,
        }


@checks_arguments
def evaluate(synthetic: Collection, real: Collection, config: EvaluateConfig, run: Run = OWN_RUN) -> EvaluateResult:
    """Compare synthetic images (the usable ones) with the photographs of a split.

    For each species that both collections have, the same number of images is drawn from both: the smaller of the two numbers. For copies,
    synthetic images are always compared with the training photographs.

    Args:
        synthetic: images with species; refused ones are left out.
        real: photographs with splits.
        config: which split to compare with, size, number of neighbours.
        run: Records progress and messages. Default: standard error.

    Returns:
        KID with its interval, precision, recall, density, coverage, Vendi ratio, fraction of copies, and whether images repeat training photographs;
        see ``EvaluateResult``.

    Raises:
        LeakageError: with split ``val`` or ``test``: the images repeat more photographs of it than chance explains.
        CollectionError: fewer than two images could be compared.
        UnknownNameError, UnsupportedError: the further encoder is not known, or its weights are not available.

    Example:
        >>> import syntype
        >>> synthetic, reef = syntype.Collection.open("out/synthetic"), syntype.Collection.open("out/reef")
        >>> result = syntype.evaluate(synthetic, reef, syntype.EvaluateConfig(size=32))
        >>> result.kid > 0.05 and 0 <= result.coverage <= 1
        True
    """
    usable, num_left_out = synthetic.select(usable=True), 0
    if config.encoder is not None:
        check_duties(judge=config.encoder)
    other = None if config.encoder is None else load_encoder(config.encoder)  # first, so that a wrong name is told at once
    if config.split != "train":
        real, leaks = held_back_apart(real, [usable], size=config.size, run=run, seed=config.seed, quantile=config.copy_quantile)
        num_left_out = len(leaks.left_out)
    reference = real.select(split=config.split)
    ours, theirs = _same_mix(usable, reference, config.seed)
    if len(ours) < 2:
        raise CollectionError(
            f"{synthetic.root}: only {len(ours)} image(s) can be compared with the split {config.split!r} of {real.root}: fidelity needs at least 2. "
            "Draw more images of species that the split has, or choose another --split."
        )
    fake, photographs = usable.where(_mask(len(usable), ours)), reference.where(_mask(len(reference), theirs))
    left_out = tuple(sorted(set(usable.table["species"].dropna()) - set(photographs.table["species"])))
    if left_out:
        told = count_unknown(usable.table["species"].value_counts().to_dict(), photographs.table["species"].unique())
        run.say(f"Not compared, as the split {config.split!r} has no photograph of their species: {told}")
    note = None
    if len(fake) < FEWEST:
        note = (
            f"Only {len(fake)} images on each side could be compared: with so few the figures mean nothing. At least {FEWEST} are needed, and some "
            "hundreds to tell two generators apart."
        )
        run.say(note)
    encoder, train = load_encoder(ENCODER), None
    if config.split != "train":
        train = real.training()
        train = train.where(train.table["species"].isin(photographs.table["species"].unique()).to_numpy(dtype=bool))
    with run.progress("Encoding images", len(fake) + len(photographs) + (0 if train is None else len(train))) as bar:
        x = encode_collection(encoder, photographs, pixels=config.size, progress=bar.advance)
        y = encode_collection(encoder, fake, pixels=config.size, progress=bar.advance)
        z = None if train is None or not len(train) else encode_collection(encoder, train, pixels=config.size, progress=bar.advance)
    k = min(config.neighbours, len(x) - 1)
    with run.progress("Comparing pairs of images", num_pairs(len(x), len(y))) as bar:
        likeness = compare(x, y, k, bar.advance)
    groups, fake_groups = group_names(photographs), group_names(fake)
    found = None
    if train is not None and z is not None:
        own, others = (nearness(side, z, group_names(train)) for side in (y, x))
        found = memorising(own, others, fake_groups, groups, seed=config.seed)
    detector = copy_detector(real.training(), config.size, config.copy_quantile, config.seed, run)
    with run.progress("Looking for copies", len(usable)) as bar:
        copies = copies_of(detector, usable, config.size, bar.advance).is_copy
    return EvaluateResult(
        encoder=f"{encoder.name}: {encoder.backbone.weights}",
        **likeness._asdict(),
        vendi_ratio=vendi_ratio(x, photographs.table["species"].to_numpy(), y, fake.table["species"].to_numpy()),
        kid_chance=kid_chance(x, y, groups, fake_groups, kid=likeness.kid, seed=config.seed),
        memorising=found,
        copy_rate=float(copies.mean()),
        num_synthetic=len(fake),
        num_real=len(photographs),
        species=tuple(sorted(photographs.table["species"].unique())),
        left_out=left_out,
        num_left_out=num_left_out,
        note=note,
        other_encoder=None if other is None else distances_in(other, photographs, fake, config, run),
    )


def distances_in(encoder: Encoder, photographs: Collection, fake: Collection, config: EvaluateConfig, run: Run) -> Distances:
    """Distances between synthetic images and photographs in the features of an encoder.

    Args:
        encoder: computes the features.
        photographs: real photographs, at least 2.
        fake: synthetic images, at least 2.
        config: size and seed.
        run: shows progress.
    """
    with run.progress(f"Encoding images with {encoder.name}", len(fake) + len(photographs)) as bar:
        x, y = (encode_collection(encoder, side, pixels=config.size, progress=bar.advance) for side in (photographs, fake))
    found = kid(x, y)
    return Distances(
        encoder=f"{encoder.name}: {encoder.backbone.weights}",
        num_features=encoder.dim,
        kid=found,
        kid_chance=kid_chance(x, y, group_names(photographs), group_names(fake), kid=found, seed=config.seed),
        frechet_distance=frechet_distance(x, y) if min(len(x), len(y)) > encoder.dim else None,
        cmmd=cmmd(x, y) if is_zero_shot(encoder.name) else None,
    )


def _mask(length: int, rows: np.ndarray) -> np.ndarray:
    """Bool mask, shape (length,), true at ``rows``."""
    mask = np.zeros(length, dtype=bool)
    mask[rows] = True
    return mask


def _same_mix(first: Collection, second: Collection, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both collections, with the same number for each species: the smaller of the two numbers."""
    rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    names = [np.array(collection.table["species"].fillna("").tolist(), dtype=object) for collection in (first, second)]
    for number, species in enumerate(sorted(set(names[0]) & set(names[1]) - {""})):
        found = [np.flatnonzero(column == species) for column in names]
        count = min(len(rows_of) for rows_of in found)
        for side, rows_of in enumerate(found):
            rows[side].append(np.random.default_rng([seed, side, number]).permutation(rows_of)[:count])
    empty = np.empty(0, dtype=np.int64)
    return np.sort(np.concatenate([empty, *rows[0]])), np.sort(np.concatenate([empty, *rows[1]]))
