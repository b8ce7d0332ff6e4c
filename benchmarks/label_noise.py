"""How many of the wrong names does `syntype inspect --labels` find, where some names were swapped on purpose?

    python benchmarks/label_noise.py [--data FOLDER] [--butterflies FOLDER] [--out FOLDER] [--seeds 3] [--share 0.03]

Of the photographs of Fish4Knowledge, and of the training and validation photographs of the butterflies, 3 % get the name of another species:
single photographs or whole groups (video tracks), with any other species' name or with that of one of the three most similar species. The search
is not told. Compared with the vote of the ten most similar photographs of other groups, of which as many are listed. Writes the result and the page
``label_noise``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common.fish import open_photographs, photograph_options
from common.results import ROOT, Page, kept, publish, rewrite, table

from syntype.collection import Collection
from syntype.collection.importers import CollectConfig, collect
from syntype.curation.label_noise import reduced
from syntype.curation.suspects import SuspectsConfig, find_suspects
from syntype.encoders import encode_collection, load_encoder
from syntype.run import Run

BUTTERFLIES = Path(os.environ.get("SYNTYPE_BUTTERFLIES", ROOT.parent / "shared" / "data" / "butterflies"))
ANY, SIMILAR = "any species", "a similar species"
SINGLE, GROUPS = "single photographs", "whole groups"
NEAREST, VOTERS = 3, 10
CONFIG = SuspectsConfig(most=100_000)


def main() -> None:
    parser = photograph_options("label_noise", __doc__)
    parser.add_argument("--butterflies", type=Path, default=BUTTERFLIES, help="folder of the butterfly photographs (images.csv)")
    parser.add_argument("--seeds", type=int, default=3, help="number of swaps of each kind (%(default)s)")
    parser.add_argument("--share", type=float, default=0.03, help="share of the names that are swapped (%(default)s)")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("label_noise", report, arguments)
        return
    fish = open_photographs(arguments)
    if fish is None:
        return
    figures: dict[str, Any] = {}
    for name, collection, hows in (("Fish4Knowledge", fish, (SINGLE, GROUPS)), ("butterflies", open_butterflies(arguments), (SINGLE,))):
        if collection is None:
            continue
        path = arguments.out / f"{name}, as they are.json"
        figures[f"{name}, names as they are"] = kept(path, lambda collection=collection: search(collection, arguments.out)[1])
        for how in hows:
            for to in (ANY, SIMILAR):
                for seed in range(arguments.seeds):
                    key = f"{name}, {how}, {to}, seed {seed}"
                    given = (collection, how, to, arguments.share, seed, arguments.out)
                    figures[key] = kept(arguments.out / f"{key}.json", lambda given=given: measure(*given))
                    print(key, figures[key], flush=True)
    publish("label_noise", {"share": arguments.share, "seeds": arguments.seeds}, figures, report, arguments)


def open_butterflies(arguments: argparse.Namespace) -> Collection | None:
    """Their training and validation photographs; their test is left for the study."""
    if not (arguments.butterflies / "images.csv").is_file():
        return None
    folder = arguments.out / "butterflies"
    if not (folder / "collection.json").exists():
        collect(arguments.butterflies / "images.csv", CollectConfig(), folder, Run.silent())
    return Collection.open(folder).select(split=["train", "val"])


def features_of(collection: Collection) -> np.ndarray:
    return reduced(encode_collection(load_encoder(CONFIG.encoder), collection, pixels=CONFIG.size, size=CONFIG.size))


def swapped(labels: np.ndarray, groups: np.ndarray, features: np.ndarray, how: str, to: str, share: float, seed: int) -> np.ndarray:
    """Labels of which a share is wrong."""
    random = np.random.default_rng(seed)
    result = labels.copy()
    present = np.unique(labels)
    centres = np.stack([features[labels == one].mean(axis=0) for one in present])
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    order = {int(one): present[np.argsort(distances[place])] for place, one in enumerate(present)}
    wanted = round(share * len(labels))
    units = [np.array([row]) for row in range(len(labels))] if how == SINGLE else [np.flatnonzero(groups == one) for one in np.unique(groups)]
    done = 0
    for unit in random.permutation(len(units)):
        if done >= wanted:
            break
        others = order[int(labels[units[unit][0]])]
        result[units[unit]] = random.choice(others[:NEAREST] if to == SIMILAR else others[:-1])  # the last is the species itself
        done += len(units[unit])
    return result


def search(collection: Collection, out: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What the search lists, and how long it takes once the photographs have been described."""
    folder = out / "search"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.process_time()
    found = find_suspects(collection, CONFIG, folder, Run.silent())
    return found.table, {"listed": found.num_listed, "estimated": found.num_estimated, "seconds": time.process_time() - began}


