"""Prepares the images, other than real ones, that the arms can add in one repetition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch.nn import functional

from syntype.collection import Collection
from syntype.collection.reef import draw_images, reef_config, species_names
from syntype.compute.tensors import to_uint8
from syntype.generators import load_generator
from syntype.identification import LabelledImages, synthetic_images
from syntype.study.arms import Arm, Pool
from syntype.study.config import StudyConfig
from syntype.study.synthetic import SyntheticSets, label_positions

__all__ = ["make_pool"]


def make_pool(real: Collection, synthetic: SyntheticSets, arms: Sequence[Arm], number: int, config: StudyConfig) -> Pool:
    """Prepare the images, other than real ones, that the arms can add in repetition ``number``.

    Args:
        real: the photographs.
        synthetic: the curated synthetic images of all repetitions.
        arms: the arms of the study. Collages and images from the true distribution are made only if an arm adds them, as many as there are
            synthetic images.
    """
    curated, sources = synthetic.curated[number], {arm.adds for arm in arms}
    as_many = np.sort(label_positions(curated, real.species))
    return Pool(
        made=synthetic_images(curated, real.training(), config.size, real.species),
        accepted=(curated.table["verdict"].fillna("accepted") != "refused").to_numpy(dtype=bool),
        collage=_collages(real, synthetic.collage[number], as_many, config.seed_of(number), config.size)
        if "collage" in sources and synthetic.collage
        else None,
        oracle=_oracle_images(real, as_many, config.seed_of(number), config.size) if "oracle" in sources else None,
        retrieved=_retrieved(synthetic.retrieved, as_many, config.size) if "retrieved" in sources and synthetic.retrieved else None,
    )


def _collages(real: Collection, folder: Path, labels: np.ndarray, seed: int, size: int) -> LabelledImages:
    """Collages of ``size`` pixels, for the species for which the collage generator has cut-out subjects."""
    generator = load_generator(folder)
    known = {label for label, name in enumerate(real.species) if name in generator.species}
    labels = np.array([label for label in labels if label in known], dtype=np.int64)
    images = generator.sample([real.species[label] for label in labels], _image_seeds(seed, len(labels)))
    if images.shape[-1] != size:
        images = functional.interpolate(images, size=(size, size), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    return LabelledImages(to_uint8(images), labels, np.ones(len(labels), bool))


def _retrieved(found: Collection, labels: np.ndarray, size: int) -> LabelledImages:
    """The first of the retrieved photographs: of every species as many as there are synthetic images, if there are so many."""
    wanted, own = np.bincount(labels, minlength=len(found.species)), found.labels()
    chosen = found.where(found.table.groupby("species").cumcount().to_numpy() < wanted[own])
    return LabelledImages(chosen.pixels(size), chosen.labels(), np.ones(len(chosen), bool))


def _oracle_images(real: Collection, labels: np.ndarray, seed: int, size: int) -> LabelledImages:
    """New images from the true distribution, which is known only for the drawn reef."""
    reef = reef_config(real)
    if reef is None:
        raise ValueError("the arm 'oracle' needs a drawn reef; choose_arms refuses it elsewhere")
    names = species_names(reef)
    images = draw_images(reef, [names.index(real.species[label]) for label in labels], _image_seeds(seed, len(labels)), size)
    return LabelledImages(images, labels, np.ones(len(labels), bool))


def _image_seeds(seed: int, count: int) -> list[int]:
    return [int(one) for one in np.random.default_rng([seed, 0x1396]).integers(2**62, size=count)]
