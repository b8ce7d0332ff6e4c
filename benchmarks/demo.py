"""What the demo gives and how long it takes: on the drawn reef, and on Fish4Knowledge where its photographs are.

    python benchmarks/demo.py [--data FOLDER] [--out FOLDER] [--minutes 5]

Runs ``syntype demo`` on both, and on the reef also the learning family `projected` at the demo's size for --minutes. Writes the page and the pictures
docs/images/demo.jpg, demo-learnt.jpg and fish4knowledge-demo.jpg. Without the photographs only the reef is measured.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from common.fish import DATA, NOTICE, collecting
from common.results import ROOT, Page, kept, options, points, publish, rewrite, table
from common.timing import syntype

from syntype.collection import Collection
from syntype.synthesis.pairs import write_pairs

SIZE, SHOTS, ROWS, NUM_IMAGES = 128, 6, 6, 20
"""As in the demo."""
KEYS = ("kid", "precision", "recall", "coverage", "vendi_ratio", "copy_rate")


def main() -> None:
    parser = options("demo", __doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the Fish4Knowledge photographs")
    parser.add_argument("--minutes", type=float, default=5, help="training time of `projected` for comparison")
    parser.set_defaults(out=ROOT / "out" / "demo-benchmark")  # out/demo is what make demo writes
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("demo", report, arguments)
        return
    out, images = arguments.out, arguments.docs / "images"
    out.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    figures = {"drawn reef": kept(out / "reef.json", lambda: shown(out / "reef", []))}
    shutil.copy(out / "reef" / "pictures.jpg", images / "demo.jpg")
    figures["pasted"] = kept(out / "pasted.json", lambda: evaluated(out / "reef" / "3-synthetic", out / "reef"))
    figures["learnt"] = kept(out / "learnt.json", lambda: learnt(out, arguments.minutes))
    reef, drawn = Collection.open(out / "reef" / "1-photographs"), Collection.open(out / "synthetic")
    write_pairs(reef, drawn, list(dict.fromkeys(drawn.table["species"]))[:ROWS], SIZE, SHOTS, images / "demo-learnt.jpg")
    if (collect := collecting(arguments.data)) is not None:
        if not (out / "photographs" / "collection.json").exists():
            syntype([*collect, "--set", f"terms={NOTICE.removeprefix('Photographs: ')}", "--out", out / "photographs"])
        figures["fish4knowledge"] = kept(out / "fish.json", lambda: shown(out / "fish", [out / "photographs"]))
        shutil.copy(out / "fish" / "pictures.jpg", images / "fish4knowledge-demo.jpg")
    publish("demo", {"minutes": arguments.minutes}, figures, report, arguments)


def shown(out: Path, photographs: list[object]) -> dict[str, Any]:
    """What the demo prints, and the recall of every arm of its study."""
    found = syntype(["demo", *photographs, "--out", out])
    study = json.loads((out / "5-study" / "run.json").read_text(encoding="utf-8"))["result"]
    photographs_made = json.loads((out / "1-photographs" / "run.json").read_text(encoding="utf-8"))["result"]
    return {
        **{key: value for key, value in found.items() if key not in ("picture", "report")},
        "arms": {name: arm["recall_rare"] for name, arm in study["arms"].items()},
        "num_images": photographs_made["num_images"],
        "num_species": photographs_made["num_species"],
    }


def evaluated(synthetic: Path, demo: Path) -> dict[str, Any]:
    """Fidelity of images against the test images of the demo's collection."""
    found = syntype(["evaluate", synthetic, "--real", demo / "1-photographs"])
    return {key: found[key] for key in KEYS}


