"""A trained generator learns one more species from a few photographs; what changed is saved, and nothing else.

The adapted generator refers to its base and adds one file a species. The weights in that file are used for that species
alone, so species number n + 1 never touches the other n.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor

from syntype.adaptation.methods import FISHER_IMAGES, METHODS, fisher_information, hold
from syntype.collection.table import Collection
from syntype.compute.runtime import Precision, Runtime
from syntype.encoders import encode_collection, load_encoder
from syntype.errors import CollectionError, InputError, UnknownNameError, UnsupportedError
from syntype.generators.contract import Adapts, UsesRelative
from syntype.generators.engine.batches import training_data
from syntype.generators.engine.checkpoint import base_folder, load_generator, read_generator_info, read_state
from syntype.generators.engine.generator import NEW_ROW, Generator
from syntype.generators.engine.training import Loop, TrainConfig
from syntype.generators.networks.kernel_modulation import modulate, saved_weights
from syntype.recipe import Settings
from syntype.run import OWN_RUN, Run, keeps_run, write_json

__all__ = ["METHODS", "AdaptConfig", "AdaptResult", "adapt", "choose_photographs", "nearest_relative"]

RELATIVE_SHARE = 0.5
"""What ``AdaptConfig.relative_share`` stands for where the family lends."""
LOOKED_AT = 4000
"""Photographs of known species, at most, among which a new one's relative is looked for; one of each where there are more species."""


class AdaptConfig(Settings):
    """Settings of ``adapt``."""

    species: str
    """The species to learn."""
    method: str = "modulate"
    """One of ``METHODS``. The default kept variety and came nearest to photographs of six species, in 40 kB each (docs/benchmarks/adaptation.md)."""
    ewc_weight: float = Field(1.0, gt=0)
    """Weight of the penalty of ``ewc``; the Fisher information that it multiplies has mean 1."""
    relative_share: float | None = Field(None, ge=0, le=1)
    """Share of the training's images that show the new species in poses, places and light of its nearest relative; null: one half where the
    family can do that, 0 where it cannot."""
    shots: int = Field(6, ge=1)
    """Photographs to learn from."""
    steps: int = Field(300, ge=1)
    """Training steps."""
    batch_size: int = Field(8, ge=2)
    """Images a step."""
    rate: float = Field(1.0, gt=0)
    """Factor on the learning rates that the base was trained with."""
    ema: float = Field(0.99, ge=0, lt=1)
    """Decay of the moving average of the weights."""
    seed: int = 0
    precision: Precision = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"


@dataclass(frozen=True)
class AdaptResult:
    """What adaptation gave.

    Attributes:
        folder: of the adapted generator.
        species: the species that was added.
        relative: the known species that it started from; None if there was none.
        method: one of ``METHODS``.
        shots: photographs that it learnt from.
        steps: steps taken.
        minutes: time taken.
        megabytes: size of what was added.
        generator_id: of the adapted generator.
        status: ``finished`` or ``interrupted``.
    """

    folder: Path
    species: str
    relative: str | None
    method: str
    shots: int
    steps: int
    minutes: float
    megabytes: float
    generator_id: str
    status: str

    def summary(self) -> dict[str, Any]:
        """For ``--json``."""
        return {key: value if not isinstance(value, Path) else str(value) for key, value in vars(self).items()}


def choose_photographs(collection: Collection, species: str, shots: int, seed: int) -> Collection:
    """Up to ``shots`` training photographs of a species, from as many groups as possible, drawn by ``seed``.

    Raises:
        UnknownNameError: the collection does not know the species.
        CollectionError: it has no training photograph.
    """
    photographs = collection.training().select(species=species)
    if not len(photographs):
        raise CollectionError(f"{collection.root}: has no training photograph of {species}. Add some, and import again with: syntype collect")
    order = np.random.default_rng([seed, len(photographs)]).permutation(len(photographs))
    groups = photographs.groups().tolist()
    seen: dict[int, int] = {}
    turn = np.zeros(len(photographs), dtype=int)  # first photographs of every group come before the second ones
    for row in order:
        turn[row] = seen[groups[row]] = seen.get(groups[row], -1) + 1
    chosen = sorted(order, key=lambda row: turn[row])[:shots]
    mask = np.zeros(len(photographs), dtype=bool)
    mask[chosen] = True
    return photographs.where(mask)


