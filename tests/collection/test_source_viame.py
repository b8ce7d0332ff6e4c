from __future__ import annotations

from pathlib import Path

import pytest
from marked import imported, marked, refused, said, shown_colours

from syntype.collection.sources import SourceConfig, read_source, recognise
from syntype.errors import InputError

HEADER = (
    "# 1: Detection or Track-id,2: Video or Image Identifier,3: Unique Frame Identifier,4-7: Img-bbox(TL_x,TL_y,BR_x,BR_y),"
    "8: Detection or Length Confidence,9: Target Length (0 or -1 if invalid),10-11+: Repeated Species,Confidence Pairs or Attributes\n"
    '# metadata,"Fps: 5","exported_by: ""dive:python"""\n'
)
ROWS = [
    "0,f1.png,0,4,8,16,20,1,0,Naso lituratus,1,(kp) head 5 9,(atr) sex female,(poly) 4 8 16 8 16 20",
    "0,f2.png,1,20,6,32,18,1,-1,Naso lituratus,1.0",
    "1,f2.png,1,40.5,30.5,52,42,0.9,12.5,Zebrasoma scopas,0.3,Naso brevirostris,0.6",
]


def tracks(folder: Path, rows: list[str] = ROWS, header: str = HEADER) -> Path:
    """Track 0 in both frames (red, green), track 1 in the second (blue)."""
    marked(folder / "f1.png", {"red": (4, 8, 16, 20)})
    marked(folder / "f2.png", {"green": (20, 6, 32, 18), "blue": (40, 30, 53, 43)})
    (folder / "annotations.viame.csv").write_text(header + "\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("header", [HEADER, "", "# a comment\n\n"])
def test_tracks_are_groups_and_the_likeliest_species_counts(tmp_path: Path, header: str) -> None:
    source = tracks(tmp_path / "in", header=header)
    result = imported(source, tmp_path / "out")
    table = result.collection.table
    assert table["species"].tolist() == ["Naso lituratus", "Naso lituratus", "Naso brevirostris"]
    assert table["group"].tolist() == ["0", "0", "1"] and result.num_refused == 0
    assert shown_colours(result.collection) == ["red", "green", "blue"]
    assert table["split"].nunique() == 1  # the second frame shows both tracks
    assert table["attribute_sex"][0] == "female" and table["target_length"][2] == "12.5" and table["confidence"][2] == "0.6"
    assert "1 detection with a confidence below 1" in said(source)


def test_the_file_itself_and_images_elsewhere(tmp_path: Path) -> None:
    source = tracks(tmp_path / "in")
    (source / "annotations.viame.csv").rename(tmp_path / "a.csv")
    assert recognise(tmp_path / "a.csv", SourceConfig()).name == "viame"
    result = imported(tmp_path / "a.csv", tmp_path / "out", images=str(source))
    assert len(result.collection) == 3


@pytest.mark.parametrize("identifier", ["dive.mp4", "00:00:01.200000", "", "GOPRO.MOV"])
def test_frames_of_a_film_are_told(tmp_path: Path, identifier: str) -> None:
    source = tracks(tmp_path / "in", [f"0,{identifier},{n},4,8,16,20,1,0,Naso lituratus,1" for n in range(3)])
    with pytest.raises(InputError, match=r"frames of a film.*Extract the frames"):
        read_source(source, SourceConfig())
    mixed = tracks(tmp_path / "mixed", [*ROWS, f"0,{identifier},2,4,8,16,20,1,0,Naso lituratus,1"])
    imported(mixed, tmp_path / "out")
    assert [(row["row"], row["reason"]) for row in refused(tmp_path / "out")] == [("6", "is a frame of a film, not an image file")]


def test_rows_without_a_species_a_box_or_enough_columns_are_refused_by_their_line(tmp_path: Path) -> None:
    rows = [*ROWS, "2,f1.png,0,4,8,16,20,1,0", "3,f1.png,0,4,8,x,20,1,0,Naso lituratus,1", "4,f1.png,0", "x,f1.png,0,4,8,16,20,1,0,Naso,1", ROWS[0],
            "5,f1.png,0,4,8,16,20,1,0,unknown,1", "6,f1.png,0,16,8,4,20,1,0,Naso lituratus,1"]  # fmt: skip
    source = tracks(tmp_path / "in", rows)
    result = imported(source, tmp_path / "out")
    assert [(row["row"], row["reason"]) for row in refused(tmp_path / "out")] == [
        ("6", "names no species"), ("7", "has a box that is not four numbers"), ("8", "has too few columns"),
        ("9", "has no number of a detection or track"), ("10", "is listed twice"),
    ]  # fmt: skip
    assert len(result.collection) == 4 and "box not used" in result.collection.table["note"][3]
    assert "1 annotation left out, because the label names no species (1 'unknown')" in said(source)


def test_a_track_with_two_names_is_told(tmp_path: Path) -> None:
    source = tracks(tmp_path / "in", [ROWS[0], ROWS[1].replace("lituratus", "unicornis")])
    assert "1 track named as different species in different frames (0)" in said(source)


def test_names_with_accents_in_an_old_encoding_are_read_and_told(tmp_path: Path) -> None:
    source = tracks(tmp_path / "in")
    (source / "annotations.viame.csv").write_bytes(ROWS[0].replace("lituratus", "kérguelé").encode("cp1252"))
    assert [entry.species for entry in read_source(source, SourceConfig()).entries] == ["Naso kérguelé"]
    assert "Windows-1252" in said(source)


def test_other_tables_of_numbers_are_not_taken_for_viame(tmp_path: Path) -> None:
    (tmp_path / "mot.csv").write_text("1,2,3,4,5,6,0.9,-1,-1,-1\n1,3,3,4,5,6,0.9,-1,-1,-1\n")
    (tmp_path / "table.csv").write_text("file_name,species,a,b,c,d,e,f,g,h,i\na.jpg,Naso,1,2,3,4,5,6,7,8,9\n")
    assert {recognise(tmp_path / name, SourceConfig()).name for name in ("mot.csv", "table.csv")} == {"table"}


@pytest.mark.parametrize("given", [{"species_column": "species"}, {"group_column": "x"}, {"splits": {"train": "a.csv"}}])
def test_options_that_the_format_has_no_use_for_are_refused(tmp_path: Path, given: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"VIAME CSV, which has no .*Leave --"):
        read_source(tracks(tmp_path / "in"), SourceConfig.parse(given))
