"""Tables as people have them: delimiters, quoting, encodings, Excel, JSON Lines, widths of rows, meanings of columns, splits, boxes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from syntype.apps.cli import cli
from syntype.collection.importers import CollectConfig, collect
from syntype.collection.sources import Entry, Listing, Refused, SourceConfig, read_source
from syntype.errors import InputError
from syntype.run import Run


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def listed(folder: Path, text: str | bytes, name: str = "t.csv", **settings: object) -> Listing:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source(path, SourceConfig.parse(settings))


def told(listing: Listing) -> str:
    return "\n".join(listing.notes)


def refusal(listing: Listing) -> dict[int | None, str]:
    return {item.row: item.reason for item in listing.refused}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(tmp_path: Path, delimiter: str) -> None:
    header = (
        delimiter.join(["file_name", "species", "where, or when; how"]) if delimiter in "\t|" else delimiter.join(["file_name", "species", "where"])
    )
    (entry,) = listed(tmp_path, f"{header}\n{delimiter.join(['a.jpg', 'Aus primus', 'Kiel'])}\n").entries
    assert entry.species == "Aus primus" and "Kiel" in entry.values.values()


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_the_first_line_of_excel_names_the_delimiter(tmp_path: Path, first: str) -> None:
    (entry,) = listed(tmp_path, f"{first}\r\nfile;species;size, cm\r\na.jpg;Aus primus;1,5\r\n").entries
    assert (entry.row, entry.species, entry.values) == (1, "Aus primus", {"size, cm": "1,5"})


def test_comments_before_the_header_are_passed_over_only_where_they_are_unmistakable(tmp_path: Path) -> None:
    listing = listed(tmp_path, "# exported 2024, by me\n#\nfile_name,species\n#1.jpg,Aus\n")
    assert [entry.original_name for entry in listing.entries] == ["#1.jpg"] and "2 comment lines" in told(listing)
    assert listed(tmp_path, "#file_name,species\na.jpg,Aus\n").entries[0].original_name == "a.jpg"


def test_blank_lines_are_passed_over_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    listing = listed(tmp_path, "file,species,licence\n\na.jpg,Aus,CC0\n,,\n\nb.jpg,,CC0\n")
    assert [item.row for item in listing.items] == [2, 5] and refusal(listing) == {5: "has no species"}


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("cp1252", "Öresund fisk"), ("latin-1", "Raie à points bleus"), ("cp1251", "Медуза ушастая"), ("shift_jis", "ミズクラゲ"),
     ("gb18030", "海月水母属鱼类"), ("utf-16-le", "Büsum")],
)  # fmt: skip
def test_other_encodings_are_read_and_told(tmp_path: Path, encoding: str, name: str) -> None:
    listing = listed(tmp_path, f"file,species\na.jpg,{name}\n".encode(encoding))
    assert listing.entries[0].species == name
    assert "UTF" in told(listing)


def test_single_bytes_that_are_not_utf_8_cost_their_row_alone(tmp_path: Path) -> None:
    rows = "".join(f"{number}.jpg,Öresund Büsum\n" for number in range(9)).encode()
    listing = listed(tmp_path, b"file,species\n" + rows + b"x.jpg,B\xfcsum\n")
    assert len(listing.entries) == 9 and refusal(listing) == {10: "holds bytes that are not text in the encoding of the table"}


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(500), "t.csv", "JPEG"), (b"%PDF-1.4", "t.csv", "PDF"), (b"<!DOCTYPE html><html>", "t.csv", "web page"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "t.xls", "old Excel"), (b"PK\x03\x04" + bytes(60), "t.xlsx", "Excel"),
        (b"a,b\0\0\n", "t.csv", "null bytes"),
        (b"", "t.csv", "empty"), (b"\n \n", "t.csv", "empty"), (b'["a"]', "t.json", "JSON"), (b"PAR1xxxx", "t.parquet", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_in_a_short_line(tmp_path: Path, content: bytes, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        listed(tmp_path, content, name)
    assert len(str(error.value).replace(str(tmp_path), "")) < 300


def test_a_large_json_file_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"images": [{"id": number, "file_name": f"{number}.jpg", "note": "x" * 50} for number in range(50_000)]}))
    start = time.perf_counter()
    with pytest.raises(InputError, match="JSON") as error:
        read_source(path, SourceConfig(format="table"))
    assert len(str(error.value)) < 500 and time.perf_counter() - start < 1


def test_a_tab_separated_table_without_quoting_keeps_its_quotation_marks(tmp_path: Path) -> None:
    rows = [
        ("a", "CC0", "Kiel"),
        ("b", "CC BY-NC", '"Alte Liebe'),
        ("c", "CC0", 'NSG "Teiche" Mitte'),
        ("d", "CC0", '"Moon" wreck"'),
        ("e", "CC0", "x"),
    ]
    text = "file_name\tspecies\tlocality\tlicense\n" + "".join(f"{name}.jpg\tAus\t{place}\t{licence}\n" for name, licence, place in rows)
    entries = listed(tmp_path, text, "t.txt").entries
    assert [(entry.values["licence"], entry.values["locality"]) for entry in entries] == [row[1:] for row in rows]


def test_tab_separated_tables_that_quote_are_unquoted(tmp_path: Path) -> None:
    by_r = listed(tmp_path, '"file_name"\t"species"\n"1"\t"a.jpg"\t"Aus"\n"2"\t"b.jpg"\t"Bus"\n', "t.tsv").entries
    assert [(entry.original_name, entry.species) for entry in by_r] == [("a.jpg", "Aus"), ("b.jpg", "Bus")]
    by_excel = listed(tmp_path, 'file\tspecies\tremark\na.jpg\tAus\t"near, by"\nb.jpg\tBus\t"two\nlines"\n', "t.tsv").entries
    assert [entry.values["remark"] for entry in by_excel] == ["near, by", "two\nlines"]


def test_a_stray_quotation_mark_in_a_csv_swallows_no_row(tmp_path: Path) -> None:
    rows = [f"{number}.jpg,Aus,{'CC BY-NC' if number == 3 else 'CC0'},Kiel" for number in range(30)]
    rows[3] = '3.jpg,Aus,CC BY-NC,"Alte Liebe'
    rows[12] = '12.jpg,Aus,"CC0",Wreck "Moon"'
    rows[20] = '20.jpg,Aus,CC0,"Moon"'
    rows[25] = '25.jpg,Aus,"CC0,"Moon, late"'
    listing = listed(tmp_path, "file,species,licence,place\n" + "\n".join(rows) + "\n")
    assert len(listing.items) == 30 and refusal(listing) == {26: "has a quotation mark without its partner"}
    assert {entry.row: entry.values["licence"] for entry in listing.entries} == {
        number + 1: "CC BY-NC" if number == 3 else "CC0" for number in range(30) if number != 25
    }
    assert "quotation marks" in told(listing)


def test_a_cell_of_several_lines_is_one_row(tmp_path: Path) -> None:
    listing = listed(tmp_path, 'file,species,remark\na.jpg,Aus,"first, line\nsecond ""line"", too"\nb.jpg,Bus,x\n')
    assert [(entry.row, entry.values["remark"]) for entry in listing.entries] == [(1, 'first, line\nsecond "line", too'), (2, "x")]


def test_every_width_of_a_row_is_checked(tmp_path: Path) -> None:
    head = "file_name,species,licence\n"
    trailing = listed(tmp_path, head + "a.jpg,Aus,CC0,\nb.jpg,Bus,CC0,\n").entries
    assert [(entry.species, entry.values) for entry in trailing] == [("Aus", {"licence": "CC0"}), ("Bus", {"licence": "CC0"})]
    for rows in ("1,a.jpg,Aus,CC0,Kiel\n2,b.jpg,Bus,CC0,Kiel\n", "0,a.jpg,Aus,CC0,Kiel\n"):
        with pytest.raises(InputError, match="row 1 has 5 cells, the header 4"):
            listed(tmp_path, "id," + head + rows)
    with pytest.raises(InputError, match="row 1 has 2 cells, the header 3"):
        listed(tmp_path, head + "a.jpg,Aus\nb.jpg,Bus\n")
    one = listed(tmp_path, head + "a.jpg,Aus,CC0\nb.jpg,Bus,CC0,note, too\nc.jpg,Cus\nd.jpg,Dus,CC0\n")
    assert refusal(one) == {2: "has 5 cells, the header 3", 3: "has 2 cells, the header 3"} and len(one.entries) == 2


def test_an_empty_last_cell_never_hides_a_cell_too_many(tmp_path: Path) -> None:
    head = "file_name,species,licence\n"
    listing = listed(tmp_path, head + "a.jpg,Aus,CC0\nb.jpg,Bus,\nc.jpg,Cus, dus,\n")
    assert refusal(listing) == {3: "has 4 cells, the header 3"} and "licence" not in listing.entries[1].values
    listing = listed(tmp_path, head + "a.jpg,Aus,CC0,\nb.jpg,Bus,CC0,\nCus,CC0,\n")
    assert refusal(listing) == {3: "has 2 cells, the header 3"}


def test_row_names_of_r_and_pandas_are_no_column(tmp_path: Path) -> None:
    for text in ('"file","species"\n"x1","a.jpg","Aus"\n"x2","b.jpg","Bus"\n', ",file,species\n0,a.jpg,Aus\n1,b.jpg,Bus\n"):
        entries = listed(tmp_path, text).entries
        assert [(entry.original_name, entry.species, entry.values) for entry in entries] == [("a.jpg", "Aus", {}), ("b.jpg", "Bus", {})] or [
            entry.values for entry in entries
        ] == [{"row_name": "x1"}, {"row_name": "x2"}]
        assert [entry.original_name for entry in entries] == ["a.jpg", "b.jpg"]


def test_excel_files_are_read(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["file_name", "species", "depth", "number", "day"])
    book.active.append(["a.jpg", "Aus primus", 1.5, 3.0, pd.Timestamp("2024-05-31").to_pydatetime()])
    book.active.append([])
    book.active.append(["b.jpg", None, None, None, None])
    book.create_sheet("second").append(["x"])
    book.save(tmp_path / "t.xlsx")
    listing = read_source(tmp_path / "t.xlsx", SourceConfig())
    assert listing.entries[0].values == {"depth": "1.5", "number": "3", "day": "2024-05-31"}
    assert refusal(listing) == {3: "has no species"} and "2 sheets" in told(listing)


def test_json_lines_and_parquet_keep_their_types_in_the_collection(tmp_path: Path) -> None:
    for number in range(3):
        draw(tmp_path / f"{number}.png", number)
    lines = [{"file_name": "0.png", "species": "Aus", "n": 1, "mixed": 1, "tags": ["a", "b"]},
             {"file_name": "1.png", "species": "NA", "n": 2, "mixed": "x"},
             {"file_name": "2.png", "species": "Aus", "mixed": 2.5}]  # fmt: skip
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\nno object\n")
    result = collect(tmp_path / "t.jsonl", CollectConfig(), tmp_path / "out", Run.silent())
    table = pd.read_parquet(tmp_path / "out" / "metadata.parquet")
    assert result.num_refused == 1 and table["species"].tolist() == ["Aus", "NA", "Aus"]
    assert table["n"].tolist()[:2] == [1, 2] and table["mixed"].tolist() == ["1", "x", "2.5"] and table["tags"][0] == '["a", "b"]'
    pd.DataFrame(lines)[["file_name", "species", "n"]].to_parquet(tmp_path / "t.parquet")
    assert [entry.values for entry in read_source(tmp_path / "t.parquet", SourceConfig()).entries] == [{"n": 1}, {"n": 2}, {}]


def test_all_further_columns_are_kept_and_none_overwrites_one_of_syntype(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("file_name,species,observer,depth,width,image_id,note,verdict,seed\na.png,Aus,A. B.,007,999,x9,wet,good,many\n")
    collect(tmp_path / "t.csv", CollectConfig(), tmp_path / "out", Run.silent())
    row = pd.read_parquet(tmp_path / "out" / "metadata.parquet").iloc[0]
    assert (row["observer"], row["depth"], row["width"]) == ("A. B.", "007", 40)
    assert (row["source_image_id"], row["source_note"], row["source_verdict"], row["source_seed"]) == ("x9", "wet", "good", "many")


@pytest.mark.parametrize(
    ("header", "cells", "species"),
    [
        ("file,scientificName,common_name,class", "a.jpg,Aus primus,Moon jelly,Scyphozoa", "Aus primus"),
        ("file,class", "a.jpg,Aus primus", "Aus primus"),
        ("file,canonicalName,label", "a.jpg,Aus primus,3", "Aus primus"), ("file,label,class_name", "a.jpg,3,Aus primus", "Aus primus"),
        ("file,genus,species", "a.jpg,Aus,primus", "Aus primus"), ("file,Genus,specificEpithet", "a.jpg,Aus,primus", "Aus primus"),
        ("File Name,dwc:scientificName", "a.jpg,Aus primus", "Aus primus"), ("file,vernacularName", "a.jpg,Moon jelly", "Moon jelly"),
    ],
)  # fmt: skip
def test_the_species_is_in_the_best_of_several_columns(tmp_path: Path, header: str, cells: str, species: str) -> None:
    listing = listed(tmp_path, f"{header}\n{cells}\n")
    assert listing.entries[0].species == species and listing.entries[0].original_name == "a.jpg"
    if "Scyphozoa" in cells:
        assert (
            listing.entries[0].values == {"vernacular_name": "Moon jelly", "class": "Scyphozoa"} or listing.entries[0].values["class"] == "Scyphozoa"
        )


def test_a_taxonomic_class_is_no_species(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column that names the species"):
        listed(tmp_path, "file,class,order\na.jpg,Scyphozoa,Semaeostomeae\n")


def test_the_column_of_files_is_the_one_that_holds_files_and_others_are_told(tmp_path: Path) -> None:
    listing = listed(tmp_path, "image,path,species\n17,pics/a.jpg,Aus\n18,pics/b.jpg,Bus\n")
    assert [entry.original_name for entry in listing.entries] == ["pics/a.jpg", "pics/b.jpg"] and "'path', not from image" in told(listing)


@pytest.mark.parametrize("column", ["split", "Subset", "partition", "set", "fold"])
def test_the_authors_splits_are_taken_and_told(tmp_path: Path, column: str) -> None:
    rows = "".join(f"{number}.jpg,Aus,{word}\n" for number, word in enumerate(["Training", "valid", "TEST", "", "train", "extra"]))
    listing = listed(tmp_path, f"file,species,{column}\n{rows}")
    assert [entry.split for entry in listing.entries] == ["train", "val", "test", None, "train", None]
    assert "splits are the author's" in told(listing) and "'extra' 1" in told(listing) and listing.entries[5].values["source_split"] == "extra"


def test_folds_with_numbers_are_no_splits(tmp_path: Path) -> None:
    listing = listed(tmp_path, "file,species,fold\na.jpg,Aus,1\nb.jpg,Aus,2\n")
    assert [(entry.split, entry.values["fold"]) for entry in listing.entries] == [(None, "1"), (None, "2")]


def test_a_table_for_each_split(tmp_path: Path) -> None:
    for number in range(6):
        draw(tmp_path / "Images" / "chunk" / f"f{number}.png", number)
    for word, numbers in (("train", (0, 1, 2)), ("val", (3,)), ("test", (4, 5))):
        rows = "".join(f"f{number}.png,Aus {number % 2},fam\n" for number in numbers)
        (tmp_path / f"classification_{word}.csv").write_text(f"filename,standardized_species,family\n{rows}")
    named = {"splits": {"train": "classification_train.csv", "test": "classification_test.csv"}}
    assert [entry.split for entry in read_source(tmp_path, SourceConfig.parse(named)).entries] == ["train"] * 3 + ["test"] * 2
    listing = read_source(tmp_path, SourceConfig())
    assert sorted(entry.split or "" for entry in listing.entries) == ["test", "test", "train", "train", "train", "val"]
    assert all(entry.image.is_file() for entry in listing.entries) and "by table" in told(listing)
    result = CliRunner().invoke(
        cli,
        [
            "collect",
            str(tmp_path),
            "--split",
            "train=classification_train.csv",
            "--split",
            "test=classification_test.csv",
            "--out",
            str(tmp_path / "o"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(cli, ["collect", str(tmp_path), "--split", "all=x.csv", "--out", str(tmp_path / "p")]).exit_code == 2


def test_an_image_in_two_splits_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "train.csv").write_text("file,species\na.png,Aus\nb.png,Aus\n")
    (tmp_path / "test.csv").write_text("file,species\na.png,Aus\n")
    listing = read_source(tmp_path, SourceConfig())
    assert [(item.row, item.reason) for item in listing.refused] == [(1, "is in two splits")] * 2 and len(listing.entries) == 1
    assert "train.csv row 1" in listing.refused[0].hint and "test.csv row 1" in listing.refused[0].hint


def test_two_species_for_one_photograph_are_refused_and_two_animals_are_not(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    listing = listed(tmp_path, "file,species\na.png,Aus\nb.png,Bus\n./a.png,Cus\n")
    assert refusal(listing) == dict.fromkeys((1, 3), "is listed with two species")
    assert "Row 1 says Aus" in listing.refused[0].hint and "Row 3" in listing.refused[0].hint
    listing = listed(tmp_path, "file,species,box\na.png,Aus,1 1 9 9\na.png,Cus,10 1 19 9\na.png,Cus,10 1 19 9\nb.png,Bus,\n")
    assert refusal(listing) == {3: "is listed twice"}
    assert [entry.group for entry in listing.entries] == ["a.png", "a.png", None]


def test_conventions_of_boxes(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")

    def box(header: str, cells: str, **settings: object) -> tuple[object, str]:
        listing = listed(tmp_path, f"file,species,{header}\na.png,Aus,{cells}\n", **settings)
        return listing.entries[0].box, told(listing)

    assert box("xmin,ymin,xmax,ymax", "1,2,11,12")[0] == (1, 2, 11, 12)
    assert box("bbox_x,bbox_y,bbox_width,bbox_height", "1,2,11,12")[0] == (1, 2, 12, 14)
    assert box("x,y,width,height", "1,2,11,12")[0] == (1, 2, 12, 14)
    assert box("x,y,width,height", "0,0,40,30")[0] is None  # those of the image
    assert box("bbox", '"[1, 2, 11, 12]"', box_format="size")[0] == (1, 2, 12, 14)
    assert box("bbox", "1 2 11 12")[0] == (1, 2, 11, 12) and "left, top, right, bottom" in box("bbox", "1 2 11 12")[1]
    for cells in ("20 20 10 9", "1 2 50 12", "0.1 0.2 0.5 0.5"):
        none, words = box("bbox", cells)
        assert none is None and "not used" in words and "--box-format" in words


def test_names_of_files_in_other_spellings(tmp_path: Path) -> None:
    draw(tmp_path / "DCIM" / "IMG_1.JPG")
    draw(tmp_path / "DCIM" / "Bu\u0308sum 2.jpg", 1)
    draw(tmp_path / "DCIM" / "deep" / "only.png", 2)
    names = [
        "dcim\\img_1.jpg",
        "DCIM/B\u00fcsum%202.jpg",
        "only.png",
        "./DCIM/deep/only",
        "C:\\Users\\me\\DCIM\\img_1.jpg",
        "/home/me/project/DCIM/deep/only.png",
    ]
    for name in names:
        (entry,) = listed(tmp_path, f"file,species\n{name},Aus\n").entries
        assert entry.image.is_file(), name


def test_a_name_that_may_be_several_files_is_refused_and_none_is_guessed(tmp_path: Path) -> None:
    draw(tmp_path / "Aus" / "1.jpg")
    draw(tmp_path / "Bus" / "1.jpg", 1)
    draw(tmp_path / "Aus" / "x.JPG", 2)
    draw(tmp_path / "Aus" / "X.jpg", 3)
    draw(tmp_path / "Bus" / "7.jpg", 4)
    listing = listed(tmp_path, "file,species\n1.jpg,Aus\nAus/x.jpg,Aus\nAus/7.jpg,Aus\nAus/nowhere.jpg,Aus\n")
    assert refusal(listing) == {1: "could be one of several files", 2: "could be one of several files", 3: "is missing, but a similar name is there"}
    assert "Aus/1.jpg and Bus/1.jpg" in listing.refused[0].hint and "Bus/7.jpg" in listing.refused[2].hint
    assert not listing.entries[0].image.exists()


def test_two_names_never_mean_one_file(tmp_path: Path) -> None:
    draw(tmp_path / "1.jpg")
    listing = listed(tmp_path, "file,species\nC:\\Aus\\1.jpg,Aus\nC:\\Bus\\1.jpg,Aus\n")
    assert refusal(listing) == dict.fromkeys((1, 2), "shares its file with another name")


def test_tables_in_the_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for number in range(2):
            draw(tmp_path / split / f"{number}.png", number)
        (tmp_path / split / "metadata.jsonl").write_text("".join(json.dumps({"file_name": f"{n}.png", "label": f"Aus {n}"}) + "\n" for n in range(2)))
    draw(tmp_path / "train" / "more.png", 9)
    listing = read_source(tmp_path, SourceConfig())
    assert sorted((entry.split, entry.species) for entry in listing.entries) == [
        ("test", "Aus 0"), ("test", "Aus 1"), ("train", "Aus 0"), ("train", "Aus 1")
    ]  # fmt: skip
    assert all(entry.image.is_file() for entry in listing.entries) and "1 image files of the folder are in no row" in told(listing)


def test_a_folder_with_its_table_is_read_by_the_table(tmp_path: Path) -> None:
    for number in range(3):
        draw(tmp_path / "images" / f"{number}.png", number)
    (tmp_path / "labels.csv").write_text("file,species\n" + "".join(f"images/{number}.png,Aus {number}\n" for number in range(3)))
    assert [entry.species for entry in read_source(tmp_path, SourceConfig()).entries] == ["Aus 0", "Aus 1", "Aus 2"]
    (tmp_path / "other.csv").write_text("file,species\nimages/0.png,Bus\n")
    with pytest.raises(InputError, match=r"2 tables.*labels.csv, other.csv"):
        read_source(tmp_path, SourceConfig())
    (tmp_path / "labels.csv").write_text("file,species,split\n" + "".join(f"images/{number}.png,Aus {number},test\n" for number in range(3)))
    listing = read_source(tmp_path, SourceConfig())
    assert len(listing.entries) == 3 and "not other.csv" in told(listing)


def test_images_in_another_folder(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere" / "a.png")
    assert listed(tmp_path / "tables", "file,species\na.png,Aus\n", images=str(tmp_path / "elsewhere")).entries[0].image.is_file()
    with pytest.raises(InputError, match="--images"):
        listed(tmp_path / "tables", "file,species\na.png,Aus\n", images="nowhere")


def test_many_rows_are_listed_in_seconds(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / f"IMG_{number}.JPG").touch()
    rows = "".join(f'img_{number % 500}.jpg,Aus {number % 7},"{number} 1 {number + 9} 9",CC0\n' for number in range(20_000))
    start = time.process_time()
    listing = listed(tmp_path, "file,species,box,licence\n" + rows)
    assert time.process_time() - start < 3
    assert len(listing.items) == 20_000 and all(isinstance(item, (Entry, Refused)) for item in listing.items)
