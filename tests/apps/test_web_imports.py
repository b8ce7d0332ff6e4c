"""What is sent to the Studio is looked at before it is imported, by the code that imports it."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from studio_server import SMALL, browser, png, raw_name, wait, zipped

from syntype.apps.web.limits import Limits, StudioConfig
from syntype.apps.web.looking import look
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection
from syntype.collection.archives import unpack
from syntype.errors import InputError

OPEN_NAMES = [
    "Aurelia sp.", "Aurelia cf. aurita", "Cyanea × nozakii", "Pelagia noctiluca (Forsskål, 1775)", 'Naso "sp." 1', "Naso sp. nov.", "Naso sp. ?",
]  # fmt: skip


@pytest.fixture
def client(tmp_path: Path, ready_jobs: None, looked_at_here: None) -> Iterator[TestClient]:
    with browser(Workspace(tmp_path / "workspace")) as client:
        yield client


def photograph(number: int) -> bytes:
    return png(30 + number, (11 * number % 256, 90, 40))


def table(rows: list[tuple[str, str]], header: tuple[str, str] = ("file_name", "species")) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([header, *rows])
    return file.getvalue().encode()


def send(client: TestClient, upload: str, name: str, content: bytes, species: str | None = None) -> Any:
    return client.put(f"/api/uploads/{upload}/files", params={"name": name} | ({"species": species} if species else {}), content=content)


def begin(client: TestClient, *files: tuple[str, bytes]) -> str:
    """An upload to which these zips and tables were sent."""
    upload: str = client.post("/api/uploads").json()["upload"]
    for name, content in files:
        assert send(client, upload, name, content).status_code == 200
    return upload


def look_at(client: TestClient, upload: str, **options: Any) -> Any:
    return client.get(f"/api/uploads/{upload}/preview", params=options).json()


def take_in(client: TestClient, upload: str, name: str, **options: Any) -> dict[str, Any]:
    job = client.post("/api/jobs", json={"kind": "import", "name": name, "upload": upload, **options}).json()
    return wait(client, job["id"])


@pytest.mark.parametrize("looked_at_here", [False], indirect=True)
def test_a_table_in_a_zip_says_what_the_photographs_show(client: TestClient) -> None:
    rows = [(f"images/{number}.png", f"Aus {'primus' if number < 4 else 'secundus'}") for number in range(6)]
    files = [(name, photograph(number)) for number, (name, _) in enumerate(rows)]
    upload = begin(client, ("fish.zip", zipped(("metadata.csv", table(rows)), *files)))
    seen = look_at(client, upload)
    assert seen["species"] == {"Aus primus": 4, "Aus secundus": 2} and seen["sentence"].startswith("Table with a row for each image: 6 photographs")
    assert seen["rows"][0]["file"] == "images/0.png" and seen["rows"][0]["path"] == "images/0.png" and seen["num_refused"] == 0
    assert client.get(f"/api/uploads/{upload}/thumbnail", params={"path": seen["examples"][1]["path"]}).headers["content-type"] == "image/webp"
    job = take_in(client, upload, "fish")
    assert job["status"] == "finished" and job["result"]["num_images"] == 6
    assert client.get("/api/collections/fish").json()["facets"]["species"] == {"Aus primus": 4, "Aus secundus": 2}
    assert client.get(f"/api/uploads/{upload}").status_code == 404


def test_a_table_can_be_sent_beside_its_zip(client: TestClient) -> None:
    upload = begin(client, ("images.zip", zipped(("images/0.png", photograph(0)))), ("metadata.csv", table([("images/0.png", "Aus primus")])))
    assert client.get(f"/api/uploads/{upload}").json()["num_tables"] == 1
    assert look_at(client, upload)["species"] == {"Aus primus": 1}


def test_columns_of_other_names_can_be_named_and_the_import_uses_them(client: TestClient) -> None:
    rows = [(f"{number}.png", f"Aus {number % 2}") for number in range(4)]
    members = [("metadata.csv", table(rows, ("x1", "x2"))), *((name, photograph(number)) for number, (name, _) in enumerate(rows))]
    upload = begin(client, ("fish.zip", zipped(*members)))
    told = look_at(client, upload)["error"]
    assert (
        "metadata.csv: has no column that names the file; its columns are: x1, x2" in told
        and "--" not in told
        and told.endswith("under “It should be read in another way”.")
    )
    options = {"file_column": "x1", "species_column": "x2"}
    assert look_at(client, upload, **options)["species"] == {"Aus 0": 2, "Aus 1": 2}
    assert take_in(client, upload, "fish", **options)["result"]["num_species"] == 2


def test_names_are_corrected_before_the_import_and_what_is_missing_is_filled_in(client: TestClient) -> None:
    names = ["Aus primus"] * 3 + ["Aus prymus"] * 2 + ["Boats"]
    upload = begin(client, ("fish.zip", zipped(*((f"{name}/{number}.png", photograph(number)) for number, name in enumerate(names)))))
    asked: dict[str, Any] = {"rename": ["Aus prymus=Aus primus"], "leave_out": ["Boats"], "default_licence": "CC0 1.0"}
    seen = look_at(client, upload, **asked)
    assert seen["species"] == {"Aus primus": 5} and seen["licences"] == {"CC0 1.0": 5}
    [left_out] = seen["refused_items"]
    assert left_out["file"] == "Boats/5.png" and left_out["hint"] == "Tick it in the list of species to import it."
    told = look_at(client, upload, rename=["Aus primus="])["error"]
    assert "rename" in told.lower() or "name" in told
    assert "did you mean" in look_at(client, upload, leave_out=["Boat"])["error"].lower()
    assert take_in(client, upload, "fish", **asked)["result"]["num_species"] == 1
    assert client.get("/api/collections/fish").json()["facets"]["species"] == {"Aus primus": 5}


@pytest.mark.parametrize("looked_at_here", [False], indirect=True)
def test_folders_that_name_no_species_are_told_in_the_words_of_the_page(client: TestClient) -> None:
    upload = begin(client, ("fish.zip", zipped(*((f"images/{number}.png", photograph(number)) for number in range(3)))))
    told = look_at(client, upload)["error"]
    assert "they lie in 'images'" in told and "choose folders under “It should be read in another way”" in told and "--" not in told
    assert look_at(client, upload, format="folders")["species"] == {"images": 3}


def test_names_of_open_nomenclature_are_species_in_zips_and_of_single_photographs(client: TestClient) -> None:
    upload = begin(client, ("photos.zip", zipped(*((f"{name}/{number}.png", photograph(number)) for name in OPEN_NAMES for number in range(2)))))
    assert look_at(client, upload)["species"] == dict.fromkeys(sorted(OPEN_NAMES), 2)
    single = client.post("/api/uploads").json()["upload"]
    for name in OPEN_NAMES:
        assert send(client, single, "a.png", photograph(1), name).status_code == 200, name
    assert look_at(client, single)["species"] == dict.fromkeys(sorted(OPEN_NAMES), 1)


def test_backslashes_are_folders_as_windows_packs_them(client: TestClient) -> None:
    names = [f"Aurelia cf. aurita\\{number}.png" for number in range(3)] + [f"Rhizostoma pulmo\\{number}.png" for number in range(2)]
    upload = begin(client, ("windows.zip", zipped(*((raw_name(name), photograph(number)) for number, name in enumerate(names)))))
    assert look_at(client, upload)["species"] == {"Aurelia cf. aurita": 3, "Rhizostoma pulmo": 2}


@pytest.mark.parametrize("system", ["utf-8", "cp850", "cp437", "cp1252"])
@pytest.mark.parametrize("name", ["Pelagia Forsskål", "Müllers Äsche", "Ñandú común"])
def test_letters_in_zips_of_other_systems_are_read(system: str, name: str, tmp_path: Path) -> None:
    ascii_name = "".join("~" if ord(letter) > 127 else letter for letter in name)
    data = zipped((f"{ascii_name}/a.png", png()))
    encoded = name.encode(system, "ignore")
    if len(encoded) != len(name):  # as macOS writes it: UTF-8, without the mark
        data = zipped((f"{'x' * len(encoded)}/a.png", png())).replace(b"x" * len(encoded), encoded)
    else:
        data = data.replace(ascii_name.encode(), encoded)
    (tmp_path / "a.zip").write_bytes(data)
    found = unpack(tmp_path / "a.zip", tmp_path / "out", SMALL.of_archive())
    assert [path.parent.name for path in found.images] == [name]


def test_what_macos_and_clouds_add_is_no_photograph(client: TestClient) -> None:
    members = [(f"Aus primus/{number}.png", photograph(number)) for number in range(3)]
    noise = ["__MACOSX/Aus primus/._0.png", "Aus primus/._1.png", ".DS_Store", "Aus primus/@eaDir/0.png", "#recycle/9.png", "Aus primus/Thumbs.db"]
    upload = begin(client, ("photos.zip", zipped(*members, *((name, photograph(9)) for name in noise))))
    seen = look_at(client, upload)
    assert seen["species"] == {"Aus primus": 3} and seen["num_refused"] == 0 and seen["received"] == []


def test_photographs_whose_species_nobody_says_are_refused(client: TestClient) -> None:
    upload = client.post("/api/uploads").json()["upload"]
    answer = send(client, upload, "photos.zip", zipped(("a.png", png()), ("b.png", png())))
    assert answer.status_code == 422 and "lie in no folder that names a species" in answer.json()["error"]
    assert send(client, upload, "photos.zip", zipped(("a.png", png()), ("deep/a.png", photograph(1))), "Aus primus").json()["num_taken"] == 2
    assert look_at(client, upload, species="Aus primus")["species"] == {"Aus primus": 2}, "if that is said"


def test_tables_and_photographs_whose_species_was_said_do_not_mix(client: TestClient) -> None:
    fish = zipped(("metadata.csv", table([("0.png", "Aus primus")])), ("0.png", photograph(0)))
    upload = begin(client, ("fish.zip", fish))
    answer = send(client, upload, "a.png", png(), "Bus secundus")
    assert answer.status_code == 422 and "Import them separately" in answer.json()["error"]
    answer = send(client, upload, "more.zip", zipped(("0.png", photograph(1)), ("Aus/1.png", photograph(2))))
    assert answer.status_code == 422 and "another '0.png' already" in answer.json()["error"], "the table would name the wrong photograph"
    assert look_at(client, upload)["num_images"] == 1
    single = client.post("/api/uploads").json()["upload"]
    assert send(client, single, "a.png", png(), "Bus secundus").status_code == 200
    assert send(client, single, "fish.zip", fish).status_code == 422


def test_a_row_whose_photograph_was_refused_has_the_reason_of_the_photograph(client: TestClient) -> None:
    rows = [("0.png", "Aus primus"), ("broken.png", "Aus primus"), ("never.png", "Aus primus")]
    upload = begin(client, ("fish.zip", zipped(("metadata.csv", table(rows)), ("0.png", photograph(0)), ("broken.png", b"no image"))))
    seen = look_at(client, upload)
    assert seen["num_missing"] == 2 and [item["file"] for item in seen["received"]] == ["broken.png"]
    assert take_in(client, upload, "fish")["status"] == "finished"
    refused = {item["file"]: item for item in client.get("/api/collections/fish/refused").json()}
    assert refused.keys() == {"broken.png", "never.png"}
    assert refused["broken.png"]["row"] == 2 and "image" in refused["broken.png"]["reason"] and refused["never.png"]["row"] == 3


def test_uploads_wait_on_the_first_page_until_they_are_imported_or_discarded(client: TestClient) -> None:
    html = {"accept": "text/html"}
    upload = begin(client, ("photos.zip", zipped(*((f"Aus primus/{number}.png", photograph(number)) for number in range(3)))))
    client.post("/api/uploads")  # an empty one is of no interest
    assert [item["upload"] for item in client.get("/api/uploads").json()] == [upload]
    assert f'href="/uploads/{upload}"' in (page := client.get("/", headers=html).text) and "3 photographs of Aus primus" in page
    page = client.get(f"/uploads/{upload}", params={"name": "fish"}, headers=html)
    assert page.status_code == 200 and "Import these" in page.text and 'value="fish"' in page.text
    assert client.get(f"/uploads/{upload}", params={"name": '"><script>'}, headers=html).text.count("<script") == page.text.count("<script")
    assert client.delete(f"/api/uploads/{upload}").status_code == 204
    assert client.get(f"/uploads/{upload}", headers=html).status_code == 404 and client.get("/api/uploads").json() == []


def test_the_name_of_a_collection_is_kept_with_its_upload(client: TestClient) -> None:
    upload = client.post("/api/uploads").json()["upload"]
    assert send(client, upload, "one.png", png(), "Aus primus").json()["num_taken"] == 1
    html = {"accept": "text/html"}
    assert client.put(f"/api/uploads/{upload}/title", json={"title": "Riffe 2026"}).status_code == 204
    assert 'value="Riffe 2026"' in client.get(f"/uploads/{upload}", headers=html).text and "Riffe 2026" in client.get("/", headers=html).text
    assert 'value="Another"' in client.get(f"/uploads/{upload}?name=Another", headers=html).text
    assert client.put(f"/api/uploads/{upload}/title", json={"title": " "}).status_code == 422
    assert client.put(f"/api/uploads/{'0' * 32}/title", json={"title": "x"}).status_code == 404
    client.delete(f"/api/uploads/{upload}")


def test_reasons_for_refusing_a_file_are_told_in_the_language(client: TestClient) -> None:
    upload = client.post("/api/uploads").json()["upload"]
    german = {"accept-language": "de"}
    sent = client.put(f"/api/uploads/{upload}/files", params={"name": "a.png", "species": "Aus primus"}, content=png()[:60], headers=german).json()
    assert sent["error"].startswith("a.png: ist abgeschnitten oder beschädigt. Kopieren Sie es erneut von seiner Quelle ("), sent
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("Aus primus/a.png", png())
        archive.writestr("Aus primus/b.png", png()[:60])
        archive.writestr("Aus primus/c.png", b"")
    client.put(f"/api/uploads/{upload}/files", params={"name": "all.zip"}, content=packed.getvalue(), headers=german)
    seen = client.get(f"/api/uploads/{upload}/preview", headers=german).json()
    told = [*seen["received"], *seen["refused_items"]]
    assert {item["reason"] for item in told} >= {"ist leer (0 Bytes)"}, told
    assert not [item for item in told if item["reason"].startswith("is ")]
    client.delete(f"/api/uploads/{upload}")


def test_pictures_of_an_upload_are_those_inside_it(client: TestClient, tmp_path: Path) -> None:
    upload = begin(client, ("photos.zip", zipped(("Aus primus/0.png", png()), ("Aus primus/notes.csv", b"a,b\n1,2\n"))))
    (tmp_path / "secret.png").write_bytes(png())
    (tmp_path / "workspace" / "uploads" / upload / "link.png").symlink_to(tmp_path / "secret.png")
    for path in ("../secret.png", str(tmp_path / "secret.png"), "link.png", ".refused.json", "nothing.png", "Aus primus", "Aus primus/notes.csv"):
        assert client.get(f"/api/uploads/{upload}/thumbnail", params={"path": path}).status_code in (404, 422), path


def test_an_empty_upload_and_one_that_cannot_be_read_say_so(client: TestClient) -> None:
    assert "is empty" in look_at(client, client.post("/api/uploads").json()["upload"])["error"]
    upload = begin(client, ("fish.zip", zipped(("metadata.csv", b"\xff\xfe\x00"), ("a.png", png()))))
    assert len(told := look_at(client, upload)["error"]) < 2000 and "workspace" not in told
    assert look_at(client, "0" * 32)["error"].startswith("unknown upload")


def test_a_preview_that_takes_too_long_or_too_much_memory_ends(tmp_path: Path) -> None:
    (tmp_path / "Aus").mkdir()
    (tmp_path / "Aus" / "a.png").write_bytes(png())
    with pytest.raises(InputError, match="too long, or too much memory"):
        look(tmp_path, [], Limits(look_seconds=0.01))


@pytest.mark.slow
def test_a_zip_of_real_photographs_with_its_table_is_the_same_as_the_table(tmp_path: Path, fish4knowledge: Path) -> None:
    with zipfile.ZipFile(tmp_path / "fish.zip", "w") as archive:
        for path in sorted(fish4knowledge.rglob("*")):
            archive.write(path, path.relative_to(fish4knowledge))
    with browser(Workspace(tmp_path / "workspace"), StudioConfig()) as client:
        upload = begin(client, ("fish.zip", (tmp_path / "fish.zip").read_bytes()))
        seen = look_at(client, upload)
        assert (seen["num_images"], seen["num_species"], seen["num_groups"], seen["num_missing"]) == (3504, 23, 1778, 0)
        job = take_in(client, upload, "fish")
    assert job["status"] == "finished" and (job["result"]["num_images"], job["result"]["num_groups"]) == (3504, 1778), job
    from syntype.collection.importers import CollectConfig, collect
    from syntype.run import Run

    table = collect(fish4knowledge / "classification.csv", CollectConfig(), tmp_path / "table", Run.silent()).collection.table
    sent = Collection.open(tmp_path / "workspace" / "collections" / "fish").table
    columns = ["image_id", "species", "group", "split", "sha256", "licence"]
    assert sent[columns].sort_values("image_id").values.tolist() == table[columns].sort_values("image_id").values.tolist()
    shutil.rmtree(tmp_path / "workspace")