@keeps_run("adapt", resumable=True)
def adapt(generator: Generator, collection: Collection, config: AdaptConfig, out: Path | str, run: Run = OWN_RUN) -> AdaptResult:
    """Teach a generator a species that it does not know.

    Args:
        generator: as ``load_generator`` gives it; adapted ones keep the species they have.
        collection: holds the photographs of the new species (split ``train``), and best also those of its relatives.
        config: species, method, number of photographs (``shots``), steps.
        out: the adapted generator's folder. Where it holds a training state of the same settings, adaptation goes on from there.
        run: where progress, messages and events go; by default a run folder in ``out``, with progress on standard error.

    Returns:
        the nearest relative, number of photographs, steps, minutes, and the size of what was added, in megabytes.

    Raises:
        UnsupportedError: the family cannot adapt, or cannot lend.
        UnknownNameError: unknown method or species.
        InputError: the generator knows the species already, or its base lacks the discriminators that the method builds on.

    Example:
        >>> import syntype
        >>> reef, generator = syntype.Collection.open("out/reef"), syntype.load_generator("out/generator")
        >>> config = syntype.AdaptConfig(species="Graphiichthys alter", steps=2, batch_size=2)
        >>> result = syntype.adapt(generator, reef, config, "out/adapted")
        >>> result.shots, "Graphiichthys alter" in syntype.load_generator("out/adapted").species
        (6, True)
    """
    out = Path(out)
    if config.method not in METHODS:
        raise UnknownNameError("adaptation method", config.method, METHODS)
    if config.species in generator.species:
        raise InputError(f"knows {config.species} already", "Generate it as it is, or train again with --except.", file=generator.folder)
    base_path = base_folder(generator.folder, generator.info)
    base = load_generator(base_path)
    model = base.model
    if not isinstance(model, Adapts):
        raise UnsupportedError(f"family {generator.family} cannot be adapted to a new species. Families that can: see syntype families.")
    if config.relative_share and not isinstance(model, UsesRelative):
        raise UnsupportedError(f"family {generator.family} has nothing to lend from a relative. Leave relative_share out, or set it to 0.")
    relative_share = RELATIVE_SHARE if config.relative_share is None and isinstance(model, UsesRelative) else config.relative_share or 0.0
    photographs = choose_photographs(collection, config.species, config.shots, config.seed)
    if len(photographs) < config.shots:
        run.say(f"{config.species} has {len(photographs)} training photographs, not {config.shots}: learning from those.")
    relative = _relative(collection, photographs, base.species)
    before = {name: tensor.clone() for name, tensor in model.generator.state_dict().items()}

    model.add_species(config.species, relative)
    changeable = set(model.adaptable_parameters())
    if config.method == "modulate":
        changeable = modulate(model.generator, changeable, config.seed)
    data = training_data(photographs, generator.size)
    data = replace(data, labels=np.full(len(data.labels), len(model.species) - 1), species=model.species)
    runtime = Runtime(config.device, config.precision)
    torch.manual_seed(config.seed)
    model.prepare(data, runtime)
    model.scale_rates(config.rate)
    if isinstance(model, UsesRelative):
        model.use_relative(relative_share)
    state = read_state(base_path)
    if state is not None:
        model.restore_critic(state["model"], relative)
    elif config.method in ("freeze-d", "ewc"):
        reason = f"has no training state, and so not the discriminators that {config.method} builds on"
        raise InputError(reason, "Bring back training/state.pt, or use --method finetune or modulate.", file=base_path)
    else:
        run.say("The base generator has no training state: its discriminators start anew, which costs quality.")
    for name, parameter in model.generator.named_parameters():
        parameter.requires_grad_(name in changeable)
    if config.method == "freeze-d":
        for parameter in model.lower_critic():
            parameter.requires_grad_(False)
    if config.method == "ewc":
        hold(model.generator, fisher_information(model, model.generator, base.info["species"], FISHER_IMAGES), config.ewc_weight)
    settings = TrainConfig(
        family=generator.family,
        size=generator.size,
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
        "rate": config.rate,
        "relative_share": relative_share,
        **({"ewc_weight": config.ewc_weight} if config.method == "ewc" else {}),
    }
    loop = Loop(model, data, runtime, settings, out, run, identity=method)
    status = loop.run_until_done()

    changed = _changes(before, saved_weights(loop.average.average))
    file = _save(generator, base, config, relative, changed, photographs, loop, out)
    if run.folder is not None:
        loop.last_preview([config.species])
    info, _ = read_generator_info(out)
    return AdaptResult(
        out,
        config.species,
        relative,
        config.method,
        len(photographs),
        loop.step,
        round(loop.seconds / 60, 2),
        round(file.stat().st_size / 1e6, 2),
        str(info["generator_id"]),
        status,
    )


