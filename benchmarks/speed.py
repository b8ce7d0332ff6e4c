"""How fast does ``projected`` train beside ``lightweight-gan``, and how much of what the machine can do does it use? At 64 px, batch 16.

    python benchmarks/speed.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--rounds 3] [--seconds 40] [--no-compile]

They train in turns in one run, the peer in its own process, so that whatever else the machine does meets all. The peer runs with its own
settings and with fewer channels; ``projected`` with its default width, and with the least widths at which it has at least the parameters
of either. Between the rounds the machine's convolution peak is measured. Then: where a step's time goes, and whether ``torch.compile``
would pay on the generator. It takes about twenty minutes on two cores, most of them the peer's; a call that was stopped goes on with the turn
that it was at; other settings or other code need another --out. The result is written to docs/benchmarks/speed.md. Without the photographs
nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from fish4knowledge import NOTICE, add_arguments, machine, open_photographs, write_page
from peer_lightweight_gan import SMALL, VERSION, Peer, save_photographs
from torch.autograd.profiler import record_function
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from syntype.compute.ema import MovingAverage
from syntype.compute.runtime import Runtime
from syntype.generators.contract import TrainingData
from syntype.generators.engine import training
from syntype.generators.engine.batches import BatchSampler, training_data
from syntype.generators.engine.training import TrainConfig, TrainingLoop
from syntype.generators.families import projected
from syntype.generators.families.projected import ProjectedConfig, ProjectedGAN
from syntype.generators.networks.projection import FrozenFeatures
from syntype.run import Run, write_json

SIZE, BATCH = 64, 16
SHAPES = ((16, 64, 64), (16, 128, 32), (16, 256, 16), (16, 256, 32), (32, 128, 32))
"""Images, channels and side of the convolutions that are tried for the peak."""
AIM_RATIO, AIM_SHARE = 15, 0.35


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "speed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40, help="of each turn; the peer's end with a whole cycle of its gradient penalty")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    arguments = parser.parse_args()
    out, collection = arguments.out, open_photographs(arguments)
    if collection is None:
        return
    data = training_data(collection.training(), SIZE)
    save_photographs(data.images, out / "photographs")
    runtime, kept = Runtime("cpu"), out / "rounds.json"
    with Peer(out / "lightweight-gan", out / "photographs") as usual, Peer(out / "lightweight-gan-small", out / "photographs", SMALL) as small:
        if not kept.exists():
            for peer in (usual, small):
                (peer.folder / "state.pt").unlink(missing_ok=True)  # their precision is chosen anew
        peers = [theirs("`lightweight-gan`", usual), theirs(f"`lightweight-gan`, fmap_max {SMALL}", small)]
        default = ours(data, runtime, ProjectedConfig().width, out)
        widths = {width_of(peer, data, default.trained - default.parameters) for peer in peers} - {ProjectedConfig().width}
        mine = [default, *(ours(data, runtime, width, out) for width in sorted(widths))]
        for contestant in mine:
            contestant.turn(1)  # warms up; the peers did in their trial
        turns = {one.name: partial(one.turn, arguments.seconds) for one in (*mine, *peers)}
        found = rounds(kept, {**turns, "bf16": partial(peak, torch.bfloat16), "fp32": partial(peak, torch.float32)}, arguments.rounds)
    for contestant in (*mine, *peers):
        contestant.speeds = found[contestant.name]
    best = {name: max(found[name]) for name in ("bf16", "fp32")}
    for contestant in mine:
        contestant.flops = flops_of_a_step(contestant.loop)
    parts = {contestant.name: profile(contestant.loop) for contestant in mine}
    compiled = None if arguments.no_compile else compilation(data, runtime)
    write_page(report(mine, peers, best, parts, compiled, arguments), "speed", arguments.docs)


def rounds(kept: Path, turns: dict[str, Callable[[], float]], number: int) -> dict[str, list[float]]:
    """Figures of each, one a round; all in turn, round after round. What is in the file ``kept`` is not measured again."""
    found: dict[str, list[float]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for which in range(number):
        for name, turn in turns.items():
            values = found.setdefault(name, [])
            if len(values) <= which:
                values.append(turn())
                write_json(kept, found)
                print(f"round {which + 1}: {name} {values[-1]:.2f}", file=sys.stderr, flush=True)
    return found


@dataclass
class Contestant:
    """Someone who trains in turns: ``turn`` trains for so many seconds and gives images a second."""

    name: str
    turn: Callable[[float], float]
    parameters: int = 0
    trained: int = 0
    precision: str = ""
    speeds: list[float] = field(default_factory=list)
    loop: Any = None
    flops: int = 0
    tried: dict[str, float] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """Images a second: median of the turns."""
        return float(np.median(self.speeds))


def theirs(name: str, peer: Peer) -> Contestant:
    """The peer, after its trial of precisions."""
    found = peer.train(0)
    contestant = Contestant(name, lambda seconds: peer.train(seconds)["images_per_second_now"], found["num_parameters"], found["num_trained"])
    contestant.precision, contestant.tried = found["arithmetic"], found["tried"]
    return contestant


class Unsaved(TrainingLoop):
    """The training loop, of which nothing is kept."""

    def checkpoint(self) -> None:
        pass


def ours(data: TrainingData, runtime: Runtime, width: int, out: Path) -> Contestant:
    """``projected`` of a width, in the training loop that ``syntype train`` uses."""
    model = ProjectedGAN(ProjectedConfig(size=SIZE, width=width), data.species)
    model.prepare(data, runtime)
    config = TrainConfig(family="projected", size=SIZE, batch_size=BATCH, minutes=1)
    loop = Unsaved(model, data, runtime, config, out / "nothing", Run.silent())
    count = lambda module: sum(p.numel() for p in module.parameters() if p.requires_grad)  # noqa: E731
    contestant = Contestant(f"`projected`, width {width}", lambda seconds: further(loop, seconds), loop=loop)
    contestant.parameters, contestant.trained, contestant.precision = count(model.generator), count(model), runtime.precision
    return contestant


def further(loop: TrainingLoop, seconds: float) -> float:
    """Train for so many seconds more; gives images a second."""
    steps, began = loop.step, loop.seconds
    loop.config = loop.config.model_copy(update={"minutes": (began + seconds) / 60})
    loop.run_until_done()
    return (loop.step - steps) * BATCH / (loop.seconds - began)


def one_step(loop: TrainingLoop) -> None:
    loop.config = loop.config.model_copy(update={"minutes": loop.seconds / 60 + 1e-9})
    loop.run_until_done()


def width_of(peer: Contestant, data: TrainingData, heads: int) -> int:
    """The least width, in steps of 4, at which the generator, and all that is trained, are at least as large as the peer's."""
    for width in range(ProjectedConfig().width, 257, 4):
        model = ProjectedGAN(ProjectedConfig(size=SIZE, width=width), data.species)
        parameters = sum(p.numel() for p in model.generator.parameters())
        if parameters >= peer.parameters and parameters + heads >= peer.trained:
            return width
    raise ValueError(f"no width up to 256 has the peer's {peer.trained} parameters")


