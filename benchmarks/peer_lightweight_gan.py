"""``lightweight-gan``, trained by its own code, as a peer to compare with. A helper of the other scripts, not a benchmark.

Its trainer refuses to be imported without CUDA and sends everything there. So it runs in a process of its own, where the question
whether there is CUDA is answered with yes during the import, ``.cuda()`` leaves a tensor where it is, and the trainer's ``torch.device``
is the CPU. Nothing else of it is touched: ``Trainer.train()`` takes every step, on batches of its own data loader, with the defaults of
its command line (attention at 32 px, discriminator output 1x1, translation and cut-out with a probability it sets itself) but for the
size, the batch and one batch a step. Its previews and checkpoints, which it would draw within a step, are left out.

Its packages are installed by name into a folder of their own, without what they depend on: PyTorch and the rest are those of this
environment, which stays as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["SMALL", "VERSION", "Peer", "save_photographs"]

VERSION = "1.2.1"
SMALL = 128
"""``fmap_max`` of a second, smaller peer: that of the defaults has six times the parameters of ``projected`` and takes few steps in the time."""
PACKAGES = (f"lightweight-gan=={VERSION}", "einops", "kornia", "kornia-rs", "adabelief-pytorch", "colorama", "tabulate")
BATCH, SIZE, LATENT = 16, 64, 256
PENALTY_EVERY = 4
"""Every so many steps the trainer adds a gradient penalty, so that only multiples of it make a fair sample of its speed."""


class Peer:
    """The trainer in its own process; a context manager. What an earlier call trained is gone on with.

    Args:
        folder: its state and what it draws; its packages lie beside it.
        photographs: folder of PNG files, all of which it learns from.
        widest: the most channels of a feature map (``fmap_max``); 512 by its own default.
    """

    def __init__(self, folder: Path, photographs: Path, widest: int = 512) -> None:
        self.folder = folder
        packages = folder.with_name("peer-packages")
        if not (packages / "lightweight_gan").is_dir():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), *PACKAGES]
            subprocess.run(command, check=True, stdout=sys.stderr)
        (folder / "work").mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(photographs), str(folder), str(widest)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")])},
        )

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def train(self, seconds: float) -> dict[str, Any]:
        """Train for at least so long, in whole cycles of its gradient penalty; gives what this call and all calls did."""
        return self._ask({"train": seconds})

    def sample(self, number: int) -> dict[str, np.ndarray]:
        """Images drawn by its generator's ``weights`` and by their ``average``: uint8, shape (number, 64, 64, 3)."""
        self._ask({"sample": number})
        with np.load(self.folder / "samples.npz") as file:
            return dict(file)

    def _ask(self, request: dict[str, float]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"lightweight-gan ended with status {self._process.wait()}; what it said is above")
        return json.loads(answer)


