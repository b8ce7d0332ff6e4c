"""Boxes that come with photographs are seen and corrected before the import, and the import keeps what was corrected."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from studio_server import browser, png, wait, zipped

from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection
from syntype.collection.preview import preview
from syntype.collection.sources.base import SourceConfig
from syntype.errors import InputError

TABLE = b"""file,species,xmin,ymin,xmax,ymax
reef/0.png,Aus primus,10,10,50,50
reef/0.png,Bus secundus,60,20,90,80
reef/1.png,Aus primus,5,5,60,60
reef/2.png,Bus secundus,-20,10,400,30
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@pytest.fixture
def client(root: Path, ready_jobs: None, looked_at_here: None) -> Iterator[TestClient]:
    with browser(Workspace(root)) as client:
        yield client


@pytest.fixture
def upload(client: TestClient) -> str:
    """Three photographs of 100 x 100 pixels, the first of which shows two animals."""
    name: str = client.post("/api/uploads").json()["upload"]
    photographs = [(f"reef/{number}.png", png(100, (40 * number, 90, 40))) for number in range(3)]
    packed = zipped(*photographs, ("boxes.csv", TABLE))
    assert client.put(f"/api/uploads/{name}/files", params={"name": "reef.zip"}, content=packed).status_code == 200
    return name


def boxes(client: TestClient, upload: str, **asked: Any) -> Any:
    return client.get(f"/api/uploads/{upload}/boxes", params=asked).json()


def correct(client: TestClient, upload: str, path: str, animals: Any, **more: Any) -> Any:
    return client.put(f"/api/uploads/{upload}/boxes", json={"path": path, "animals": animals, **more})


def imported(client: TestClient, root: Path, upload: str) -> Collection:
    job = client.post("/api/jobs", json={"kind": "import", "name": "reef", "upload": upload}).json()
    assert wait(client, job["id"])["status"] == "finished"
    return Collection.open(root / "collections" / "reef")


def test_boxes_are_shown_as_the_import_takes_them(client: TestClient, upload: str) -> None:
    found = boxes(client, upload)
    assert (found["total"], found["num_corrected"]) == (3, 0)
    first, second, third = found["photographs"]
    assert (first["path"], first["width"], first["height"], first["corrected"]) == ("reef/0.png", 100, 100, False)
    assert [(one["number"], one["species"], one["box"]) for one in first["animals"]] == [
        (0, "Aus primus", [10, 10, 50, 50]),
        (1, "Bus secundus", [60, 20, 90, 80]),
    ]
    assert third["animals"][0]["box"] == [0, 10, 100, 30]  # what lies outside is cut off
    assert [one["path"] for one in boxes(client, upload, offset=1, limit=1)["photographs"]] == [second["path"]]


def test_the_import_keeps_what_was_corrected_added_and_removed(client: TestClient, root: Path, upload: str) -> None:
    moved = [{"number": 1, "box": [61, 21, 95.5, 80]}, {"species": "Cus tertius", "box": [0, 0, 20, 20]}]
    answer = correct(client, upload, "reef/0.png", moved)
    assert answer.status_code == 200 and answer.json()["corrected"]
    assert [one["species"] for one in answer.json()["animals"]] == ["Bus secundus", "Cus tertius"]
    assert correct(client, upload, "reef/2.png", [{"number": 0}]).status_code == 200  # the whole photograph
    told = client.get(f"/api/uploads/{upload}/preview").json()
    assert told["species"] == {"Aus primus": 1, "Bus secundus": 2, "Cus tertius": 1} and told["num_boxes"] == 3
    assert "2 photographs have corrected boxes" in told["notes"]
    assert boxes(client, upload)["num_corrected"] == 2
    table = imported(client, root, upload).table
    rows = {(file, species): box for file, species, box in zip(table["original_name"], table["species"], table["box"], strict=True)}
    assert {key: json.loads(box) if isinstance(box, str) else None for key, box in rows.items()} == {
        ("reef/0.png", "Bus secundus"): [61, 21, 95.5, 80],
        ("reef/0.png", "Cus tertius"): [0, 0, 20, 20],
        ("reef/1.png", "Aus primus"): [5, 5, 60, 60],
        ("reef/2.png", "Bus secundus"): None,
    }
    assert table.loc[table["original_name"] == "reef/0.png", "group"].nunique() == 1  # two animals of one photograph share a split
    with (root / "collections" / "reef" / "refused.csv").open() as file:
        assert [(row["file"], row["row"], row["reason"]) for row in csv.DictReader(file)] == [
            ("reef/0.png", "1", "its box was removed before the import")
        ]


