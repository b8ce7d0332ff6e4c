"""The whole route on real photographs: Fish4Knowledge at 64 px, with *Neoglyphidodon nigroris* as the species never seen.

    python benchmarks/fish4knowledge.py [--data FOLDER] [--out FOLDER] [--minutes 45] [--seeds 5]

Runs the commands of the quickstart one after the other, skips those that an earlier call finished, and writes what they
measured to docs/benchmarks/fish4knowledge.md, with two grids of synthetic images beside it in docs/images. The photographs are not part
of this repository: see tests/conftest.py for where they are looked for. Without them nothing is measured and the script says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from syntype.collection import Collection
from syntype.compute.grids import tile
from syntype.run import write_json

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("SYNTYPE_FISH4KNOWLEDGE", ROOT.parent / "shared" / "data" / "fish4knowledge"))
SHOWN = (
    "Dascyllus reticulatus",
    "Amphiprion clarkii",
    "Chaetodon lunulatus",
    "Plectroglyphidodon dickii",
    "Chromis chrysura",
    "Myripristis kuntee",
    "Hemigymnus fasciatus",
    "Chaetodon trifascialis",
    "Lutjanus fulvus",
    "Zebrasoma scopas",
    "Balistapus undulatus",
    "Zanclus cornutus",
)
"""Species of the grid: the commonest, some between, the rarest."""
NEW = "Neoglyphidodon nigroris"
NOTICE = (
    "Photographs: Fish4Knowledge ground-truth data, P. X. Huang, B. J. Boom and R. B. Fisher, University of Edinburgh; the original data are "
    "available from groups.inf.ed.ac.uk/vision/DATASETS/FISH4KNOWLEDGE/WEBSITE/GROUNDTRUTH/RECOG; see B. J. Boom et al., cited on that page."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the Fish4Knowledge photographs")
    add_outputs(parser, "fish4knowledge")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
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
        "study": ["study", out / "collection", "--generator", out / "adapted", "--seeds", str(arguments.seeds), "--out", out / "study", "--resume"],
    }
    results = {name: kept(out / f"{name.replace(' ', '-')}.json", lambda command=command: syntype(command)) for name, command in steps.items()}
    pictures = arguments.docs / "images"
    pictures.mkdir(parents=True, exist_ok=True)
    drawn, curated = Collection.open(out / "synthetic-all"), Collection.open(out / "curated")
    save_grid([row for name in SHOWN for row in rows_of(drawn, name, 10)], 10, pictures / "fish4knowledge-species.png")
    accepted = curated.select(usable=True)
    save_grid(rows_of(accepted if len(accepted) else curated, NEW, 40), 10, pictures / "fish4knowledge-new.png")
    write_page(report(results), "fish4knowledge", arguments.docs)


def kept(path: Path, measure: Callable[[], dict]) -> dict:
    """What was measured, now or by an earlier call."""
    if not path.exists():
        write_json(path, measure())
    return json.loads(path.read_text(encoding="utf-8"))


def collecting(data: Path) -> list[object] | None:
    """The command that imports the photographs, but for --out; None, and a word to the user, where they are not."""
    table = data / "classification.csv"
    if not table.is_file():
        print(f"{table} is not there: nothing measured. Give --data or set SYNTYPE_FISH4KNOWLEDGE.", file=sys.stderr)
        return None
    return ["collect", table, "--species-column", "standardized_species", "--group-column", "trajectory"]


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Where the photographs are, and where what is measured goes."""
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the Fish4Knowledge photographs")
    parser.add_argument("--collection", type=Path, help="a collection that was imported before, in place of --data")
    add_outputs(parser, name)


def add_outputs(parser: argparse.ArgumentParser, name: str) -> None:
    """Where what is measured goes."""
    parser.add_argument("--out", type=Path, default=ROOT / "out" / name, help="what is known, so that it is not measured again (%(default)s)")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page and the pictures are written")


