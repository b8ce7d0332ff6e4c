"""Few-shot adaptation: a trained generator learns one more species from a few photographs.

Only the changed weights are saved (an "adapter"). The adapted generator refers to its base generator and has one adapter file per added
species. An adapter is used for its species only, so the images of the other species do not change.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from syntype.adaptation.methods import FISHER_IMAGES, METHODS, WITHOUT_DISCRIMINATORS, add_ewc_penalty, fisher_information
from syntype.adaptation.saving import Added, changed_tensors, save_adapted
from syntype.collection.relatives import nearest_relatives, taxa_of
from syntype.collection.table import Collection
from syntype.compute.runtime import Precision, Runtime
from syntype.compute.tensors import to_tensor
from syntype.encoders import encode_collection, load_encoder
from syntype.errors import CollectionError, InputError, UnknownNameError, UnsupportedError, shown_list
from syntype.generators.contract import Adapts, AdaptsAdversarially, DescribesSpecies, Encodes, GenerativeModel, Plans, TrainingData, UsesRelative
from syntype.generators.engine.batches import training_data
from syntype.generators.engine.checkpoint import base_folder, load_generator, read_state
from syntype.generators.engine.generator import NEW_ROW_PREFIX, Generator
from syntype.generators.engine.previews import save_grid
from syntype.generators.engine.training import TrainConfig, TrainingLoop
from syntype.generators.networks.kernel_modulation import adapter_weights, modulate
from syntype.generators.registry import families_that
from syntype.recipe import Seed, Settings
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["METHODS", "AdaptConfig", "AdaptResult", "adapt", "choose_photographs", "nearest_relative", "species_to_learn"]

RELATIVE_SHARE = 0.5
"""Default of ``AdaptConfig.relative_share`` for families that can use a related species."""
DEFAULT_METHOD = "modulate"
"""Default of ``AdaptConfig.method`` for families with discriminators."""
DECODED = 64
"""Species whose photographs ``encode`` decodes at a time."""
SHOWN = 8
"""New species, at most, of which ``encode`` draws images for its preview."""
MAX_COMPARED = 4000
"""Largest number of photographs of known species that are compared to find the most similar species (at least one per species)."""


class AdaptConfig(Settings):
    """Settings of ``adapt``."""

    species: str | tuple[str, ...] = ()
    """Species to learn. With the method ``encode`` also several; if none is named, all in the collection that the generator does not know."""
    method: str | None = None
    """One of ``METHODS``. If left out, ``finetune`` for families without discriminators, and ``modulate`` for the others: in a benchmark with six
    species it kept the variety of the images, was closest to the photographs (KID), and took 40 kB per species (docs/benchmarks/adaptation.md).
    ``encode`` trains nothing: of the settings below, only ``shots`` and ``seed`` apply to it."""
    ewc_weight: float = Field(1.0, gt=0)
    """Weight of the EWC penalty (method ``ewc``). The Fisher information is scaled to mean 1."""
    relative_share: float | None = Field(None, ge=0, le=1)
    """Fraction of the training images that show the new species in the poses, places and light of the most similar known species. Default: 0.5 for
    families that support it, otherwise 0."""
    shots: int = Field(6, ge=1)
    """Number of photographs to learn from."""
    steps: int = Field(300, ge=1)
    """Number of training steps."""
    batch_size: int = Field(8, ge=2)
    """Images per step."""
    learning_rate_factor: float = Field(1.0, gt=0)
    """Factor on the learning rates of the base generator's training."""
    ema: float = Field(0.99, ge=0, lt=1)
    """Decay of the exponential moving average of the weights."""
    seed: Seed = 0
    """Seed of the choice of photographs and of the training."""
    precision: Precision = "auto"
    """``fp32``, ``bf16`` or ``auto``."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""

    may_change: ClassVar[frozenset[str]] = frozenset({"precision", "device", "steps"})

    @property
    def training_steps(self) -> int:
        """Number of training steps of the method: ``steps``, or 0 if it trains nothing."""
        return 0 if self.method == "encode" else self.steps


@dataclass(frozen=True)
class AdaptResult:
    """Result of ``adapt``.

    Attributes:
        folder: Folder of the adapted generator.
        species: The new species, or a list of them if they are several.
        relative: The known species that is most similar to it, of the same genus, family or order if known; None if the collection has no photographs
            of known species, or with several (``generator.json`` has that of each).
        relative_rank: The rank that both share, of which the relative was chosen: ``genus``, ``family``, ``order``, or None.
        method: The adaptation method.
        shots: Number of photographs that were used, of all species together.
        steps: Number of training steps that were taken; 0 with the method ``encode``.
        minutes: Duration of the training, or of the computation with ``encode``.
        megabytes: Size of the adapter files.
        generator_id: Identifier of the adapted generator.
        status: ``finished`` or ``interrupted``.
    """

    folder: Path
    species: str | list[str]
    relative: str | None
    method: str
    shots: int
    steps: int
    minutes: float
    megabytes: float
    generator_id: str
    status: str
    relative_rank: str | None = None

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        return {key: value if not isinstance(value, Path) else str(value) for key, value in vars(self).items()}


def choose_photographs(collection: Collection, species: str, shots: int, seed: int) -> Collection:
    """Choose up to ``shots`` training photographs of a species at random, from as many groups as possible.

    Raises:
        UnknownNameError: The species is not in the collection.
        CollectionError: It has no training photograph.
    """
    photographs = collection.training().select(species=species).hashed()
    if not len(photographs):
        raise CollectionError(f"{collection.root}: has no training photograph of {species}. Add photographs, and import them with: syntype collect")
    order = np.random.default_rng([seed, len(photographs)]).permutation(len(photographs))
    groups = photographs.groups().tolist()
    seen: dict[int, int] = {}
    rank = np.zeros(len(photographs), dtype=int)  # rank of each photograph in its group: all first photographs come before all second ones
    for row in order:
        rank[row] = seen[groups[row]] = seen.get(groups[row], -1) + 1
    chosen = sorted(order, key=lambda row: rank[row])[:shots]
    mask = np.zeros(len(photographs), dtype=bool)
    mask[chosen] = True
    return photographs.where(mask)


@keeps_run("adapt", resumable=True)
def adapt(generator: Generator, collection: Collection, config: AdaptConfig, out: Path | str, run: Run = OWN_RUN) -> AdaptResult:
    """Adapt a trained generator to a species that it was not trained on, or with the method ``encode`` to several.

    Args:
        generator: As ``load_generator`` returns it. A generator that was adapted before keeps its species.
        collection: Contains training photographs of the new species. With photographs of the known species too, the most similar one is the
            starting point: of the same genus if the collection's columns say so, else of the same family, else of the same order, else of all.
        config: Settings.
        out: Folder of the adapted generator. It refers to the base generator, which must not be deleted.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        The folder of the adapted generator, its size, and the duration.

    Raises:
        UnsupportedError: The family does not support adaptation, or not this method, or not the use of a related species.
        UnknownNameError: The method or the species is not known.
        InputError: The generator knows the species already, several are given to a method that trains, or the method needs the discriminators and the
            base has none saved.
        CollectionError: The collection has no training photograph of the species.
        TrainingError: The training diverged.

    Example:
        >>> import syntype
        >>> reef, generator = syntype.Collection.open("out/reef"), syntype.load_generator("out/generator")
        >>> config = syntype.AdaptConfig(species="Graphiichthys alter", steps=2, batch_size=2)
        >>> result = syntype.adapt(generator, reef, config, "out/adapted")
        >>> result.shots, "Graphiichthys alter" in syntype.load_generator("out/adapted").species
        (6, True)
    """
    out = Path(out)
    if config.method is not None and config.method not in METHODS:
        raise UnknownNameError("adaptation method", config.method, METHODS)
    names = species_to_learn(generator, collection, config)
    known, model = generator.species, generator.model
    if not isinstance(model, Adapts):
        raise UnsupportedError(f"family {generator.family} cannot be adapted to a new species. See which can with: syntype families")
    with_discriminators = isinstance(model, AdaptsAdversarially)
    config = config.model_copy(update={"method": config.method or (DEFAULT_METHOD if with_discriminators else WITHOUT_DISCRIMINATORS[0])})
    if not with_discriminators and config.method not in (*WITHOUT_DISCRIMINATORS, "encode"):
        reason = f"method {config.method} needs discriminators, which family {generator.family} does not have"
        able = (*WITHOUT_DISCRIMINATORS, *(("encode",) if isinstance(model, Encodes) else ()))
        raise UnsupportedError(f"{reason}. Methods that it can use: {shown_list(able)}.")
    if config.relative_share and not isinstance(model, UsesRelative):
        raise UnsupportedError(f"family {generator.family} cannot use photographs of a related species. Leave relative_share out, or set it to 0.")
    photographs = {name: choose_photographs(collection, name, config.shots, config.seed) for name in names}
    few = [f"{name} ({len(chosen)})" for name, chosen in photographs.items() if len(chosen) < config.shots]
    if few:
        run.say(f"Fewer than {config.shots} training photographs, so all of them are used: {shown_list(few)}.")
    base_path = base_folder(generator.folder, generator.info)
    model = generator.take_model()  # a base may be large: two of them would need twice the memory
    if base_path == generator.folder:
        base = Generator(base_path, model.to("cpu"), generator.info, generator.trained_on)
    else:  # the same without the species that were added before
        del model
        base = load_generator(base_path)
    if config.method == "encode":
        added, steps, seconds, status = _encode(base, collection, photographs, out, run)
    else:
        added, steps, seconds, status = _train(generator, base, collection, photographs[names[0]], config, out, run)
    generator_id, size = save_adapted(generator, known, base, added, str(config.method), steps, config.seed, out)
    one = added[0] if len(added) == 1 else None
    return AdaptResult(
        out,
        list(names) if one is None else one.species,
        None if one is None else one.relative,
        str(config.method),
        sum(map(len, photographs.values())),
        steps,
        round(seconds / 60, 4),
        round(size / 1e6, 4),
        generator_id,
        status,
        None if one is None else one.rank,
    )


def species_to_learn(generator: Generator, collection: Collection, config: AdaptConfig) -> tuple[str, ...]:
    """Names of the species that ``adapt`` learns.

    Raises:
        InputError: The generator knows one already, or there are several, or none, for a method that trains.
        CollectionError: None is named, and the collection has no photograph of one that the generator does not know.
    """
    names = (config.species,) if isinstance(config.species, str) else tuple(dict.fromkeys(config.species))
    if not names and config.method != "encode":
        raise InputError("no species is named", "Name one with --species. The method encode takes all that are new if none is named.")
    if len(names) > 1 and config.method != "encode":
        raise InputError(f"{len(names)} species are named, and only the method encode learns several", "Name one species with --species.")
    for name in names:
        if name in generator.species:
            raise InputError(f"knows {name} already", "Generate images of it directly, or train again with --except.", file=generator.folder)
    names = names or tuple(name for name, number in collection.training().counts().items() if number and name not in generator.species)
    if not names:
        raise CollectionError(f"{collection.root}: has no training photograph of a species that the generator does not know.")
    return names


_Outcome = tuple[list[Added], int, float, str]
"""What was learnt of each species, number of steps, seconds, status."""


def _encode(base: Generator, collection: Collection, photographs: dict[str, Collection], out: Path, run: Run) -> _Outcome:
    """Compute the new species' rows from their photographs, and draw a grid of images of the first ones, if that is quick without a graphics card."""
    model = base.model
    if not isinstance(model, Encodes):
        able = shown_list(families_that(Encodes))
        raise UnsupportedError(f"family {base.family} cannot learn a species without training (method encode). Families that can: {able}.")
    names, added, began = list(photographs), [], time.monotonic()
    with run.progress("Encoding species", len(names)) as bar:
        for start in range(0, len(names), DECODED):
            part = {name: photographs[name] for name in names[start : start + DECODED]}
            chosen = pd.concat([view.table["image_id"] for view in part.values()])
            data = training_data(collection.where(collection.table["image_id"].isin(chosen)).hashed(), model.config.shape)
            if isinstance(model, DescribesSpecies):
                model.describe_species(data)
            for name, view in part.items():
                relative, rows = model.encode_species(to_tensor(data.images[data.labels == data.species.index(name)]))
                described = model.description_of(name) if isinstance(model, DescribesSpecies) else {}
                added.append(Added(name, view, relative, None, {NEW_ROW_PREFIX + key: row for key, row in rows.items()}, described))
                bar.set(len(added))
    seconds = time.monotonic() - began
    shown = [] if isinstance(model, Plans) else added[:SHOWN]
    for one in shown:
        model.restore_species(one.species, {key.removeprefix(NEW_ROW_PREFIX): row for key, row in one.changed.items()}, ())
    if shown:
        (out / "previews").mkdir(parents=True, exist_ok=True)
        save_grid(model, [one.species for one in shown], out / "previews" / "final-000000.png")
    return added, 0, seconds, "finished"