def save_photographs(images: np.ndarray, folder: Path) -> None:
    """Write what the peer learns from: images, uint8, shape (N, size, size, 3), as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:05d}.png")


class Session:
    """The trainer's side of ``Peer``."""

    def __init__(self, photographs: Path, folder: Path, widest: int) -> None:
        self.photographs, self.folder, self.widest, self.state = photographs, folder, widest, folder / "state.pt"
        self.torch = importlib.import_module("torch")
        self.code = load_code(self.torch)
        self.seconds = 0.0
        kept = self.torch.load(self.state, weights_only=True) if self.state.exists() else None
        if kept:
            self.precision, self.tried, self.seconds = kept["precision"], kept["tried"], kept["seconds"]
        else:
            self.tried = {name: self._speed(name) for name in ("fp32", "bf16")}
            self.precision = max(self.tried, key=lambda name: self.tried[name])
        self.trainer = self._new_trainer()
        if kept:
            gan = self.trainer.GAN
            gan.load_state_dict(kept["GAN"])
            gan.G_opt.load_state_dict(kept["G_opt"])
            gan.D_opt.load_state_dict(kept["D_opt"])
            self.trainer.steps = kept["steps"]
        self._seed(self.trainer.steps)

    def train(self, seconds: float) -> dict[str, Any]:
        trainer, began, steps = self.trainer, self.seconds, self.trainer.steps
        while self.seconds - began < seconds:
            self.seconds += self._cycle(trainer, self.precision)
        gan = trainer.GAN
        kept = {"GAN": gan.state_dict(), "G_opt": gan.G_opt.state_dict(), "D_opt": gan.D_opt.state_dict()}
        self.torch.save({**kept, "steps": trainer.steps, "seconds": self.seconds, "precision": self.precision, "tried": self.tried}, self.state)
        count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
        return {
            "seconds": self.seconds,
            "steps": trainer.steps,
            "images_per_second": trainer.steps * BATCH / max(self.seconds, 1e-9),
            "images_per_second_now": (trainer.steps - steps) * BATCH / max(self.seconds - began, 1e-9),
            "num_parameters": count(gan.G),
            "num_trained": count(gan.G) + count(gan.D),
            "arithmetic": self.precision,
            "tried": self.tried,
        }

    def sample(self, number: int) -> dict[str, Any]:
        trainer = self.trainer
        trainer.GAN.eval()
        latents = self.torch.randn(number, LATENT, generator=self.torch.Generator().manual_seed(0))
        drawn = {}
        for name, generator in (("weights", trainer.GAN.G), ("average", trainer.GAN.GE)):
            images = trainer.generate_(generator, latents)
            drawn[name] = images.mul(255).add(0.5).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        np.savez(self.folder / "samples.npz", **drawn)
        return {}

    def _new_trainer(self) -> Any:
        self._seed(0)
        trainer = self.code.Trainer(
            name="peer",
            base_dir=self.folder / "work",
            image_size=SIZE,
            batch_size=BATCH,
            gradient_accumulate_every=1,
            latent_dim=LATENT,
            fmap_max=self.widest,
            attn_res_layers=[32],
            disc_output_size=1,
            aug_types=["cutout", "translation"],
            use_aim=False,
        )
        trainer.save = trainer.evaluate = lambda *_, **__: None
        trainer.set_data_src(self.photographs)
        trainer.init_GAN()
        return trainer

    def _cycle(self, trainer: Any, precision: str) -> float:
        """Seconds that ``PENALTY_EVERY`` of its steps take."""
        began = time.monotonic()
        for _ in range(PENALTY_EVERY):
            with self.torch.autocast("cpu", self.torch.bfloat16, enabled=precision == "bf16"):
                trainer.train()
        return time.monotonic() - began

    def _speed(self, precision: str) -> float:
        return BATCH * PENALTY_EVERY / self._cycle(self._new_trainer(), precision)

    def _seed(self, seed: int) -> None:
        random.seed(seed)
        self.torch.manual_seed(seed)


def load_code(torch: Any) -> Any:
    """The package's module, made to run on the CPU."""
    there = torch.cuda.is_available
    torch.cuda.is_available = lambda: True
    try:
        code: Any = importlib.import_module("lightweight_gan.lightweight_gan")
    finally:
        torch.cuda.is_available = there
    torch.Tensor.cuda = lambda self, *_, **__: self
    torch.nn.Module.cuda = lambda self, *_, **__: self

    class OnCPU(types.ModuleType):
        """torch, but for ``device``."""

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

        @staticmethod
        def device(_: str) -> Any:
            return torch.device("cpu")

    code.torch = OnCPU("torch")
    return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("widest", type=int)
    arguments = parser.parse_args()
    session = None
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):  # it prints; standard output is for the answers
            session = session or Session(arguments.photographs, arguments.folder, arguments.widest)  # not before it is its turn
            [(verb, value)] = json.loads(line).items()
            answer = getattr(session, verb)(value)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
