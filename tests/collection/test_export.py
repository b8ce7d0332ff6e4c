"""Exports: what another program finds in the file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from made import make_collection

from syntype.collection import Collection
from syntype.collection.exports import ExportConfig, export
from syntype.errors import CollectionError
from syntype.run import Run


@pytest.fixture
def judged(tmp_path: Path) -> Collection:
    """Two species whose folders would be one on some disks, and a refused image."""
    made = make_collection(tmp_path / "made", {"Aus primus": 3, "aus/../primus": 2})
    table = made.table.assign(verdict=pd.array(["refused", None, "accepted", None, None], dtype="string"))
    return Collection.create(made.root, table, species=made.species)


def test_a_folder_per_species_with_a_table_that_names_every_file(judged: Collection, tmp_path: Path) -> None:
    result = export(judged, ExportConfig(), tmp_path / "out", Run.silent())
    with zipfile.ZipFile(result.file) as archive:
        table = pd.read_csv(io.BytesIO(archive.read("metadata.csv")))
        assert sorted(table["file_name"]) == sorted(set(archive.namelist()) - {"metadata.csv", "metadata.parquet", "collection.json"})
        assert archive.read(table["file_name"][0]) == judged.path(1).read_bytes()
    assert len(table) == result.num_images == 4
    assert not any(".." in name or name.startswith("/") for name in table["file_name"])
    assert table["file_name"].str.split("/").str[0].str.lower().nunique() == 2


def test_a_collection_unpacks_to_a_collection(judged: Collection, tmp_path: Path) -> None:
    result = export(judged, ExportConfig(layout="collection", usable=False), tmp_path / "out", Run.silent())
    with zipfile.ZipFile(result.file) as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = Collection.open(tmp_path / "unpacked")
    pd.testing.assert_frame_equal(unpacked.table, judged.hashed().table)
    assert all(unpacked.path(row).is_file() for row in range(len(unpacked)))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {result.file.name, "export.json"}


def test_a_table_alone_and_nothing_to_export(judged: Collection, tmp_path: Path) -> None:
    assert len(pd.read_csv(export(judged, ExportConfig(layout="table"), tmp_path / "out", Run.silent()).file)) == 4
    refused = Collection.create(judged.root, judged.table.assign(verdict="refused"), species=judged.species)
    with pytest.raises(CollectionError, match="Add --all"):
        export(refused, ExportConfig(), tmp_path / "none", Run.silent())
