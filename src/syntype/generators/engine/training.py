"""The training loop: one for every family.

A step is a pure function of (weights, optimiser state, seed, step): which images it sees and every random draw follow from the
seed and the step's number. So a run that was killed and resumed ends, on the same machine and thread count, with the very
weights of an uninterrupted one. Several processes share out the batch and average what follows from it, so that they train as one
does but for rounding; the main one alone writes.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from syntype.collection.table import Collection
from syntype.compute.ema import MovingAverage
from syntype.compute.processes import synchronise_batch_norm
from syntype.compute.runtime import Precision, Runtime
from syntype.compute.tensors import to_tensor
from syntype.errors import InputError, TrainingError, require_known
from syntype.generators.contract import Batch, GenerativeModel, ShowsProcess, TrainingData
from syntype.generators.engine.batches import BatchSampler, training_data
from syntype.generators.engine.checkpoint import read_state, save_generator, save_state
from syntype.generators.engine.masked_patches import MaskedPatches
from syntype.generators.engine.previews import plot_curves, preview_species, save_course, save_grid, save_process
from syntype.generators.registry import family
from syntype.recipe import Settings, write_yaml
from syntype.run import OWN_RUN, Run, keeps_run, read_events

__all__ = ["Loop", "TrainConfig", "TrainResult", "select_training", "train"]

PREVIEWS_FREE, PREVIEWS_SHARE = 60.0, 0.1
"""Seconds that previews may take whatever the training does, and the share of the training's time beyond which one is passed over."""
MAX_SKIPPED = 20
"""Steps in a row that may be skipped because a loss or gradient was not finite, before training gives up."""


class TrainConfig(Settings):
    """Settings of ``train``."""

    family: str
    """Name of the generator family; see ``syntype families``."""
    size: int = Field(64, ge=16, le=1024)
    """Side of the images, in pixels; of a family that draws others than square ones, their height."""
    minutes: float | None = Field(None, gt=0)
    """Stop after this many minutes of training (all sessions of a resumed run together)."""
    steps: int | None = Field(None, gt=0)
    """Stop after this many steps."""
    batch_size: int = Field(16, ge=2)
    """Images a step, over all processes."""
    balance: float = Field(0.5, ge=0, le=1)
    """Species are drawn with a chance proportional to (number of images) ** balance."""
    ema: float | None = Field(None, ge=0, lt=1)
    """Decay of the moving average of the weights, reached after a warm-up; left out, the family's own: 0.999 for most."""
    only: tuple[str, ...] = ()
    """Train on these species alone."""
    except_: tuple[str, ...] = Field((), alias="except")
    """Leave these species out."""
    seed: int = 0
    precision: Precision = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    checkpoint_minutes: float = Field(2.0, gt=0)
    """Save the training state this often."""
    preview_every: int = Field(250, ge=1)
    """Draw a preview grid every so many steps, or less often where that would take more than a tenth of the time."""
    model: dict[str, Any] = {}
    """Settings of the family itself."""

    model_config = {**Settings.model_config, "populate_by_name": True}

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.batch_size % 2:
            raise ValueError("batch_size must be even: images are drawn in pairs of one species")
        if self.only and self.except_:
            raise ValueError("give 'only' or 'except', not both")
        return self


