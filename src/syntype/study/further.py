"""Real photographs from outside a study's collection: further ones of its species, and those that look like its rare species.

Photographs that repeat one of the collection, or show the same individual, specimen or track as one that is held back, are left out.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from syntype.collection import Collection
from syntype.collection.importers import CollectConfig, collect
from syntype.collection.names import count_unknown
from syntype.curation.curate import copies_of, copy_bank, copy_detector
from syntype.encoders import encode_collection, load_encoder
from syntype.errors import CollectionError
from syntype.run import Run
from syntype.study.config import StudyConfig

__all__ = ["content_of", "further_photographs", "open_photographs", "retrieve"]

ENCODER = "lite2"
SPARE = 10
"""Twice as many photographs as needed, and so many more, are compared with those of the collection, as some may be left out."""


def open_photographs(source: str, folder: Path, run: Run) -> Collection:
    """The real photographs of a source, without those that an expert refused.

    Args:
        source: folder of a collection, or what ``collect`` reads.
        folder: folder for the import of what is no collection yet. If an earlier run completed it, it is read.
        run: records progress.

    Raises:
        CollectionError: there are no real photographs in it.
    """
    path = Path(source)
    if not is_collection(path):
        if not is_collection(folder):
            shutil.rmtree(folder, ignore_errors=True)  # an import that was stopped
            folder.mkdir(parents=True)
            collect(path, CollectConfig(), folder, Run(folder, quiet=run.quiet))
        path = folder
    found = Collection.open(path).select(usable=True)
    found = found.where((found.table["origin"].fillna("real") != "synthetic").to_numpy(dtype=bool))
    if not len(found):
        raise CollectionError(f"{source}: has no real photographs. Give a collection or a table of photographs.")
    return found


def is_collection(path: Path) -> bool:
    """Whether a folder is a collection."""
    return (path / "collection.json").is_file()


def content_of(source: str | None) -> str | None:
    """Changes with the content if ``source`` is a collection; otherwise with the path, as the first run imports what is there. None for None."""
    return source if source is None or not is_collection(Path(source)) else Collection.open(source).fingerprint


def further_photographs(real: Collection, photographs: Collection, config: StudyConfig, run: Run) -> Collection:
    """The photographs of species of ``real`` that repeat none of its photographs. Says how many were left out, and why.

    Args:
        real: the photographs of the study, all splits.
        photographs: further ones, as from ``open_photographs``.
        config: settings of the study; those of curation tell what a copy is.
        run: records progress.

    Raises:
        CollectionError: none is left.
    """
    unknown = count_unknown(photographs.table["species"].value_counts().to_dict(), real.species)
    if unknown:
        run.say(f"Further photographs not used, as the study does not have their species: {unknown}")
    known = photographs.where(photographs.table["species"].isin(real.species))
    known = Collection(known.root, known.table, real.species, known.info)
    found = known.where(~_repeats(known, real, config, run))
    if len(found) < len(known):
        run.say(
            f"{len(known) - len(found)} of {len(known)} further photographs were left out: they repeat photographs of {real.name}, or show the same "
            "individual, specimen or track as a photograph that is held back."
        )
    if not len(found):
        raise CollectionError(f"{photographs.root}: has no further photographs of the species of {real.root}. Give others, or leave them out.")
    return found


def retrieve(real: Collection, other: Collection, num_wanted: np.ndarray, config: StudyConfig, run: Run) -> Collection:
    """Photographs of another collection that look most like the rare species, named after them, whatever they show.

    The competitor of synthetic images in Geng et al. 2024, "The Unmet Promise of Synthetic Training Images" (arXiv 2406.05184): retrieve
    photographs from the data that a generator was trained on. Here each photograph belongs to the species whose training photographs have the
    mean feature most similar to its own (cosine of the angle between centred features of ``lite2``), and of every rare species' photographs the
    most similar are taken.

    Args:
        real: the photographs of the study; features are compared with those of the split ``train`` only.
        other: photographs of any content.
        num_wanted: int64, shape (num_species,), number of photographs of each species.
        config: settings of the study.
        run: records progress.

    Returns:
        a view of ``other`` with species of ``real``, the most similar photographs of each species first; fewer than wanted if fewer look like it.
    """
    train, encoder = real.training(), load_encoder(ENCODER)
    labels = train.labels()
    own = encode_collection(encoder, train, pixels=config.size)
    with run.progress("Features of the photographs to retrieve from", len(other)) as bar:
        theirs = encode_collection(encoder, other, pixels=config.size, progress=bar.advance)
    present = np.unique(labels[labels >= 0])
    centre = own[labels >= 0].mean(axis=0)
    means = np.stack([own[labels == label].mean(axis=0) for label in present])
    similarity = _unit(theirs - centre) @ _unit(means - centre).T
    nearest, likeness = present[similarity.argmax(axis=1)], similarity.max(axis=1)
    rows = []
    for label in np.flatnonzero(num_wanted):
        of_species = np.flatnonzero(nearest == label)
        rows.append(of_species[np.argsort(-likeness[of_species], kind="stable")][: 2 * int(num_wanted[label]) + SPARE])
    chosen = np.concatenate([*rows, np.empty(0, np.int64)])
    table = other.table.iloc[chosen].assign(species=np.array(real.species, dtype=object)[nearest[chosen]]).reset_index(drop=True)
    found = Collection(other.root, table, real.species, other.info)
    found = found.where(~_repeats(found, real, config, run, any_species=True))
    return found.where(found.table.groupby("species").cumcount().to_numpy() < num_wanted[found.labels()])


def _repeats(photographs: Collection, real: Collection, config: StudyConfig, run: Run, *, any_species: bool = False) -> np.ndarray:
    """Whether a photograph repeats one of ``real``, or is of a group that ``real`` holds back: bool, shape (num_photographs,).

    Args:
        any_species: compare with photographs of all species, not only of its own.
    """
    if not len(photographs):
        return np.empty(0, dtype=bool)
    known, train = real.where(real.labels() >= 0), real.training()
    size, held = config.curate.size, known.select(split=("val", "test"))
    threshold = copy_detector(train.where(train.labels() >= 0), size, config.curate.copy_quantile, config.curate.seed, run).threshold
    bank = copy_bank(known, size, threshold=threshold)
    allowed = None if any_species else photographs.labels()[:, None] == known.labels()[None]
    with run.progress("Comparing further photographs with those of the collection", len(photographs)) as bar:
        found = copies_of(bank, photographs, size, bar.advance, allowed).is_copy
    found |= photographs.hashed().table["sha256"].isin(real.hashed().table["sha256"].dropna()).to_numpy(dtype=bool)
    own = list(zip(photographs.table["group"], photographs.table["species"], strict=True))
    theirs = set(zip(held.table["group"].dropna(), held.table["species"][held.table["group"].notna()], strict=True))
    return np.asarray(found | np.array([pair in theirs for pair in own], dtype=bool))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
