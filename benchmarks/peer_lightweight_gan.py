"""``lightweight-gan``, trained by its own code, as a peer to compare with. A helper of the other scripts, not a benchmark.

Its trainer refuses to be imported without CUDA and sends everything there. So it runs in a process of its own, where the question
whether there is CUDA is answered with yes during the import, ``.cuda()`` leaves a tensor where it is, and the trainer's ``torch.device``
is the CPU. Nothing else of it is touched: ``Trainer.train()`` takes every step, on batches of its own data loader, with the defaults of
its command line (attention at 32 px, discriminator output 1x1, translation and cut-out with a probability it sets itself) but for the
size, the batch and one batch a step. Its previews and checkpoints, which it would draw within a step, are left out.
"""

from __future__ import annotations

import importlib
import random
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
from peer_process import PeerProcess, Session, save_photographs, serve

__all__ = ["SMALL", "VERSION", "Peer", "save_photographs"]

VERSION = "1.2.1"
SMALL = 128
"""``fmap_max`` of a second, smaller peer: that of the defaults has six times the parameters of ``projected`` and takes few steps in the time."""
SIZE, LATENT = 64, 256
PENALTY_EVERY = 4
"""Every so many steps the trainer adds a gradient penalty, so that only multiples of it make a fair sample of its speed."""


class Peer(PeerProcess):
    """The trainer in its own process; ``width`` is the most channels of a feature map (``fmap_max``), 512 by its own default."""

    script, module, packages_folder = __file__, "lightweight_gan", "peer-packages"
    packages = (f"lightweight-gan=={VERSION}", "einops", "kornia", "kornia-rs", "adabelief-pytorch", "colorama", "tabulate")

    def __init__(self, folder: Path, photographs: Path, width: int = 512) -> None:
        super().__init__(folder, photographs, width)


class GANSession(Session):
    """Its trainer."""

    def __init__(self, photographs: Path, folder: Path, widest: int) -> None:
        self.photographs, self.folder, self.widest, self.state = photographs, folder, widest, folder / "state.pt"
        self.torch = importlib.import_module("torch")
        self.code = load_code(self.torch)
        kept = self.torch.load(self.state, weights_only=True) if self.state.exists() else None
        if kept:
            self.precision, self.tried = kept["precision"], kept["tried"]
            self.seconds, self.processor_seconds = kept["seconds"], kept["processor_seconds"]
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

    @property
    def steps(self) -> int:
        return self.trainer.steps

    def cycle(self) -> float:
        return self._cycle(self.trainer, self.precision)

    def keep(self) -> None:
        gan = self.trainer.GAN
        kept = {"GAN": gan.state_dict(), "G_opt": gan.G_opt.state_dict(), "D_opt": gan.D_opt.state_dict()}
        times = {"seconds": self.seconds, "processor_seconds": self.processor_seconds}
        self.torch.save({**kept, **times, "steps": self.steps, "precision": self.precision, "tried": self.tried}, self.state)

    def sizes(self) -> dict[str, int]:
        gan = self.trainer.GAN
        count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
        return {"num_parameters": count(gan.G), "num_trained": count(gan.G) + count(gan.D)}

    def sample(self, number: int) -> dict[str, Any]:
        gan = self.trainer.GAN
        gan.eval()
        latents = self.torch.randn(number, LATENT, generator=self.torch.Generator().manual_seed(0))

        def draw(generator: Any) -> np.ndarray:
            images = self.trainer.generate_(generator, latents)
            return images.mul(255).add(0.5).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()

        return self.draw(self.folder, number, {"weights": lambda: draw(gan.G), "average": lambda: draw(gan.GE)})

    def _new_trainer(self) -> Any:
        self._seed(0)
        trainer = self.code.Trainer(
            name="peer",
            base_dir=self.folder / "work",
            image_size=SIZE,
            batch_size=self.batch,
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
        return self.batch * PENALTY_EVERY / self._cycle(self._new_trainer(), precision)

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


if __name__ == "__main__":
    serve(GANSession)