@dataclass(frozen=True)
class TrainResult:
    """What training gave.

    Attributes:
        folder: of the generator.
        family: its name.
        generator_id: family and the first digits of the weights' hash.
        steps: steps taken, over all sessions.
        images_per_second: training speed, in photographs.
        num_parameters: of the part that draws.
        minutes: training time, over all sessions.
        num_images: photographs that it learnt from.
        num_species: species of these.
        status: ``finished`` or ``interrupted``.
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
    """The images that a generator may learn from: split ``train``, of the species asked for.

    Raises:
        UnknownNameError: a species that the collection does not have.
    """
    train = collection.training()
    require_known("species", (*config.only, *config.except_), collection.species)
    if config.only:
        return train.select(species=config.only)
    return train.where(~train.table["species"].isin(config.except_).to_numpy(dtype=bool))


@keeps_run("train", resumable=True)
def train(collection: Collection, config: TrainConfig, out: Path | str, run: Run = OWN_RUN) -> TrainResult:
    """Train a generator on a collection's training images.

    Args:
        collection: photographs; only the split ``train`` is used, and ``val`` to measure inpainting, where the family can do that.
        config: family, size, when to stop (``minutes`` or ``steps``), species, and the family's own settings (``model``).
        out: the generator's folder. Where it holds a training state of the same settings, training goes on from there.
        run: where progress, messages and events go; by default a run folder in ``out``, with progress on standard error.

    Returns:
        steps, speed in images per second, minutes, numbers of parameters, images and species; ``status`` is ``interrupted`` after Ctrl-C. Open the
        generator with ``load_generator(out)``.

    Raises:
        TrainingError: the losses stay not finite, or one of several processes has ended.
        InputError: nothing says how long to train, or several processes cannot share out the batch.
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
        raise InputError("nothing says how long to train", "Add --minutes 20 or --steps 2000.")
    out.mkdir(parents=True, exist_ok=True)
    images = select_training(collection, config)
    runtime = Runtime(config.device, config.precision)
    run = run if runtime.is_main else Run.silent()  # one writer
    settings = kind.Config.parse({**config.model, "size": config.size}, f"settings of {config.family}")
    with runtime.main_first():
        data = training_data(images, settings.shape)
    if run.folder is not None:
        write_yaml(run.folder / "recipe.yaml", config.model_copy(update={"model": settings.model_dump(exclude={"size"})}))
    torch.manual_seed(config.seed)
    model = kind(settings, data.species)
    with run.progress(f"Preparing {config.family} ({len(images):,} photographs)") as bar:
        bar.set(0)  # so that a page that looks on has something to show
        model.prepare(data, runtime)
    patches = MaskedPatches.of(collection, model) if run.folder is not None else None
    loop = Loop(model, data, runtime, config, out, run, patches=patches)
    try:
        status = loop.run_until_done()
    except RuntimeError as error:
        if runtime.world == 1:
            raise
        raise TrainingError(
            f"process {runtime.rank} of {runtime.world} stopped after step {loop.step}, perhaps because another one did: {error}. "
            f"The last checkpoint is in {out}; continue with --resume."
        ) from error
    if loop.runtime.is_main:
        info = {
            "steps": loop.step,
            "collection": {"name": collection.name, "fingerprint": images.fingerprint, "num_images": len(images)},
            "licences": sorted(images.table["licence"].dropna().unique().tolist()),
            "terms": sorted(images.table["terms"].dropna().unique().tolist()),
        }
        generator_id = save_generator(out, model, loop.average.average, info, images.table["sha256"].dropna())
        loop.last_preview()
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


