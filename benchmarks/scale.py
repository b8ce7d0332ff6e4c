"""How time, memory and disk grow with the number of species: the reef at 100, 1,000 and 10,000 species, from files to images of a new one.

    python benchmarks/scale.py [--species 100 1000 10000] [--images 4] [--out FOLDER]

Draws each reef with one species more, which training leaves out and adaptation learns; then runs `collect`, `train`, `adapt` and `generate`,
each as a process of its own on one thread, and writes what each took. Training and adaptation take
a fixed number of steps, so that whatever grows does so with the species. A call that was stopped continues where it was.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from common.results import Page, options, publish, rewrite, table
from common.timing import stage

# Nothing large is imported: Linux counts towards a process's peak memory that of the process which started it.
SIZE, SHOTS, DRAWN, OTHERS = 64, 4, 64, 8
SLACK = 1.05
"""By how much a ratio may lie above linear: longer names and rounding alone make a folder 10.2 times as large."""
STAGES = {
    "draw": "`reef`: draw the images",
    "collect": "`collect`: import them; near duplicates, splits",
    "train": "`train`: {steps} steps of `projected`",
    "adapt": "`adapt`: one species more, {adapt_steps} steps",
    "generate": f"`generate`: {DRAWN} images each of the new species and {OTHERS} others",
    "all": "`generate`: one image of every species",
}
MEASURES = {"seconds": "wall seconds", "processor_seconds": "processor seconds", "megabytes": "peak memory, MB", "folder_megabytes": "folder, MB"}


def main() -> None:
    parser = options("scale", __doc__)
    parser.add_argument("--species", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--images", type=int, default=4, help="images of every species")
    parser.add_argument("--steps", type=int, default=20, help="training steps")
    parser.add_argument("--adapt-steps", type=int, default=10)
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("scale", report, arguments)
        return
    found = {str(number): measure(arguments, number) for number in arguments.species}
    settings = {"images": arguments.images, "steps": arguments.steps, "adapt_steps": arguments.adapt_steps}
    publish("scale", settings, {"species": found, "growth": growths(found)}, report, arguments)


def measure(arguments: argparse.Namespace, number: int) -> dict[str, dict]:
    """Every stage for one number of species."""
    out = arguments.out / str(number)
    out.mkdir(parents=True, exist_ok=True)
    few = [f"max_images={arguments.images}", f"min_images={arguments.images}", "tail=0", "num_val=0", "num_test=0"]
    words = ["reef", "--species", number + 1, "--size", SIZE, *(word for setting in few for word in ("--set", setting))]
    results = {"draw": stage(out / "draw", words), "collect": stage(out / "collect", ["collect", out / "draw"])}
    names = json.loads((out / "collect" / "collection.json").read_text(encoding="utf-8"))["species"]
    new, others = names[-1], names[:: max(1, number // OTHERS)][:OTHERS]
    asked = [word for name in (new, *others) for word in ("--species", name)]
    learning = ["train", "projected", out / "collect", "--except", new, "--steps", arguments.steps]
    adapting = ["adapt", out / "train", out / "collect", "--species", new, "--shots", SHOTS, "--steps", arguments.adapt_steps]
    results["train"] = stage(out / "train", learning)
    results["adapt"] = stage(out / "adapt", adapting)
    results["generate"] = stage(out / "generate", ["generate", out / "adapt", *asked, "--num", DRAWN])
    results["all"] = stage(out / "all", ["generate", out / "adapt", "--num", 1])
    return results


def growth(values: list[float], numbers: list[int]) -> list[float | None]:
    """Growth from the last number of species but one to the last; and that without the fixed cost, where three were measured."""
    if len(values) < 2:
        return [None, None]
    whole = values[-1] / values[-2]
    if len(values) < 3 or values[-2] - values[-3] <= 0.05 * values[-3]:
        return [whole, None]
    slopes = [(values[at] - values[at - 1]) / (numbers[at] - numbers[at - 1]) for at in (-1, -2)]
    return [whole, slopes[0] / slopes[1] * numbers[-1] / numbers[-2]]


def growths(found: dict[str, dict[str, dict]]) -> dict[str, dict[str, list[float | None]]]:
    """``growth`` of every measure of every stage."""
    numbers = [int(number) for number in found]
    return {key: {name: growth([one[name][key] for one in found.values()], numbers) for name in STAGES} for key in MEASURES}


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    found, grown = figures["species"], figures["growth"]
    names = list(found)
    numbers = [int(name) for name in names]
    body, answer, headline = [], "Only one number of species was measured.", []
    if len(numbers) > 1:
        times = numbers[-1] / numbers[-2]
        slower = [
            f"`{name}` in {title} ({ratio:.1f})"
            for name in STAGES
            for key, title in MEASURES.items()
            if (ratio := grown[key][name][0]) > SLACK * times
        ]
        most = max(grown[key][name][0] for key in MEASURES for name in STAGES)
        answer = f"From {numbers[-2]:,} to {numbers[-1]:,} species, {times:.0f} times as many, "
        answer += f"these grow faster: {', '.join(slower)}." if slower else f"no stage grows faster than the species: at most {most:.1f} times."
        train = found[names[-1]]["train"]
        headline = [
            (f"largest growth, {times:.0f} times as many species", f"{most:.1f} times"),
            (f"memory of training, {numbers[-1]:,} species", f"{train['megabytes']:,.0f} MB"),
        ]
        body = [
            f"Aim: from {numbers[-2]:,} to {numbers[-1]:,} species nothing grows more than {times:.0f} times (give or take {SLACK - 1:.0%}): "
            f"{'**missed**' if slower else '**met**'}.",
            "",
            f"Growth: {numbers[-1]:,} species over {numbers[-2]:,}; linear is {times:.0f}, and less where most of the cost is fixed. Without the "
            f"fixed cost: the same for what species add, from the differences between the columns; linear is {times:.0f} again; no figure where "
            f"{numbers[-2]:,} species cost no more than 5 % over {numbers[0]:,}.",
            "",
        ]
    body += ["Memory: peak of the whole process, Python and PyTorch included. Folders include decoded pixels, features and training states.", ""]
    for key, title in MEASURES.items():
        rows = []
        for name, description in STAGES.items():
            label = description.format(steps=settings["steps"], adapt_steps=settings["adapt_steps"])
            factors = ["–" if value is None else f"{value:.1f}" for value in grown[key][name]]
            rows.append([label, *(f"{found[number][name][key]:,.1f}" for number in names), *factors])
        heads = ["stage", *(f"{number:,} species" for number in numbers), "growth", "without the fixed cost"]
        body += [f"## {title[0].upper()}{title[1:]}", "", *table(heads, rows), ""]
    speeds = ", ".join(f"{found[number]['train']['result']['images_per_second']:.1f}" for number in names)
    sizes = ", ".join(f"{found[number]['adapt']['result']['megabytes']:.2f}" for number in names)
    return Page(
        title="Ten thousand species",
        question="How do time, memory and disk grow with the number of species?",
        answer=answer,
        headline=headline,
        body=[*body, f"Training speed: {speeds} images a second. Size of the adapted species' file: {sizes} MB."],
        method=[
            f"Reefs of {', '.join(f'{number:,}' for number in numbers)} drawn species and one more, which training leaves out and adaptation learns; "
            f"{settings['images']} images each, {SIZE} px; one thread for each process. Other processes may have run at the same time: processor "
            f"seconds are the better measure. [Many species on several machines](cluster.md) has what jobs cost besides."
        ],
    )


if __name__ == "__main__":
    main()