def peak(kind: torch.dtype, seconds: float = 0.5) -> float:
    """Most GFLOP/s that a 3x3 convolution in channels-last layout, forward and backward, reached: best call of the best of ``SHAPES``."""
    best = 0.0
    for number, channels, side in SHAPES:
        images = torch.randn(number, channels, side, side).to(kind).to(memory_format=torch.channels_last).requires_grad_()
        weights = torch.randn(channels, channels, 3, 3).to(kind).to(memory_format=torch.channels_last).requires_grad_()
        gradient = torch.ones(number, channels, side, side, dtype=kind).to(memory_format=torch.channels_last)
        operations = 3 * 2 * 9 * number * channels**2 * side**2  # forward; backward to the images; backward to the weights
        until, fastest = time.perf_counter() + seconds, float("inf")
        while time.perf_counter() < until or fastest == float("inf"):
            began = time.perf_counter()
            torch.autograd.grad(F.conv2d(images, weights, padding=1), (images, weights), gradient)
            fastest = min(fastest, time.perf_counter() - began)
        best = max(best, operations / fastest / 1e9)
    return best


class Operations(TorchDispatchMode):
    """Counts floating-point operations by PyTorch's own formulas; its ``FlopCounterMode`` also hooks modules, and fails at ``autograd.grad``."""

    total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if formula := flop_registry.get(function._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def flops_of_a_step(loop: TrainingLoop) -> int:
    """Floating-point operations of matrix products and convolutions in one step, backward passes and the frozen network included."""
    with Operations() as counter:
        one_step(loop)
    return counter.total


@contextmanager
def labelled(loop: TrainingLoop) -> Iterator[None]:
    """Every part of a step within a profiler's range of its name: the model's own parts, and what the loop does around them."""
    others = [
        (projected, "augment", "augmentation"),
        (FrozenFeatures, "mix", "features"),
        (BatchSampler, "rows", "data"),
        (training, "to_tensor", "data"),
        (MovingAverage, "update", "moving average"),
    ]
    with ExitStack() as stack:
        for owner, name, label in [*((module, "forward", part) for part, module in loop.model.named_children()), *others]:
            stack.enter_context(mock.patch.object(owner, name, within(getattr(owner, name), label)))
        yield


def within(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with record_function(f"part:{label}"):
            return function(*args, **kwargs)

    return wrapped


def profile(loop: TrainingLoop, steps: int = 5) -> dict[str, float]:
    """Milliseconds of a step, by part; ``all`` is the whole. A backward operation counts for the part whose forward operation it differentiates."""
    one_step(loop)
    with labelled(loop), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        before = loop.seconds
        for _ in range(steps):
            one_step(loop)
        total = loop.seconds - before
    events = sorted(profiler.events() or [], key=lambda event: event.time_range.start)
    times: dict[str, float] = {}
    part_of: dict[int, str] = {}  # sequence number of an operation that is differentiated -> its part
    backward = []
    for event in events:
        if event.name.startswith("part:"):
            label = f"{event.name[5:]}, forward"
            if not part_above(event.cpu_parent):
                times[label] = times.get(label, 0.0) + event.time_range.elapsed_us()
        elif event.name.startswith("Optimizer.step"):
            times["optimisers"] = times.get("optimisers", 0.0) + event.time_range.elapsed_us()
        elif event.name.startswith("autograd::engine::evaluate_function"):
            backward.append(event)
        elif event.sequence_nr >= 0 and event.scope == 0:
            part_of[event.sequence_nr] = part_above(event)  # of several with one number the last is differentiated
    for event in backward:
        part = part_of.get(event.sequence_nr, "")
        label = f"{part}, backward" if part else "losses and the rest of the backward passes"
        times[label] = times.get(label, 0.0) + event.time_range.elapsed_us()
    result = {name: value / steps / 1e3 for name, value in sorted(times.items(), key=lambda item: -item[1])}
    whole = total / steps * 1e3
    return {**result, "the rest": whole - sum(result.values()), "all": whole}


def part_above(event: Any) -> str:
    while event is not None:
        if event.name.startswith("part:"):
            return event.name[5:]
        event = event.cpu_parent
    return ""


def compilation(data: TrainingData, runtime: Runtime, calls: int = 20) -> dict[str, float] | str:
    """Seconds that ``torch.compile`` takes on the generator alone, and milliseconds of its passes forward and backward without and with it;
    or why that could not be measured."""
    if shutil.which(os.environ.get("CXX", "g++")) is None and shutil.which("clang++") is None:
        return "there is no C++ compiler on this machine"
    generator = ProjectedGAN(ProjectedConfig(size=SIZE), data.species).generator.to(memory_format=torch.channels_last)
    latents, labels = torch.randn(BATCH, generator.latent_dim), torch.from_numpy(data.labels[:BATCH])
    parameters = list(generator.parameters())

    def passes(network: Callable[..., torch.Tensor]) -> float:
        began = time.perf_counter()
        with runtime.autocast():
            images = network(latents, labels)
        torch.autograd.grad(images.float().square().mean(), parameters, allow_unused=True)
        return time.perf_counter() - began

    passes(generator)
    plain = float(np.median([passes(generator) for _ in range(calls)]))
    compiled = torch.compile(generator, dynamic=False)
    try:
        first = passes(compiled)
    except RuntimeError as error:
        return f"it failed here: {str(error).strip().splitlines()[0]}"
    return {"seconds": first, "plain": 1e3 * plain, "compiled": 1e3 * float(np.median([passes(compiled) for _ in range(calls)]))}


def report(
    mine: list[Contestant],
    peers: list[Contestant],
    peaks: dict[str, float],
    parts: dict[str, dict[str, float]],
    compiled: dict[str, float] | str | None,
    arguments: argparse.Namespace,
) -> str:
    """What was measured, as Markdown."""
    peak_name, best = max(peaks.items(), key=lambda item: item[1])
    lines = [
        "# Training speed, side by side",
        "",
        f"Written by `python benchmarks/speed.py --rounds {arguments.rounds} --seconds {arguments.seconds:g}`. "
        f"Machine: {machine()}; {torch.get_num_threads()} thread(s); PyTorch {torch.__version__}; load when the page was written "
        f"{os.getloadavg()[0]:.1f}, its own included.",
        "",
        NOTICE,
        "",
        f"{SIZE} px, batch {BATCH}, {arguments.rounds} turns each of {arguments.seconds:g} s (the peer's end with a whole cycle of four steps), "
        "one after the other, round after round, after a warm-up. Images/s: median over the turns, least and most in brackets. Parameters: of the "
        f"generator, and all that are trained. `lightweight-gan` {VERSION} took its own training steps with its own settings (and with fewer "
        "channels, to come nearer in size), in the faster of the precisions that were tried first: "
        + "; ".join(", ".join(f"{name} {speed:.2f}" for name, speed in peer.tried.items()) for peer in peers)
        + " images/s.",
        "",
        "| | images/s | parameters | trained | precision | GFLOP a step | GFLOP/s | share of the peak |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in (*mine, *peers):
        speeds = f"{one.speed:.2f} ({min(one.speeds):.2f} to {max(one.speeds):.2f})"
        cells = [one.name, speeds, f"{one.parameters:,}", f"{one.trained:,}", one.precision]
        cells += [f"{one.flops / 1e9:.1f}", f"{rate(one):.1f}", f"{rate(one) / best:.1%}"] if one.flops else ["–"] * 3
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "The peak: the most that a 3x3 convolution in channels-last layout reached forward and backward, at several shapes and between all rounds: "
        + ", ".join(f"{value:.0f} GFLOP/s in {name}" for name, value in peaks.items())
        + f". Shares are of the higher ({peak_name}). Operations of a step are those of matrix products and convolutions, as PyTorch counts them.",
        "",
        "## Aims",
        "",
    ]
    for peer in peers:
        rival = next(one for one in mine if one.parameters >= peer.parameters and one.trained >= peer.trained)
        ratio = rival.speed / peer.speed
        lines.append(
            f"- {AIM_RATIO} times {peer.name} with at least its parameters: {rival.name} {ratio:.1f} times, {verdict(ratio, AIM_RATIO, '.1f')}"
        )
    for one in mine:
        lines.append(f"- {AIM_SHARE:.0%} of the convolution peak: {one.name} {rate(one) / best:.1%}, {verdict(rate(one) / best, AIM_SHARE, '.1%')}")
    lines += ["", "## Where a step's time goes", "", "Milliseconds, by PyTorch's profiler, which itself takes some.", ""]
    for name, times in parts.items():
        lines += [f"{name}:", "", "| part | ms | share |", "| --- | --- | --- |"]
        lines += [f"| {part} | {value:.1f} | {value / times['all']:.0%} |" for part, value in times.items()]
        lines.append("")
    lines += ["## torch.compile", ""]
    if compiled is None:
        lines.append("Left out (`--no-compile`).")
    elif isinstance(compiled, str):
        lines.append(f"Not measured: {compiled}.")
    else:
        saved = (compiled["plain"] - compiled["compiled"]) / 1e3
        lines.append(
            f"The generator alone (default width, forward and backward): {compiled['plain']:.0f} ms without, {compiled['compiled']:.0f} ms with; "
            f"compiling took {compiled['seconds']:.0f} s, "
            + (f"won back after {compiled['seconds'] / saved:,.0f} steps. " if saved > 0 else "never won back. ")
            + "It is not used: it would need a C++ compiler on every machine."
        )
    return "\n".join([*lines, ""])


def rate(contestant: Contestant) -> float:
    """GFLOP/s at the measured speed."""
    return contestant.flops / 1e9 * contestant.speed / BATCH


def verdict(value: float, aim: float, style: str) -> str:
    return "**met**." if value >= aim else f"**missed by {aim - value:{style}}**."


if __name__ == "__main__":
    main()
