"""Few-shot adaptation: a trained generator learns one more species from a few photographs.

Only the changed weights are saved (an "adapter"). The adapted generator refers to its base generator and has one adapter file per added
species. An adapter is used for its species only, so the images of the other species do not change.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syntype.adaptation.learning import Learner, Learnt
from syntype.adaptation.saving import write_adapted
from syntype.adaptation.settings import AdaptConfig
from syntype.collection.table import Collection
from syntype.files import atomic_write, inside
from syntype.generators.engine.checkpoint import write_weights
from syntype.generators.engine.generator import Generator
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["AdaptResult", "adapt"]


@dataclass(frozen=True)
class AdaptResult:
    """Result of ``adapt``.

    Attributes:
        folder: Folder of the adapted generator.
        species: The new species.
        relative: The known species that is most similar to it, of the same genus, family or order if known; None if the collection has no photographs
            of known species.
        relative_rank: The rank that both share, of which the relative was chosen: ``genus``, ``family``, ``order``, or None.
        method: The adaptation method.
        shots: Number of photographs that were used.
        steps: Number of training steps that were taken; 0 with the method ``encode``.
        minutes: Duration of the training, or of the computation with ``encode``.
        megabytes: Size of the adapter file.
        generator_id: Identifier of the adapted generator.
        status: ``finished``, ``interrupted`` (Ctrl-C) or ``preempted`` (by a cluster).
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
    relative_rank: str | None = None

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        return {key: value if not isinstance(value, Path) else str(value) for key, value in vars(self).items()}


@keeps_run("adapt", resumable=True)
def adapt(generator: Generator, collection: Collection, config: AdaptConfig, out: Path | str, run: Run = OWN_RUN) -> AdaptResult:
    """Adapt a trained generator to a species that it was not trained on.

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
        InputError: The generator knows the species already, or the method needs the discriminators and the base has none saved.
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
    learner = Learner(generator, collection)
    config = config.model_copy(update={"method": learner.check(config.method, config.relative_share)})
    learnt = learner.learn(config, out, run)
    file, generator_id = _save(generator, learner, learnt, out)
    return AdaptResult(
        out,
        config.species,
        learnt.relative,
        learnt.method,
        len(learnt.photographs),
        learnt.steps,
        round(learnt.seconds / 60, 4),
        round(file.stat().st_size / 1e6, 4),
        generator_id,
        learnt.status,
        learnt.rank,
    )


def _save(generator: Generator, learner: Learner, learnt: Learnt, out: Path) -> tuple[Path, str]:
    """Write the generator with one more adapter; returns the adapter's file, and the generator_id."""
    adapters = list(generator.info.get("adapters", []))
    (out / "adapters").mkdir(parents=True, exist_ok=True)
    files = dict.fromkeys(adapter["file"] for adapter in adapters)
    for name in files:
        with atomic_write(inside(out, name)) as temporary:
            shutil.copyfile(inside(generator.folder, name), temporary)
    number = next(number for number in range(len(adapters), 2 * len(adapters) + 1) if f"adapters/{number:04d}.safetensors" not in files)
    file = out / "adapters" / f"{number:04d}.safetensors"
    digest = write_weights(file, learnt.weights)
    adapters.append(learnt.entry(f"adapters/{file.name}", digest))
    return file, write_adapted(out, generator, learner.known, learner.base, adapters, learnt.photographs)
