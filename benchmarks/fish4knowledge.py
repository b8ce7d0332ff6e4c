"""The whole route on real photographs: Fish4Knowledge at 64 px, with *Neoglyphidodon nigroris* as the species never seen.

    python benchmarks/fish4knowledge.py [--data FOLDER] [--out FOLDER] [--minutes 45] [--seeds 5]

Runs the commands of the quickstart one after the other, skips those that an earlier call finished, and writes what they
measured, with two grids of synthetic images in docs/images. The photographs are not part of this repository: see tests/conftest.py for where
they are looked for. Without them nothing is measured and the script says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.fish import DATA, NEW, NOTICE, SHOWN, collecting, rows_of, save_grid
from common.results import Page, kept, options, points, publish, rewrite, table
from common.timing import syntype

from syntype.collection import Collection


def main() -> None:
    parser = options("fish4knowledge", __doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the Fish4Knowledge photographs")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("fish4knowledge", report, arguments)
        return
    collect = collecting(arguments.data)
    if collect is None:
        return
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    minutes = str(arguments.minutes)
    steps = {
        "collect": [*collect, "--out", out / "collection"],
        "train": ["train", "projected", out / "collection", "--except", NEW, "--minutes", minutes, "--out", out / "generator", "--resume"],
        "adapt": ["adapt", out / "generator", out / "collection", "--species", NEW, "--out", out / "adapted"],
        "generate": ["generate", out / "adapted", "--species", NEW, "--num", "200", "--out", out / "synthetic"],
        "curate": ["curate", out / "synthetic", "--real", out / "collection", "--out", out / "curated"],
        "generate all": ["generate", out / "generator", "--num", "100", "--out", out / "synthetic-all"],
        "evaluate all": ["evaluate", out / "synthetic-all", "--real", out / "collection"],
        "study": [
            "study",
            out / "collection",
            "--generator",
            out / "adapted",
            "--seeds",
            str(arguments.seeds),
            "--quick",
            "--set",
            "size=64",
            "--out",
            out / "study",
            "--resume",
        ],
    }
    results = {name: kept(out / f"{name.replace(' ', '-')}.json", lambda command=command: syntype(command)) for name, command in steps.items()}
    pictures = arguments.docs / "images"
    drawn, curated = Collection.open(out / "synthetic-all"), Collection.open(out / "curated")
    save_grid([row for name in SHOWN for row in rows_of(drawn, name, 10)], 10, pictures / "fish4knowledge-species.png")
    accepted = curated.select(usable=True)
    save_grid(rows_of(accepted if len(accepted) else curated, NEW, 40), 10, pictures / "fish4knowledge-new.png")
    publish("fish4knowledge", {"minutes": arguments.minutes, "seeds": arguments.seeds}, results, report, arguments)


UNSHOWN = ("folder", "out", "report", "measured", "sentence")
"""Paths, and what stands elsewhere on the page."""


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    found, adapted, curated, fidelity = (figures[name] for name in ("study", "adapt", "curate", "evaluate all"))
    trained = figures["train"]
    low, high = found["interval"] or (None, None)
    effect = f"{points(found['effect'])} points of recall (95 % interval {points(low)} to {points(high)})"
    bins = []
    for name, one in found["bins"].items():
        least, most = one["interval"] or (None, None)
        bins.append([name, str(one["num_species"]), points(one["effect"]), f"{points(least)} to {points(most)}"])
    arms = [[name, *(f"{arm[key]:.1%}" for key in ("recall_rare", "macro_recall", "accuracy"))] for name, arm in found["arms"].items()]
    refused = ", ".join(f"{number} by the {name} filter" for name, number in curated["refused"].items())
    body = [
        f"- Verdict on all rare species: **{found['verdict']}**. {found['sentence']}",
        f"- Base generator: {trained['minutes']:.1f} minutes, {trained['steps']} steps, {trained['images_per_second']:.0f} images/s. Against test "
        f"photographs, with the same mix of species: KID {fidelity['kid']:.3f}, coverage {fidelity['coverage']:.2f}, Vendi ratio (variety within "
        f"species, synthetic over real) {fidelity['vendi_ratio']:.2f}, copies {fidelity['copy_rate']:.1%}.",
        f"- *{NEW}* from {adapted['shots']} photographs: {adapted['minutes']:.1f} minutes, {adapted['megabytes']:.2f} MB; "
        f"{curated['num_accepted']} of {curated['num_images']} images accepted; refused: {refused}.",
        "",
        "## What it looks like",
        "",
        "![Twelve rows of synthetic fish, a species a row](../images/fish4knowledge-species.png)",
        "",
        f"The first ten images of {', '.join(f'*{name}*' for name in SHOWN)}; before curation.",
        "",
        "![Synthetic fish of one species](../images/fish4knowledge-new.png)",
        "",
        f"The first images of *{NEW}* that passed curation. Both pictures are synthetic, made from the photographs named below.",
        "",
        "## Effect by number of training photographs",
        "",
        "Effect: recall with curated synthetic images minus recall of the best arm without a generator, in points.",
        "",
        *table(["training photographs", "species", "effect, points", "95 % interval"], bins),
        "",
        "## Recall of every arm",
        "",
        *table(["arm", "rare species", "all species", "accuracy"], arms),
        "",
        "## Every command's figures",
        "",
    ]
    for name, result in figures.items():
        body += [f"### {name}", "", *table(["figure", "value"], [[*pair] for pair in plain(result)]), ""]
    return Page(
        title="The whole route on real photographs",
        question="Do synthetic images of rare species, made with the default settings, help to identify the fish of Fish4Knowledge?",
        answer=f"{found['verdict'][0].upper()}{found['verdict'][1:]}: {effect} for the rare species, against the best arm without a generator "
        f"(`{found['best_without_generator']}`).",
        headline=[("effect on rare species", effect), ("verdict", found["verdict"]), ("KID of the base generator", f"{fidelity['kid']:.3f}")],
        body=body[:-1],
        method=[
            f"The commands of the quickstart, with {settings['minutes']:g} minutes of training and {settings['seeds']} seeds of the study.",
            "",
            NOTICE,
        ],
    )


def plain(result: dict[str, Any], under: str = "") -> list[tuple[str, str]]:
    """Names and values of a command's figures; what stands within another has a name of two parts. Tables of arms and bins stand above."""
    found = []
    for key, value in result.items():
        name = f"{under}{key.replace('_', ' ')}"
        if isinstance(value, dict) and key not in ("arms", "bins", "measured"):
            found += plain(value, f"{name}: ")
        elif key not in (*UNSHOWN, "arms", "bins"):
            shown = " to ".join(map(str, value)) or "none" if isinstance(value, list) else "–" if value is None else str(value)
            found.append((name, shown))
    return found


if __name__ == "__main__":
    main()
