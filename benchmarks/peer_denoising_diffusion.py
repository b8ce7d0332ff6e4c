"""``denoising-diffusion-pytorch``, trained by its own code, as a peer to compare with. A helper of the other scripts, not a benchmark.

Its ``Trainer`` takes every step, on batches of its own data loader (with the worker processes that it starts), with its own defaults: U-Net
with multipliers 1, 2, 4, 8, prediction of v, sigmoid schedule, 1,000 levels, Adam 1e-4, mirrored images; but for the U-Net's width, the size, and its
setting ``amp`` with bfloat16 where a trial before training finds that faster. Its previews and the FID that it can compute, which it would
draw within a step, are left out. It draws by its own DDIM (its setting ``sampling_timesteps``) and by its averaged weights, as its trainer does.
"""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from peer_process import PeerProcess, Session, save_photographs, serve

__all__ = ["SAMPLING_STEPS", "SMALL_DIM", "VERSION", "DiffusionPeer", "save_photographs"]

VERSION = "2.3.4"
SMALL_DIM = 32
"""``dim`` of a U-Net that takes nearly four times the steps of that in its documentation, which has 64."""
SAMPLING_STEPS = 20
SIZE, DRAWN_TOGETHER = 64, 32


class DiffusionPeer(PeerProcess):
    """The trainer in its own process; ``width`` is the U-Net's ``dim``."""

    script, module, packages_folder = __file__, "denoising_diffusion_pytorch", "diffusion-peer-packages"
    packages = (f"denoising-diffusion-pytorch=={VERSION}", "einops", "ema-pytorch")


class DiffusionSession(Session):
    """Its trainer."""

    def __init__(self, photographs: Path, folder: Path, dim: int) -> None:
        self.photographs, self.folder, self.dim = photographs, folder, dim
        self.about = folder / "about.json"
        self.torch = importlib.import_module("torch")
        self.code: Any = importlib.import_module("denoising_diffusion_pytorch.denoising_diffusion_pytorch")
        bar = self.code.tqdm
        self.code.tqdm = lambda *values, **options: bar(*values, **{**options, "disable": True})  # it would write a line a step
        kept = json.loads(self.about.read_text(encoding="utf-8")) if self.about.exists() else None
        if kept:
            self.precision, self.tried = kept["precision"], kept["tried"]
            self.seconds, self.processor_seconds = kept["seconds"], kept["processor_seconds"]
        else:
            self.tried = {name: self._speed(name) for name in ("fp32", "bf16")}
            self.precision = max(self.tried, key=lambda name: self.tried[name])
        self.trainer = self._new_trainer(self.precision)
        if kept:
            self.trainer.load("kept")
        self.torch.manual_seed(self.steps)

    @property
    def steps(self) -> int:
        return self.trainer.step

    def cycle(self) -> float:
        return self._step(self.trainer)

    def keep(self) -> None:
        self.trainer.save("kept")
        about = {"seconds": self.seconds, "processor_seconds": self.processor_seconds, "precision": self.precision, "tried": self.tried}
        self.about.write_text(json.dumps(about), encoding="utf-8")

    def sizes(self) -> dict[str, int]:
        count = sum(p.numel() for p in self.trainer.ema.ema_model.parameters())
        return {"num_parameters": count, "num_trained": count}

    def sample(self, number: int) -> dict[str, Any]:
        self.torch.manual_seed(0)
        model = self.trainer.ema.ema_model.eval()

        def draw() -> np.ndarray:
            together = [min(DRAWN_TOGETHER, number - start) for start in range(0, number, DRAWN_TOGETHER)]
            images = self.torch.cat([model.sample(batch_size=count) for count in together])
            return images.mul(255).add(0.5).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()

        return self.draw(self.folder, number, {"average": draw})

    def operations(self, _: float) -> dict[str, int]:
        """``flops``: floating-point operations of one step, which is taken."""
        from common.stepping import Operations

        with Operations() as counter:
            self._step(self.trainer)
        return {"flops": counter.total}

    def _new_trainer(self, precision: str) -> Any:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(True)  # its precision can otherwise be chosen only once in a process
        self.torch.manual_seed(0)
        diffusion = self.code.GaussianDiffusion(self.code.Unet(dim=self.dim), image_size=SIZE, sampling_timesteps=SAMPLING_STEPS)
        trainer = self.code.Trainer(
            diffusion,
            self.photographs,
            train_batch_size=self.batch,
            amp=precision == "bf16",
            mixed_precision_type="bf16",
            calculate_fid=False,
            save_and_sample_every=10**9,
            results_folder=self.folder / "work",
        )
        trainer.accelerator.print = lambda *_, **__: None
        return trainer

    def _step(self, trainer: Any) -> float:
        """Seconds that one of its steps takes."""
        began = time.monotonic()
        trainer.train_num_steps = trainer.step + 1
        trainer.train()
        return time.monotonic() - began

    def _speed(self, precision: str) -> float:
        trainer = self._new_trainer(precision)
        self._step(trainer)  # which also starts its data loader
        return self.batch / self._step(trainer)


if __name__ == "__main__":
    serve(DiffusionSession)
