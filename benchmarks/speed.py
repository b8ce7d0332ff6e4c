"""How fast does ``projected`` train beside ``lightweight-gan``, and how much of what the machine can do does it use? At 64 px, batch 16.

    python benchmarks/speed.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--rounds 3] [--seconds 40] [--no-compile]

They train in turns in one run, the peer in its own process, so that whatever else the machine does meets all. The peer runs with its own
settings and with fewer channels; ``projected`` with its default width, and with the least widths at which it has at least the parameters
of either. Between the rounds the machine's convolution peak is measured. Then: where a step's time goes, and whether ``torch.compile``
would pay on the generator. It takes about twenty minutes on two cores, most of them the peer's; a call that was stopped continues with the turn
that it was at; other settings or other code need another --out. Without the photographs nothing is measured.
"""

from __future__ import annotations

import os
import shutil
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
from common.fish import NOTICE, SIZE, open_photographs, photograph_options
from common.results import Page, met, publish, rewrite, table
from common.stepping import BATCH, Unsaved, flops_of_a_step, further, one_step
from common.timing import rounds
from peer_lightweight_gan import SMALL, VERSION, Peer, save_photographs
from torch.autograd.profiler import record_function
from torch.nn import functional as F

from syntype.compute.ema import MovingAverage
from syntype.compute.runtime import Runtime
from syntype.generators.contract import TrainingData
from syntype.generators.engine import training
from syntype.generators.engine.batches import BatchSampler, training_data
from syntype.generators.engine.training import TrainConfig, TrainingLoop
from syntype.generators.families import projected
from syntype.generators.families.projected import ProjectedConfig, ProjectedGAN
from syntype.generators.networks.projection import FrozenFeatures
from syntype.run import Run

SHAPES = ((16, 64, 64), (16, 128, 32), (16, 256, 16), (16, 256, 32), (32, 128, 32))
"""Images, channels and side of the convolutions that are tried for the peak."""
AIM_RATIO, AIM_SHARE = 15, 0.35


def main() -> None:
    parser = photograph_options("speed", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40, help="of each turn; the peer's end with a whole cycle of its gradient penalty")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("speed", report, arguments)
        return
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
    for contestant in mine:
        contestant.flops = flops_of_a_step(contestant.loop)
    peaks = {name: max(found[name]) for name in ("bf16", "fp32")}
    ours_, theirs_ = ({one.name: one.figures(max(peaks.values())) for one in some} for some in (mine, peers))
    figures = {
        "ours": ours_,
        "peers": {name: {**one, "times": times_of(one, ours_)} for name, one in theirs_.items()},
        "peaks": peaks,
        "parts": {one.name: profile(one.loop) for one in mine},
        "compiled": None if arguments.no_compile else compilation(data, runtime),
        "load": os.getloadavg()[0],
    }
    publish("speed", {"rounds": arguments.rounds, "seconds": arguments.seconds}, figures, report, arguments)


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

    def figures(self, peak: float) -> dict[str, Any]:
        """All figures; ``gflops`` a second at the median speed, and their share of the machine's peak."""
        names = ("parameters", "trained", "precision", "speeds", "flops", "tried")
        gflops = self.flops / 1e9 * float(np.median(self.speeds)) / BATCH
        return {**{name: getattr(self, name) for name in names}, "gflops": gflops, "share": gflops / peak}


def times_of(peer: dict[str, Any], ours_: dict[str, dict[str, Any]]) -> list[Any]:
    """The first of ours with at least the peer's parameters, and how many times the peer's speed it has."""
    rival = next(key for key, one in ours_.items() if one["parameters"] >= peer["parameters"] and one["trained"] >= peer["trained"])
    return [rival, speed_of(ours_[rival]) / speed_of(peer)]


def theirs(name: str, peer: Peer) -> Contestant:
    """The peer, after its trial of precisions."""
    found = peer.train(0)
    contestant = Contestant(name, lambda seconds: peer.train(seconds)["images_per_second_now"], found["num_parameters"], found["num_trained"])
    contestant.precision, contestant.tried = found["arithmetic"], found["tried"]
    return contestant


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