def open_photographs(arguments: argparse.Namespace) -> Collection | None:
    """The photographs, imported where they were not; None, and a word to the user, where there are none. Makes --out."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    folder = arguments.collection or arguments.out / "collection"
    if arguments.collection is None:
        collect = collecting(arguments.data)
        if collect is None:
            return None
        if not (folder / "collection.json").exists():
            syntype([*collect, "--out", folder])
    return Collection.open(folder)


def write_page(text: str, name: str, docs: Path) -> None:
    """Write a page of what was measured."""
    page = docs / "benchmarks" / f"{name}.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    print(f"wrote {page}")


def syntype(command: list[object]) -> dict:
    """Run one command of ``syntype`` and give its JSON. Raises ``CalledProcessError`` if it fails or is stopped."""
    words = [str(word) for word in command]
    print("$ " + " ".join(["syntype", *words]), file=sys.stderr, flush=True)
    done = subprocess.run([str(Path(sys.executable).with_name("syntype")), *words, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def machine() -> str:
    """What it runs on, in words."""
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, no GPU, {platform.system()}"


def rows_of(collection: Collection, species: str, number: int) -> list[np.ndarray]:
    """The first images of a species, not the best."""
    return list(collection.select(species=species).pixels(64)[:number])


def save_grid(
    images: list[np.ndarray], columns: int, path: Path, description: str = "Synthetic images made by Syntype; not occurrence evidence."
) -> None:
    """Save images of 64 px as a grid, a small one at twice its size, with the notice of the photographs that taught them."""
    images = images[: len(images) // columns * columns] or images
    columns = min(columns, len(images))
    notice = PngInfo()
    notice.add_itxt("Description", description)
    notice.add_itxt("Source", NOTICE)
    picture = Image.fromarray(tile(np.stack(images), columns))
    if picture.height <= 900:
        picture = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.BICUBIC)
    picture.quantize(256).save(path, pnginfo=notice, optimize=True)


def report(results: dict[str, dict]) -> str:
    """What was measured, as Markdown."""
    found, adapted, curated, fidelity = (results[name] for name in ("study", "adapt", "curate", "evaluate all"))
    low, high = found["interval"] or (None, None)
    lines = [
        "# The whole route on real photographs",
        "",
        f"Written by `python benchmarks/fish4knowledge.py`. Machine: {machine()}.",
        "",
        NOTICE,
        "",
        "## In short",
        "",
        f"- Verdict on all rare species: **{found['verdict']}**. {found['sentence']}",
        f"- Effect {points(found['effect'])} points of recall, 95 % interval {points(low)} to {points(high)}.",
        f"- Base generator: {results['train']['minutes']:.1f} minutes, {results['train']['steps']} steps, "
        f"{results['train']['images_per_second']:.0f} images/s. Against test photographs, with the same mix of species: "
        f"KID {fidelity['kid']:.3f}, coverage {fidelity['coverage']:.2f}, variety within species (Vendi, of the photographs') "
        f"{fidelity['vendi_ratio']:.2f}, copies {fidelity['copy_rate']:.1%}.",
        f"- *{NEW}* from {adapted['shots']} photographs: {adapted['minutes']:.1f} minutes, {adapted['megabytes']:.2f} MB; "
        f"{curated['num_accepted']} of {curated['num_images']} images accepted, refused {json.dumps(curated['refused'])}.",
        "",
        "## What it looks like",
        "",
        "![Twelve rows of synthetic fish, a species a row](../images/fish4knowledge-species.png)",
        "",
        f"The first ten images of {', '.join(f'*{name}*' for name in SHOWN)}; before curation.",
        "",
        "![Synthetic fish of one species](../images/fish4knowledge-new.png)",
        "",
        f"The first images of *{NEW}* that passed curation. Both pictures are synthetic, made from the photographs named above.",
        "",
        "## Effect by number of training photographs",
        "",
        "| bin | species | effect, points | 95 % interval |",
        "| --- | --- | --- | --- |",
    ]
    for name, one in found["bins"].items():
        low, high = one["interval"] or (None, None)
        lines.append(f"| {name} | {one['num_species']} | {points(one['effect'])} | {points(low)} to {points(high)} |")
    lines += ["", "## Recall of every arm", "", "| arm | rare species | all species | accuracy |", "| --- | --- | --- | --- |"]
    for name, arm in found["arms"].items():
        lines.append(f"| {name} | {arm['recall_rare']:.1%} | {arm['macro_recall']:.1%} | {arm['accuracy']:.1%} |")
    lines += ["", "## Everything that was measured", ""]
    for name, result in results.items():
        lines += [f"### {name}", "", "| | |", "| --- | --- |"]
        lines += [f"| {key} | {json.dumps(value, ensure_ascii=False)} |" for key, value in result.items() if key not in ("folder", "out", "report")]
        lines.append("")
    return "\n".join(lines)


def points(value: float | None) -> str:
    """A share as signed percentage points."""
    return "–" if value is None else f"{100 * value:+.1f}"


if __name__ == "__main__":
    main()
