"""Random tables: every cell comes back as it was written; damaged tables are read or refused by number, and no cell moves into another column."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from syntype.collection.sources import Entry, Listing, SourceConfig, read_source
from syntype.errors import InputError

_LETTERS = st.sampled_from(["a", "B", "7", " ", ",", ";", "\t", "|", '"', '""', "\n", "é", "魚", "'", "#", "=", "\\", "-", "NA", "e\u0301"])
_CELLS = st.lists(_LETTERS, max_size=6).map("".join)
_NAMES = st.sampled_from(["Aus primus", "Bus é", "魚 b", "Aus × bus", 'Aus "x"', "Aus, bus", "Aus; bus"])
_ROWS = st.lists(st.tuples(_NAMES, _CELLS, _CELLS), min_size=1, max_size=12)


def listed(data: bytes, ending: str = ".csv") -> Listing:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{ending}"
        path.write_bytes(data)
        return read_source(path, SourceConfig())


def written(rows: list[tuple[str, str, str]], delimiter: str, quoting: int, end: str) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerow(["file_name", "species", "remark", "place"])
    writer.writerows([f"{number}.jpg", *row] for number, row in enumerate(rows))
    return buffer.getvalue()


def squeezed(text: str) -> str:
    import unicodedata

    return " ".join(unicodedata.normalize("NFC", text).split())


@settings(max_examples=150, deadline=None)
@given(
    rows=_ROWS,
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_every_cell_comes_back(rows: list[tuple[str, str, str]], delimiter: str, quoting: int, end: str, encoding: str) -> None:
    listing = listed(written(rows, delimiter, quoting, end).encode(encoding))
    assert [item.row for item in listing.items] == list(range(1, len(rows) + 1))
    for item, (number, (species, remark, place)) in zip(listing.items, enumerate(rows), strict=True):
        assert isinstance(item, Entry), item
        assert item.original_name == f"{number}.jpg" and item.species == squeezed(species)
        assert (item.values.get("remark"), item.values.get("place")) == (remark.strip() or None, place.strip() or None)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.sampled_from(["Aus primus", "Bus secundus", "Cus tertius"]), min_size=2, max_size=15),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    delimiter=st.sampled_from([",", "\t"]),
    data=st.data(),
)
def test_a_damaged_table_loses_no_row_and_shifts_no_cell(rows: list[str], quoting: int, delimiter: str, data: st.DataObject) -> None:
    licences = ["CC0" if number % 2 else "CC BY-NC" for number in range(len(rows))]
    text = written([(name, "near, by" if number % 3 else "", licence) for number, (name, licence) in enumerate(zip(rows, licences, strict=True))],
                   delimiter, quoting, "\n").replace("place", "license")  # fmt: skip
    first = text.index("\n") + 1
    where = data.draw(st.integers(first, len(text) - 1))
    stray = data.draw(st.sampled_from(['"', delimiter, '""', f'{delimiter}"', "\\", f"{delimiter}{delimiter}"]))
    damaged = text[:where] + stray + text[where:]
    lines = damaged.count("\n") - 1
    try:
        listing = listed(damaged.encode())
    except InputError as error:
        assert len(str(error)) < 500
        return
    assert len(listing.items) == lines
    hit = text[:where].count("\n")
    for item in listing.items:
        if item.row == hit or not isinstance(item, Entry):
            continue
        assert item.row is not None and item.original_name == f"{item.row - 1}.jpg"
        assert (item.species, item.values["licence"]) == (rows[item.row - 1], licences[item.row - 1])
    assert sum(not isinstance(item, Entry) for item in listing.items) <= 1


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=300), ending=st.sampled_from([".csv", ".tsv", ".txt", ".jsonl", ".xlsx", ".parquet", ".dat"]), with_header=st.booleans()
)
def test_no_bytes_end_in_a_traceback(data: bytes, ending: str, with_header: bool) -> None:
    try:
        listing = listed((b"file_name,species,box\n" if with_header else b"") + data, ending)
    except InputError as error:
        assert len(str(error)) < 1000
    else:
        assert listing.items
