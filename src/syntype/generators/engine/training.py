"""The training loop, common to all families.

A step is a function of (weights, optimiser state, seed, step): its images and random numbers follow from the seed and the step's number. A run that
was killed and resumed therefore ends, on the same machine and with the same number of threads, with exactly the weights of an uninterrupted run.
Several processes share each batch and average gradients and statistics, so that they compute the same as one process up to rounding. Only the main
process writes files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator

from syntype.cluster.preemption import stop_requests
from syntype.collection.table import Collection
from syntype.compute.ema import MovingAverage
from syntype.compute.processes import synchronise_batch_norm
from syntype.compute.runtime import Precision, Runtime
from syntype.compute.tensors import to_tensor
from syntype.errors import InputError, TrainingError, require_known
from syntype.generators.contract import Batch, GenerativeModel, GeneratorConfig, ShowsProcess, TrainingData
from syntype.generators.engine.batches import BatchSampler, training_data
from syntype.generators.engine.checkpoint import learnt_before, read_state, save_generator, save_state
from syntype.generators.engine.masked_patches import MaskedPatches
from syntype.generators.engine.previews import plot_curves, preview_species, save_animation, save_grid, save_process_strip
from syntype.generators.registry import family, is_family
from syntype.recipe import Seed, Settings, write_yaml
from syntype.run import OWN_RUN, Run, keeps_run, read_events

__all__ = ["TrainConfig", "TrainResult", "TrainingLoop", "select_training", "train"]

PREVIEW_SECONDS, PREVIEW_TIME_SHARE = 60.0, 0.1
"""Previews may always take this many seconds in all, and beyond that this share of the training time; a preview above both limits is left out."""
MAX_SKIPPED_STEPS = 20
"""Consecutive steps that may be skipped because a loss or gradient is not finite, before training stops with an error."""


class TrainConfig(Settings):
    """Settings of ``train``."""

    family: str
    """Name of the generator family; see ``syntype families``."""
    size: int = Field(0, ge=16, le=1024, validate_default=True)
    """Side of the images, in pixels; their height in families with non-square images. 0, or left out: the family's own, mostly 64."""
    minutes: float | None = Field(None, gt=0)
    """Stop after this many minutes of training (all sessions of a resumed run together)."""
    steps: int | None = Field(None, gt=0)
    """Stop after this many steps."""
    batch_size: int = Field(16, ge=2)
    """Images in each step, over all processes; an even number."""
    balance: float = Field(0.5, ge=0, le=1)
    """Species are sampled with probability proportional to (number of images) ** balance: 1 as they are, 0 equally."""
    ema: float | None = Field(None, ge=0, lt=1)
    """Decay of the moving average of the weights, reached after a warm-up; default: the family's own, mostly 0.999."""
    only: tuple[str, ...] = ()
    """Train on these species only."""
    except_: tuple[str, ...] = Field((), alias="except")
    """Leave these species out."""
    seed: Seed = 0
    """Seed of the initial weights and of all random numbers in training."""
    precision: Precision = "auto"
    """``bf16`` (mixed precision), ``fp32``, or ``auto``: bf16 where the hardware supports it."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """``auto`` chooses CUDA, then MPS, then the CPU."""
    checkpoint_minutes: float = Field(2.0, gt=0)
    """Save the training state this often."""
    preview_every: int = Field(250, ge=1)
    """Steps between previews; fewer previews are made if they would take more than a tenth of the time."""
    model: dict[str, Any] = {}
    """Settings of the family."""

    model_config = {**Settings.model_config, "populate_by_name": True}

    may_change: ClassVar[frozenset[str]] = frozenset(
        {"minutes", "steps", "checkpoint_minutes", "preview_every", "device", "precision", "only", "except_", "model"}
    )

    @field_validator("size", mode="before")
    @classmethod
    def _size_of_family(cls, size: Any, info: ValidationInfo) -> Any:
        name = info.data.get("family")  # an unknown one is told when the family is needed
        return size or (family(name).Config if is_family(name) else GeneratorConfig).model_fields["size"].default

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if "size" in self.model:
            raise ValueError("give the size of the images as --size or 'size', not as 'model.size'")
        if self.batch_size % 2:
            raise ValueError("batch_size must be even: a batch consists of pairs of images of one species")
        if self.only and self.except_:
            raise ValueError("give 'only' or 'except', not both")
        return self


@dataclass(frozen=True)
class TrainResult:
    """Result of ``train``.

    Attributes:
        folder: of the generator.
        family: its name.
        generator_id: family and the first digits of the weights' hash.
        steps: steps taken, over all sessions.
        images_per_second: training speed, in photographs.
        num_parameters: of the generator, without discriminators.
        minutes: training time, over all sessions.
        num_images: photographs in the training data.
        num_species: species of these.
        status: ``finished``, ``interrupted``, or ``preempted`` (by a cluster).
    """

    folder: Path
    family: str
    generator_id: str
    steps: int
    images_per_second: float
    num_parameters: int
    minutes: float
    num_images: int
    num_species: int
    status: str

    def summary(self) -> dict[str, Any]:
        """For ``--json``."""
        return {key: value if not isinstance(value, Path) else str(value) for key, value in vars(self).items()}


def select_training(collection: Collection, config: TrainConfig) -> Collection:
    """The images that a generator is trained on: split ``train``, of the species chosen in ``config``.

    Raises:
        UnknownNameError: a species that the collection does not have.
    """
    train = collection.training().hashed()
    require_known("species", (*config.only, *config.except_), collection.species)
    if config.only:
        return train.select(species=config.only)
    return train.where(~train.table["species"].isin(config.except_).to_numpy(dtype=bool))


@keeps_run("train", resumable=True)
def train(collection: Collection, config: TrainConfig, out: Path | str, run: Run = OWN_RUN) -> TrainResult:
    """Train a generator on a collection's training images.

    Args:
        collection: photographs; only the split ``train`` is used, and ``val`` to measure inpainting, if the family can do that.
        config: family, size, when to stop (``minutes`` or ``steps``), species, and the family's own settings (``model``).
        out: the generator's folder. If it holds a training state with the same settings, training continues from it.
        run: receives progress, messages and events; by default a run folder in ``out``, with progress on standard error.

    Returns:
        steps, speed in images per second, minutes, numbers of parameters, images and species; ``status`` is ``interrupted`` after Ctrl-C, and
        ``preempted`` after a warning of a cluster. Open the generator with ``load_generator(out)``.

    Raises:
        TrainingError: losses or gradients stay not finite, or one of several processes has ended.
        InputError: neither minutes nor steps are given, or the batch cannot be divided among the processes.
        UnknownNameError: an unknown family or species.

    Example:
        >>> import syntype
        >>> reef = syntype.Collection.open("out/reef")
        >>> tiny = {"width": 4, "latent_dim": 8, "embedding_dim": 4}  # an example in seconds; otherwise leave `model` out
        >>> config = syntype.TrainConfig(
        ...     family="fastgan", size=32, steps=2, batch_size=4, except_=("Graphiichthys alter",), model=tiny
        ... )
        >>> syntype.train(reef, config, "out/generator").status
        'finished'
    """
    out = Path(out)
    kind = family(config.family)
    if kind.learns and config.minutes is None and config.steps is None:
        raise InputError("the length of the training is not given", "Add --minutes 20 or --steps 2000.")
    out.mkdir(parents=True, exist_ok=True)
    images = select_training(collection, config)
    earlier = learnt_before(out)
    runtime = Runtime(config.device, config.precision)
    run = run if runtime.is_main else Run.silent()  # only the main process writes
    settings = kind.Config.parse({**config.model, "size": config.size}, f"settings of {config.family}")
    with runtime.main_first():
        data = training_data(images, settings.shape)
    if run.folder is not None:
        write_yaml(run.folder / "recipe.yaml", config.model_copy(update={"model": settings.model_dump(exclude={"size"})}))
    torch.manual_seed(config.seed)
    model = kind(settings, data.species)
    with run.progress(f"Preparing {config.family} ({len(images):,} photographs)") as bar:
        bar.set(0)  # the web page shows this progress
        model.prepare(data, runtime)
    for remark in model.remarks:
        run.say(remark)
    patches = MaskedPatches.from_collection(collection, model) if run.folder is not None else None
    loop = TrainingLoop(model, data, runtime, config, out, run, identity={"images": images.fingerprint}, patches=patches)
    try:
        status = loop.run_until_done()
    except RuntimeError as error:
        if runtime.world_size == 1:
            raise
        raise TrainingError(
            f"process {runtime.rank} of {runtime.world_size} stopped after step {loop.step}, perhaps because another one did: {error}. "
            f"The last checkpoint is in {out}; continue with --resume."
        ) from error
    if (peak := runtime.peak_gb) is not None:
        run.say(f"Most memory held on the graphics card: {peak:.1f} GB.")
    if loop.runtime.is_main:
        info = {
            "steps": loop.step,
            "collection": {"name": collection.name, "fingerprint": images.fingerprint, "num_images": len(images)},
            "licences": sorted({*images.table["licence"].dropna(), *model.licences}),
            "terms": sorted(images.table["terms"].dropna().unique().tolist()),
            **({"built_on": model.built_on} if model.built_on else {}),
        }
        learnt = {*images.table["sha256"].dropna(), *earlier}
        generator_id = save_generator(out, model, loop.average.average, info, learnt)
        if status != "preempted":  # then every second counts
            loop.final_preview()
    else:
        generator_id = ""
    runtime.wait()
    return TrainResult(
        out,
        config.family,
        generator_id,
        loop.step,
        round(loop.images_per_second, 1),
        sum(p.numel() for p in model.generator.parameters()),
        round(loop.seconds / 60, 2),
        len(images),
        len(data.species),
        status,
    )


class TrainingLoop:
    """Steps, checkpoints, previews and progress of one prepared model on one set of images.

    If ``out`` holds a training state with the same settings, the loop continues from it.

    Args:
        identity: further settings of the caller, JSON-able, that must agree with a saved state's.
        patches: validation at each preview, if any.

    Attributes:
        step: number of steps taken.
        seconds: training time, over all sessions.
        average: moving average of the generator's weights.
    """

    def __init__(
        self,
        model: GenerativeModel,
        data: TrainingData,
        runtime: Runtime,
        config: TrainConfig,
        out: Path,
        run: Run,
        *,
        identity: Mapping[str, Any] | None = None,
        patches: MaskedPatches | None = None,
    ) -> None:
        self.model, self.data, self.runtime, self.config, self.out, self.run = model, data, runtime, config, out, run
        self._extra_identity, self._patches = dict(identity or {}), patches
        model.to(runtime.device)
        if runtime.world_size > 1:
            synchronise_batch_norm(model, runtime.world_size)
        self.average = MovingAverage(model.generator)
        self.step, self.seconds, self._skipped, self._num_plotted = 0, 0.0, 0, 0
        self._batches = BatchSampler(data, config.balance)
        runtime.local_share(self._batches.indices(config.seed, 0, config.batch_size))  # raises now, before anything is written
        if model.learns:
            self._restore()

    @property
    def images_per_second(self) -> float:
        """Training speed over all sessions."""
        return self.step * self.config.batch_size / self.seconds if self.seconds else 0.0

    def run_until_done(self) -> str:
        """Train until the steps or minutes are used up, or somebody asks to stop. Returns ``finished``, ``interrupted`` or ``preempted``."""
        if not self.model.learns:
            return "finished"
        config, status, saved, preview_seconds = self.config, "finished", self.seconds, 0.0
        writer = _tensorboard(self.out) if self.runtime.is_main and self.run.folder else None
        species = preview_species(self.data.species, self.data.counts)
        total = float(config.steps) if config.steps else 60 * float(config.minutes or 0)
        with stop_requests() as stop, self.run.progress(f"Training {config.family}", total) as bar:
            bar.set(self.step if config.steps else self.seconds)
            while not self._done():
                began = time.monotonic()
                metrics = self._one_step()
                self.seconds += time.monotonic() - began
                if self.step % 10 == 0 or self.step == 1:
                    self._log(metrics, writer, bar)
                due = self.step % config.preview_every == 0 and self.runtime.is_main and self.run.folder
                if due and preview_seconds <= max(PREVIEW_SECONDS, PREVIEW_TIME_SHARE * self.seconds):
                    began = time.monotonic()
                    self.preview(f"step-{self.step:06d}", species)
                    preview_seconds += time.monotonic() - began
                if self.runtime.any_process(stop.asked):
                    status = "preempted" if self.runtime.any_process(stop.preempted) else "interrupted"
                    break
                if self.runtime.any_process(self.seconds - saved > 60 * config.checkpoint_minutes):
                    self.checkpoint()
                    saved = self.seconds
        self.checkpoint()
        if writer is not None:
            writer.close()
        return status

    def _done(self) -> bool:
        if self.config.steps is not None:
            return self.step >= self.config.steps
        return self.runtime.any_process(self.seconds >= 60 * (self.config.minutes or 0))

    def _one_step(self) -> dict[str, Any]:
        self.model.train()
        indices = self.runtime.local_share(self._batches.indices(self.config.seed, self.step, self.config.batch_size))
        random = np.random.default_rng([self.config.seed, self.step, 0, 1])
        torch.manual_seed(int(random.integers(2**62)))
        device = self.runtime.device
        images, labels = to_tensor(self.data.images[indices], device), torch.from_numpy(self.data.labels[indices])
        batch = Batch(images, labels.to(device), torch.from_numpy(indices).to(device), self.step)
        with self.runtime.whole_batch_random(len(indices)):
            metrics = self.model.training_step(batch)
        self.average.update(self.model.ema_decay(self.step, self.config.ema))
        self.step += 1
        self._skipped = self._skipped + 1 if float(metrics.get("skipped", 0.0)) else 0
        if self._skipped > MAX_SKIPPED_STEPS:
            raise TrainingError(
                f"training diverged: {self._skipped} steps in a row had losses or gradients that are not finite (step {self.step}). "
                f"The last good checkpoint is in {self.out}. Try --set precision=fp32 or a lower learning rate, and a new --out."
            )
        return metrics

    def _log(self, metrics: dict[str, Any], writer: Any, bar: Any) -> None:
        values = {name: round(value, 5) for name, value in self.runtime.mean(metrics).items()}
        bar.set(self.step if self.config.steps else self.seconds, f"step {self.step}, {self.images_per_second:.0f} images/s")
        if not self.runtime.is_main:
            return
        self.run.event("step", step=self.step, seconds=round(self.seconds, 2), images_per_second=round(self.images_per_second, 2), **values)
        if writer is not None:
            for name, value in values.items():
                writer.add_scalar(name, value, self.step)

    def preview(self, name: str, species: list[str] | None = None) -> None:
        """Save a grid generated with the averaged weights to ``previews/``, measure the masked-patch error, and plot the curves so far."""
        folder = self.out / "previews"
        folder.mkdir(parents=True, exist_ok=True)
        with self._averaged_weights():
            save_grid(self.model, species or preview_species(self.data.species, self.data.counts), folder / f"{name}.png")
            if self._patches is not None:
                self.run.event("validation", step=self.step, masked_patch_error=round(self._patches.error(self.model), 5))
        if self.run.folder is not None:
            events = [event for event in read_events(self.run.folder) if "step" in event]
            if len(events) != self._num_plotted:  # otherwise the plot has not changed
                plot_curves(events, self.out / "losses.png")
                self._num_plotted = len(events)

    def final_preview(self, species: list[str] | None = None) -> None:
        """The last preview, the animation of all previews, and a picture of the generation process for families that show it."""
        self.preview(f"final-{self.step:06d}", species)
        save_animation(self.out / "previews", self.out / "progress.webp")
        if isinstance(self.model, ShowsProcess):
            with self._averaged_weights():
                save_process_strip(
                    self.model, self.data, species or preview_species(self.data.species, self.data.counts, rows=3), self.out / "process.png"
                )

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """Context in which the model has the averaged weights."""
        self.average.swap()
        try:
            yield
        finally:
            self.average.swap()

    def checkpoint(self) -> None:
        """Save everything that an exact resume needs."""
        if self.runtime.is_main:
            save_state(
                self.out,
                {
                    "step": self.step,
                    "seconds": self.seconds,
                    "skipped": self._skipped,
                    "settings": self._identity(),
                    "model": self.model.state_dict(),
                    "average": self.average.average,
                    "training": self.model.training_state(),
                },
            )
        self.runtime.wait()

    def _identity(self) -> dict[str, Any]:
        """What must agree with a saved state's: the settings, apart from those in ``may_change``, the family's settings, and the images."""
        settings = {key: value for key, value in self.config.model_dump(mode="json").items() if key not in self.config.may_change}
        settings["model"] = self.model.config.model_dump(mode="json")
        settings |= self._extra_identity
        return {**settings, "precision": self.runtime.precision, "species": list(self.model.species)}

    def _restore(self) -> None:
        state = read_state(self.out)
        if state is None:
            return
        if self.config.precision == "auto":  # auto depends on a time measurement, which may differ on a busy machine
            self.runtime.precision = state["settings"].get("precision", self.runtime.precision)
        current = self._identity()
        different = sorted(key for key in current if state["settings"].get(key) != current[key])
        if different:
            reason = f"holds a training run with other settings ({', '.join(different)})"
            raise InputError(reason, "Resume it with the same settings, or choose a new --out.", file=self.out)
        self.model.load_state_dict(state["model"])
        self.average.load(state["average"])
        self.model.load_training_state(state["training"])
        self.step, self.seconds, self._skipped = state["step"], state["seconds"], state["skipped"]
        self.run.drop_events(lambda event: event.get("step", 0) > self.step)
        self.run.say(f"Resuming {self.config.family} at step {self.step} ({self.seconds / 60:.1f} min of training so far).")


def _tensorboard(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))
