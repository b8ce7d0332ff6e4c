"""How fast does ``ddpm`` train beside ``denoising-diffusion-pytorch``, and how few network evaluations does drawing need? At 64 px, batch 16.

    python benchmarks/diffusion.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--generator FOLDER] [--rounds 5] [--seconds 60]

Steps: ``ddpm`` of the peer's number of parameters, ``ddpm`` of its number of operations and the peer, each in its own process, train in turns,
so that whatever else the machine does meets all. Drawing: a trained ``ddpm`` (--generator) draws the same images by two samplers with more and
more network evaluations, which are compared with test photographs. What is known is not measured again; other settings or other code need
another --out. Without the photographs nothing is measured.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from common.fish import NOTICE, SIZE, open_photographs, photograph_options, without_new
from common.judging import Referee, asked_of, standard_error
from common.results import Page, kept, met, publish, rewrite, table
from common.stepping import BATCH, Unsaved, flops_of_a_step, further, one_step
from common.timing import ratio, rounds
from peer_denoising_diffusion import VERSION, DiffusionPeer, save_photographs
from torch.nn.attention import SDPBackend, sdpa_kernel

from syntype.collection import Collection
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_uint8
from syntype.generators import family, load_generator
from syntype.generators.engine.batches import training_data
from syntype.generators.engine.training import TrainConfig
from syntype.run import Run
from syntype.study.distances import kid

WIDTH, DIM = 48, 54
"""Of ``ddpm`` and of the peer: the widest pair, up to the peer's own default of 64, whose parameters are equal within ``SAME``."""
SAME = 0.05
LAYOUT = {"channel_multipliers": (1, 2, 4, 8, 8), "residual_blocks": (1, 1, 1, 2, 3)}
"""Of `ddpm`, for a network as large as the peer's usual one; the family's own default is made for small machines."""
SAMPLERS = ("ddim", "dpmsolver++")
EVALUATIONS = (5, 10, 20, 50, 100, 250)
AIM_RATIO, AIM_EVALUATIONS, AIM_KID = 3.0, 20, 1.1
PEER = "denoising-diffusion-pytorch"


def main() -> None:
    parser = photograph_options("diffusion", __doc__)
    parser.add_argument("--generator", type=Path, help="a trained `ddpm`, to draw from; without it, and without results from before, steps alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60, help="of each turn")
    parser.add_argument("--width", type=int, default=WIDTH, help="of `ddpm` (%(default)s)")
    parser.add_argument("--dim", type=int, default=DIM, help="width of the peer (%(default)s)")
    parser.add_argument("--images", type=int, default=300, help="to draw each time: of as many test photographs' species, drawn at random")
    parser.add_argument("--evaluations", type=int, nargs="+", default=EVALUATIONS, help="of the network, for each image; the most are the reference")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("diffusion", report, arguments)
        return
    collection = open_photographs(arguments)
    if collection is None:
        return
    figures = {"steps": kept(arguments.out / "steps.json", lambda: training_steps(collection, arguments))}
    drawn = arguments.out / "drawing.json"
    if arguments.generator:
        drawn.unlink(missing_ok=True)  # what was drawn is kept image by image
    if arguments.generator or drawn.exists():
        figures["drawing"] = kept(drawn, lambda: drawing(Referee(without_new(collection)), arguments))
    publish("diffusion", {"rounds": arguments.rounds, "seconds": arguments.seconds}, figures, report, arguments)


def training_steps(collection: Collection, arguments: argparse.Namespace) -> dict[str, dict]:
    """Parameters, operations and images a second of each contestant."""
    out = arguments.out
    save_photographs(without_new(collection).training().pixels(SIZE), out / "photographs")
    with DiffusionPeer(out / "peer", out / "photographs", arguments.dim) as peer, Ours(collection, arguments.width) as same_size:
        first = peer.train(0)
        theirs = {"parameters": first["num_trained"], "precision": first["arithmetic"], "tried": first["tried"], **peer.ask({"operations": 0})}
        mine = same_size.facts()
        if abs(mine["parameters"] / theirs["parameters"] - 1) > SAME:
            raise SystemExit(
                f"ddpm of width {arguments.width} has {mine['parameters']:,} parameters, the peer of dim {arguments.dim} {theirs['parameters']:,}: "
                f"not within {SAME:.0%}. Give other --width and --dim."
            )
        wider = 16 * round(arguments.width * (theirs["flops"] / mine["flops"]) ** 0.5 / 16)  # operations grow with the square of the width
        with Ours(collection, wider) as same_work:
            found = {
                "parameters": {"name": f"`ddpm`, width {arguments.width}", **mine},
                "operations": {"name": f"`ddpm`, width {wider}", **same_work.facts()},
                "peer": {"name": f"`{PEER}`, dim {arguments.dim}", **theirs},
            }
            turns = {
                "parameters": partial(same_size.turn, arguments.seconds),
                "operations": partial(same_work.turn, arguments.seconds),
                "peer": lambda: peer.train(arguments.seconds)["images_per_second_now"],
            }
            for name, speeds in rounds(out / "rounds.json", turns, arguments.rounds).items():
                found[name] |= {"speeds": speeds, "gflops": found[name]["flops"] / 1e9 * float(np.median(speeds)) / BATCH}
    return {**found, "compared": {name: list(ratio(found[name]["speeds"], found["peer"]["speeds"])) for name in ("parameters", "operations")}}


class Ours:
    """``ddpm`` of a width in the training loop of ``syntype train``, in a process of its own; a context manager."""

    def __init__(self, collection: Collection, width: int) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin, initargs=(str(collection.root), width))

    def __enter__(self) -> Ours:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def facts(self) -> dict:
        """``parameters``, ``flops`` of a step and ``precision``; takes two steps, of which the first warms up."""
        return self._pool.submit(_facts).result()

    def turn(self, seconds: float) -> float:
        """Train for so many seconds; gives images a second."""
        return self._pool.submit(_turn, seconds).result()


