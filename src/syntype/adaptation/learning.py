"""What a trained generator learns of one more species, and which of its weights change."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from syntype.adaptation.methods import FISHER_IMAGES, METHODS, WITHOUT_DISCRIMINATORS, add_ewc_penalty, fisher_information
from syntype.adaptation.relatives import Relatives
from syntype.adaptation.settings import AdaptConfig
from syntype.collection.table import Collection
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.errors import CollectionError, InputError, UnknownNameError, UnsupportedError, shown_list
from syntype.generators.contract import Adapts, AdaptsAdversarially, DescribesSpecies, Encodes, GenerativeModel, Plans, TrainingData, UsesRelative
from syntype.generators.engine.batches import training_data
from syntype.generators.engine.checkpoint import base_folder, load_generator, read_state
from syntype.generators.engine.generator import NEW_ROW_PREFIX, Generator
from syntype.generators.engine.previews import save_grid
from syntype.generators.engine.training import TrainConfig, TrainingLoop
from syntype.generators.networks.kernel_modulation import adapter_weights, modulate
from syntype.generators.registry import families_that
from syntype.run import Run

__all__ = ["Learner", "Learnt", "choose_photographs"]

RELATIVE_SHARE = 0.5
"""Default of ``AdaptConfig.relative_share`` for families that can use a related species."""
DEFAULT_METHOD = "modulate"
"""Default of ``AdaptConfig.method`` for families with discriminators."""


@dataclass(frozen=True)
class Learnt:
    """What was learnt of one species.

    Attributes:
        species: Its name.
        weights: The tensors that changed or are new, as an adapter file holds them.
        photographs: From which it was learnt.
        method: The adaptation method.
        relative: The most similar known species, and ``rank``, the rank that both share; None if not known.
        steps: Training steps.
        seconds: Duration.
        status: ``finished``, ``interrupted`` or ``preempted``.
        seed: Of the choice of photographs and of the training.
        description: What else the family has to remember of the species; see ``contract.DescribesSpecies``.
    """

    species: str
    weights: dict[str, Tensor]
    photographs: Collection
    method: str
    relative: str | None
    rank: str | None
    steps: int
    seconds: float
    status: str
    seed: int
    description: Mapping[str, str]

    def entry(self, file: str, sha256: str) -> dict[str, Any]:
        """What ``generator.json`` says of the species."""
        return {
            "species": self.species,
            "file": file,
            "sha256": sha256,
            "method": self.method,
            "relative": self.relative,
            **({} if self.rank is None else {"relative_rank": self.rank}),
            "steps": self.steps,
            "seed": self.seed,
            "photographs": self.photographs.table["image_id"].tolist(),
            **({"description": dict(self.description)} if self.description else {}),
        }


def choose_photographs(collection: Collection, species: str, shots: int, seed: int) -> Collection:
    """Choose up to ``shots`` training photographs of a species at random, from as many groups as possible.

    Raises:
        UnknownNameError: The species is not in the collection.
        CollectionError: It has no training photograph.
    """
    photographs = collection.select(split="train", species=species, usable=True).hashed()
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


class Learner:
    """A generator, loaded once, that learns species from a collection, each independently of the others.

    Attributes:
        base: The generator without the species that were added to it.
        known: The species that the generator knows.

    Args:
        generator: Adapted or not; each species is learnt from its base.
        collection: With training photographs of the new species, and of the known ones, if possible.
        many: Several species will be learnt. The base is then kept as it is, and each species learnt by a copy of it.
    """

    def __init__(self, generator: Generator, collection: Collection, *, many: bool = False) -> None:
        self.generator, self.collection, self._many = generator, collection, many
        self.known = generator.species
        folder = base_folder(generator.folder, generator.info)
        model = generator.take_model()  # a base may be large: two of them would need twice the memory
        if folder == generator.folder:
            self.base = Generator(folder, model.to("cpu"), generator.info, generator.trained_on)
        else:  # the same without the species that were added before
            del model
            self.base = load_generator(folder)

    @cached_property
    def relatives(self) -> Relatives:
        """Finds the most similar known species."""
        return Relatives(self.collection, self.base.species)

    @cached_property
    def _state(self) -> dict[str, Any] | None:
        """The training state of the base, with its discriminators."""
        return read_state(self.base.folder)

    def check(self, method: str | None, relative_share: float | None) -> str:
        """Check that the family can be adapted in this way, and return the method, which is the family's default if None.

        Raises:
            UnknownNameError: The method is not known.
            UnsupportedError: The family does not support adaptation, or not this method, or not the use of a related species.
        """
        family, model = self.generator.family, self.base.model
        if method is not None and method not in METHODS:
            raise UnknownNameError("adaptation method", method, METHODS)
        if not isinstance(model, Adapts):
            raise UnsupportedError(f"family {family} cannot be adapted to a new species. See which can with: syntype families")
        with_discriminators = isinstance(model, AdaptsAdversarially)
        method = method or (DEFAULT_METHOD if with_discriminators else WITHOUT_DISCRIMINATORS[0])
        if not with_discriminators and method not in (*WITHOUT_DISCRIMINATORS, "encode"):
            reason = f"method {method} needs discriminators, which family {family} does not have"
            able = (*WITHOUT_DISCRIMINATORS, *(("encode",) if isinstance(model, Encodes) else ()))
            raise UnsupportedError(f"{reason}. Methods that it can use: {shown_list(able)}.")
        if method == "encode" and not isinstance(model, Encodes):
            can = shown_list(families_that(Encodes))
            raise UnsupportedError(f"family {family} cannot learn a species without training (method encode). Families that can: {can}.")
        if self._many and method != "encode" and isinstance(model, Plans):
            reason = f"family {family} learns one species at a time by the method {method}"
            raise UnsupportedError(f"{reason}. Give one with --species, or learn many with --method encode.")
        if relative_share and not isinstance(model, UsesRelative):
            raise UnsupportedError(f"family {family} cannot use photographs of a related species. Leave relative_share out, or set it to 0.")
        return method

    def learn(self, config: AdaptConfig, out: Path, run: Run) -> Learnt:
        """Learn the species that ``config`` names.

        Args:
            config: Settings, with the method that ``check`` returned.
            out: For the training state, from which a stopped training continues, and for previews.
            run: Records progress and events.

        Raises:
            InputError: The generator knows the species already, or the method needs the discriminators and the base has none saved.
            UnknownNameError: The species is not in the collection.
            CollectionError: The collection has no training photograph of the species.
            TrainingError: The training diverged.
        """
        if config.species in self.known:
            raise InputError(
                f"knows {config.species} already", "Generate images of it directly, or train again with --except.", file=self.generator.folder
            )
        photographs = choose_photographs(self.collection, config.species, config.shots, config.seed)
        if len(photographs) < config.shots:
            run.say(f"{config.species} has only {len(photographs)} training photographs, not {config.shots}. All of them are used.")
        base = self.base
        if self._many and config.method != "encode":  # which changes nothing
            base = Generator(base.folder, copy.deepcopy(base.model), base.info, base.trained_on)
        found = (_encode if config.method == "encode" else self._train)(base, photographs, config, out, run)
        changed, relative, rank, steps, seconds, status = found
        description = base.model.description_of(config.species) if isinstance(base.model, DescribesSpecies) else {}
        return Learnt(config.species, changed, photographs, str(config.method), relative, rank, steps, seconds, status, config.seed, description)

    def _train(
        self, base: Generator, photographs: Collection, config: AdaptConfig, out: Path, run: Run
    ) -> tuple[dict[str, Tensor], str | None, str | None, int, float, str]:
        """Train the base's model on the photographs, beginning with the nearest relative's rows. Returns the changed tensors, relative, rank,
        steps, seconds and status."""
        model, generator = base.model, self.generator
        assert isinstance(model, Adapts)
        before = {name: tensor.clone() for name, tensor in model.generator.state_dict().items()}
        relative_share = RELATIVE_SHARE if config.relative_share is None and isinstance(model, UsesRelative) else config.relative_share or 0.0
        relative, rank = self.relatives.most_similar(photographs)
        if rank is not None:
            run.say(f"The nearest relative of {config.species} is {relative}, of the same {rank}.")

        model.add_species(config.species, relative)
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
            _take_up_discriminators(model, base, self._state, relative, config, run)
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
        if run.folder is not None and status != "preempted":
            loop.final_preview([config.species])
        changed = _changed_tensors(before, adapter_weights(loop.average.average))
        return changed, relative, rank, loop.step, loop.seconds, status


def _encode(
    base: Generator, photographs: Collection, config: AdaptConfig, out: Path, run: Run
) -> tuple[dict[str, Tensor], str | None, str | None, int, float, str]:
    """Compute the new species' rows from its photographs, and draw a grid of its images, if that is quick without a graphics card. Returns what
    ``Learner._train`` returns."""
    model = base.model
    assert isinstance(model, Encodes)
    began = time.monotonic()
    data = training_data(photographs, model.config.shape)
    if isinstance(model, DescribesSpecies):
        model.describe_species(data)
    relative, rows = model.encode_species(to_tensor(data.images))
    seconds = time.monotonic() - began
    if run.folder is not None and not isinstance(model, Plans):
        model.restore_species(config.species, rows, ())
        (out / "previews").mkdir(parents=True, exist_ok=True)
        save_grid(model, [config.species], out / "previews" / "final-000000.png")
    return {NEW_ROW_PREFIX + key: row for key, row in rows.items()}, relative, None, 0, seconds, "finished"


def _as_last_species(data: TrainingData, model: GenerativeModel) -> TrainingData:
    """Images of one species as those of the last species of a model."""
    others = len(model.species) - 1
    taxa = {rank: (*(None,) * others, *names) for rank, names in data.taxa.items()}
    return replace(data, labels=np.full(len(data.labels), others), species=model.species, taxa=taxa)


def _take_up_discriminators(
    model: AdaptsAdversarially, base: Generator, state: dict[str, Any] | None, relative: str | None, config: AdaptConfig, run: Run
) -> None:
    """Load the trained discriminators, and do with them what the method wants."""
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


def _changed_tensors(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that changed or are new. Of a tensor that gained rows for the new species, only these rows."""
    changed = {}
    for name, tensor in after.items():
        tensor = tensor.detach().cpu()
        if name in before and tensor.shape != before[name].shape:
            changed[NEW_ROW_PREFIX + name] = tensor[len(before[name]) :].clone().contiguous()
        elif name not in before or not torch.equal(tensor, before[name].cpu()):
            changed[name] = tensor.clone(memory_format=torch.contiguous_format)
    return changed