def test_corrections_are_taken_back_one_by_one_and_all(client: TestClient, root: Path, upload: str) -> None:
    for path in ("reef/0.png", "reef/1.png"):
        assert correct(client, upload, path, [{"number": 0, "box": [1, 1, 9, 9]}]).status_code == 200
    answer = correct(client, upload, "reef/0.png", None).json()
    assert not answer["corrected"] and [one["box"] for one in answer["animals"]] == [[10, 10, 50, 50], [60, 20, 90, 80]]
    assert boxes(client, upload)["num_corrected"] == 1
    assert client.delete(f"/api/uploads/{upload}/boxes").status_code == 204
    assert boxes(client, upload)["num_corrected"] == 0
    table = imported(client, root, upload).table
    assert len(table) == 4 and table["note"].isna().all()


@pytest.mark.parametrize(
    ("animals", "status", "words"),
    [
        ([{"number": 0, "box": [-1, 0, 20, 20]}], 422, "outside the photograph of 100 x 100 pixels"),
        ([{"number": 0, "box": [0, 0, 20, 101]}], 422, "outside the photograph"),
        ([{"number": 0, "box": [20, 0, 10, 20]}], 422, "smaller than one pixel"),
        ([{"number": 0, "box": [20, 0, 20.5, 20]}], 422, "smaller than one pixel"),
        ([], 422, "no animal left"),
        ([{"number": 2, "box": [0, 0, 20, 20]}], 422, "2 animals in the source"),
        ([{"number": 0, "box": [0, 0, 20, 20]}] * 2, 422, "2 animals in the source"),
        ([{"box": [0, 0, 20, 20]}], 422, "needs a species"),
        ([{"number": 0}, {"number": 1, "box": [0, 0, 20, 20]}], 422, "the whole photograph"),
        ([{"number": 0, "box": [0, 0, 20]}], 422, "box"),
        ([{"number": 0, "box": "all"}], 422, "box"),
        ([{"number": -1, "box": [0, 0, 20, 20]}], 422, "number"),
        ([{"species": "Aus\nprimus", "box": [0, 0, 20, 20]}], 422, "species"),
        ([{"species": "Aus primus", "box": [0, 0, 20, 20]}] * 501, 422, "animals"),
        ("all", 422, "animals"),
    ],
)
def test_boxes_that_cannot_be_are_refused_and_change_nothing(client: TestClient, upload: str, animals: Any, status: int, words: str) -> None:
    answer = correct(client, upload, "reef/0.png", animals)
    assert answer.status_code == status and words in answer.json()["error"], answer.text
    assert boxes(client, upload)["num_corrected"] == 0


def test_numbers_that_are_none_are_refused(client: TestClient, upload: str) -> None:
    content = '{"path": "reef/0.png", "animals": [{"number": 0, "box": [0, 0, NaN, 20]}]}'
    answer = client.put(f"/api/uploads/{upload}/boxes", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["reef/9.png", "../../collections", ".typed", "boxes.csv", "/etc/passwd"])
def test_photographs_that_are_none_of_the_upload_have_no_boxes(client: TestClient, upload: str, path: str) -> None:
    assert correct(client, upload, path, [{"number": 0, "box": [0, 0, 9, 9]}]).status_code == 404


def test_photographs_without_boxes_have_none_to_correct(client: TestClient) -> None:
    upload = client.post("/api/uploads").json()["upload"]
    client.put(f"/api/uploads/{upload}/files", params={"name": "0.png", "species": "Aus primus"}, content=png(100))
    assert boxes(client, upload) == {"total": 0, "num_corrected": 0, "photographs": []}


def test_an_upload_that_is_read_in_another_way_has_other_boxes(client: TestClient, upload: str) -> None:
    assert correct(client, upload, "reef/0.png", [{"number": 1, "box": [0, 0, 9, 9]}]).status_code == 200
    sizes = {"box_format": "size"}
    assert boxes(client, upload, **sizes)["num_corrected"] == 0
    assert client.get(f"/api/uploads/{upload}/preview", params={"format": "folders"}).json()["num_boxes"] == 0
    assert boxes(client, upload, rename="Aus primus=Aus alter")["num_corrected"] == 1  # a corrected name is no other reading


