"""What kills, full disks, second processes and hostile files do to the program: how often each was tried, and what was lost.

    python benchmarks/reliability.py [--quick] [--only kills,studio,disk,two,hostile] [--out FOLDER]

The attack on full disks needs the right to mount a disk (root); without it that part is left out, and the page says so.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a process that forks must have one thread

from attacks.disk import attack_disk, can_mount
from attacks.hostile import attack_hostile
from attacks.kills import attack_kills
from attacks.stages import World, preload
from attacks.studio import attack_studio
from attacks.two import attack_two
from common.results import Page, kept, options, publish, rewrite, table

PARTS = ("kills", "studio", "disk", "two", "hostile")
FULL = {"kills": 50, "studio": 50, "disk": 20, "two": 10, "images": 10_000, "others": 500}
QUICK = {"kills": 10, "studio": 12, "disk": 1, "two": 1, "images": 10_000, "others": 500}
SHOWN = 3
"""So many kinds of faults of one row stand on the page; the result file has all."""


def main() -> None:
    parser = options("reliability", __doc__)
    parser.add_argument("--quick", action="store_true", help="a few attacks of each kind: minutes, not an hour")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to measure now, if they are not known (all: %(default)s)")
    arguments = parser.parse_args()
    if arguments.page:
        return rewrite("reliability", report, arguments)
    wanted = arguments.only.split(",")
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}. There are {', '.join(PARTS)}.")
    counts = QUICK if arguments.quick else FULL
    preload()
    world = World(arguments.out)
    if "disk" in wanted and not can_mount(world.root):
        print("this process may not mount a disk: the part `disk` is left out")
        wanted.remove("disk")
    attacks = {
        "kills": lambda: attack_kills(world, counts["kills"]),
        "studio": lambda: attack_studio(world, counts["studio"]),
        "disk": lambda: attack_disk(world, counts["disk"]),
        "two": lambda: attack_two(world, counts["two"]),
        "hostile": lambda: attack_hostile(world, counts["images"], counts["others"]),
    }
    figures = {}
    for part in PARTS:
        path = arguments.out / f"{part}-{'quick' if arguments.quick else 'full'}.json"
        if part in wanted or path.exists():
            figures[part] = kept(path, attacks[part])
    publish("reliability", {"quick": arguments.quick, "counts": counts}, figures, report, arguments)


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    rows, attacks, lost = [], 0, 0
    for part in PARTS:
        for name, told in figures.get(part, {}).items():
            if name == "measured":
                continue
            attacks, lost = attacks + told["attacks"], lost + told["lost"]
            words = [sentence.replace("|", "/") for sentence in sorted(told["faults"], key=lambda one: -len(told["faults"][one]))]
            more = f"; and {len(words) - SHOWN} other kinds" if len(words) > SHOWN else ""
            rows.append([NAMES[part], name, f"{told['attacks']:,}", f"{told['lost']:,}", ("; ".join(words[:SHOWN]) + more) or "nothing"])
    memory = max((told.get("megabytes", 0) for name, told in figures.get("hostile", {}).items() if name != "measured"), default=0)
    left_out = [NAMES[part] for part in PARTS if part not in figures]
    return Page(
        title="Reliability under attack",
        question="Is anything lost, mislabelled or left half written when commands are killed, disks fill up, or files are hostile?",
        answer=f"In {attacks:,} attacks {lost:,} had a fault." + (f" Not attacked: {', '.join(left_out)}." if left_out else ""),
        headline=[("attacks", f"{attacks:,}"), ("with a fault", f"{lost:,}")],
        body=[
            "*Attacks* is how often it was tried. *With a fault*: how often anything was lost, changed, left over or told wrongly; the last column "
            "says what. After each attack the inputs were compared with what they were, byte by byte.",
            "",
            *table(["attack", "on", "attacks", "with a fault", "what was lost"], rows),
        ],
        method=[*METHOD, "", f"Peak memory of an import of hostile files: {memory} MB."],
    )


METHOD = [
    "All commands work on drawn fish at 32 px with few steps, so that each takes seconds. An attack has a fault unless all of this holds:",
    "",
    "- *kill -9*: the whole process group is killed at a moment drawn uniformly from the command's duration. Then a user's next step: the same",
    "  command with `--resume` where there is it, or else again, in a new folder if the message says so. It must end well and give the same files as",
    "  an undisturbed run: images, tables, weights, predictions and verdict, no file more or less, the status `finished`.",
    "- *kill -9 in the Studio*: the job's process, the server, or both are killed. The queue, or the next server's, must finish the job with the",
    "  same result. A study is left out, as its job cannot be made small; its command is attacked above.",
    "- *disk*: a disk of 30 MB is filled so that a random part of the result fits. The command must end with one sentence that names the full disk,",
    "  and the status `failed`; when there is room again, the next step as above must give the same result. A read-only disk and a folder without",
    "  permission must be refused in one sentence, with nothing written. Photographs on a read-only disk must do.",
    "- *two processes*: started at once, or one during the other, in the same folder. One must be refused in one line, or they run one after the",
    "  other; the result must be that of one undisturbed run.",
    "- *hostile files*: images through `collect`, tables through `collect`, zips through the Studio's uploads. Bits flipped, cut, spliced,",
    "  huge sizes in headers, disguises, bombs, paths that lead outside. No error but the program's own, each refused file named once, sound",
    "  ones kept with their species and bytes, nothing written elsewhere.",
]
NAMES = {"kills": "`kill -9`", "studio": "`kill -9` in the Studio", "disk": "disk", "two": "two processes", "hostile": "hostile files"}

if __name__ == "__main__":
    main()
