"""An identifier in the browser: what it says of a photograph, how long its training takes, and what is taken away."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import make_collection
from PIL import Image
from starlette.testclient import TestClient
from studio_server import SMALL, browser, until

from syntype.apps.cli import main
from syntype.apps.web import answers, api_plans
from syntype.apps.web.identifiers import accuracy_in_words, answer_in_words
from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.processes import JobProcess
from syntype.apps.web.requests import parse_request
from syntype.apps.web.static_files import static_address
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection
from syntype.errors import InputError
from syntype.identification import Speed

COUNTS = {"Naso lituratus": 24, "Naso unicornis": 16, "Zebrasoma scopas": 12}
CONFIG = StudioConfig(limits=SMALL.model_copy(update={"answer_bytes": 200_000}))


@pytest.fixture(autouse=True)
def _answers_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process answers: it has imported what that takes. The browser tests ask a process of its own."""
    monkeypatch.setattr(answers.Answers, "_ask", lambda _, task: answers._carry_out(*task))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Photographs ``fish`` with common names, and the identifier ``namer`` that has learnt them."""
    workspace = Workspace(tmp_path_factory.mktemp("identifiers") / "workspace")
    fish = make_collection(workspace.root / "collections" / "fish", COUNTS, size=32, seed=1)
    table = fish.table.assign(common_name=fish.table["species"].map({"Naso unicornis": "Bluespine unicornfish"}))
    Collection.create(fish.root, table, species=fish.species)
    small = {"backbone": "scratch", "size": 32, "steps": 40, "batch_size": 16, "learning_rate": 3e-3, "device": "cpu"}
    settings = [f"--set={name}={value}" for name, value in small.items()]
    assert main(["classify", "train", str(fish.root), "--out", str(workspace.root / "identifiers" / "namer"), "--quiet", *settings]) == 0
    return workspace


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    with browser(workspace, CONFIG) as client:
        yield client


def ask(client: TestClient, photograph: bytes) -> Any:
    return client.post("/api/identifiers/namer/identify", content=photograph)


def photograph(workspace: Workspace, image_id: str) -> bytes:
    return (workspace.root / "collections" / "fish" / "images" / f"{image_id}.png").read_bytes()


def test_a_photograph_is_named_and_leaves_no_trace(client: TestClient, workspace: Workspace) -> None:
    before = {path for path in workspace.root.rglob("*") if ".cache" not in path.parts}
    answered = ask(client, photograph(workspace, "1-2"))  # a test photograph
    assert answered.status_code == 200, answered.text
    answer = answered.json()
    probabilities = [one["probability"] for one in answer["species"]]
    assert answer["species"][0]["species"] == "Naso unicornis" and answer["species"][0]["common_name"] == "Bluespine unicornfish"
    assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) == pytest.approx(1, abs=1e-4)
    assert answer["species"][0]["species"] in answer["sentence"] or answer["rank"] == "genus"
    table = Collection.open(workspace.root / "collections" / "fish").training().table.set_index("image_id")
    assert len(answer["nearest"]) == 6 and all(one["image_id"] in table.index for one in answer["nearest"])
    assert [one["similarity"] for one in answer["nearest"]] == sorted((one["similarity"] for one in answer["nearest"]), reverse=True)
    one = answer["nearest"][0]
    assert client.get(f"/api/collections/{answer['collection']}/images/{one['image_id']}/thumbnail").status_code == 200
    assert {path for path in workspace.root.rglob("*") if ".cache" not in path.parts} == before
    itself = ask(client, photograph(workspace, "2-0")).json()["nearest"][0]  # of a training photograph the nearest is the photograph itself
    assert (itself["image_id"], itself["similarity"]) == ("2-0", pytest.approx(1, abs=1e-3))


def test_what_looks_unlike_all_is_perhaps_none_of_these(client: TestClient, workspace: Workspace) -> None:
    strangeness = {}
    for name, pixels in {"noise": np.random.default_rng(0).integers(0, 256, (64, 64, 3)), "white": np.full((64, 64, 3), 255)}.items():
        file = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
        answer = ask(client, file.getvalue()).json()
        strangeness[name] = answer["strangeness"]
        assert answer["none_of_these"] == (answer["strangeness"] >= 0.95) == answer["sentence"].startswith("Perhaps none of these species")
    assert max(strangeness.values()) >= 0.95


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"no picture", "is not an image that can be read"), (b"x" * 200_001, "has more than 200,000 bytes")]
)
def test_what_is_no_photograph_is_told_in_one_line(client: TestClient, content: bytes, said: str) -> None:
    answer = ask(client, content)
    assert answer.status_code == 422 and said in answer.json()["error"] and "\n" not in answer.json()["error"]
    assert client.post("/api/identifiers/nobody/identify", content=content).status_code == 404


def test_the_page_says_what_the_identifier_knows(client: TestClient) -> None:
    page, listed = client.get("/identifiers/namer").text, client.get("/studies").text
    (about,) = client.get("/api/identifiers").json()
    assert about["learnt"] in page and about["accuracy"] in page and about["accuracy"] in listed and about["collection"] == "fish"
    assert "<i>Zebrasoma scopas</i>" in page and about["few"] == ["Naso unicornis", "Zebrasoma scopas"] and "named less surely" in page
    assert 'href="/identifiers/namer"' in listed and 'data-do="rename" data-kind="identifiers"' in page


def test_it_is_taken_away_as_a_folder_and_as_onnx(client: TestClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = client.get("/api/identifiers/namer/file")
    assert answer.headers["content-disposition"] == 'attachment; filename="namer.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    Workspace(tmp_path / "other")
    (tmp_path / "namer").rename(tmp_path / "other" / "identifiers" / "namer")
    with browser(Workspace(tmp_path / "other")) as elsewhere:  # it works without its photographs
        there, here = (ask(one, photograph(workspace, "0-0")).json() for one in (elsewhere, client))
        assert there["species"][0]["probability"] == pytest.approx(here["species"][0]["probability"], abs=1e-4)
        assert there["nearest"] == [] and here["nearest"] and "similar ones are shown" in elsewhere.get("/identifiers/namer").text
    assert client.get("/api/identifiers/namer/onnx").json()["status"] == "none"
    assert "not written as ONNX yet" in client.get("/api/identifiers/namer/file", params={"form": "onnx"}).json()["error"]
    started: list[Sequence[str]] = []

    def start(process: JobProcess, command: Sequence[str], _run_id: str) -> None:  # the command has tests of its own
        started.append(command)
        Path(command[command.index("--out") + 1]).write_bytes(b"ONNX")
        (process.folder / "exit").write_text("0")

    monkeypatch.setattr(JobProcess, "start", start)
    assert client.post("/api/identifiers/namer/onnx").json()["status"] == "finished"
    assert (
        client.post("/api/identifiers/namer/onnx").json()["status"] == "finished" and len(started) == 1 and started[0][:2] == ["classify", "export"]
    )
    with zipfile.ZipFile(io.BytesIO(client.get("/api/identifiers/namer/file", params={"form": "onnx"}).content)) as archive:
        assert sorted(archive.namelist()) == ["namer/MODEL_CARD.md", "namer/namer.onnx"]
    assert client.get("/api/identifiers/namer/file", params={"form": "pickle"}).status_code == 422
    assert not [path for path in (workspace.root / ".cache").iterdir() if path.name.startswith("tmp")]


def test_while_an_identifier_is_written_as_onnx_others_are_answered_and_a_failure_is_told(
    client: TestClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = workspace.place("identifiers", "namer") / "classifier.json"
    os.utime(classifier, ns=(1, 1))  # as if it was trained anew: what was written before is not offered
    with (workspace.root / "gate").open("w") as gate:
        code = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX); sys.exit('syntype: error: no room on the disk. Free some.')"
        fcntl.flock(gate, fcntl.LOCK_EX)

        def launch(process: JobProcess, _command: Sequence[str], _run_id: str, **_: Any) -> bool:
            with (process.folder / "log").open("w") as log:
                child = subprocess.Popen([sys.executable, "-c", code, gate.name], stderr=log)
            (process.folder / "start").write_text("0")
            process._child = child
            monkeypatch.setattr(JobProcess, "is_alive", lambda self: child.poll() is None)
            return True

        monkeypatch.setattr(JobProcess, "launch", launch)
        state = client.post("/api/identifiers/namer/onnx").json()
        assert state["status"] == "running" and state["seconds"] >= 0
        assert ask(client, photograph(workspace, "0-0")).status_code == 200  # meanwhile
        assert client.get("/api/identifiers/namer/onnx").json()["status"] == "running"
    until(lambda: client.get("/api/identifiers/namer/onnx").json()["status"] == "failed")
    assert client.get("/api/identifiers/namer/onnx").json()["message"] == "no room on the disk. Free some."


def test_it_is_renamed_deleted_and_restored(client: TestClient) -> None:
    told = client.get("/api/storage/collections/fish").json()["dependents"]
    assert told == ["Identifier namer learnt from it."]
    assert client.post("/api/storage/collections/fish/rename", json={"name": "reef"}).status_code == 200
    assert client.get("/api/identifiers/namer").json()["collection"] == "reef"
    client.post("/api/storage/collections/reef/rename", json={"name": "fish"})
    assert client.post("/api/storage/identifiers/namer/rename", json={"name": "Reef Guide"}).json()["name"] == "reef-guide"
    assert "Reef Guide" in client.get("/identifiers/reef-guide").text
    entry = client.delete("/api/storage/identifiers/reef-guide").json()
    assert entry["kind"] == "identifiers" and client.get("/api/identifiers").json() == []
    assert client.post(f"/api/trash/{entry['id']}/restore", json={"name": "namer"}).status_code == 200
    assert client.get("/api/identifiers/namer").status_code == 200


def test_the_request_for_one_becomes_its_command(client: TestClient, workspace: Workspace) -> None:
    asked = {"kind": "classify", "name": "Fish guide", "collection": "fish"}
    quick, whole = (parse_request({**asked, "quick": quick}).command(workspace) for quick in (True, False))
    fish = str(workspace.root / "collections" / "fish")
    assert quick == ["classify", "train", fish, "--set=size=128", "--seed=0"]
    assert whole[3:] == ["--set=size=64", "--steps=600", "--set=tune=last", "--set=batch_size=32", "--set=encoder_size=128", "--seed=0"]
    made = parse_request({**asked, "synthetic": "fish"})
    assert f"--synthetic={fish}" in made.command(workspace)
    assert made.reads() == ("fish", "fish") and made.slug == "fish-guide"
    make_collection(workspace.root / "collections" / "alone", {"Naso lituratus": 8}, size=32)
    with pytest.raises(InputError, match="training photographs of 1 species"):
        parse_request({**asked, "collection": "alone"}).command(workspace)


def test_how_long_it_takes_is_told_before(client: TestClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntype.identification.measure_speed", lambda config: Speed(0.01, 0.05))
    monkeypatch.setattr("syntype.study.running.measure_speed", lambda config: Speed(0.01, 0.05))
    asked = {"kind": "classify", "name": "guide", "collection": "fish"}
    plan = client.post("/api/plans", json=asked).json()
    training = 600 * 32 * 0.05 / 60  # minutes; what comes besides takes less
    assert training < plan["minutes"] < 1.5 * training and plan["sentence"].startswith(f"About {round(plan['minutes'])} minutes on this machine")
    assert client.post("/api/plans", json={**asked, "quick": True}).json()["minutes"] < plan["minutes"]
    study = {"kind": "study", "name": "s", "collection": "fish", "family": "collage", "quick": True, "seeds": 3}
    told = [client.post("/api/plans", json={**study, "seeds": seeds}).json() for seeds in (3, 6)]
    assert told[1]["minutes"] > told[0]["minutes"] and "3 times each" in told[0]["sentence"] and "of 128 pixels" in told[0]["sentence"]
    make_collection(workspace.root / "collections" / "untested", COUNTS, size=32, split="train")
    refused = client.post("/api/plans", json={**study, "collection": "untested"}).json()
    assert not refused["possible"] and refused["minutes"] is None and "has no test photographs" in refused["sentence"]
    assert str(workspace.root) not in refused["sentence"] and "--" not in refused["sentence"]
    assert not (workspace.root / "studies" / "s").exists()
    for kind in ("classify", "study"):
        page = client.get(f"/new/{kind}").text
        assert 'id="time"' in page and static_address("time.js") in page


def test_answers_are_words() -> None:
    said = {rank: answer_in_words(rank, name, 0.93, "Naso lituratus", none_of_these=False) for rank, name in
            (("species", "Naso lituratus"), ("family", "Acanthuridae"), ("none", ""))}  # fmt: skip
    assert said["species"] == "Naso lituratus (93 %)."
    assert said["family"].startswith("Some Acanthuridae (the family, 93 %).")
    assert said["none"] == "Not sure. The likeliest species is Naso lituratus (93 %)."
    assert "Perhaps none" in answer_in_words("species", "Naso lituratus", 1.0, "Naso lituratus", none_of_these=True)
    assert accuracy_in_words({"num_test": 0, "accuracy": None}).startswith("How well it does is not known")
    assert accuracy_in_words({"num_test": 1, "accuracy": 0.0}) == "The one photograph that it had never seen it named wrongly."
    assert [api_plans.minutes_in_words(minutes) for minutes in (0.1, 90, 1000)] == ["About a minute", "About 1 hour 30 minutes", "About 17 hours"]


def test_the_page_of_a_study_shows_its_finding_in_plain_words(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    study = workspace.root / "studies" / "reef"
    study.mkdir()
    plain = {"sentence": "With them 7 fewer.", "shares": [["with them", 63], ["with <none>", 70]], "tested": "Measured on 9."}
    told = {"verdict": {"word": "do not add", "sentence": "Do not add."}, "plain": plain}
    (study / "results.json").write_text(json.dumps(told))
    with browser(workspace) as client:
        page = client.get("/studies/reef").text
        assert "With them 7 fewer." in page and page.count("<circle") == 200 and page.count('fill="currentColor"') == 133
        assert 'aria-label="with them: 63 of 100 named rightly; with &lt;none&gt;: 70 of 100 named rightly"' in page
        (study / "results.json").write_text(json.dumps({**told, "plain": {**plain, "shares": []}}))
        assert "<circle" not in client.get("/studies/reef").text
        (study / "results.json").write_text(json.dumps({"verdict": told["verdict"]}))  # of an earlier version
        assert "Do not add." in client.get("/studies/reef").text
        (study / "results.json").write_text(json.dumps({**told, "plain": {}}))
        assert "is damaged" in client.get("/api/studies/reef").json()["error"]