@contextmanager
def labelled(loop: TrainingLoop) -> Iterator[None]:
    """Every part of a step within a profiler's range of its name: the model's own parts, and what the loop does around them."""
    others = [
        (projected, "augment", "augmentation"),
        (FrozenFeatures, "mix", "features"),
        (BatchSampler, "indices", "data"),
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


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    ours_, peers, peaks, compiled = (figures[name] for name in ("ours", "peers", "peaks", "compiled"))
    peak_name = max(peaks, key=lambda name: peaks[name])
    rows = []
    for name, one in {**ours_, **peers}.items():
        speeds = f"{speed_of(one):.2f} ({min(one['speeds']):.2f} to {max(one['speeds']):.2f})"
        cells = [name, speeds, f"{one['parameters']:,}", f"{one['trained']:,}", one["precision"]]
        cells += [f"{one['flops'] / 1e9:.1f}", f"{one['gflops']:.1f}", f"{one['share']:.1%}"] if one["flops"] else ["–"] * 3
        rows.append(cells)
    body = [
        "Images/s: median over the turns, least and most in brackets. Parameters: of the generator; trained: of all networks that are trained. "
        "GFLOP a step: floating-point operations of matrix products and convolutions, as PyTorch counts them. The peak: the highest rate that a 3x3 "
        "convolution in channels-last layout reached forward and backward, at several shapes and between all rounds: "
        + ", ".join(f"{value:.0f} GFLOP/s in {name}" for name, value in peaks.items())
        + f". Shares are of the higher ({peak_name}).",
        "",
        *table(["", "images/s", "parameters", "trained", "precision", "GFLOP a step", "GFLOP/s", "share of the peak"], rows),
        "",
        "## Aims",
        "",
    ]
    headline = []
    for name, peer in peers.items():
        rival, times = peer["times"]
        headline.append((f"{rival} over {name}", f"{times:.1f} times"))
        body.append(f"- {AIM_RATIO} times {name} with at least its parameters: {rival} {times:.1f} times, {met(times, AIM_RATIO, '.1f')}")
    for name, one in ours_.items():
        body.append(f"- {AIM_SHARE:.0%} of the convolution peak: {name} {one['share']:.1%}, {met(one['share'], AIM_SHARE, '.1%')}")
    body += ["", "## Where a step's time goes", "", "Milliseconds, by PyTorch's profiler, which itself takes some.", ""]
    for name, times in figures["parts"].items():
        parts = [[part, f"{value:.1f}", f"{value / times['all']:.0%}"] for part, value in times.items()]
        body += [f"{name}:", "", *table(["part", "ms", "share"], parts), ""]
    body += ["## torch.compile", ""]
    if compiled is None:
        body.append("Left out (`--no-compile`).")
    elif isinstance(compiled, str):
        body.append(f"Not measured: {compiled}.")
    else:
        saved = (compiled["plain"] - compiled["compiled"]) / 1e3
        gain = f"gained back after {compiled['seconds'] / saved:,.0f} steps" if saved > 0 else "more than it ever saves"
        body.append(
            f"The generator alone (default width, forward and backward): {compiled['plain']:.0f} ms without, {compiled['compiled']:.0f} ms with; "
            f"compiling took {compiled['seconds']:.0f} s, {gain}. It is not used: it would need a C++ compiler on every machine."
        )
    tried = "; ".join(", ".join(f"{name} {value:.2f}" for name, value in one["tried"].items()) for one in peers.values())
    return Page(
        title="Training speed of `projected`",
        question="How fast does `projected` train compared with `lightweight-gan`, and how much of the machine's speed does it use?",
        answer="With at least the parameters of the peer, "
        + "; ".join(f"{name}: {value}" for name, value in headline)
        + f" the images a second. A step of "
        f"`projected` reaches {min(one['share'] for one in ours_.values()):.0%} to {max(one['share'] for one in ours_.values()):.0%} of the "
        f"speed of a bare convolution.",
        headline=headline,
        body=body,
        method=[
            f"{SIZE} px, batch {BATCH}, {settings['rounds']} turns each of {settings['seconds']:g} s (the peer's end with a whole cycle of four "
            f"steps), one after the other, round after round, after a warm-up. `lightweight-gan` {VERSION} took its own training steps with its own "
            f"settings (and with fewer channels, to come nearer in size), in the faster of the precisions that were tried first: {tried} images/s. "
            f"Load of the machine at the end: {figures['load']:.1f}, its own included.",
            "",
            NOTICE,
        ],
    )


def speed_of(one: dict[str, Any]) -> float:
    """Images a second: median of the turns."""
    return float(np.median(one["speeds"]))


if __name__ == "__main__":
    main()
