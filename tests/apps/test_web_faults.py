"""Faults that people met in the Studio, each as they met it: what is sent, what is told, and what the forms begin with."""

from __future__ import annotations

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import make_collection
from PIL import Image
from starlette.testclient import TestClient
from studio_server import browser, make_synthetic, png, wait, zipped

import syntype
from syntype.apps.web.limits import Limits, StudioConfig
from syntype.apps.web.progress import pictures, preview
from syntype.apps.web.wording import in_the_studio
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection
from syntype.collection.exports import ExportConfig, export
from syntype.collection.importers import CollectConfig, collect
from syntype.collection.inspection import plot_long_tail
from syntype.run import Run
from syntype.study.pictures import plot_tail

HTML = {"accept": "text/html"}
OF_COMMANDS = re.compile(r"(?<![\w-])--[a-z]|\bsyntype [a-z]+|\bSOURCE\b|`")
SOURCE = Path(syntype.__file__).parent


@pytest.fixture
def client(workspace: Workspace, ready_jobs: None) -> Iterator[TestClient]:
    with browser(workspace, StudioConfig(limits=Limits(uploads=3))) as client:
        yield client


def photograph(number: int) -> bytes:
    return png(30 + number, (11 * number % 256, 90, 40))


def begin(client: TestClient) -> str:
    upload: str = client.post("/api/uploads").json()["upload"]
    return upload


def send(client: TestClient, upload: str, path: str, content: bytes, species: str | None = None) -> Any:
    """A file of a folder, or one on its own where the path has no slash."""
    folder, slash, name = path.rpartition("/")
    query = {"name": name} | ({"folder": folder} if slash else {}) | ({"species": species} if species else {})
    return client.put(f"/api/uploads/{upload}/files", params=query, content=content)


def look_at(client: TestClient, upload: str, **options: str) -> Any:
    return client.get(f"/api/uploads/{upload}/preview", params=options).json()


def test_the_folders_of_a_folder_that_is_sent_name_the_species(client: TestClient) -> None:
    upload = begin(client)
    files = {f"reef/Aus primus/{number}.png": photograph(number) for number in range(3)}
    files |= {f"reef/Bus_secundus/deep/{number}.png": photograph(9 + number) for number in range(2)}
    for path, content in files.items():
        assert send(client, upload, path, content).json() == {"num_taken": 1, "refused": []}
    for path in (
        "reef/.DS_Store",
        "reef/Aus primus/Thumbs.db",
        "reef/__MACOSX/Aus primus/._0.png",
        "reef/.hidden/1.png",
        "reef/Icon\r",
        "reef/a.pdf",
    ):
        assert send(client, upload, path, b"anything").json() == {"num_taken": 0, "refused": []}, path
    assert send(client, upload, "reef/Aus primus/broken.png", b"no").json()["error"].count("broken.png") == 1
    seen = look_at(client, upload)
    assert seen["species"] == {"Aus primus": 3, "Bus secundus": 2} and [item["file"] for item in seen["received"]] == ["reef/Aus primus/broken.png"]
    assert seen["received"][0]["reason"].count("broken.png") == 0
    job = wait(client, client.post("/api/jobs", json={"kind": "import", "name": "reef", "upload": upload}).json()["id"])
    assert job["status"] == "finished" and job["result"]["num_images"] == 5


