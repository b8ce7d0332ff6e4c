"""What does a graphics card make of the training loops: images a second, memory, minutes to the end of a recipe, share of the card's peak?

    python benchmarks/gpu.py [--device cuda] [--seconds 30] [--recipes NAME ...] [--networks NAME ...] [--compile] [--out FOLDER]

For each recipe the first steps are left out, then the training loop of ``syntype train`` runs for --seconds, and once more for a family's second
phase. The classifier is trained at 224 px beside timm's own loop with its data loader, and with --compile also by torch.compile. Images are random
numbers, as speed does not depend on what they show. Without a card that PyTorch can use nothing is measured; ``--device cpu`` tries the script
itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.classifier_loops import finish, ours, saved, timms
from common.results import Page, kept, options, publish, rewrite, table
from common.stepping import Unsaved, flops_of_a_step, further

from syntype.compute.runtime import Runtime
from syntype.generators.contract import TrainingData
from syntype.generators.engine.training import TrainConfig
from syntype.generators.registry import family
from syntype.identification import LabelledImages
from syntype.recipe import find_recipe
from syntype.run import Run

RECIPES = ("projected-gpu-128", "projected-gpu-256", "jellyfish-latent-256", "jellyfish-latent-640x1024")
NETWORKS = ("resnet50", "tf_efficientnet_lite2", "vit_small_patch16_224")
SIZE, BATCH, PHOTOGRAPHS, SPECIES = 224, 128, 2048, 40
"""Of the classifier: side in pixels, images a step; photographs and species that are made up."""
MATRIX = 8192
"""Side of the square matrices whose product gives the peak."""


def main() -> None:
    parser = options("gpu", __doc__)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement")
    parser.add_argument("--recipes", nargs="*", default=RECIPES, help="named recipes or files (%(default)s)")
    parser.add_argument("--networks", nargs="*", default=NETWORKS, help="timm networks of the classifier (%(default)s)")
    parser.add_argument("--compile", action="store_true", help="measure the classifier with torch.compile too, which Syntype does not use")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("gpu", report, arguments)
        return
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("there is no graphics card that PyTorch can use: nothing measured.", file=sys.stderr)
        return
    out, device = arguments.out, arguments.device
    figures: dict[str, Any] = {"peak": kept(out / "peak.json", lambda: {"tflops": peak(device)}), "recipes": {}, "networks": {}}
    for name in arguments.recipes:
        measure: Callable[[], dict[str, Any]] = partial(recipe, name, device, arguments.seconds)
        figures["recipes"][name] = kept(out / f"recipe-{name.replace('/', '-')}.json", measure)
    for name in arguments.networks:
        figures["networks"][name] = kept(out / f"network-{name}{'-compiled' * arguments.compile}.json", partial(network, name, device, arguments))
    publish("gpu", {"seconds": arguments.seconds, "device": device}, figures, report, arguments)


def peak(device: str, side: int | None = None) -> float:
    """Highest rate of a product of two square bfloat16 matrices, in TFLOP a second."""
    side = side or (MATRIX if device == "cuda" else 512)
    first, second = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        finish(device)
        began = time.perf_counter()
        first @ second
        finish(device)
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best / 1e12


def made_up(height: int, width: int, number: int = PHOTOGRAPHS) -> LabelledImages:
    """Random pixels with labels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (min(number, max(64, 2**31 // (3 * height * width))), height, width, 3), np.uint8)
    return LabelledImages(images, np.arange(len(images)) % min(SPECIES, len(images) // 2))


def recipe(name: str, device: str, seconds: float) -> dict[str, Any]:
    """Speed of each phase of a recipe's training, memory, and minutes to its end."""
    config = TrainConfig.parse({**find_recipe(name, TrainConfig), "device": device}, name)
    kind = family(config.family)
    phases = {"training": config.model}
    steps = {"training": config.steps or 0}
    if "autoencoder_steps" in kind.Config.model_fields and not config.model.get("autoencoder"):
        first = int(config.model.get("autoencoder_steps", kind.Config.model_fields["autoencoder_steps"].default))
        phases = {"autoencoder": config.model, "denoiser": {**config.model, "autoencoder_steps": 1}}
        steps = {"autoencoder": first, "denoiser": steps["training"] - first}
    found: dict[str, Any] = {"batch": config.batch_size, "steps": config.steps, "phases": {}}
    for phase, model in phases.items():
        found["phases"][phase] = {**speed_of(config.model_copy(update={"model": model}), device, seconds), "steps": steps[phase]}
    found["minutes"] = sum(one["steps"] * config.batch_size / one["images_per_second"] for one in found["phases"].values()) / 60
    return found


def speed_of(config: TrainConfig, device: str, seconds: float) -> dict[str, float]:
    """Images a second, TFLOP a second and memory of one phase."""
    kind = family(config.family)
    settings = kind.Config.parse({**config.model, "size": config.size}, config.family)
    images = made_up(*settings.shape)
    data = TrainingData(
        images.images, images.labels, np.arange(len(images.labels)), tuple(f"Species {label}" for label in range(max(images.labels) + 1))
    )
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    runtime, model = Runtime(device, config.precision), kind(settings, data.species)
    model.prepare(data, runtime)
    loop = Unsaved(model, data, runtime, config.model_copy(update={"steps": None, "minutes": 1.0}), Path("nowhere"), Run.silent())
    further(loop, seconds / 5)  # chooses convolutions, encodes photographs
    finish(device)
    images_per_second = further(loop, seconds)
    finish(device)
    flops = flops_of_a_step(loop) / config.batch_size
    gigabytes = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0
    return {"images_per_second": images_per_second, "tflops": flops * images_per_second / 1e12, "gigabytes": gigabytes}


def network(name: str, device: str, arguments: Any) -> dict[str, Any]:
    """Images a second of the classifier's loop and of timm's, all weights trained, bf16."""
    photographs = made_up(SIZE, SIZE)
    batch = BATCH if device == "cuda" else 8
    steps = max(2, round(arguments.seconds * (10 if device == "cuda" else 0.2)))
    folder = saved(photographs, arguments.out / "photographs")
    common: dict[str, Any] = {"batch": batch, "device": device, "warm": 10 if device == "cuda" else 1}
    mine = ours(photographs, name, "bf16", steps, arguments.out / "weights", **common)
    theirs = timms(folder, photographs, name, "bf16", steps, **common)
    found: dict[str, Any] = {"syntype": mine, "timm": theirs, "batch": batch}
    if arguments.compile:
        found["compiled"] = ours(photographs, name, "bf16", steps, arguments.out / "weights", compiled=True, **common)
    return found


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    peak_ = figures["peak"]["tflops"]
    rows, answers = [], []
    for name, one in figures["recipes"].items():
        for phase, speed in one["phases"].items():
            cells = [name, phase, one["batch"], f"{speed['images_per_second']:.3g}", f"{speed['gigabytes']:.1f}", f"{speed['tflops'] / peak_:.0%}"]
            rows.append([*map(str, cells), f"{speed['steps'] * one['batch'] / speed['images_per_second'] / 60:,.0f}"])
        answers.append(f"`{name}` in {one['minutes']:,.0f} minutes")
    trained = [
        [
            name,
            str(one["batch"]),
            f"{one['syntype']:,.0f}",
            f"{one['timm']:,.0f}",
            f"{one['syntype'] / one['timm']:.2f}",
            f"{one['compiled']:,.0f}" if "compiled" in one else "–",
        ]
        for name, one in figures["networks"].items()
    ]
    return Page(
        title="Training on a graphics card",
        question="How fast do the recipes and the classifier train on a graphics card, and how much of its speed and memory do they use?",
        answer="To the end of the recipe: " + ", ".join(answers) + "." if answers else "Only the classifier was measured.",
        headline=[(f"images a second, {name}, {phase}", f"{speed['images_per_second']:.3g}")
                  for name, one in figures["recipes"].items() for phase, speed in one["phases"].items()],
        body=[
            f"The card's peak: {peak_:.0f} TFLOP/s, the highest rate of a product of two bfloat16 matrices. Its share counts matrix products and "
            "convolutions as PyTorch does. Memory: the most that PyTorch held at once.",
            "",
            *table(["recipe", "phase", "batch", "images/s", "GB", "share of the peak", "minutes to its end"], rows),
            "",
            f"The classifier at {SIZE} px, bf16, all weights trained, beside timm's loop with its data loader:",
            "",
            *table(["network", "batch", "Syntype, images/s", "timm, images/s", "ratio", "with torch.compile, images/s"], trained),
        ],
        method=[f"Random pixels; {settings['seconds']:g} s for each phase after a fifth of that as warm-up; device `{settings['device']}`."],
    )  # fmt: skip


if __name__ == "__main__":
    main()
