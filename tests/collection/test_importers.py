from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from syntype.collection.importers import CollectConfig, CollectResult, collect
from syntype.collection.sources.rows import parse_box
from syntype.collection.table import Collection
from syntype.errors import CollectionError, InputError
from syntype.run import Run


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def imported(source: Path, out: Path, **settings: object) -> CollectResult:
    return collect(source, CollectConfig.parse(settings), out, Run.silent())


def write_csv(path: Path, rows: list[dict[str, object]], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def refused(out: Path) -> list[dict[str, str]]:
    with (out / "refused.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_real_photographs(fish4knowledge: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = imported(fish4knowledge / "classification.csv", out)
    summary = result.summary()
    assert set(summary) == {"num_images", "num_synthetic", "num_species", "num_groups", "num_refused", "num_duplicates", "num_near_across", "splits"}
    assert (summary["num_images"], summary["num_species"], summary["num_groups"], summary["num_refused"]) == (3504, 23, 1778, 0)
    source = pd.read_csv(fish4knowledge / "classification.csv", dtype=str)
    assert summary["num_duplicates"] == 3504 - len({hashlib.sha256((fish4knowledge / name).read_bytes()).hexdigest() for name in source["file_name"]})
    table = Collection.open(out).table
    assert table.groupby("group")["split"].nunique().max() == 1
    assert table.groupby("sha256")["split"].nunique().max() == 1
    assert (table.groupby("species")["split"].nunique() >= 2).all()
    rare = table[table["species"] == "Neoglyphidodon nigroris"]
    assert (rare["split"] == "train").sum() >= 6 and (rare["split"] == "test").sum() >= 1
    np.testing.assert_array_equal(table["width"].to_numpy(dtype=int), source["width"].to_numpy(dtype=int))
    assert table["licence"].notna().all() and table["image_id"].is_unique and table["file_name"].is_unique
    assert (out / table["file_name"][7]).read_bytes() == (fish4knowledge / source["file_name"][7]).read_bytes()


def test_a_folder_per_species(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for number in range(4):
        draw(source / "Zebrasoma_scopas" / f"{number}.jpg", number)
    draw(source / "Naso_lituratus" / "2024" / "reef" / "one.png", 9)
    draw(source / "Naso_lituratus" / "2024" / "lagoon" / "one.png", 10)
    draw(source / "lost.jpg", 11)
    (source / "Naso_lituratus" / "notes.txt").write_text("not an image, and none claimed")
    (source / "Naso_lituratus" / ".DS_Store").write_text("hidden")
    (source / "Naso_lituratus" / "raw.cr2").write_bytes(b"II*\0" + b"\0" * 100)
    result = imported(source, tmp_path / "out")
    assert result.summary() == {
        "num_images": 6, "num_synthetic": 0, "num_species": 2, "num_groups": 6, "num_refused": 2, "num_duplicates": 0, "num_near_across": 0,
        "splits": result.splits,
    }  # fmt: skip
    assert result.collection.species == ("Naso lituratus", "Zebrasoma scopas")
    assert {Path(row["file"]).name for row in refused(tmp_path / "out")} == {"lost.jpg", "raw.cr2"}
    assert sorted(result.collection.table["file_name"])[:2] == ["images/Naso_lituratus/one-2.png", "images/Naso_lituratus/one.png"]


def test_a_folder_of_one_species_and_synthetic_images(tmp_path: Path) -> None:
    for number in range(3):
        draw(tmp_path / "Naso_lituratus" / f"{number}.png", number)
    result = imported(tmp_path / "Naso_lituratus", tmp_path / "out", origin="synthetic")
    assert result.collection.species == ("Naso lituratus",)
    assert result.splits == {"train": 0, "val": 0, "test": 0}
    table = Collection.open(tmp_path / "out").table
    assert table["split"].isna().all() and table["verdict"].isna().all() and (table["origin"] == "synthetic").all()


def test_the_output_inside_the_source_is_not_imported(tmp_path: Path) -> None:
    draw(tmp_path / "Naso_lituratus" / "a.png")
    out = tmp_path / "collection"
    out.mkdir()
    draw(out / "images" / "old.png", 5)
    assert imported(tmp_path, out).summary()["num_images"] == 1


def test_any_column_names(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    table = write_csv(tmp_path / "t.csv", [{"Foto": "a.png", "Art": "Naso  lituratus ", "Fisch": "7", "Lizenz": "CC0", "Kasten": "1,2,30,20"}])
    settings = {"file_column": "Foto", "species_column": "Art", "group_column": "Fisch", "licence_column": "Lizenz", "box_column": "Kasten"}
    row = imported(table, tmp_path / "out", **settings).collection.table.iloc[0]
    assert (row["species"], row["group"], row["licence"], json.loads(row["box"])) == ("Naso lituratus", "7", "CC0", [1, 2, 30, 20])


@pytest.mark.parametrize("names", [("filename", "standardized_species"), ("file_name", "species"), ("Image", "Label"), ("path", "scientificName")])
def test_usual_column_names_are_found(tmp_path: Path, names: tuple[str, str]) -> None:
    draw(tmp_path / "a.png")
    assert imported(write_csv(tmp_path / "t.csv", [{names[0]: "a.png", names[1]: "Naso"}]), tmp_path / "out").collection.species == ("Naso",)


def test_a_missing_column_lists_those_there_are(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", [{"Foto": "a.png", "species": "Naso"}])
    with pytest.raises(InputError, match=r"Foto, species.*--file-column"):
        imported(table, tmp_path / "out")
    with pytest.raises(InputError, match=r"no column 'track'.*Foto, species.*--group-column"):
        imported(table, tmp_path / "out", file_column="Foto", group_column="track")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("encoding", "delimiter"), [("utf-8-sig", ","), ("utf-16", "\t"), ("utf-8", ";")])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, encoding: str, delimiter: str) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(f'file{delimiter}species\na.png{delimiter}"Öresund fisk"\n', encoding=encoding)
    assert imported(tmp_path / "t.csv", tmp_path / "out").collection.species == ("Öresund fisk",)


def test_bad_rows_are_set_aside_with_row_and_reason(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png", 1)
    (tmp_path / "zero.jpg").touch()
    names = [
        ("a.png", "Naso"),
        ("", "Naso"),
        ("b.png", " "),
        ("none.png", "Naso"),
        ("a.png", "Naso"),
        ("zero.jpg", "Naso"),
        ("b.png", "NA"),
        (".", "Naso"),
        ("x" * 300 + ".png", "Naso"),
    ]
    result = imported(write_csv(tmp_path / "t.csv", [{"file": file, "species": name} for file, name in names]), tmp_path / "out")
    assert result.summary()["num_images"] == 1 and result.summary()["num_refused"] == 8
    assert {int(row["row"]): row["reason"] for row in refused(tmp_path / "out")} == {
        2: "names no file", 3: "has no species", 4: "is missing", 5: "is listed twice", 6: "is empty (0 bytes)",
        7: "has no species", 8: "is not a file", 9: "cannot be read",
    }  # fmt: skip
    assert all(row["hint"] for row in refused(tmp_path / "out"))


def test_missing_values_are_null(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png", 1)
    rows = [{"file": name, "species": "Naso", "group": "", "licence": "", "bbox": ""} for name in ("a.png", "b.png")]
    result = imported(write_csv(tmp_path / "t.csv", rows), tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "metadata.parquet")
    assert table[["group", "licence", "box", "generator_id", "verdict", "duplicate_of", "note"]].isna().all().all()
    assert not (table == "").any().any()
    assert result.num_groups == 2 and set(table["split"]) == {"train", "test"}  # each image is its own group


def test_boxes_are_cut_to_the_image_and_bad_ones_noted(tmp_path: Path) -> None:
    boxes = ["-5,2.5,30,200", "[1, 2, 3]", "500,500,600,600", "9,9,3,3", "2 3 20 25", "left"]
    for number in range(len(boxes)):
        draw(tmp_path / f"{number}.png", number)
    rows = [{"file": f"{number}.png", "species": "Naso", "box": box} for number, box in enumerate(boxes)]
    table = imported(write_csv(tmp_path / "t.csv", rows), tmp_path / "out").collection.table
    assert [None if pd.isna(box) else json.loads(box) for box in table["box"]] == [[0, 2.5, 30, 30], None, None, None, [2, 3, 20, 25], None]
    assert table["note"].str.startswith("box not used").fillna(False).tolist() == [False, True, True, True, False, True]


@pytest.mark.parametrize(
    ("text", "box"),
    [("1,2,3,4", (1, 2, 3, 4)), ("[1, 2, 3.5, 4]", (1, 2, 3.5, 4)), ("1;2;3;4", (1, 2, 3, 4)),
     ("nan,1,2,3", None), ("0,0,inf,9", None), ("", None), ("0.1,0.1,0.9,0.9", None)],
)  # fmt: skip
def test_box_texts(text: str, box: tuple | None) -> None:
    assert parse_box(text) == box


def test_hostile_species_names_stay_in_the_folder(tmp_path: Path) -> None:
    names = ["../../evil", "a/b", "A_b", "a b", "..", "魚", "x" * 400, "Café", "Cafe\u0301"]
    for number in range(len(names)):
        draw(tmp_path / f"{number}.png", number)
    out = tmp_path / "deep" / "out"
    result = imported(write_csv(tmp_path / "t.csv", [{"file": f"{n}.png", "species": name} for n, name in enumerate(names)]), out)
    table = result.collection.table
    assert set(table["species"]) == {*names[:7], "Café"}  # two spellings of é are one
    folders = table.groupby("species")["file_name"].first().str.rsplit("/", n=1).str[0]
    assert folders.str.lower().is_unique
    for name in table["file_name"]:
        assert (out / name).resolve().is_relative_to(out / "images")
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"out"}


def test_the_same_bytes_are_kept_marked_and_in_one_split(tmp_path: Path) -> None:
    rows = []
    for number in range(20):
        draw(tmp_path / f"{number}.png", number)
        rows.append({"file": f"{number}.png", "species": "Naso", "group": f"g{number}"})
    for number in range(3):
        (tmp_path / f"copy{number}.png").write_bytes((tmp_path / f"{number}.png").read_bytes())
        rows.append({"file": f"copy{number}.png", "species": "Naso", "group": f"h{number}"})
    for seed in range(5):
        table = imported(write_csv(tmp_path / "t.csv", rows), tmp_path / f"out{seed}", seed=seed).collection.table
        assert table["duplicate_of"].notna().sum() == 3
        assert table["duplicate_of"].dropna().tolist() == table["image_id"][:3].tolist()
        assert table["split"][:3].tolist() == table["split"][20:].tolist()


def test_the_same_seed_gives_the_same_collection(tmp_path: Path) -> None:
    for number in range(12):
        draw(tmp_path / "source" / f"S_{number % 2}" / f"{number}.png", number)
    first, second = (imported(tmp_path / "source", tmp_path / name, seed=4).collection for name in ("a", "b"))
    pd.testing.assert_frame_equal(first.table, second.table)
    assert first.fingerprint == second.fingerprint


def test_an_import_that_is_stopped_does_not_open_and_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        draw(tmp_path / "Naso" / f"{number}.png", number)
    run = Run.silent()
    from syntype.run import Progress

    calls = []

    def stop(self: Progress, amount: float = 1, note: str | None = None) -> None:
        calls.append(amount)
        if len(calls) > 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path / "Naso", CollectConfig(), tmp_path / "out", run)
    monkeypatch.undo()
    with pytest.raises(CollectionError, match="not a collection"):
        Collection.open(tmp_path / "out")
    assert imported(tmp_path / "Naso", tmp_path / "out").summary()["num_images"] == 30


def test_a_collection_can_be_imported_again(tmp_path: Path) -> None:
    for number in range(6):
        draw(tmp_path / "source" / "Naso_lituratus" / f"{number}.png", number)
    first = imported(tmp_path / "source", tmp_path / "a", terms="research only").collection
    second = imported(tmp_path / "a", tmp_path / "b").collection
    columns = ["image_id", "species", "sha256", "phash", "terms"]
    pd.testing.assert_frame_equal(first.table[columns], second.table[columns])


def test_what_cannot_be_imported_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        imported(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no files"):
        imported(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(InputError, match="cannot be read as a table"):
        imported(tmp_path / "t.csv", tmp_path / "out")
    (tmp_path / "t.csv").write_text("file,species\n")
    with pytest.raises(InputError, match="no rows"):
        imported(tmp_path / "t.csv", tmp_path / "out")
    (tmp_path / "t.csv").write_bytes(b"file,species\nx.png,\0\xff\xe9\n")
    with pytest.raises(InputError, match="null bytes"):
        imported(tmp_path / "t.csv", tmp_path / "out")
    (tmp_path / "Naso").mkdir()
    (tmp_path / "Naso" / "a.jpg").write_bytes(b"junk")
    with pytest.raises(CollectionError, match=r"refused\.csv"):
        imported(tmp_path / "Naso", tmp_path / "out")
    draw(tmp_path / "Good" / "a.png")
    imported(tmp_path / "Good", tmp_path / "done")
    with pytest.raises(InputError, match="already holds a collection"):
        imported(tmp_path / "Good", tmp_path / "done")


def test_other_tools_read_the_folder(tmp_path: Path) -> None:
    draw(tmp_path / "Naso" / "a.png")
    imported(tmp_path / "Naso", tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "metadata.parquet")
    assert "file_name" in table and not Path(table["file_name"][0]).is_absolute()
    assert (tmp_path / "out" / table["file_name"][0]).is_file()


def test_a_wrong_ending_is_put_right_and_the_bytes_kept(tmp_path: Path) -> None:
    path = draw(tmp_path / "Naso" / "a.png").rename(tmp_path / "Naso" / "a.jpg")
    table = imported(tmp_path / "Naso", tmp_path / "out").collection.table
    assert table["file_name"].tolist() == ["images/Naso/a.png"]
    assert (tmp_path / "out" / "images" / "Naso" / "a.png").read_bytes() == path.read_bytes()


def test_a_folder_with_one_table_beside_its_images(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "pictures").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (20, 20), (80 * number, 10, 10)).save(source / "pictures" / f"{number}.png")
    (source / "fish.csv").write_text("file,name\n" + "".join(f"pictures/{number}.png,Aus primus\n" for number in range(3)))
    with_columns = collect(source, CollectConfig(species_column="name"), tmp_path / "by-table", Run.silent())
    assert with_columns.collection.species == ("Aus primus",)
    with pytest.raises(InputError, match=r"says nowhere what the images show: they lie in 'pictures'\. Give fish.csv itself"):
        collect(source, CollectConfig(), tmp_path / "by-folder", Run.silent())
    by_folder = collect(source, CollectConfig(format="folders"), tmp_path / "by-folder", Run.silent())
    assert by_folder.collection.species == ("pictures",)