def _relative(collection: Collection, photographs: Collection, known: tuple[str, ...]) -> str | None:
    """The known species that is nearest to the new one (Lite2 features), if the collection shows any."""
    encoder = load_encoder("lite2")
    train = collection.training()
    train = _spread(train.where(train.table["species"].isin(known)), LOOKED_AT)
    if not len(train):
        return None
    features = encode_collection(encoder, train, pixels=64)
    target = encode_collection(encoder, photographs, pixels=64).mean(0)
    return nearest_relative(features, train.table["species"].tolist(), target)


def nearest_relative(features: np.ndarray, species: Sequence[str], target: np.ndarray) -> str:
    """The species whose mean photograph is nearest by the cosine to another's.

    Args:
        features: of photographs of the species to choose from, float32, shape (N, D), N at least 1.
        species: what each of them shows.
        target: mean features of the other species' photographs, shape (D,).
    """
    middle = features.mean(0)  # what all photographs share says nothing about kinship
    numbers, names = pd.factorize(np.asarray(species, dtype=object))
    means = np.zeros((len(names), features.shape[1]), np.float32)
    np.add.at(means, numbers, features)
    means = means / np.bincount(numbers)[:, None] - middle
    similarity = means @ (target - middle) / np.maximum(np.linalg.norm(means, axis=1), 1e-12)
    return str(names[similarity.argmax()])


def _spread(collection: Collection, number: int) -> Collection:
    """About ``number`` images at most, but one of every species at least: as many of each, evenly spaced."""
    labels = collection.labels()
    counts = np.bincount(labels, minlength=len(collection.species))
    most = max(1, number // max(1, int(np.count_nonzero(counts))))
    place = np.empty(len(labels), np.int64)  # of each image among those of its species
    place[np.argsort(labels, kind="stable")] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept, of = np.minimum(most, counts)[labels], counts[labels]
    return collection.where((place + 1) * kept // of > place * kept // of)


def _changes(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that differ or are new; of those that gained a row for the new species, the row alone."""
    changed = {}
    for name, tensor in after.items():
        tensor = tensor.detach().cpu()
        if name in before and tensor.shape != before[name].shape:
            changed[NEW_ROW + name] = tensor[-1:].clone().contiguous()
        elif name not in before or not torch.equal(tensor, before[name].cpu()):
            changed[name] = tensor.clone(memory_format=torch.contiguous_format)
    return changed


def _save(
    generator: Generator,
    base: Generator,
    config: AdaptConfig,
    relative: str | None,
    changed: dict[str, Tensor],
    photographs: Collection,
    loop: Loop,
    out: Path,
) -> Path:
    adapters = list(generator.info.get("adapters", []))
    (out / "adapters").mkdir(parents=True, exist_ok=True)
    for adapter in adapters:
        shutil.copyfile(generator.folder / adapter["file"], out / adapter["file"])
    file = out / "adapters" / f"{len(adapters):04d}.safetensors"
    save_file(changed, file)
    adapters.append(
        {
            "species": config.species,
            "file": f"adapters/{file.name}",
            "method": config.method,
            "relative": relative,
            "steps": loop.step,
            "seed": config.seed,
            "photographs": photographs.table["image_id"].tolist(),
        }
    )
    learnt = sorted(generator.trained_on | set(photographs.table["sha256"].dropna()))
    (out / "training_images.txt").write_text("".join(f"{sha}\n" for sha in learnt), encoding="utf-8")
    write_json(
        out / "generator.json",
        {
            "schema_version": base.info["schema_version"],
            "generator_id": f"{base.generator_id}+{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}",
            "family": generator.family,
            "config": base.info["config"],
            "species": [*generator.species, config.species],
            "abilities": base.info.get("abilities", []),
            "licences": sorted({*generator.licences, *photographs.table["licence"].dropna()}),
            "terms": sorted({*generator.info.get("terms", []), *photographs.table["terms"].dropna()}),
            "base": {
                "relative": os.path.relpath(base.folder, out),
                "absolute": str(base.folder.resolve()),
                "weights_sha256": base.info["weights_sha256"],
            },
            "adapters": adapters,
        },
    )
    return file
