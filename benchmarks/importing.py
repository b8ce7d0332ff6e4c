"""How fast and in how much memory many small photographs come in, from species folders and from a table, and how long `inspect` takes.

    python benchmarks/importing.py [--images 100000] [--species 5000] [--out FOLDER]

Draws small JPEG files in species folders with a table beside them, imports them both ways, each as a process of its own, and inspects the result.
"""

from __future__ import annotations

import csv
import os
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from common.results import Page, kept, options, publish, rewrite, table
from common.timing import program, stage

# Nothing large is imported: Linux counts towards a process's peak memory that of the process which started it.
SIDE = 96
FASTEST, MOST_MEMORY, LONGEST_INSPECTION = 300, 2000, 10
"""What is aimed at: images a second of one core, megabytes, and seconds."""


def main() -> None:
    parser = options("importing", __doc__)
    parser.add_argument("--images", type=int, default=100_000, help="number of images (%(default)s)")
    parser.add_argument("--species", type=int, default=5_000, help="number of species (%(default)s)")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("importing", report, arguments)
        return
    source = arguments.out / "source"
    if not (source / "all.csv").exists():
        draw(source, arguments.images, arguments.species)
    figures: dict[str, Any] = {}
    for name, path in (("folders", source / "photographs"), ("table", source / "all.csv")):
        out = arguments.out / name
        figures[name] = stage(out, ["collect", path])
        figures[name]["inspect"] = kept(arguments.out / f"{name}-inspect.json", lambda out=out: inspected(out))
    publish("importing", {"images": arguments.images, "species": arguments.species, "side": SIDE}, figures, report, arguments)


def draw(source: Path, images: int, species: int) -> None:
    """Draw the images, all different, and write the table last."""
    with ProcessPoolExecutor() as pool:
        rows = [
            row for part in pool.map(draw_species, [(source, number, images, species) for number in range(species)], chunksize=20) for row in part
        ]
    with (source / "all.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "species", "specimen", "locality"])
        writer.writerows(rows)


def draw_species(job: tuple[Path, int, int, int]) -> list[list[str]]:
    """Draw the images of one species; returns their rows."""
    import numpy as np
    from PIL import Image

    source, number, images, species = job
    folder = source / "photographs" / f"Genus{number // 10} species{number}"
    folder.mkdir(parents=True, exist_ok=True)
    rng, rows = np.random.default_rng([number, 0xD2A3]), []
    for image in range(number, images, species):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        path = folder / f"{image}.jpg"
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)
        rows.append([path.relative_to(source).as_posix(), folder.name, f"specimen {image // species // 2} of {number}", f"station {image % 97}"])
    return rows


def inspected(folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of ``inspect``, the start of the program included."""
    began = time.monotonic()
    process = subprocess.Popen([program(), "inspect", str(folder), "--json"], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"syntype inspect failed with exit code {process.returncode}")
    return {"seconds": time.monotonic() - began, "megabytes": used.ru_maxrss / 1024}


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    rows, speeds, memory, inspection = [], [], [], []
    for name, title in (("folders", "species folders"), ("table", "a CSV table")):
        found = figures[name]
        speeds.append(settings["images"] / found["processor_seconds"])
        memory.append(found["megabytes"])
        inspection.append(found["inspect"]["seconds"])
        rows.append([
            title, f"{settings['images'] / found['seconds']:,.0f}", f"{speeds[-1]:,.0f}", f"{memory[-1]:,.0f}", f"{inspection[-1]:.1f}",
            f"{found['inspect']['megabytes']:,.0f}",
        ])  # fmt: skip
    met = min(speeds) >= FASTEST and max(memory) < MOST_MEMORY and max(inspection) < LONGEST_INSPECTION
    return Page(
        title="Import of many photographs",
        question="How fast and in how much memory do many small photographs come in?",
        answer=f"{settings['images']:,} photographs of {settings['species']:,} species came in at {min(speeds):,.0f} or more a second and core, in "
        f"{max(memory):,.0f} MB; `inspect` took {max(inspection):.1f} seconds.",
        headline=[("images a second and core", f"{min(speeds):,.0f}"), ("memory", f"{max(memory):,.0f} MB"), ("inspect", f"{max(inspection):.1f} s")],
        body=[
            f"Aim: {FASTEST} images a second and core or more, less than {MOST_MEMORY:,} MB, `inspect` within {LONGEST_INSPECTION} seconds: "
            f"{'**met**' if met else '**missed**'}.",
            "",
            "*A second*: by the clock, reading, checking, copying, hashing, the search for near duplicates and the splits. *A second and core*: by "
            "processor time. Memory: peak of the whole process.",
            "",
            *table(["from", "images a second", "images a second and core", "memory, MB", "`inspect`, s", "`inspect`, MB"], rows),
        ],
        method=[f"JPEG files of {settings['side']} x {settings['side']} pixels, all different, on a local disk. Other processes may have run."],
    )


if __name__ == "__main__":
    main()