@pytest.mark.parametrize("folder", ["..", "a/../..", "/etc", "C:/x", "a/\0", "a\\..\\..", "-x", "con", "a" * 300, "/".join("a" * 30)])
def test_a_folder_that_leads_out_or_cannot_be_written_is_refused(client: TestClient, folder: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*.png"))
    answer = client.put(f"/api/uploads/{begin(client)}/files", params={"name": "a.png", "folder": folder}, content=png())
    assert answer.status_code == 422 and len(answer.json()["error"]) < 500
    assert sorted(tmp_path.rglob("*.png")) == before


def test_a_table_in_a_folder_that_is_sent_says_what_the_photographs_show(client: TestClient) -> None:
    upload = begin(client)
    send(client, upload, "reef/images/0.png", photograph(0))
    send(client, upload, "reef/labels.csv", b"file_name,species\nimages/0.png,Aus primus\n")
    assert look_at(client, upload)["species"] == {"Aus primus": 1}
    told = send(client, upload, "reef/more.zip", zipped(("a.png", png()))).json()["error"]
    assert "archive in the folder" in told


def test_uploads_that_hold_nothing_or_are_being_imported_do_not_count_and_the_others_are_shown(client: TestClient, workspace: Workspace) -> None:
    for _ in range(6):  # sending failed
        send(client, begin(client), "Aus/broken.png", b"no")
    full = [begin(client) for _ in range(3)]
    for number, upload in enumerate(full):
        assert send(client, upload, "Aus primus/a.png", photograph(number)).status_code == 200
    refused = client.post("/api/uploads")
    assert refused.status_code == 422 and "“Sent, but not imported”" in refused.json()["error"]
    page = client.get("/", headers=HTML).text
    assert all(f'data-discard="{upload}"' in page for upload in full)
    assert client.delete(f"/api/uploads/{full[0]}").status_code == 204 and client.post("/api/uploads").status_code == 201


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_species_that_was_typed_overwrites_no_folders_unless_that_is_said(client: TestClient, as_zip: bool) -> None:
    files = [
        (f"photos/{species}/{number}.png", photograph(7 * number + len(species))) for species in ("Aus primus", "Bus secundus") for number in range(2)
    ]
    upload = begin(client)
    if as_zip:
        assert send(client, upload, "photos.zip", zipped(*files), "Cus tertius").json()["num_taken"] == 4
    else:
        for path, content in files:
            assert send(client, upload, path, content, "Cus tertius").status_code == 200
    assert client.get(f"/api/uploads/{upload}").json()["typed"] == "Cus tertius"
    assert look_at(client, upload)["species"] == {"Aus primus": 2, "Bus secundus": 2}
    seen = look_at(client, upload, species="Cus tertius")
    assert seen["species"] == {"Cus tertius": 4} and "the source says Aus primus, Bus secundus" in seen["notes"][0]
    page = client.get(f"/uploads/{upload}", headers=HTML).text
    assert "All 4 photographs are of <i>Cus tertius</i>" in page and "As the folders say" in page
    if as_zip:
        asked = {"kind": "import", "name": "mine", "upload": upload, "species": "Cus tertius"}
        job = wait(client, client.post("/api/jobs", json=asked).json()["id"])
        assert job["status"] == "finished" and (job["result"]["num_species"], job["result"]["num_images"]) == (1, 4)


def test_one_species_is_said_of_any_source(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "deep"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.png").write_bytes(photograph(number))
    (tmp_path / "images" / "loose.png").write_bytes(photograph(9))
    config = CollectConfig(species="Aus  primus")
    assert collect(tmp_path / "images", config, tmp_path / "out", Run.silent()).collection.counts() == {"Aus primus": 4}
    table = tmp_path / "labels.csv"
    for header, row in (("file_name", "images/deep/0.png"), ("file_name,species", "images/deep/0.png,Bus secundus")):
        table.write_text(f"{header}\n{row}\n")
        out = tmp_path / f"out-{len(header)}"
        assert collect(table, config, out, Run.silent()).collection.counts() == {"Aus primus": 1}


def test_the_preview_of_the_end_is_the_latest_and_steps_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "previews").mkdir()
    for name in ("step-000020", "step-000040", "final-000040", "step-999999", "step-1000000", "final-1000000", "odd", "final-"):
        (tmp_path / "previews" / f"{name}.png").write_bytes(png())
    latest = ["final-1000000.png", "step-1000000.png", "step-999999.png", "final-000040.png", "step-000040.png", "step-000020.png"]
    assert pictures(tmp_path)[:6] == latest and preview(tmp_path) == tmp_path / "previews" / latest[0]


def said(node: ast.expr) -> str:
    """The text of an expression, with X for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
    if isinstance(node, ast.BinOp):
        return said(node.left) + said(node.right)
    if isinstance(node, ast.IfExp):
        return said(node.body)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def messages() -> Iterator[tuple[str, str, list[str]]]:
    """Where each message stands that a stage may tell: reasons of errors and what to do, refusals, notes."""
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name.startswith("cli") or path.parent.name == "cluster":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and (name.endswith(("Error", "Refused", "say")) or name == "notes.append"):
                texts = [text for text in map(said, node.args) if text]
                if texts:
                    yield f"{path.name}:{node.lineno}", name, texts


def test_no_message_reaches_the_studio_in_the_words_of_the_command_line() -> None:
    """Whatever a stage says: without options, commands or backticks, and still saying what to do."""
    known = [(where, name, texts) for where, name, texts in messages() if OF_COMMANDS.search(" ".join(texts))]
    assert len(known) > 40
    for where, name, texts in known:
        shown = in_the_studio(". ".join(texts))
        assert not OF_COMMANDS.search(shown), (where, shown)
        assert name.endswith(("say", "append")) or len(texts) < 2 or shown.count(". ") or shown.endswith("?"), (where, shown)
        assert not OF_COMMANDS.search(in_the_studio(texts[-1], hint=True)), where


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("the length is not given. Add --minutes 20 or --steps 2000.", "the length is not given. Fill in “Minutes to train”."),
        ("collections/new: holds files. Give --out a new folder.", "collections/new: holds files. Choose another name."),
        ("fish.csv: has no column. Name it with --species-column.", "fish.csv: has no column. Name it under “It should be read in another way”."),
        ("the file is broken. Save it again.", "the file is broken. Save it again."),
        ("it cannot be. Run `syntype families` first.", "it cannot be. Change what you asked for, and try again."),
        ("too few. Add photographs, or lower it with --set min_groups=2.", "too few. Add photographs."),
    ],
)
def test_messages_say_what_to_do_in_the_studio(message: str, shown: str) -> None:
    assert in_the_studio(message) == shown


def test_a_failed_job_and_a_wrong_field_are_told_in_the_words_of_the_form(client: TestClient) -> None:
    job = client.post("/api/jobs", json={"kind": "train", "name": "new", "family": "dcgan", "collection": "fish", "size": 32}).json()
    job = wait(client, job["id"])
    assert job["status"] == "failed" and "Fill in “Minutes to train”" in job["message"] and not OF_COMMANDS.search(job["message"])
    assert "--minutes" in client.get(f"/api/jobs/{job['id']}/log").json(), "the log is that of the command"
    fetched = {"sec-fetch-mode": "cors"}
    for change, told in (
        ({"name": "***"}, "The name: '***' cannot be a name"),
        ({"num": 0}, "The number of images must be at least 1; it is 0."),
        ({"num": None}, "The number of images"),
    ):
        asked = {"kind": "generate", "name": "x", "generator": "little", "num": 1, **change}
        answer = client.post("/api/jobs", json=asked, headers=fetched)
        assert answer.status_code == 422 and answer.json()["error"].startswith(told) and "openapi" not in answer.text
        assert "/api/openapi.json" in client.post("/api/jobs", json=asked).json()["error"], "programs are told"


@pytest.mark.parametrize("address", ["/nowhere", "/jobs/none", "/new/nothing", "/collections/UPPER", "/docs", "/generators/nobody", "/uploads/1"])
def test_a_page_that_is_not_there_leads_back_and_not_to_the_interface_of_programs(client: TestClient, address: str) -> None:
    page = client.get(address, headers=HTML)
    assert page.status_code in (404, 422) and 'href="/"' in page.text and "openapi" not in page.text and "`" not in page.text


def test_no_message_has_backticks_and_none_names_a_file_twice(client: TestClient) -> None:
    assert [(where, texts) for where, _, texts in messages() if "`" in "".join(texts)] == []
    upload = begin(client)
    answer = send(client, upload, "broken.png", b"no image", "Aus primus")
    assert answer.json()["error"].count("broken.png") == 1
    answer = send(client, upload, "alone.png", png())
    assert answer.json()["error"].count("alone.png") == 1
    refused = send(client, upload, "a.zip", zipped(("Aus/broken.png", b"no image"), ("Aus/fine.png", png()))).json()["refused"]
    assert [item["file"] for item in refused] == ["Aus/broken.png"] and "broken.png" not in refused[0]["reason"]
    assert [item["reason"].count(".png") for item in client.get(f"/api/uploads/{upload}").json()["refused"]] == [0, 0, 0]


def drew(client: TestClient, generator: Path, collection: Path) -> None:
    """A generator's folder, as if it had been trained on a collection of the workspace."""
    generator.mkdir(parents=True)
    told = {"family": "fastgan", "abilities": ["adapt", "blend", "vary", "inpaint"], "species": ["Aus primus"], "config": {"size": 32}}
    (generator / "generator.json").write_text(json.dumps(told))
    (generator / "run.json").write_text(json.dumps({"inputs": {"collection": {"path": str(collection)}}}))


def chosen(page: str, field: str) -> str | None:
    """The option of a field with which a page begins; the first, if none is said."""
    options = re.search(rf'<select id="{field}".*?</select>', page, re.DOTALL)
    assert options is not None
    selected = re.search(r'value="([^"]*)"[^>]* selected', options[0]) or re.search(r'<option value="([^"]*)"', options[0])
    return selected[1] if selected else None


def test_forms_begin_with_the_photographs_from_which_images_and_generators_were_made(client: TestClient, workspace: Workspace) -> None:
    """``aquarium`` comes first by its name, and has nothing to do with them."""
    root = workspace.root
    make_collection(root / "collections" / "aquarium", {"Xus alienus": 8})
    drew(client, root / "generators" / "little", root / "collections" / "fish")
    made = {"drawn": ("generator", "generators/little"), "checked": ("synthetic", "collections/drawn"), "again": ("generator", "generators/little")}
    make_synthetic(root / "collections" / "checked", {"Aus primus": 4})
    make_synthetic(root / "collections" / "again", {"Aus primus": 4})
    for name, (kind, path) in made.items():
        inputs = {"inputs": {kind: {"path": f"/where/it/was/{path}" if name == "again" else str(root / path)}}}
        (root / "collections" / name / "run.json").write_text(json.dumps(inputs))
    for address, field in (
        ("/new/curate?synthetic=drawn", "real"), ("/new/curate?synthetic=checked", "real"), ("/new/curate?synthetic=again", "real"),
        ("/new/study", "collection"), ("/new/study?synthetic=checked", "collection"), ("/quiz?synthetic=drawn", "real"), ("/quiz", "real"),
        ("/new/vary", "collection"), ("/new/inpaint?generator=little", "collection"),
    ):  # fmt: skip
        page = client.get(address, headers=HTML).text
        assert chosen(page, field) == "fish", address
        assert 'data-of="fish"' in page
    assert chosen(client.get("/new/curate?synthetic=drawn&real=aquarium", headers=HTML).text, "real") == "aquarium", "what was asked for stays"
    assert "fish, from which they were made" in client.get("/collections/drawn/curate", headers=HTML).text
    near = client.get("/api/collections/checked/next", params={"reviewer": "Ada"}).json()["items"][0]["nearest"]
    assert near and {item["collection"] for item in near} == {"fish"}


def test_adapt_asks_for_a_species_of_the_collection_before_anything_is_queued(client: TestClient, workspace: Workspace) -> None:
    drew(client, workspace.root / "generators" / "little", workspace.root / "collections" / "fish")
    collection = Collection.open(workspace.root / "collections" / "fish")
    table = collection.table.assign(split=np.where(collection.table["species"] == "Bus secundus", "test", "train"))
    Collection.create(collection.root, table, species=collection.species)
    for species, told in (
        ("Aus prmus", "Did you mean Aus primus?"), ("aus primus", "Did you mean Aus primus?"), ("secundus", "Did you mean Bus secundus?"),
        ("Zzz", "Its species are Aus primus, Bus secundus."), ("Bus secundus", "kept for testing"), ("Aus primus", "knows Aus primus already"),
    ):  # fmt: skip
        answer = client.post("/api/jobs", json={"kind": "adapt", "name": "x", "generator": "little", "collection": "fish", "species": species})
        assert answer.status_code == 422 and told in answer.json()["error"], answer.text
        assert len(answer.json()["error"].splitlines()) == 1
    assert client.get("/api/jobs").json() == []
    assert 'list="of-found"' in client.get("/new/adapt", headers=HTML).text


def test_near_duplicates_are_listed_with_their_distance(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    source = tmp_path / "source" / "Aus primus"
    source.mkdir(parents=True)
    pictures = [Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((96, 96), Image.Resampling.BICUBIC) for _ in range(4)]
    for number, picture in enumerate(pictures):
        picture.save(source / f"{number}.png")
    pictures[0].save(source / "smaller.jpg", quality=60)
    (source / "same.png").write_bytes((source / "1.png").read_bytes())
    workspace = Workspace(tmp_path / "workspace")
    collect(tmp_path / "source", CollectConfig(), workspace.root / "collections" / "fish", Run.silent())
    with browser(workspace) as client:
        found = client.get("/api/collections/fish/duplicates").json()
        names = {row["image_id"]: row for row in client.get("/api/collections/fish/images").json()["images"]}
        assert (found["total"], found["num_same"]) == (2, 1) and [pair["distance"] is None for pair in found["pairs"]] == [True, False]
        assert 0 <= found["pairs"][1]["distance"] <= 7 and {found["pairs"][1][side]["image_id"] for side in ("first", "image")} <= names.keys()
        later = client.get("/api/collections/fish/duplicates", params={"offset": 1, "limit": 1}).json()
        assert later["pairs"] == found["pairs"][1:] and later["total"] == 2
        page = client.get("/collections/fish/duplicates", headers=HTML).text
        assert "1 pair of the same file, 1 of nearly the same picture" in page and "Near duplicate, distance" in page
        assert "/collections/fish/duplicates" in client.get("/collections/fish", headers=HTML).text


def test_exports_keep_the_names_of_the_photographs(tmp_path: Path) -> None:
    names = {
        "Aus primus": ["DSC_0123.png", "IMG 1 (2).png", "Foto März.png", "Ærø-1.png", "中文.png", "a.png", "what?.png"],
        "Bus secundus": ["a.png", "IMG 1 (2).png"],
    }
    for species, files in names.items():
        (tmp_path / "source" / species).mkdir(parents=True)
        for number, name in enumerate(files):
            (tmp_path / "source" / species / name).write_bytes(photograph(number + 20 * len(species)))
    fish = collect(tmp_path / "source", CollectConfig(), tmp_path / "fish", Run.silent()).collection
    with zipfile.ZipFile(export(fish, ExportConfig(), tmp_path / "export", Run.silent()).file) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".png")}
    wanted = {f"{species.replace(' ', '_')}/{name}" for species, files in names.items() for name in files}
    assert packed == wanted - {"Aus_primus/what?.png"} | {"Aus_primus/what.png"}
    for layout in ("coco", "label-studio", "hugging-face"):
        with zipfile.ZipFile(export(fish, ExportConfig(layout=layout), tmp_path / layout, Run.silent()).file) as archive:  # type: ignore[arg-type]
            stems = {Path(name).name for name in archive.namelist()}
        assert {"DSC_0123.png", "Foto März.png", "Ærø-1.png", "中文.png"} <= stems, layout