def measure(collection: Collection, how: str, to: str, share: float, seed: int, out: Path) -> dict[str, Any]:
    """One swap and one search."""
    features, labels, groups = features_of(collection), collection.labels(), collection.groups()
    given = swapped(labels, groups, features, how, to, share, seed)
    wrong = given != labels
    names = np.array(collection.species, dtype=object)
    changed = Collection(collection.root, collection.table.assign(species=names[given]), collection.species, collection.info)
    found, told = search(changed, out)
    position = {name: row for row, name in enumerate(changed.table["image_id"])}
    listed = found[found["kind"] == "label"]
    rows = np.array([position[name] for name in listed["image_id"]], dtype=int)
    hits, total = wrong[rows], int(wrong.sum())
    right = (listed["suggested_species"].to_numpy(dtype=object) == names[labels[rows]])[hits]
    voters = by_vote(features, given, groups)[: len(rows)]
    others = {position[name] for name in found.loc[found["kind"] != "label", "image_id"]} - set(rows.tolist())
    return {
        **told,
        "swapped": total,
        "found": int(hits.sum()),
        "found_by_others": int(wrong[sorted(others)].sum()) if others else 0,
        "found_in_first": int(hits[:total].sum()),
        "found_in_twice": int(hits[: 2 * total].sum()),
        "right_species": float(right.mean()) if len(right) else None,
        "found_by_vote": int(wrong[voters].sum()),
    }


def by_vote(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Rows in the order of how few of the most similar photographs of other groups have the same name; the nearer of equal ones first."""
    squares = (features**2).sum(axis=1)
    distance = squares[:, None] + squares[None] - 2 * features @ features.T
    distance[groups[:, None] == groups[None]] = np.inf
    nearest = np.argsort(distance, axis=1)[:, :VOTERS]
    agree = (labels[nearest] == labels[:, None]).mean(axis=1)
    return np.lexsort((np.take_along_axis(distance, nearest, axis=1).mean(axis=1), agree))


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    cases: dict[str, list[dict[str, Any]]] = {}
    for name, one in figures.items():
        if "swapped" in one:
            cases.setdefault(name.rpartition(", seed")[0], []).append(one)
    rows = []
    shares: dict[str, tuple[float, float]] = {}
    for name, parts in cases.items():
        total = {key: sum(part[key] for part in parts) for key in ("swapped", "found", "found_in_first", "found_in_twice", "found_by_vote")}
        listed = sum(part["listed"]["label"] for part in parts)
        recall, precision = total["found"] / total["swapped"], total["found"] / max(1, listed)
        shares[name] = recall, precision
        right = float(np.mean([part["right_species"] for part in parts]))
        rows.append(
            [
                name,
                f"{total['swapped'] / len(parts):.0f}",
                f"{listed / len(parts):.0f}",
                f"{recall:.0%}",
                f"{precision:.0%}",
                f"{total['found_in_first'] / total['swapped']:.0%}",
                f"{total['found_in_twice'] / total['swapped']:.0%}",
                f"{right:.0%}",
                f"{total['found_by_vote'] / total['swapped']:.0%}",
            ]
        )
    as_they_are = {name.partition(",")[0]: one for name, one in figures.items() if "swapped" not in one}
    (low, least), (high, most) = ([pick(value) for value in zip(*shares.values(), strict=True)] for pick in (min, max))
    votes = [sum(part["found_by_vote"] for part in parts) / sum(part["swapped"] for part in parts) for parts in cases.values()]
    seconds = max(part["seconds"] for parts in cases.values() for part in parts)
    heads = ["photographs, what was swapped, for what", "swapped", "listed", "found", "precision", "in the first n", "in the first 2 n"]
    plain = "; ".join(f"{name} {one['listed']['label']}" for name, one in as_they_are.items())
    body = [
        "Swapped: names that were made wrong. Listed: suspects of the kind `label`, as many as confident learning estimates. Found: share of the "
        "swapped names among them. Precision: share of the listed that were swapped; others are wrong in the data themselves, or hard to identify. "
        "First n: share found among as many photographs as were swapped, and among twice as many. Right species: of those found, how often the "
        "suggested species is the true one. Vote: share found among as many photographs by the vote of the ten most similar photographs of other "
        "groups.",
        "",
        *table([*heads, "right species", "vote"], rows),
        "",
        f"With the names as they are, so many are listed: {plain}. In Fish4Knowledge some of them look like plain errors: a track that is "
        "called *Chaetodon trifascialis*, a pale fish, shows a dark one like *Dascyllus reticulatus*.",
    ]
    return Page(
        title="Wrong names: how many are found",
        question=f"{settings['share']:.0%} of the names are swapped: how many does `syntype inspect --labels` list, and how long is its list?",
        answer=f"{low:.0%} to {high:.0%} of the swapped names are listed, and {least:.0%} to {most:.0%} of the listed photographs have a swapped "
        f"name: an expert looks at {1 / most:.1f} to {1 / least:.1f} photographs for each one found. Names of similar species are the hardest. "
        f"A plain vote of similar photographs finds {min(votes):.0%} to {max(votes):.0%} in lists of the same length, but does not say how long "
        "the list should be.",
        headline=[(f"found, {name}", f"{recall:.0%}") for name, (recall, _) in shares.items()],
        body=body,
        method=[
            f"{settings['seeds']} swaps of each kind, by fixed seeds; sums over them. Similar: one of the three species whose mean features are "
            "nearest. Features of EfficientNet-Lite2 at 192 px, 256 principal components, logistic regression, five parts of whole groups. Of the "
            "butterflies only training and validation photographs; each is a group of its own. A search takes up to "
            f"{seconds:.0f} seconds of one core once the photographs have been described, which takes about 0.03 seconds each. The penalty of the "
            "regression and the order of the list were chosen on the same photographs with other swaps."
        ],
    )


if __name__ == "__main__":
    main()