_loops: list[Unsaved] = []
"""The one of this process."""


def _begin(root: str, width: int) -> None:
    data, kind, runtime = training_data(without_new(Collection.open(root)).training(), SIZE), family("ddpm"), Runtime("cpu")
    model = kind(kind.Config.parse({"size": SIZE, "width": width, **LAYOUT}), data.species)
    model.prepare(data, runtime)
    config = TrainConfig(family="ddpm", size=SIZE, batch_size=BATCH, minutes=1)
    _loops.append(Unsaved(model, data, runtime, config, Path("nothing"), Run.silent()))


def _facts() -> dict:
    [loop] = _loops
    one_step(loop)
    with sdpa_kernel(SDPBackend.MATH):  # whose matrix products are counted
        flops = flops_of_a_step(loop)
    return {"parameters": sum(p.numel() for p in loop.model.generator.parameters()), "flops": flops, "precision": loop.runtime.precision}


def _turn(seconds: float) -> float:
    [loop] = _loops
    return further(loop, seconds)


def drawing(referee: Referee, arguments: argparse.Namespace) -> dict[str, dict]:
    """KID and speed by sampler and evaluations, and KID as a share of that with most evaluations."""
    generator = load_generator(arguments.generator)
    out = arguments.out / "drawing" / generator.generator_id
    out.mkdir(parents=True, exist_ok=True)
    species, seeds = asked_of(generator, referee)
    chosen = np.sort(np.random.default_rng(0).permutation(len(species))[: arguments.images])
    real, groups, found, features = referee.features, referee.groups, {}, {}
    for sampler in SAMPLERS:
        for steps in arguments.evaluations:
            path = out / f"{sampler}-{steps}.npz"
            if not path.exists():
                began = time.monotonic()
                asked = [[every[row] for row in chosen] for every in (species, seeds)]
                images = to_uint8(generator.sample(*asked, sampler=sampler, steps=steps, guidance=1.0))
                speed = len(chosen) / (time.monotonic() - began)
                np.savez_compressed(path, images=images, features=referee.encoder.encode(images), images_per_second=speed)
                print(f"{path.stem}: {speed:.3g} images/s", flush=True)
            with np.load(path) as file:
                features[sampler, steps] = file["features"]
                found[f"{sampler}-{steps}"] = {"sampler": sampler, "evaluations": steps, "images_per_second": float(file["images_per_second"])}
    for (sampler, steps), fake in features.items():
        most = features[sampler, max(arguments.evaluations)]
        row = found[f"{sampler}-{steps}"]
        row |= {"kid": kid(real, fake), "share": kid(real, fake) / kid(real, most), "num_images": len(fake), "generator_id": generator.generator_id}
        row["kid_error"] = standard_error(lambda p, i, fake=fake: kid(real[p], fake[i]), groups, len(fake))
        row["share_error"] = standard_error(lambda p, i, fake=fake, most=most: kid(real[p], fake[i]) / kid(real[p], most[i]), groups, len(fake))
    return found


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    steps, drawn = figures["steps"], {name: one for name, one in figures.get("drawing", {}).items() if name != "measured"}
    theirs = steps["peer"]
    tried = ", ".join(f"{name} {speed:.2f}" for name, speed in theirs["tried"].items())
    rows = []
    for one in (steps[name] for name in ("parameters", "operations", "peer")):
        speed, work = float(np.median(one["speeds"])), one["flops"] / 1e9
        cells = [one["name"], f"{speed:.3g} ({min(one['speeds']):.3g} to {max(one['speeds']):.3g})", f"{one['parameters']:,}", f"{work:,.0f}"]
        rows.append([*cells, f"{one['gflops']:.1f}", one["precision"]])
    body = [
        "## A training step",
        "",
        "Images/s: median over the rounds, least and most in brackets. Operations: floating-point operations of matrix products and convolutions in "
        "one step, forward and backward, as PyTorch counts them.",
        "",
        *table(["", "images/s", "parameters", "GFLOP a step", "GFLOP/s", "precision"], rows),
        "",
    ]
    for name, key, other, others in (("parameters", "parameters", "flops", "operations"), ("operations", "flops", "parameters", "parameters")):
        mine = steps[name]
        times, low, high = steps["compared"][name]
        aim = f" Aim {AIM_RATIO:g} times: {met(times, AIM_RATIO, '.2f')}" if name == "parameters" else ""
        body.append(
            f"- The same {name} ({mine[key] / theirs[key] - 1:+.1%}; {others} {mine[other] / theirs[other]:.2f} "
            f"times the peer's): **{times:.2f} times** the peer's images a second, 95 % interval {low:.2f} to {high:.2f}.{aim}"
        )
    body += ["", "## Evaluations of the network to draw an image", ""]
    few = {sampler: fewest(drawn, sampler) for sampler in SAMPLERS if drawn}
    most = max((row["evaluations"] for row in drawn.values()), default=0)
    if drawn:
        rows = [
            [
                row["sampler"],
                str(row["evaluations"]),
                f"{row['kid']:.4f} ± {row['kid_error']:.4f}",
                f"{row['share']:.2f} ± {row['share_error']:.2f}",
                f"{row['images_per_second']:.3g}",
            ]
            for row in drawn.values()
        ]
        body += [
            "KID: distance between synthetic images and test photographs (0 is best), ± its standard error. Share: KID over the KID with most "
            "evaluations by the same sampler, ± its standard error (jackknife; both come from the same photographs and seeds, so most of KID's own "
            "error cancels).",
            "",
            *table(["sampler", "evaluations", "KID", "share", "images/s"], rows),
            "",
            f"Aim: with at most {AIM_EVALUATIONS} evaluations a KID at most {AIM_KID:g} times that with {most}.",
            "",
        ]
        for sampler, best in few.items():
            if best:
                over = best["share"] - AIM_KID
                said = "**met**." if over <= 0 else f"**missed by {over:.2f}**."
                body.append(f"- {sampler}: {best['share']:.2f} ± {best['share_error']:.2f} with {best['evaluations']}, {said}")
    else:
        body.append("Not measured yet (`--generator`).")
    times = steps["compared"]["parameters"]
    shares = ", ".join(f"{one['share']:.2f} times with {one['evaluations']} (`{sampler}`)" for sampler, one in few.items() if one)
    image = next(iter(drawn.values()), {})
    images = f" `{image['generator_id']}`, {image['num_images']} images each, from the same seeds and without guidance." if drawn else ""
    return Page(
        title="Diffusion: training speed and sampling steps",
        question="How fast does `ddpm` train compared with `denoising-diffusion-pytorch`, and how few network evaluations does an image need?",
        answer=f"With equal parameters `ddpm` trains {times[0]:.2f} times as many images a second (95 % interval {times[1]:.2f} to {times[2]:.2f})."
        + (f" The KID with few evaluations is, relative to {most} evaluations, {shares}." if shares else ""),
        headline=[("images a second over the peer's, equal parameters", f"{times[0]:.2f} ({times[1]:.2f} to {times[2]:.2f})")],
        body=body,
        method=[
            f"{SIZE} px, batch {BATCH}; each in its own process, in turns, {len(theirs['speeds'])} rounds of {settings['seconds']:g} s each. "
            f"`{PEER}` {VERSION} takes its own steps, in the faster of the precisions tried first ({tried} images/s).{images}",
            "",
            NOTICE,
        ],
    )


def fewest(drawn: dict[str, dict], sampler: str) -> dict | None:
    """The best row of a sampler with few evaluations."""
    rows = [row for row in drawn.values() if row["sampler"] == sampler and row["evaluations"] <= AIM_EVALUATIONS]
    return min(rows, key=lambda row: row["share"], default=None)


if __name__ == "__main__":
    main()