def test_legends_lie_above_the_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *given, **named: (drawn.append(figure), save(figure, *given, **named))[1])
    counts = {f"Aus species{number}": 600 - number for number in range(30)} | {"Bus rarus": 3, "Bus alter": 40}
    plot_long_tail(counts, tmp_path / "tail.png")
    plot_tail([{"name": name, "num_train": count, "accepted": 5} for name, count in counts.items()], num_seeds=1, name="t")
    for figure in drawn:
        figure.canvas.draw()
        [axes] = figure.axes
        legend = axes.get_legend().get_window_extent()
        assert legend.y0 >= axes.get_window_extent().y1 - 1 and legend.x0 >= 0
        assert all(not bar.get_window_extent().overlaps(legend) for bar in axes.patches)


def test_the_page_is_patched_by_parts_that_it_has(client: TestClient) -> None:
    """What ``patch.js`` replaces when a job has ended: forms are in none of these parts."""
    scripts = (SOURCE / "apps" / "web" / "static").glob("*.js")
    assert [path.name for path in scripts if "location.reload" in path.read_text()] == ["language.js"], "only who chooses a language asks for it"
    parts = {"/": ("steps", "newest", "sample", "waiting"), "/photographs": ("collections-list", "waiting"), "/generators": ("generators-list",),
             "/images": ("collections-list", "exports-list"), "/studies": ("studies-list",)}  # fmt: skip
    for address, own in parts.items():
        page = client.get(address, headers=HTML).text
        for part in re.split(r'<div id="(?=[a-z-]+" data-live>)', page)[1:]:
            assert part.startswith(tuple(f'{name}" data-live>' for name in own)) and "<form" not in part.split("</div>")[0]
        assert page.count(" data-live>") == len(own), address


def test_no_page_and_no_script_speaks_of_options_or_commands() -> None:
    web = SOURCE / "apps" / "web"
    texts = {path.name: path.read_text(encoding="utf-8") for path in (*web.glob("templates/*"), *web.glob("static/*.js"))}
    assert {name for name, text in texts.items() if re.search(r"[\s(]--[a-z]|\bsyntype [a-z]+ ", text)} == set()
