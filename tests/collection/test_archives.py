"""Archives on the command line: what is in them comes in as if the folder had been given, and nothing of them harms."""

from __future__ import annotations

import io
import tarfile
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.collection.archives import ArchiveLimits, is_archive, unpack
from syntype.collection.importers import CollectConfig, CollectResult, collect
from syntype.collection.preview import preview
from syntype.collection.sources import SourceConfig
from syntype.errors import InputError, UserError
from syntype.run import Run


def picture(seed: int, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def reef(folder: Path) -> Path:
    """Five photographs of two species, their table, and what systems leave beside them, in a folder around it all."""
    inner = folder / "my reef"
    for number in range(5):
        path = inner / "images" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    (inner / "__MACOSX").mkdir()
    (inner / "__MACOSX" / "._0.jpg").write_bytes(b"x")
    (inner / "labels.csv").write_text(
        "file,species,track\n" + "".join(f"images/{n}.jpg,{'Aus primus' if n < 3 else 'Bus alter'},{n // 2}\n" for n in range(5))
    )
    return folder


def packed(folder: Path, file: Path) -> Path:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
    else:
        with tarfile.open(file, f"w:{file.suffix[1:].replace('tgz', 'gz').replace('tar', '')}") as tar:
            tar.add(folder, ".")
    return file


def imported(source: Path, out: Path, **given: object) -> CollectResult:
    return collect(source, CollectConfig.parse(given), out, Run.silent())


@pytest.mark.parametrize("name", ["reef.zip", "reef.tar", "reef.tgz", "reef.tar.gz", "reef.tar.bz2", "reef.tar.xz"])
def test_an_archive_is_read_like_its_folder(tmp_path: Path, name: str) -> None:
    folder = reef(tmp_path / "in")
    wanted = imported(folder, tmp_path / "of-folder").collection
    archive = packed(folder, tmp_path / name)
    seen = preview(archive, SourceConfig())
    assert seen.num_images == 5 and seen.num_missing == 0 and "1 file" not in seen.text()
    result = imported(archive, tmp_path / "out")
    assert result.collection.fingerprint == wanted.fingerprint
    assert result.collection.table["original_name"].tolist() == wanted.table["original_name"].tolist()
    assert result.collection.info["sources"] == [f"{archive}/my reef"] and result.collection.info["history"][-1]["source"] == str(archive)
    assert not list((tmp_path / "out").glob(".unpacked*")) and not list(tmp_path.glob(".unpacked*"))


def test_refused_files_are_named_by_their_paths_in_the_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("Aus primus/1.jpg", picture(1))
        archive.writestr("Aus primus/2.jpg", picture(2)[:100])
        archive.writestr("Aus primus/3.jpg", b"")
        archive.writestr("Aus primus/inner.zip", b"PK")
        archive.writestr("Aus primus/" + "x" * 230 + ".jpg", picture(3))
    result = imported(tmp_path / "a.zip", tmp_path / "out")
    refused = pd.read_csv(tmp_path / "out" / "refused.csv").set_index("file")
    assert len(result.collection) == 1 and result.num_refused == len(refused) == 4
    assert refused.loc["Aus primus/2.jpg", "reason"] == "is truncated or damaged" and "empty" in refused.loc["Aus primus/3.jpg", "reason"]
    assert refused.loc["Aus primus/inner.zip", "reason"] == "is an archive in the archive"
    assert not any(str(tmp_path) in name or "unpacked" in name for name in refused.index)


def test_errors_name_the_archive_and_not_where_it_was_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("labels.csv", "a,b\n1,2\n")
        archive.writestr("images/1.jpg", picture(1))
    with pytest.raises(InputError) as caught:
        imported(tmp_path / "a.zip", tmp_path / "out", file_column="photo")
    assert str(caught.value).startswith(f"{tmp_path / 'a.zip'}/labels.csv: ") and "unpacked" not in str(caught.value)
    assert not list((tmp_path / "out").glob(".unpacked*"))


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([("../../evil.jpg", b"x")], "leads out of it"),
        ([("/etc/evil.jpg", b"x")], "leads out of it"),
        ([("Aus/ok.jpg", b"x"), ("Aus/link.jpg", None)], "is a link or a device"),
    ],
)
def test_an_archive_that_could_do_harm_is_refused_as_a_whole(tmp_path: Path, entries: list[tuple[str, bytes | None]], reason: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data or b""))
    with pytest.raises(InputError, match=reason):
        imported(tmp_path / "a.tar", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.jpg")) and not list((tmp_path / "out").glob(".unpacked*"))


def test_a_bomb_is_stopped_by_what_it_really_holds(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        info = tarfile.TarInfo("Aus/1.jpg")
        info.size = 30_000_000
        tar.addfile(info, io.BytesIO(b"\0" * info.size))
    with pytest.raises(InputError, match="unpacks to more than is allowed"):
        unpack(tmp_path / "a.tgz", tmp_path / "x", ArchiveLimits(file_bytes=1_000_000))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Aus/1.jpg", b"\0" * 30_000_000)
    with pytest.raises(InputError, match="unpacks to more than is allowed"):
        unpack(tmp_path / "a.zip", tmp_path / "y", ArchiveLimits())


def test_other_archives_are_named(tmp_path: Path) -> None:
    for name, word in (("a.7z", "7z"), ("a.rar", "RAR")):
        (tmp_path / name).write_bytes(b"7z\xbc\xaf")
        with pytest.raises(InputError, match=rf"is a {word} archive, which is not opened\. Unpack it, and give the folder"):
            imported(tmp_path / name, tmp_path / "out")
    (tmp_path / "a.xlsx").write_bytes(b"PK\3\4")
    assert not is_archive(tmp_path / "a.xlsx") and not is_archive(tmp_path / "missing.zip")
    for name in ("b.zip", "b.tar.gz", "b.tgz"):
        (tmp_path / name).write_bytes(b"nonsense" * 20)
        with pytest.raises(InputError, match="that can be read"):
            imported(tmp_path / name, tmp_path / "out")


NAMES = st.sampled_from(
    ["Aus primus/1.jpg", "Aus primus/2.jpg", "train/Aus/3.jpg", "test/Bus/4.png", "x/y/z/5.jpg", "6.jpg", "._7.jpg", "@eaDir/8.jpg", "Aus primus",
     "labels.csv", "metadata.csv", "a\\b.jpg", "ä/ö.jpg", "con.jpg", "-x/1.jpg", "meta.xml", "datapackage.json", "data.json", "Aus/1.zip", "  /1.jpg"]
)  # fmt: skip
CONTENTS = st.one_of(
    st.integers(0, 5).map(picture), st.just(b""), st.binary(max_size=50),
    st.sampled_from([b"file,species\n6.jpg,Aus\n", b"{", b"<archive/>", b'{"images": [], "annotations": []}', b"\xff\xfe\0"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.lists(st.tuples(NAMES, CONTENTS), max_size=8), tar=st.booleans(), cut=st.sampled_from([None, None, None, 0.3, 0.9]))
def test_whatever_is_in_an_archive_there_is_a_collection_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, bytes]], tar: bool, cut: float | None
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    file = folder / ("a.tar.gz" if tar else "a.zip")
    if tar:
        with tarfile.open(file, "w:gz") as archive:
            for name, data in entries:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        with zipfile.ZipFile(file, "w") as archive, pytest.warns() if len({name for name, _ in entries}) < len(entries) else nullcontext():
            for name, data in entries:
                archive.writestr(name, data)
    if cut is not None:
        data = file.read_bytes()
        file.write_bytes(data[: int(cut * len(data))])
    try:
        result = imported(file, folder / "out")
    except UserError as error:
        assert len(str(error)) < 2000 and "\n" not in str(error) and "unpacked" not in str(error)
    else:
        assert len(result.collection) >= 1 and result.collection.table["species"].notna().all()
    assert not list((folder / "out").glob(".unpacked*"))


def test_an_import_of_an_archive_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, out = packed(reef(tmp_path / "in"), tmp_path / "reef.zip"), tmp_path / "out"
    command = ["collect", str(archive), "--out", str(out), "--quiet"]

    def stopped(*_: object) -> None:
        (out / "images").mkdir()
        (out / "images" / "half.jpg").write_bytes(b"half")
        (out / ".unpacked-killed").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("syntype.collection.importers.copy_images", stopped)
        assert main(command) == 130
    assert main([*command, "--resume"]) == 0
    assert len(Collection.open(out)) == 5 and not (out / "images" / "half.jpg").exists() and not list(out.glob(".unpacked*"))
