"""How time, memory and disk grow with the number of species: the reef at 100, 1,000 and 10,000 species, from files to images of a new one.

    python benchmarks/scale.py [--species 100 1000 10000] [--images 4] [--out FOLDER]

Draws each reef with one species more, which training leaves out and adaptation learns; then runs `collect`, `train`, `adapt` and `generate`,
each as a process of its own on one thread, and writes what each took to docs/benchmarks/scale.md. Training and adaptation take
a fixed number of steps, so that whatever grows does so with the species. A call that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from syntype.run import write_json

# Nothing large is imported before all is measured: Linux counts towards a process's peak memory that of the process which started it.
ROOT = Path(__file__).parents[1]
SIZE, SHOTS, DRAWN, OTHERS = 64, 4, 64, 8
SLACK = 1.05
"""By how much a ratio may lie above linear: longer names and rounding alone make a folder 10.2 times as large."""
STAGES = {
    "draw": "`reef`: draw the photographs' stand-ins",
    "collect": "`collect`: import them; near duplicates, splits",
    "train": "`train`: {steps} steps of `projected`",
    "adapt": "`adapt`: one species more, {adapt_steps} steps",
    "generate": f"`generate`: {DRAWN} images each of the new species and {OTHERS} others",
    "all": "`generate`: one image of every species",
}
MEASURES = {"seconds": "wall seconds", "processor_seconds": "processor seconds", "megabytes": "peak memory, MB", "folder_megabytes": "folder, MB"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--species", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--images", type=int, default=4, help="images of every species")
    parser.add_argument("--steps", type=int, default=20, help="training steps")
    parser.add_argument("--adapt-steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "scale")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page is written")
    arguments = parser.parse_args()
    found = {number: measure(arguments, number) for number in arguments.species}
    page = arguments.docs / "benchmarks" / "scale.md"
    page.write_text(report(arguments, found), encoding="utf-8")
    print(f"wrote {page}")


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


def stage(out: Path, words: list[object]) -> dict:
    """Run one command unless its result is known: its JSON, its time, its peak memory, and the size of what it wrote."""
    kept = out.with_name(out.name + ".json")
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    shutil.rmtree(out, ignore_errors=True)  # begun and not finished: its time would be wrong
    command = [str(Path(sys.executable).with_name("syntype")), *(str(word) for word in words), "--out", str(out), "--json", "--quiet"]
    print("$ " + " ".join(["syntype", *command[1:]])[:300], file=sys.stderr, flush=True)
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)  # what this process alone used
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"syntype {words[0]} failed with exit code {process.returncode}")
    result = {
        "result": json.loads(said),
        "seconds": time.monotonic() - began,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "megabytes": used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024),  # bytes there, kibibytes elsewhere
        "folder_megabytes": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6,
    }
    write_json(kept, result)
    return result


def growth(values: list[float], numbers: list[int]) -> str:
    """How much more the last number of species takes than the one before; and that beyond what none would take, where three were measured."""
    if len(values) < 2:
        return "– | –"
    whole = f"{values[-1] / values[-2]:.1f}"
    if len(values) < 3 or values[-2] - values[-3] <= 0.05 * values[-3]:
        return f"{whole} | –"
    slopes = [(values[at] - values[at - 1]) / (numbers[at] - numbers[at - 1]) for at in (-1, -2)]
    return f"{whole} | {slopes[0] / slopes[1] * numbers[-1] / numbers[-2]:.1f}"


def report(arguments: argparse.Namespace, found: dict[int, dict[str, dict]]) -> str:
    """What was measured, as Markdown."""
    from fish4knowledge import machine

    numbers = list(found)
    lines = [
        "# Ten thousand species",
        "",
        "Written by `python benchmarks/scale.py`.",
        "",
        f"Machine: {machine()}; one thread for each process, which others may have disturbed: the processor's time is the better measure. "
        f"Reefs of {', '.join(f'{number:,}' for number in numbers)} drawn species and one more, {arguments.images} images each, {SIZE} px. "
        "Memory is the peak of the whole process, of which Python and PyTorch take their share; folders include decoded pixels, features "
        "and training states.",
        "",
    ]
    if len(numbers) > 1:
        times = f"{numbers[-1] / numbers[-2]:.0f}"
        faster = [
            f"`{name}` in {title} ({ratio:.1f})"
            for name in STAGES
            for key, title in MEASURES.items()
            if (ratio := found[numbers[-1]][name][key] / found[numbers[-2]][name][key]) > SLACK * numbers[-1] / numbers[-2]
        ]
        lines += [
            f"**Aim: from {numbers[-2]:,} to {numbers[-1]:,} species nothing grows more than {times} times (give or take {SLACK - 1:.0%}). "
            f"{'Missed by: ' + ', '.join(faster) if faster else 'It is met by every stage'}.**",
            "",
            f"*Growth*: {numbers[-1]:,} species over {numbers[-2]:,}; linear is {times}, and less where most of it is fixed cost. *Without the fixed "
            f"cost*: the same for what species add, from the differences between the three columns; linear is {times} again; no figure "
            f"where {numbers[-2]:,} species cost no more than 5 % over {numbers[0]:,}.",
            "",
        ]
    for measure_, title in MEASURES.items():
        lines += [f"## {title[0].upper()}{title[1:]}", ""]
        lines += [f"| | {' | '.join(f'{number:,}' for number in numbers)} | growth | without the fixed cost |"]
        lines += ["| --- |" + " --- |" * (len(numbers) + 2)]
        for name, description in STAGES.items():
            values = [found[number][name][measure_] for number in numbers]
            label = description.format(steps=arguments.steps, adapt_steps=arguments.adapt_steps)
            lines.append(f"| {label} | {' | '.join(f'{value:,.1f}' for value in values)} | {growth(values, numbers)} |")
        lines.append("")
    speeds = ", ".join(f"{found[number]['train']['result']['images_per_second']:.1f}" for number in numbers)
    sizes = ", ".join(f"{found[number]['adapt']['result']['megabytes']:.2f}" for number in numbers)
    lines += [f"Training speed: {speeds} images a second. The new species' own file: {sizes} MB.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
