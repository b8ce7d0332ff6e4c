from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from syntype.collection.importers import CollectConfig, collect
from syntype.collection.inspection import inspect, plot_long_tail
from syntype.collection.table import Collection
from syntype.run import Run


def scene(path: Path, seed: int, size: tuple[int, int] = (60, 50)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (10, 10, 3), dtype=np.uint8))
    coarse.resize((120, 100), Image.Resampling.BICUBIC).resize(size).save(path)
    return path


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    rows = []
    for number in range(24):
        species = ("Naso lituratus", "Naso lituratus", "Zebrasoma scopas", "Naso lituratuss")[number % 4]
        scene(tmp_path / f"{number}.png", number)
        rows.append({"file": f"{number}.png", "species": species, "group": f"g{number // 8}-{species}", "license": "CC0" if number % 2 else ""})
    scene(tmp_path / "alone.png", 99)
    rows.append({"file": "alone.png", "species": "Rara avis", "group": "", "license": "CC BY"})
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    rows.append({"file": "broken.jpg", "species": "Rara avis", "group": "", "license": ""})
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    return collect(tmp_path / "t.csv", CollectConfig(), tmp_path / "out", Run.silent()).collection


def test_counts_and_problems(collection: Collection) -> None:
    result = inspect(collection, Run.silent())
    summary = json.loads(json.dumps(result.summary()))
    assert (summary["num_images"], summary["num_species"], summary["num_refused"]) == (25, 4, 1)
    assert summary["licences"] == {"CC0": 12, "none": 12, "CC BY": 1}
    assert sum(summary["bins"].values()) == 4
    for row in summary["species"]:
        assert row["train"] + row["val"] + row["test"] == row["images"]
    text = result.text()
    for part in ("Naso lituratus", "'Naso lituratus' and 'Naso lituratuss'", "12 images have no licence", "Rara avis", "1 files were set aside"):
        assert part in text, text
    assert "more than one split" not in text


def test_what_straddles_splits_is_named(collection: Collection) -> None:
    group = collection.table["group"][0]
    rows = np.flatnonzero((collection.table["group"] == group).fillna(False))
    collection.table.loc[rows, "split"] = ["train", "test"] * (len(rows) // 2) + ["train"] * (len(rows) % 2)
    assert any("groups lie in more than one split" in problem and group[:16] in problem for problem in inspect(collection, Run.silent()).problems)


def test_duplicates_within_and_across(tmp_path: Path) -> None:
    rows = []
    for number in range(30):
        scene(tmp_path / f"{number}.png", number)
        rows.append({"file": f"{number}.png", "species": f"Species {number % 2}", "group": f"g{number}"})
    scene(tmp_path / "near.png", 0, (54, 45))  # the same scene, smaller: same species, another group
    rows.append({"file": "near.png", "species": "Species 0", "group": "g50"})
    scene(tmp_path / "within.png", 2, (54, 45))
    rows.append({"file": "within.png", "species": "Species 0", "group": "g2"})
    scene(tmp_path / "misnamed.png", 4, (54, 45))
    rows.append({"file": "misnamed.png", "species": "Species 1", "group": "g4"})
    (tmp_path / "same.png").write_bytes((tmp_path / "6.png").read_bytes())
    rows.append({"file": "same.png", "species": "Species 1", "group": "g60"})
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    collection = collect(tmp_path / "t.csv", CollectConfig(), tmp_path / "out", Run.silent()).collection
    result = inspect(collection, Run.silent())
    assert result.counts["num_duplicates"] == 1
    assert result.counts["near_duplicates"] == {"pairs": 3, "within_group": 2, "across_groups": 1, "across_splits": 0, "across_species": 1}
    assert any("two species: Species 0 and Species 1" in problem for problem in result.problems)
    split = collection.table.set_index("file_name")["split"]
    assert split["images/Species_0/0.png"] == split["images/Species_0/near.png"]
    # splits made elsewhere may tear them apart: then it is said
    collection.table.loc[collection.table["file_name"] == "images/Species_0/near.png", "split"] = (
        "val" if split["images/Species_0/0.png"] != "val" else "test"
    )
    assert inspect(collection, Run.silent()).counts["near_duplicates"]["across_splits"] == 1


def test_real_photographs(fish4knowledge: Path, tmp_path: Path) -> None:
    table = pd.read_csv(fish4knowledge / "classification.csv", dtype=str).groupby("standardized_species").head(25)
    table["file_name"] = str(fish4knowledge) + "/" + table["file_name"]
    table.to_csv(tmp_path / "t.csv", index=False)
    result = inspect(collect(tmp_path / "t.csv", CollectConfig(), tmp_path / "out", Run.silent()).collection, Run.silent())
    near = result.counts["near_duplicates"]
    assert near["within_group"] > near["across_groups"]
    assert not any("more than one split" in problem for problem in result.problems)


@pytest.mark.parametrize("number", [1, 23, 10_000])
def test_the_long_tail_is_drawn(number: int, tmp_path: Path) -> None:
    counts = {f"Genus species{rank}": int(1000 / (rank + 1)) for rank in range(number)}
    with Image.open(plot_long_tail(counts, tmp_path / "tail.png")) as image:
        assert 600 < image.width < 3000 and 400 < image.height < 2000


def test_the_long_tail_of_a_collection_is_drawn(collection: Collection, tmp_path: Path) -> None:
    assert plot_long_tail(collection, tmp_path / "tail.svg").stat().st_size > 1000


def test_synthetic_collections_are_inspected_too(tmp_path: Path) -> None:
    for number in range(4):
        scene(tmp_path / "Naso" / f"{number}.png", number)
    collection = collect(tmp_path / "Naso", CollectConfig(origin="synthetic"), tmp_path / "out", Run.silent()).collection
    result = inspect(collection, Run.silent())
    assert result.counts["bins"]["2-10"] == 1 and result.counts["origins"] == {"synthetic": 4}
    assert not any("tested" in problem for problem in result.problems)
