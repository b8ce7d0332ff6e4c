"""Adapters with which a base draws in few steps: found by name on the Hugging Face hub or as a file, with checksum and licence, and their solvers.

Latent consistency models: Luo et al. 2023, "LCM-LoRA" (arXiv 2311.05556). SDXL-Lightning: Lin et al. 2024 (arXiv 2402.13929). Hyper-SD: Ren et al.
2024 (arXiv 2404.13686). Each draws with the solver that its makers name; the solvers are diffusers' (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from syntype.errors import CollectionError, InputError, RecipeError, UnsupportedError, shortened, shown_list
from syntype.files import disk_problem, sha256_of
from syntype.generators.pretrained.bases import HUB_NAME, Base, licence_beside
from syntype.generators.pretrained.processes import Diffusion, Predict

__all__ = ["KNOWN_FEW_STEPS", "FewSteps", "FewStepsDiffusion", "FewStepsSolver", "resolve_few_steps"]

FewStepsSolver = Literal["lcm", "ddim", "euler"]
"""Consistency sampling with fresh noise in each step; or DDIM, or Euler's method, with steps that begin at the highest noise ("trailing")."""
_STEPS = 4
"""Of an adapter of which nothing is known."""
_OPEN_RAIL = ("CreativeML Open RAIL++-M", "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md")


@dataclass(frozen=True)
class FewSteps:
    """An adapter for few steps.

    Attributes:
        name: OWNER/NAME or OWNER/NAME:FILE on the hub, or a file as it was given.
        solver: with which it draws.
        steps: for which it was made.
        licence: of its weights; None if nothing says it.
        licence_url: its text; None if not known.
        pipeline: of the bases that it fits; None if not known.
        path: the file; None before it is found.
        sha256: of the file; empty before it is found.
    """

    name: str
    solver: FewStepsSolver
    steps: int = _STEPS
    licence: str | None = None
    licence_url: str | None = None
    pipeline: str | None = None
    path: Path | None = None
    sha256: str = ""

    @property
    def notice(self) -> str:
        """The licence as it stands beside those of photographs and of the base."""
        return f"{self.licence or 'unknown licence'} (weights of {self.name})"

    def record(self) -> dict[str, Any]:
        """What a generator's record says of it."""
        told = {"name": self.name, "licence": self.licence, "licence_url": self.licence_url, "sha256": self.sha256}
        return {key: value for key, value in told.items() if value is not None}


_FILE = "pytorch_lora_weights.safetensors"
"""Where a name has none: what diffusers calls an adapter."""
_HYPER = ("see the file LICENSE.md", "https://huggingface.co/ByteDance/Hyper-SD/blob/main/LICENSE.md")
KNOWN_FEW_STEPS: dict[str, FewSteps] = {
    known.name: known
    for known in (
        FewSteps("latent-consistency/lcm-lora-sdv1-5", "lcm", 4, *_OPEN_RAIL, "StableDiffusionPipeline"),
        FewSteps("latent-consistency/lcm-lora-sdxl", "lcm", 4, *_OPEN_RAIL, "StableDiffusionXLPipeline"),
        FewSteps("ByteDance/SDXL-Lightning:sdxl_lightning_4step_lora.safetensors", "euler", 4, *_OPEN_RAIL, "StableDiffusionXLPipeline"),
        FewSteps("ByteDance/SDXL-Lightning:sdxl_lightning_8step_lora.safetensors", "euler", 8, *_OPEN_RAIL, "StableDiffusionXLPipeline"),
        FewSteps("ByteDance/Hyper-SD:Hyper-SD15-4steps-lora.safetensors", "ddim", 4, *_HYPER, "StableDiffusionPipeline"),
        FewSteps("ByteDance/Hyper-SD:Hyper-SDXL-4steps-lora.safetensors", "ddim", 4, *_HYPER, "StableDiffusionXLPipeline"),
    )
}
"""Adapters that are known, by their names; drawn without guidance, as their makers recommend."""