def test_corrections_that_fit_no_source_say_so(tmp_path: Path) -> None:
    (tmp_path / "source" / "Aus primus").mkdir(parents=True)
    (tmp_path / "source" / "Aus primus" / "0.png").write_bytes(png())
    file = tmp_path / "boxes.json"
    for content, words in (
        ('{"Aus primus/1.png": [{"number": 0, "box": [1, 1, 9, 9]}]}', "no such photograph"),
        ('{"Aus primus/0.png": [{"number": 3, "box": [1, 1, 9, 9]}]}', "more animals than the source has"),
        ('{"Aus primus/0.png": 3}', "no file of corrected boxes"),
        ("[", "no file of corrected boxes"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=words):
            preview(tmp_path / "source", SourceConfig(box_corrections=str(file)))
    file.unlink()
    with pytest.raises(InputError, match="does not exist"):
        preview(tmp_path / "source", SourceConfig(box_corrections=str(file)))


def touch(page: Any, element: Any, across: float, down: float) -> None:
    """Drag something with a finger."""
    box = element.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)
    for kind, step in (("touchStart", 0.0), ("touchMove", 0.5), ("touchMove", 1.0)):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x + step * across, "y": y + step * down}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.slow
def test_boxes_are_corrected_by_mouse_finger_and_keyboard(page: Any, server: Any) -> None:
    photographs = [(f"reef/{number}.png", png(100, (40 * number, 90, 40))) for number in range(3)]
    page.goto("/")
    packed = zipped(*photographs, ("boxes.csv", TABLE))
    page.get_by_label("Photographs or a zip").set_input_files([{"name": "Reef.zip", "mimeType": "application/zip", "buffer": packed}])
    page.get_by_role("button", name="Send").click()
    page.get_by_text("1 to 3 of 3 photographs").wait_for()
    assert page.locator("#boxed svg").count() == 4
    page.get_by_role("button", name="Correct the boxes of reef/0.png").click()
    dialog = page.get_by_role("dialog", name="Boxes of reef/0.png")
    told = dialog.get_by_role("status")
    dialog.get_by_text("From 10, 10 to 50, 50 of 100 × 100 pixels").wait_for()
    pixel = dialog.locator(".boxing").evaluate("(stage) => stage.getScreenCTM().a")

    corner = dialog.get_by_label("Corner bottom right")
    box = corner.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 8 * pixel, box["y"] + box["height"] / 2 + 4 * pixel, steps=4)
    page.mouse.up()
    assert told.inner_text() == "From 10, 10 to 58, 54 of 100 × 100 pixels"
    dialog.get_by_label("Corner top left").focus()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowUp"):
        page.keyboard.press(key)
    assert told.inner_text() == "From 9, 7 to 58, 54 of 100 × 100 pixels"
    page.keyboard.press("z")
    assert told.inner_text() == "From 9, 9 to 58, 54 of 100 × 100 pixels"
    touch(page, dialog.locator(".chosen"), 200 * pixel, 0)
    assert told.inner_text() == "From 51, 9 to 100, 54 of 100 × 100 pixels"  # it stays inside
    dialog.get_by_role("button", name="Undo").click()
    assert told.inner_text() == "From 9, 9 to 58, 54 of 100 × 100 pixels"
    dialog.get_by_role("button", name="Choose box 2, Bus secundus").press("Enter")
    dialog.get_by_role("button", name="Remove this animal").click()
    dialog.get_by_role("button", name="Add a box").click()
    dialog.get_by_label("Species in the chosen box").fill("Cus tertius")
    dialog.get_by_role("button", name="Keep these boxes").click()
    page.get_by_text("1 to 3 of 3 photographs, 1 corrected").wait_for()
    page.get_by_text("4 photographs of 3 species").wait_for()
    page.get_by_role("button", name="Undo", exact=True).click()
    page.get_by_text("4 photographs of 2 species").wait_for()
    page.get_by_role("button", name="Correct the boxes of reef/1.png").click()
    page.get_by_role("button", name="Remove the box").click()
    page.get_by_text("The whole photograph is taken.").wait_for()
    page.get_by_role("button", name="Keep these boxes").click()
    page.get_by_text("1 corrected").wait_for()
    page.reload()
    page.get_by_text("1 to 3 of 3 photographs, 1 corrected").wait_for()
    upload = page.url.split("/")[-1].split("?")[0]
    animals = server.get(f"/api/uploads/{upload}/boxes").json()["photographs"][1]["animals"]
    assert [one["box"] for one in animals] == [None]
