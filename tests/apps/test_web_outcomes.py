"""What the Studio says of a job that has ended, and how it writes names and terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import insert
from studio_server import browser, make_full

from syntype.apps.web.outcomes import outcome
from syntype.apps.web.requests import JobRequest
from syntype.apps.web.shown import glossary, species_name, term
from syntype.apps.web.store import Store, jobs

IMPORTED = {"num_images": 24, "num_species": 2, "num_refused": 0, "num_duplicates": 0, "splits": {"train": 16, "val": 4, "test": 4}}
DRAWN = {"num_images": 12, "num_species": 1, "size": 64}
REFUSED = {"copy": 0, "species": 5, "distribution": 7}
ENDED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("import", IMPORTED, "24 photographs of 2 species are imported: 16 to learn from, 8 kept for tests."),
    ("import", {**IMPORTED, "num_refused": 1, "num_duplicates": 2}, "1 file or row could not be used"),
    ("reef", IMPORTED, "24 pictures of 2 invented species were drawn."),
    ("resplit", IMPORTED, "16 to learn from, 8 kept for tests."),
    ("train", {"steps": 300, "minutes": 12.3, "num_images": 16, "num_species": 2}, "learnt 2 species from 16 photographs, in 300 steps and 12 min"),
    ("train", {"steps": 0, "minutes": 0.1, "num_images": 16, "num_species": 2}, "It recombines 2 species from 16 photographs."),
    ("adapt", {"species": "Cus tertius", "shots": 6, "relative": "Aus primus"}, "learnt Cus tertius from 6 photographs, beginning with Aus primus."),
    ("generate", DRAWN, "12 images of 1 species, 64 pixels wide: SYNTHETIC, and not judged yet. They are small"),
    ("blend", {**DRAWN, "num_images": 1}, "1 SYNTHETIC image between Aus primus and Bus secundus."),
    ("vary", {**DRAWN, "size": 256}, "12 variations of 1 species, 256 pixels wide: SYNTHETIC, and not judged yet."),
    ("inpaint", DRAWN, "12 inpainted images of 1 species"),
    (
        "curate",
        {"num_images": 12, "num_accepted": 0, "refused": REFUSED},
        "0 of 12 images passed: 5 look like another species, 7 look like no photograph. Train the generator longer, or use cut-outs (pose_transfer).",
    ),
    ("curate", {"num_images": 9, "num_accepted": 8, "refused": {"copy": 1}}, "8 of 9 images passed: 1 repeats a photograph. Now let somebody"),
    ("curate", {"num_images": 9, "num_accepted": 1, "refused": {"copy": 8}}, "Use more photographs, or a family that draws new individuals"),
    (
        "classify",
        {"num_train": 12, "num_synthetic": 30, "num_test": 30, "accuracy": 0.9},
        "It has learnt from 12 photographs and 30 synthetic images. Of 30 photographs that it had never seen it named 27 rightly. Try it",
    ),
    ("study", {"verdict": "add", "sentence": "Add them."}, "Add them. Export the accepted images, and train with them."),
    ("export", {"num_images": 16}, "One file with 16 images is ready to download."),
)


@pytest.mark.parametrize(("kind", "result", "said"), ENDED)
def test_what_came_of_a_job_is_said_in_words(kind: str, result: dict[str, Any], said: str) -> None:
    told = outcome(kind, "finished", {"species": ["Aus primus", "Bus secundus"]}, result)
    assert told is not None and said in told
    assert outcome(kind, "failed", {}, result) is None and outcome(kind, "finished", {}, None) is None and outcome(kind, "finished", {}, {}) is None


def test_every_kind_of_job_has_words_for_its_end() -> None:
    requests = get_args(get_args(JobRequest)[0])
    assert {model.model_fields["kind"].default for model in requests} == {kind for kind, *_ in ENDED}


def test_what_was_stopped_says_how_far_it_came() -> None:
    assert outcome("train", "cancelled", {}, {"steps": 3}) == "Stopped early after 3 steps: its images will be poor. Resume the job to train further."
    assert outcome("generate", "cancelled", {}, DRAWN) == "Stopped early: 12 images are kept. Resume the job to make the rest."
    assert outcome("export", "cancelled", {}, {"num_images": 1}) is None


def test_a_training_that_was_stopped_early_is_marked_and_not_offered_first(tmp_path: Path) -> None:
    workspace = make_full(tmp_path / "workspace")
    info = json.loads((workspace.root / "generators" / "little" / "generator.json").read_text())
    early = workspace.root / "generators" / "early"
    early.mkdir()
    (early / "generator.json").write_text(json.dumps({**info, "steps": 3}))
    (early / "run.json").write_text('{"status": "interrupted", "result": {"steps": 3}}')
    store = Store(f"sqlite:///{workspace.root / 'studio.sqlite'}")
    with store.writing() as connection:
        asked = {"kind": "train", "name": "early", "family": "fastgan", "collection": "fish"}
        ended = {"place": "generators", "slug": "early", "status": "cancelled", "result": {"steps": 3}, "created": 0, "message": "its work is kept"}
        connection.execute(insert(jobs).values(kind="train", request=asked, **ended))
    store.close()
    with browser(workspace) as client:
        page = client.get("/generators").text
        assert "unfinished: 3 steps" in page and page.index("/generators/little") < page.index("/generators/early")
        assert "unfinished: 3 steps" in client.get("/generators/early").text
        form = client.get("/new/generate").text
        assert form.index('value="little"') < form.index('value="early"') and "unfinished: 3 steps" in form
        assert client.get("/api/jobs/2").json()["outcome"].startswith("Stopped early after 3 steps")


def test_scientific_names_are_slanted_and_all_else_is_upright() -> None:
    told = {
        "Amphiprion ocellaris": "<i>Amphiprion ocellaris</i>",
        "Fictibranchus alter": "<i>Fictibranchus alter</i>",
        "Naso cf. unicornis (Forsskål, 1775)": "<i>Naso</i> cf. <i>unicornis</i> (Forsskål, 1775)",
        "Aurelia sp.": "<i>Aurelia</i> sp.",
        "Aus primus × secundus": "<i>Aus primus</i> × <i>secundus</i>",
        "Blue tang": "Blue tang",
        "Great white shark": "Great white shark",
        "<b>": "&lt;b&gt;",
        None: "no species",
    }
    assert {name: str(species_name(name)) for name in told} == told


def test_the_glossary_explains_the_terms_of_the_pages() -> None:
    assert len(glossary()) >= 4 and all(terms for _, terms in glossary())
    assert "<code>train</code>" in term("Split") and "](" not in "".join(text for _, terms in glossary() for *_, text in terms)