def _train(
    generator: Generator, base: Generator, collection: Collection, photographs: Collection, config: AdaptConfig, out: Path, run: Run
) -> _Outcome:
    """Train the base's model on the photographs, beginning with the nearest relative's rows."""
    model, species = base.model, str(photographs.table["species"].iloc[0])
    assert isinstance(model, Adapts)
    before = {name: tensor.clone() for name, tensor in model.generator.state_dict().items()}
    relative_share = RELATIVE_SHARE if config.relative_share is None and isinstance(model, UsesRelative) else config.relative_share or 0.0
    relative, rank = _most_similar_species(collection, photographs, base.species)
    if rank is not None:
        run.say(f"The nearest relative of {species} is {relative}, of the same {rank}.")

    model.add_species(species, relative)
    trainable = set(model.adaptable_parameters())
    if config.method == "modulate":
        trainable = modulate(model.generator, trainable, config.seed)
    data = _as_last_species(training_data(photographs, model.config.shape), model)
    runtime = Runtime(config.device, config.precision)
    torch.manual_seed(config.seed)
    model.prepare(data, runtime)
    model.scale_learning_rates(config.learning_rate_factor)
    if isinstance(model, UsesRelative):
        model.use_relative(relative_share)
    for name, parameter in model.generator.named_parameters():
        parameter.requires_grad_(name in trainable)
    if isinstance(model, AdaptsAdversarially):
        _take_up_discriminators(model, base, relative, config, run)
    settings = TrainConfig(
        family=generator.family,
        size=base.size,
        steps=config.steps,
        batch_size=config.batch_size,
        ema=config.ema,
        seed=config.seed,
        precision=config.precision,
        device=config.device,
        preview_every=max(1, config.steps // 5),
    )
    method = {
        "method": config.method,
        "learning_rate_factor": config.learning_rate_factor,
        "relative_share": relative_share,
        **({"ewc_weight": config.ewc_weight} if config.method == "ewc" else {}),
    }
    made_from = {"generator": generator.fingerprint, "images": photographs.fingerprint}
    loop = TrainingLoop(model, data, runtime, settings, out, run, identity={**method, **made_from})
    status = loop.run_until_done()
    if run.folder is not None:
        loop.final_preview([species])
    described = model.description_of(species) if isinstance(model, DescribesSpecies) else {}
    changed = changed_tensors(before, adapter_weights(loop.average.average))
    return [Added(species, photographs, relative, rank, changed, described)], loop.step, loop.seconds, status


def _as_last_species(data: TrainingData, model: GenerativeModel) -> TrainingData:
    """Images of one species as those of the last species of a model."""
    others = len(model.species) - 1
    taxa = {rank: (*(None,) * others, *names) for rank, names in data.taxa.items()}
    return replace(data, labels=np.full(len(data.labels), others), species=model.species, taxa=taxa)


def _take_up_discriminators(model: AdaptsAdversarially, base: Generator, relative: str | None, config: AdaptConfig, run: Run) -> None:
    """Load the trained discriminators, and do with them what the method wants."""
    state = read_state(base.folder)
    if state is not None:
        model.restore_discriminator(state["model"], relative)
    elif config.method in ("freeze-d", "ewc"):
        reason = f"has no training state, and the method {config.method} needs its discriminators"
        raise InputError(reason, "Restore the file training/state.pt, or use --method finetune or modulate.", file=base.folder)
    else:
        run.say("The base generator has no training state, so the discriminators start from random weights. This lowers the quality.")
    if config.method == "freeze-d":
        for parameter in model.lower_discriminator_parameters():
            parameter.requires_grad_(False)
    if config.method == "ewc":
        generator = base.model.generator
        add_ewc_penalty(generator, fisher_information(model, generator, base.info["species"], FISHER_IMAGES), config.ewc_weight)


def _most_similar_species(collection: Collection, photographs: Collection, known: tuple[str, ...]) -> tuple[str | None, str | None]:
    """The known species whose photographs are most similar to the new species' (Lite2 features), and the rank that both share.

    Species of the same genus come first, then those of the same family, then of the same order, where the collection's columns say so. None if the
    collection has no photographs of known species; the rank is None if none is known or shared.
    """
    encoder = load_encoder("lite2")
    train = collection.training()
    train = train.where(train.table["species"].isin(known))
    names = [str(photographs.table["species"].iloc[0]), *sorted(set(train.table["species"]))]
    taxa = taxa_of(collection.training().table, names)
    rank, same = nearest_relatives(taxa, 0, range(1, len(names)))
    if rank is not None:
        train = train.where(train.table["species"].isin([names[place] for place in same]))
    train = _evenly_sampled(train, MAX_COMPARED)
    if not len(train):
        return None, None
    features = encode_collection(encoder, train, pixels=64)
    target = encode_collection(encoder, photographs, pixels=64).mean(0)
    return nearest_relative(features, train.table["species"].tolist(), target), rank


def nearest_relative(features: np.ndarray, species: Sequence[str], target: np.ndarray) -> str:
    """The species with the most similar mean features, by the cosine after subtracting the overall mean.

    Args:
        features: Features of photographs of the species to choose from, float32, shape (N, D), N >= 1.
        species: Species of each photograph.
        target: Mean features of photographs of another species, shape (D,).
    """
    middle = features.mean(0)  # what all photographs have in common does not tell species apart
    numbers, names = pd.factorize(np.asarray(species, dtype=object))
    means = np.zeros((len(names), features.shape[1]), np.float32)
    np.add.at(means, numbers, features)
    means = means / np.bincount(numbers)[:, None] - middle
    similarity = means @ (target - middle) / np.maximum(np.linalg.norm(means, axis=1), 1e-12)
    return str(names[similarity.argmax()])


def _evenly_sampled(collection: Collection, number: int) -> Collection:
    """At most about ``number`` images, evenly spaced and equally many per species, but at least one per species."""
    labels = collection.labels()
    counts = np.bincount(labels, minlength=len(collection.species))
    most = max(1, number // max(1, int(np.count_nonzero(counts))))
    place = np.empty(len(labels), np.int64)  # position of each image among those of its species
    place[np.argsort(labels, kind="stable")] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept, of = np.minimum(most, counts)[labels], counts[labels]
    return collection.where((place + 1) * kept // of > place * kept // of)
