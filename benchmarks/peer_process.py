"""What the helpers that train other people's generators have in common: a process for each peer, and how it is spoken to.

The peer's packages are installed by name into a folder of their own, without what they depend on: PyTorch and the rest are those of this
environment, which stays as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from PIL import Image

__all__ = ["PeerProcess", "Session", "peak_megabytes", "save_photographs", "serve", "train_for"]


class PeerProcess:
    """A peer's trainer in its own process; a context manager. What an earlier call trained is gone on with.

    Args:
        folder: its state and what it draws; its packages lie beside it.
        photographs: folder of PNG files, all of which it learns from.
        width: how wide its network is, in its own measure.

    Attributes:
        sampled_per_second: images a second of the last ``sample``.
    """

    script: ClassVar[str]
    packages: ClassVar[Sequence[str]]
    module: ClassVar[str]
    packages_folder: ClassVar[str]

    def __init__(self, folder: Path, photographs: Path, width: int) -> None:
        self.folder, self.sampled_per_second = folder, 0.0
        packages = folder.with_name(self.packages_folder)
        if not (packages / self.module).is_dir():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), *self.packages]
            subprocess.run(command, check=True, stdout=sys.stderr)
        (folder / "work").mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, self.script, str(photographs), str(folder), str(width)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")])},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # closes its pipes
            self._process.terminate()

    def train(self, seconds: float) -> dict[str, Any]:
        """Train for at least so long, in whole cycles of its own; gives what this call and all calls did."""
        return self.ask({"train": seconds})

    def sample(self, number: int) -> dict[str, np.ndarray]:
        """Images by the name of the weights that drew them: uint8, shape (number, 64, 64, 3)."""
        self.sampled_per_second = self.ask({"sample": number})["images_per_second"]
        with np.load(self.folder / "samples.npz") as file:
            return dict(file)

    def ask(self, request: dict[str, float]) -> dict[str, Any]:
        """Let it do one thing, ``{verb: value}``; its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.module} ended with status {self._process.wait()}; what it said is above")
        return json.loads(answer)


class Session(ABC):
    """The trainer's side of ``PeerProcess``.

    Attributes:
        seconds: training time so far, over all sessions.
        processor_seconds: of it, what this process computed, summed over its threads; its data loader's own processes take next to nothing.
        precision: the one it trains in.
        tried: images a second of each precision that was tried before training.
    """

    batch: ClassVar[int] = 16
    seconds: float = 0.0
    processor_seconds: float = 0.0
    precision: str
    tried: dict[str, float]

    def train(self, seconds: float) -> dict[str, Any]:
        """See ``PeerProcess``."""
        began, steps = self.seconds, self.steps
        while self.seconds - began < seconds:
            computed = time.process_time()
            self.seconds += self.cycle()
            self.processor_seconds += time.process_time() - computed
        self.keep()
        return {
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "steps": self.steps,
            "images_per_second": self.steps * self.batch / max(self.seconds, 1e-9),
            "images_per_second_now": (self.steps - steps) * self.batch / max(self.seconds - began, 1e-9),
            **self.sizes(),
            "arithmetic": self.precision,
            "tried": self.tried,
            "megabytes": peak_megabytes(),
        }

    def draw(self, folder: Path, number: int, by: dict[str, Callable[[], np.ndarray]]) -> dict[str, Any]:
        """Write what each of several weights draw; how fast one of them does."""
        began = time.monotonic()
        drawn = {name: draw() for name, draw in by.items()}
        seconds = (time.monotonic() - began) / len(drawn)
        np.savez(folder / "samples.npz", **drawn)
        return {"images_per_second": number / max(seconds, 1e-9)}

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps taken so far."""

    @abstractmethod
    def cycle(self) -> float:
        """Seconds of the fewest steps that make a fair sample of its speed."""

    @abstractmethod
    def keep(self) -> None:
        """Save everything that going on needs."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """``num_parameters``, of the generator, and ``num_trained``."""


def serve(session: Callable[[Path, Path, int], Session]) -> None:
    """Answer what ``PeerProcess.ask`` asks, until nobody does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photographs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("width", type=int)
    arguments = parser.parse_args()
    begun = None
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):  # peers print; standard output is for the answers
            begun = begun or session(arguments.photographs, arguments.folder, arguments.width)  # not before it is its turn
            [(verb, value)] = json.loads(line).items()
            answer = getattr(begun, verb)(value)
        print(json.dumps(answer), flush=True)


def peak_megabytes() -> float:
    """Peak memory of this process; on Linux at least that of the process which started it, as it was then."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)  # bytes there, kibibytes elsewhere


def train_for(trainer: PeerProcess, minutes: float, clock: Literal["seconds", "processor_seconds"] = "seconds") -> dict:
    """Let a peer train for so long in all, by either clock; what it says of it."""
    result = trainer.train(0)
    while result[clock] < 60 * minutes:
        result = trainer.train(min(120, 60 * minutes - result[clock]))  # its state is kept after every call
    return result


def save_photographs(images: np.ndarray, folder: Path) -> None:
    """Write what a peer learns from: images, uint8, shape (N, size, size, 3), as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:05d}.png")