class Loop:
    """Steps, checkpoints, previews and progress of one model, already prepared, on one set of images.

    Where ``out`` holds a training state of the same settings, the loop goes on from there.

    Args:
        identity: further settings, of whoever set the model up, that a state must share to be continued; JSON-able.
        patches: what to measure at each preview, if anything.

    Attributes:
        step: steps taken so far.
        seconds: training time so far, over all sessions.
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
        self._further, self._patches = dict(identity or {}), patches
        model.to(runtime.device)
        if runtime.world > 1:
            synchronise_batch_norm(model, runtime.world)
        self.average = MovingAverage(model.generator)
        self.step, self.seconds, self._skipped = 0, 0.0, 0
        self._images = BatchSampler(data, config.balance)
        runtime.share(self._images.rows(config.seed, 0, config.batch_size))  # refused now, before anything is written
        if model.learns:
            self._restore()

    @property
    def images_per_second(self) -> float:
        """Training speed over all sessions."""
        return self.step * self.config.batch_size / self.seconds if self.seconds else 0.0

    def run_until_done(self) -> str:
        """Train until the steps or minutes are used up, or the user interrupts. Returns ``finished`` or ``interrupted``."""
        if not self.model.learns:
            return "finished"
        config, status, saved, drawing = self.config, "finished", self.seconds, 0.0
        writer = _tensorboard(self.out) if self.runtime.is_main and self.run.folder else None
        species = preview_species(self.data.species, self.data.counts)
        total = float(config.steps) if config.steps else 60 * float(config.minutes or 0)
        with _stop_on_signal() as stop, self.run.progress(f"Training {config.family}", total) as bar:
            bar.set(self.step if config.steps else self.seconds)
            while not self._done():
                began = time.monotonic()
                metrics = self._one_step()
                self.seconds += time.monotonic() - began
                if self.step % 10 == 0 or self.step == 1:
                    self._log(metrics, writer, bar)
                due = self.step % config.preview_every == 0 and self.runtime.is_main and self.run.folder
                if due and drawing <= max(PREVIEWS_FREE, PREVIEWS_SHARE * self.seconds):
                    began = time.monotonic()
                    self.preview(f"step-{self.step:06d}", species)
                    drawing += time.monotonic() - began
                if self.runtime.agree(stop.is_set()):
                    status = "interrupted"
                    break
                if self.runtime.agree(self.seconds - saved > 60 * config.checkpoint_minutes):
                    self.checkpoint()
                    saved = self.seconds
        self.checkpoint()
        if writer is not None:
            writer.close()
        return status

    def _done(self) -> bool:
        if self.config.steps is not None:
            return self.step >= self.config.steps
        return self.runtime.agree(self.seconds >= 60 * (self.config.minutes or 0))

    def _one_step(self) -> dict[str, Any]:
        self.model.train()
        rows = self.runtime.share(self._images.rows(self.config.seed, self.step, self.config.batch_size))
        random = np.random.default_rng([self.config.seed, self.step, 0, 1])
        torch.manual_seed(int(random.integers(2**62)))
        device = self.runtime.device
        images, labels = to_tensor(self.data.images[rows]), torch.from_numpy(self.data.labels[rows])
        batch = Batch(images.to(device), labels.to(device), torch.from_numpy(rows).to(device), self.step)
        with self.runtime.draws(len(rows)):
            metrics = self.model.training_step(batch)
        self.average.update(self.model.average_decay(self.step, self.config.ema))
        self.step += 1
        self._skipped = self._skipped + 1 if float(metrics.get("skipped", 0.0)) else 0
        if self._skipped > MAX_SKIPPED:
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
        """Save a grid drawn with the averaged weights to ``previews/``, measure how they fill in photographs, and draw the curves so far."""
        folder = self.out / "previews"
        folder.mkdir(parents=True, exist_ok=True)
        with self._averaged():
            save_grid(self.model, species or preview_species(self.data.species, self.data.counts), folder / f"{name}.png")
            if self._patches is not None:
                self.run.event("validation", step=self.step, masked_patch_error=round(self._patches.error(self.model), 5))
        if self.run.folder is not None:
            plot_curves(read_events(self.run.folder), self.out / "losses.png")

    def last_preview(self, species: list[str] | None = None) -> None:
        """The preview of a finished model, the course of all previews, and a picture of how it makes images, where it does so step by step."""
        self.preview(f"final-{self.step:06d}", species)
        save_course(self.out / "previews", self.out / "progress.webp")
        if isinstance(self.model, ShowsProcess):
            with self._averaged():
                save_process(self.model, self.data, species or preview_species(self.data.species, self.data.counts, rows=3), self.out / "process.png")

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in the place of the model's own."""
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
        """What must be the same for a state to be continued; how long to train and how often to report may change."""
        free = {"minutes", "steps", "checkpoint_minutes", "preview_every", "device", "precision", "only", "except_"}
        settings = {key: value for key, value in self.config.model_dump(mode="json").items() if key not in free}
        settings["model"] = self.model.config.model_dump(mode="json")
        settings |= self._further
        return {**settings, "precision": self.runtime.precision, "species": list(self.model.species), "num_images": len(self.data.images)}

    def _restore(self) -> None:
        state = read_state(self.out)
        if state is None:
            return
        if self.config.precision == "auto":  # which is the faster was measured, and may come out otherwise on a busy machine
            self.runtime.precision = state["settings"].get("precision", self.runtime.precision)
        mine = self._identity()
        different = sorted(key for key in mine if state["settings"].get(key) != mine[key])
        if different:
            reason = f"holds a training run with other settings ({', '.join(different)})"
            raise InputError(reason, "Resume it with the same ones, or give a new --out.", file=self.out)
        self.model.load_state_dict(state["model"])
        self.average.load(state["average"])
        self.model.load_training_state(state["training"])
        self.step, self.seconds, self._skipped = state["step"], state["seconds"], state["skipped"]
        self.run.forget(lambda event: event.get("step", 0) > self.step)
        self.run.say(f"Resuming {self.config.family} at step {self.step} ({self.seconds / 60:.1f} min of training so far).")


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM end training after the step in hand; a second Ctrl-C ends it at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _frame: Any) -> None:
        stop.set()
        signal.signal(number, previous[signal.Signals(number)])

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _tensorboard(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))