def resolve_few_steps(name: str, solver: FewStepsSolver | None, base: Base, sha256: str | None) -> FewSteps:
    """Find an adapter for few steps on the disk or on the hub, from where its file is downloaded once.

    Args:
        name: of ``KNOWN_FEW_STEPS``, OWNER/NAME:FILE on the hub, or a .safetensors file.
        solver: with which it draws; needed where it is not known.
        base: with which it is used.
        sha256: that the file must have; None takes any.

    Raises:
        RecipeError: the solver is not known.
        UnsupportedError: the base has no such adapters, or the adapter is for another base.
        InputError: there is no such file, or the hub does not answer.
        CollectionError: it is another file than in training.
    """
    if base.kind == "flow":
        raise UnsupportedError(
            f"{base.name}: few_steps is for Stable Diffusion and SDXL. Of FLUX.2 klein there is a version that draws in four steps: "
            "--set model.base=black-forest-labs/FLUX.2-klein-4B --set model.sampling_steps=4."
        )
    known = KNOWN_FEW_STEPS.get(name)
    if known is not None and known.pipeline != base.pipeline:
        fitting = shown_list(other for other, one in KNOWN_FEW_STEPS.items() if one.pipeline == base.pipeline)
        raise UnsupportedError(f"few_steps: {name} is for another kind of base than {base.name}. Choose one of: {fitting}.")
    chosen = solver or (known.solver if known else None)
    if chosen is None:
        raise RecipeError(
            f"few_steps: with which solver {shortened(name)} draws is not known. Add --set model.few_steps_solver=lcm, ddim or euler, "
            f"as its makers say, or choose one that is known: {shown_list(KNOWN_FEW_STEPS)}."
        )
    local = Path(name).expanduser()
    path = local if local.is_file() else _download(name)
    licence = (known.licence, known.licence_url) if known else (None, None) if local.is_file() else licence_beside(path.parent, name)
    found = FewSteps(name, chosen, known.steps if known else _STEPS, *licence, base.pipeline, path, sha256_of(path))
    if sha256 is not None and found.sha256 != sha256:
        raise CollectionError(
            f"{name}: is another adapter for few steps than in training (sha256 {found.sha256[:12]}, not {sha256[:12]}). Give the file of then."
        )
    return found


def _download(name: str) -> Path:
    """The file on the hub, and the card beside it."""
    import huggingface_hub

    owner, _, file = name.partition(":")
    file = file or _FILE
    if not HUB_NAME.match(owner) or not file.endswith(".safetensors"):
        hint = "Give a .safetensors file, OWNER/NAME:FILE on the Hugging Face hub, or one of: " + shown_list(KNOWN_FEW_STEPS) + "."
        raise InputError("is no adapter for few steps", hint, file=name)
    try:
        path = Path(huggingface_hub.hf_hub_download(owner, file))
    except Exception as error:  # each version of the hub's client raises something else
        if (problem := disk_problem(error, name)) is not None:
            raise problem from None
        reason = f"cannot be downloaded from the Hugging Face hub ({type(error).__name__}: {shortened(' '.join(str(error).split()), 120)})"
        raise InputError(reason, "Check name and connection, or download the file elsewhere and give its path.", file=name) from None
    if name not in KNOWN_FEW_STEPS:
        try:
            huggingface_hub.hf_hub_download(owner, "README.md")
        except Exception:  # without a card the licence counts as unknown
            return path
    return path


class FewStepsDiffusion(Diffusion):
    """A base with an adapter for few steps: trained as without it, drawn with its solver.

    Args:
        config: of the base's scheduler.
        min_snr: as for ``Diffusion``.
        name: of the base.
        few_steps: the adapter.
    """

    def __init__(self, config: dict[str, Any], min_snr: float | None, name: str, few_steps: FewSteps) -> None:
        super().__init__(config, min_snr, name)
        import diffusers

        kinds = {"lcm": diffusers.LCMScheduler, "ddim": diffusers.DDIMScheduler, "euler": diffusers.EulerDiscreteScheduler}
        kind = kinds[few_steps.solver]
        known = {key: value for key, value in config.items() if key in signature(kind).parameters}  # of another solver's settings it would warn
        self._solver: Any = kind.from_config(known, timestep_spacing="trailing")
        self._renews = few_steps.solver == "lcm"

    def noises(self, steps: int) -> int:
        """Consistency models add fresh noise after each step but the last."""
        return steps if self._renews else 1

    def _schedule(self, steps: int, latents: Tensor) -> Any:
        try:
            return super()._schedule(steps, latents)
        except ValueError as error:  # consistency models know fifty noise levels
            raise RecipeError(
                f"steps={steps} are too many for this adapter for few steps ({shortened(' '.join(str(error).split()), 120)})."
            ) from None

    def _noised(self, scheduler: Any, clean: Tensor, noise: Tensor, place: int) -> Tensor:
        if place == len(scheduler.timesteps):
            return clean
        noised: Tensor = scheduler.add_noise(clean, noise, scheduler.timesteps[place].expand(len(clean)))
        return noised

    def _begin(self, scheduler: Any, noise: Tensor) -> Tensor:
        scaled: Tensor = noise * scheduler.init_noise_sigma
        return scaled

    def _advance(self, scheduler: Any, predict: Predict, x: Tensor, time: Tensor, again: Sequence[Tensor]) -> Tensor:
        found = predict(scheduler.scale_model_input(x, time), time.expand(len(x)).to(x.device))
        if not self._renews:
            stepped: Tensor = scheduler.step(found, time, x).prev_sample
            return stepped
        # its own noise would come from one stream for all images; what is drawn here is replaced
        result = scheduler.step(found, time, x, generator=torch.Generator())
        place = scheduler.step_index
        if place == len(scheduler.timesteps):
            return torch.as_tensor(result.denoised)
        return self._noised(scheduler, result.denoised, again[0], place)
