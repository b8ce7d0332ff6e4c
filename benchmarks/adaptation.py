"""How well does a generator learn a species that it never saw from six photographs? Every method, species left out one and all.

    python benchmarks/adaptation.py [--data FOLDER | --collection FOLDER] [--out FOLDER] [--base-steps 2000] [--steps 300] [--only METHOD ...]

One base generator is trained without the six rarest species of Fish4Knowledge that have photographs enough to judge by; then each method
of ``syntype adapt`` teaches it each of them from six photographs (``plain``: fine-tuning with nothing lent from the relative), and 100 images
are compared with those photographs of the species whose group (video track) none of the six belongs to. ``unadapted`` is what the base draws
for the species' nearest relative. What was measured is kept, so a call that was stopped goes on where it was; the page has the methods that are
known for every species; other settings need another --out. The result is written to docs/benchmarks/adaptation.md. Without the photographs
nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from fish4knowledge import NOTICE, add_arguments, machine, open_photographs, syntype, write_page

from syntype.adaptation import METHODS
from syntype.adaptation.adapt import choose_photographs
from syntype.collection import Collection
from syntype.compute.tensors import to_uint8
from syntype.curation.curate import copy_detector
from syntype.encoders import encode_collection, load_encoder
from syntype.generators import load_generator
from syntype.run import Run, write_json
from syntype.study.fidelity import EvaluateConfig, density_coverage, kid, vendi_score

SHOTS, IMAGES, SIZE = 6, 100, 64
LEAST_PHOTOGRAPHS, LEAST_HELD_OUT = 20, 10
VARIANTS = {"plain": ["--method", "finetune", "--set", "relative_share=0"], **{method: ["--method", method] for method in reversed(METHODS)}}
"""How each row adapts. But for ``plain``, half of the images in training show the species in what its relative lends."""
MEASURES = {"kid": "KID", "coverage": "coverage", "vendi_ratio": "Vendi ratio", "copy_rate": "copy rate", "minutes": "minutes", "megabytes": "MB"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "adaptation")
    parser.add_argument("--base-steps", type=int, default=2000, help="training steps of the base")
    parser.add_argument("--steps", type=int, default=300, help="steps of each adaptation")
    parser.add_argument("--species", type=int, default=6, help="number of species to leave out")
    parser.add_argument("--only", nargs="*", default=[*VARIANTS, "unadapted"], choices=[*VARIANTS, "unadapted"], help="measure these alone")
    arguments = parser.parse_args()
    collection = open_photographs(arguments)
    if collection is None:
        return
    out, folder = arguments.out, collection.root
    species = left_out(collection, arguments.species)
    if not species:
        print(f"{folder}: no species has photographs enough to be left out: nothing measured.", file=sys.stderr)
        return
    base = out / "base"
    except_ = [word for name in species for word in ("--except", name)]
    trained = command(["train", "projected", folder, *except_, "--steps", arguments.base_steps], base, resume=True)
    referee = Referee(collection)
    rows = []
    for method in (*VARIANTS, "unadapted"):
        for name in species:
            adapted = out / f"{method}-{name.replace(' ', '-')}"
            if method in arguments.only:
                row = measure(method, name, base, folder, adapted, arguments.steps, referee)
                write_json(adapted.with_name(f"{adapted.name}.row.json"), {**row, "method": method, "species": name})
            if (kept := adapted.with_name(f"{adapted.name}.row.json")).exists():
                rows.append(json.loads(kept.read_text(encoding="utf-8")))
    write_page(report(rows, trained, arguments.steps), "adaptation", arguments.docs)


def measure(method: str, species: str, base: Path, collection: Path, out: Path, steps: int, referee: Referee) -> dict:
    """What one method cost and gave for one species; how long it took is that of the whole command."""
    if method == "unadapted":
        relative = json.loads(out.with_name(f"plain-{species.replace(' ', '-')}.row.json").read_text(encoding="utf-8"))["relative"]
        return referee.judge(base, species, relative)
    words = ["adapt", base, collection, "--species", species, *VARIANTS[method], "--shots", SHOTS, "--steps", steps]
    result = command(words, out)
    return {**result, **referee.judge(out, species, species), "minutes": result["wall_minutes"]}


def command(words: list[object], out: Path, *, resume: bool = False) -> dict:
    """Run one command unless its result is known; keep its result, and how long it took in all, beside its folder."""
    kept = out.with_name(out.name + ".json")
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    if not resume:
        shutil.rmtree(out, ignore_errors=True)  # begun and not finished: its time would be wrong
    began = time.monotonic()
    result = syntype([*words, "--out", out, *(["--resume"] if resume else [])])
    result["wall_minutes"] = (time.monotonic() - began) / 60
    write_json(kept, result)
    return result


def left_out(collection: Collection, number: int) -> list[str]:
    """The rarest species with photographs enough to learn from and to judge by."""
    counts, training = collection.counts(), collection.training().counts()
    names = [name for name in sorted(counts, key=lambda name: (counts[name], name)) if counts[name] >= LEAST_PHOTOGRAPHS and training[name] >= SHOTS]
    return [name for name in names if len(held_out(collection, name)) >= LEAST_HELD_OUT][:number]


def held_out(collection: Collection, species: str) -> Collection:
    """Photographs of a species, of any split, that share no group with those that adaptation learns from: no generator has seen them."""
    shots = choose_photographs(collection, species, SHOTS, seed=0).table
    table = collection.table
    mine = table["species"].eq(species) & ~table["image_id"].isin(shots["image_id"]) & ~table["group"].isin(shots["group"].dropna())
    return collection.where(mine)


class Referee:
    """Compares what a generator draws with held-out photographs."""

    def __init__(self, collection: Collection) -> None:
        self.collection, self.encoder = collection, load_encoder("lite0")

    def judge(self, folder: Path, species: str, drawn: str) -> dict:
        """Figures of ``IMAGES`` images of ``drawn`` against the photographs of ``species``, unless they are known."""
        kept = folder.with_name(f"{folder.name}.{species.replace(' ', '-')}.judged.json")
        if kept.exists():
            return json.loads(kept.read_text(encoding="utf-8"))
        images = to_uint8(load_generator(folder).sample([drawn] * IMAGES, range(IMAGES)))
        photographs = held_out(self.collection, species)
        fake, real = self.encoder.encode(images), encode_collection(self.encoder, photographs, pixels=SIZE)
        number = min(len(fake), len(real))  # coverage and variety depend on how many images are looked at: as many on both sides
        some = real[np.random.default_rng(0).permutation(len(real))[:number]]
        detector = copy_detector(self.collection.training(), SIZE, EvaluateConfig().copy_quantile, 0, Run.silent())  # calibrated once
        result = {
            "kid": kid(real, fake),
            "coverage": density_coverage(some, fake[:number], min(5, number - 1))[1],
            "vendi_ratio": vendi_score(fake[:number]) / vendi_score(some),
            "copy_rate": float(detector.nearest(images).is_copy.mean()),
            "held_out": len(photographs),
        }
        write_json(kept, result)
        return result


def interval(values: list[float]) -> str:
    """Mean over species and its 95 % bootstrap interval (species drawn again)."""
    data = np.array(values, dtype=np.float64)
    draws = data[np.random.default_rng(0).integers(0, len(data), (4000, len(data)))].mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{data.mean():.3f} ({low:.3f} to {high:.3f})"


def report(rows: list[dict], trained: dict, steps: int) -> str:
    """What was measured, as Markdown."""
    found, species = {(row["method"], row["species"]): row for row in rows}, list(dict.fromkeys(row["species"] for row in rows))
    methods = [method for method in (*VARIANTS, "unadapted") if all((method, name) in found for name in species)]
    heading = lambda first: [f"| {first} | {' | '.join(MEASURES.values())} |", "| --- |" + " --- |" * len(MEASURES)]  # noqa: E731
    lines = ["# Adaptation to a species never seen", "", "Written by `python benchmarks/adaptation.py`.", ""]
    lines += [
        f"Machine: {machine()}. "
        f"One base for all, trained for {trained['steps']} steps without the {len(species)} species below; "
        f"{SHOTS} photographs and {steps} steps a species, seed 0; {IMAGES} images each against held-out photographs of other groups, "
        "Lite0 features. KID: 0 is best. Coverage (k = 5) and Vendi ratio with as many images as photographs: 1 is best. "
        "Minutes: the whole command. `plain`: fine-tuning with nothing lent from the nearest relative; in the other methods half of the training's "
        "images show the species in what its relative lends. `unadapted`: the nearest relative as the base draws it.",
        "",
        NOTICE,
        "",
        f"## Mean over species (95 % interval, bootstrap over {len(species)} species)",
        "",
        *heading("method"),
    ]
    for method in methods:
        cells = [[found[method, name].get(key) for name in species] for key in MEASURES]
        lines.append(f"| {method} | " + " | ".join("" if None in values else interval(values) for values in cells) + " |")
    if missing := [method for method in (*VARIANTS, "unadapted") if method not in methods]:
        lines += ["", f"Not measured yet for every species: {', '.join(missing)}."]
    lines += ["", "## Difference from plain fine-tuning, species by species", "", *heading("method")]
    for method in methods:
        if method != "plain":
            pairs = [[(found[method, name].get(key), found["plain", name][key]) for name in species] for key in MEASURES]
            cells = ["" if any(a is None for a, _ in values) else interval([a - b for a, b in values]) for values in pairs]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    for name in species:
        row = found["plain", name]
        lines += ["", f"## {name} ({row['held_out']} held-out photographs, nearest relative {row['relative']})", "", *heading("method")]
        for method in methods:
            values = [found[method, name].get(key) for key in MEASURES]
            lines.append(f"| {method} | " + " | ".join("" if value is None else f"{value:.3f}" for value in values) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