def learnt(out: Path, minutes: float) -> dict[str, Any]:
    """`projected` on the same images at the same size, as many images of the same species, curated in the same way."""
    reef = out / "reef"
    names = dict.fromkeys(Collection.open(reef / "3-synthetic").table["species"])
    trained = syntype(["train", "projected", reef / "1-photographs", "--size", SIZE, "--minutes", minutes, "--out", out / "learnt", "--resume"])
    for folder in ("synthetic", "curated"):  # begun and not finished
        shutil.rmtree(out / folder, ignore_errors=True)
    species = [word for name in names for word in ("--species", name)]
    syntype(["generate", out / "learnt", *species, "--num", NUM_IMAGES, "--out", out / "synthetic"])
    curated = syntype(["curate", out / "synthetic", "--real", reef / "1-photographs", "--set", f"size={SIZE}", "--out", out / "curated"])
    return {"steps": trained["steps"], "synthetic": curated["num_images"], "accepted": curated["num_accepted"], **evaluated(out / "synthetic", reef)}


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    reef, fish = figures["drawn reef"], figures.get("fish4knowledge")
    demos = {"drawn reef": reef, **({"Fish4Knowledge": fish} if fish else {})}
    took = {name: sum(one["minutes"].values()) for name, one in demos.items()}
    stages = list(reef["minutes"])
    rows = [
        [name, f"{one['num_images']:,}", *(f"{one['minutes'][stage]:.1f}" for stage in stages), f"{took[name]:.1f}"] for name, one in demos.items()
    ]
    verdicts = []
    for name, one in demos.items():
        low, high = one["interval"] or (None, None)
        effect = f"{points(one['effect'])} ({points(low)} to {points(high)})"
        verdicts.append([name, f"{one['accepted']} of {one['synthetic']}", f"**{one['verdict']}**", effect, f"`{one['best_without_generator']}`"])
    arms = [[name, *(f"{one['arms'][name]:.1%}" if name in one["arms"] else "–" for one in demos.values())] for name in reef["arms"]]
    pasted, learnt = figures["pasted"], figures["learnt"]
    compared = [
        ["`pose_transfer`, as in the demo", f"{reef['accepted']} of {reef['synthetic']}", *(f"{pasted[key]:.3f}" for key in KEYS)],
        [f"`projected`, {settings['minutes']:g} minutes", f"{learnt['accepted']} of {learnt['synthetic']}", *(f"{learnt[key]:.3f}" for key in KEYS)],
    ]
    body = [
        "## How long it takes",
        "",
        "Minutes of each stage. Installation (`make setup`) comes before it and takes about two.",
        "",
        *table(["photographs", "images", *stages, "all"], rows),
        "",
        "## What it gives",
        "",
        "Effect: recall of the rare species with curated synthetic images minus that of the best arm without a generator, in points, with its 95 % "
        "interval.",
        "",
        *table(["photographs", "accepted", "verdict", "effect", "best without a generator"], verdicts),
        "",
        "![Drawn fish beside synthetic images of the same species](../images/demo.jpg)",
        "",
        "*The picture at the end of `make demo`: six drawn images that take the place of photographs, and the first six accepted synthetic ones. "
        "Not selected.*",
        "",
    ]
    if fish:
        body += [
            "![Photographs beside synthetic images of the same species](../images/fish4knowledge-demo.jpg)",
            "",
            f"*The same from `syntype demo` on Fish4Knowledge. {NOTICE}*",
            "",
        ]
    body += [
        "## Recall of the rare species in every arm",
        "",
        *table(["arm", *demos], arms),
        "",
        "## What learning adds",
        "",
        f"`projected` was trained on the same drawn images at the same size for {settings['minutes']:g} minutes ({learnt['steps']:,} steps), and "
        "drew as many images of the same species. Fidelity against test images, before curation; KID is best at 0, coverage at 1.",
        "",
        *table(["images", "accepted", *(key.replace("_", " ") for key in KEYS)], compared),
        "",
        "![Drawn fish beside images of a network that learnt for minutes](../images/demo-learnt.jpg)",
        "",
        "A network that learns needs 45 minutes and more ([fish4knowledge.md](fish4knowledge.md)), so the demo has no stage that learns. It then "
        "draws individuals that no photograph shows, what lies between two species, and species that are added later from six photographs.",
    ]
    answer = f"{took['drawn reef']:.0f} minutes on the drawn reef, with the verdict “{reef['verdict']}”"
    if fish:
        answer += (
            f"; {took['Fish4Knowledge']:.0f} minutes on {fish['num_images']:,} photographs of Fish4Knowledge, with the verdict “{fish['verdict']}”"
        )
    return Page(
        title="The demonstration",
        question="How long does `make demo` take, and what verdict does it give?",
        answer=f"{answer}.",
        headline=[(f"minutes, {name}", f"{minutes:.1f}") for name, minutes in took.items()]
        + [(f"verdict, {name}", one["verdict"]) for name, one in demos.items()],
        body=body,
        method=["`syntype demo`, seed 0, 3 seeds of a quick study (the head of the classifier alone, 600 steps, images of 128 px)."],
    )


if __name__ == "__main__":
    main()
