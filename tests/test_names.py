"""Names that are hard on files, pictures, pages and consoles, through every stage: a name is text and nothing else."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import make_collection, train_tiny

from syntype.adaptation import AdaptConfig
from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.collection.exports import LAYOUTS, ExportConfig, export
from syntype.collection.importers import CollectConfig, collect
from syntype.collection.inspection import inspect, plot_long_tail
from syntype.collection.names import count_unknown, drawn_name
from syntype.collection.reef import ReefConfig
from syntype.curation import CurateConfig, curate
from syntype.errors import RecipeError
from syntype.generators import TrainConfig, load_generator
from syntype.identification import ClassifierConfig, load_classifier, predict, train_classifier
from syntype.identification.metrics import measure
from syntype.identification.plots import plot_confusion
from syntype.recipe import Settings, apply_overrides, find_recipe, read_yaml, write_yaml
from syntype.run import Run
from syntype.study import StudyConfig, study
from syntype.study.fidelity import EvaluateConfig, evaluate
from syntype.study.pictures import plot_tail
from syntype.synthesis import BlendConfig, GenerateConfig, InpaintConfig, VaryConfig, blend, generate, inpaint, vary
from syntype.synthesis.pictures import labelled_grid

YAML = ("2024", "2026-07-01", "2026-13-45", "no", "null", "1e5", "0x1F", "~", "on", "12:30", "None", "true", "007", "1.50", "{}", "a: b", "[x", "#1")
MARKUP = ("$x$", "$\\frac$", "_", "a_b^c", "100 %", "%s", "<b>bold", "<script>alert('x')</script>", "&amp;", "\"'quoted'\"", "{{ 7 * 7 }}", "`x`")
SCRIPTS = ("🐟🐠", "שלום עולם", "سمكة", "鱼类", "e\u0301\u0323\u0302x", "zero\u200bwidth\u200d", "\u202eover", "Cafe\u0301", "Caf\u00e9", "\x01")
FILES = ("CON", "nul", "aux.txt", "..", ".", "a/b", "a\\b", "Aus primus", "aus primus", "AUS PRIMUS", "trailing.", "x" * 220, "鱼" * 70, "?#&=/%2F")
SPACES = (" leading", "trailing ", "two\nlines", "a\ttab")
NASTY = (*YAML, *MARKUP, *SCRIPTS, *FILES, *SPACES)


@pytest.mark.parametrize("name", YAML)
def test_a_name_in_the_settings_is_text_whatever_yaml_makes_of_it(name: str, tmp_path: Path) -> None:
    assert CollectConfig.parse(apply_overrides({}, [f"name={name}"], CollectConfig)).name == name
    write_yaml(tmp_path / "recipe.yaml", TrainConfig(family="copies", only=(name,)))
    assert TrainConfig.parse({**read_yaml(tmp_path / "recipe.yaml", TrainConfig)}).only == (name,)


def test_names_that_a_person_writes_into_a_recipe_or_a_list_are_text_and_numbers_stay_numbers(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("family: on\nonly: [2024, no, null, 2026-07-01, 1e5, ~, 12:30]\nsteps: 10\nminutes: null\nmodel: {width: 8}\n")
    read = TrainConfig.parse(find_recipe(str(tmp_path / "r.yaml"), TrainConfig))
    assert read.family == "on" and read.only == ("2024", "no", "null", "2026-07-01", "1e5", "~", "12:30")
    assert (read.steps, read.minutes, read.model) == (10, None, {"width": 8})
    given = apply_overrides({}, ["except=[no, 007]", "minutes=1e-3", "steps=null", "model.width=16"], TrainConfig)
    assert given == {"except": ["no", "007"], "minutes": 1e-3, "steps": None, "model": {"width": 16}}
    for wrong in ("steps=[x", "steps=2026-13-45"):
        with pytest.raises(RecipeError, match="is not a value in YAML"):
            apply_overrides({}, [wrong], TrainConfig)


CONFIGS: tuple[tuple[type[Settings], dict[str, Any]], ...] = (
    (CollectConfig, {}), (ReefConfig, {}), (TrainConfig, {"family": "copies"}), (AdaptConfig, {"species": "A"}), (GenerateConfig, {"num": 1}),
    (BlendConfig, {"species": ("A",)}), (VaryConfig, {"num": 1}), (InpaintConfig, {"num": 1, "box": (0, 0, 1, 1)}), (CurateConfig, {}),
    (EvaluateConfig, {}), (ClassifierConfig, {}), (StudyConfig, {}),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "values"), CONFIGS, ids=lambda value: getattr(value, "__name__", ""))
def test_seeds_have_63_bits(kind: type[Settings], values: dict[str, Any]) -> None:
    assert kind.parse({**values, "seed": 2**63 - 1}).seed == 2**63 - 1  # type: ignore[attr-defined]
    for seed in (-1, 2**63, 10**30):
        with pytest.raises(RecipeError, match="seed"):
            kind.parse({**values, "seed": seed})


def test_the_seeds_of_a_study_stay_seeds() -> None:
    assert StudyConfig(seed=7).seed_of(2) == 7002
    assert 0 <= StudyConfig(seed=2**63 - 1).seed_of(99) < 2**63


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_that_lacks_a_character_shows_a_question_mark(encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = make_collection(tmp_path / "鱼", {"鱼类": 8, "🐟": 8}, size=32)
    streams = {}

    def call(*arguments: str) -> tuple[int, str]:
        for name in ("stdout", "stderr"):
            streams[name] = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
            monkeypatch.setattr(sys, name, streams[name])
        code = main(arguments)
        for stream in streams.values():
            stream.flush()
        return code, "".join(stream.buffer.getvalue().decode(encoding) for stream in streams.values())  # type: ignore[attr-defined]

    code, text = call("inspect", str(made.root))
    assert code == 0 and "??" in text and "鱼" not in text
    code, text = call("inspect", str(made.root), "--json")
    assert code == 0 and json.loads(text)["name"] == "鱼"
    code, text = call("inspect", str(tmp_path / "鱼" / "无"))
    assert code == 2 and text.startswith("syntype: error: ") and "?" in text


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Two photographs of each nasty name."""
    return make_collection(tmp_path_factory.mktemp("odd") / "odd", dict.fromkeys(NASTY, 2), size=16)


def test_a_table_keeps_every_name(odd: Collection) -> None:
    assert Collection.open(odd.root).counts() == dict.fromkeys(NASTY, 2)


@pytest.mark.parametrize("start", range(0, len(NASTY), 30))
def test_every_name_can_stand_in_every_picture(start: int, tmp_path: Path) -> None:
    names = NASTY[start : start + 30]
    plot_long_tail(dict.fromkeys(names, 3), tmp_path / "tail.png")
    labels = np.arange(len(names)).repeat(2)
    plot_confusion(measure(labels, labels[::-1].copy(), np.full(len(names), 2)), names, tmp_path / "confusion.png")
    entries = [{"name": name, "num_train": 3, "accepted": 2} for name in names]
    shown = plot_tail(entries, num_seeds=1, name="tail")
    assert "<script" not in shown and "\x01" not in shown
    assert ">$x$<" in shown or "$x$" not in names
    assert labelled_grid(np.zeros((4, 16, 16, 3), np.uint8), names[:2], names[2:4]).ndim == 3
    for name in names:
        assert labelled_grid(np.zeros((1, 16, 16, 3), np.uint8), [name], [name]).shape[1] > 16


def test_a_drawn_name_is_one_short_line() -> None:
    assert {drawn_name(name) for name in ("\x01", "\u200b", "")} == {"?"}
    assert all("\n" not in drawn_name(name) and 1 <= len(drawn_name(name)) <= 40 for name in NASTY)
    assert drawn_name("鱼x") == "□x" and drawn_name("鱼x", any_font=True) == "鱼x"


def test_names_in_a_csv_file_are_read_as_they_stand(odd: Collection, tmp_path: Path) -> None:
    with (odd.root / "names.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "species"])
        writer.writerows(zip(odd.table["file_name"], odd.table["species"], strict=True))
    made = collect(odd.root / "names.csv", CollectConfig(), tmp_path / "out", Run.silent())
    assert made.num_refused == 0
    assert set(made.collection.species) >= {*YAML, *MARKUP}
    odd.table[["file_name", "species"]].replace("null", "NA").to_parquet(odd.root / "names.parquet")
    assert "NA" in collect(odd.root / "names.parquet", CollectConfig(), tmp_path / "again", Run.silent()).collection.species


def test_unknown_names_are_counted_with_the_nearest_known_one() -> None:
    known = ["Aus primus", "Bus é"]
    for name in ("aus primus", "Aus_primus", " Aus  primus", "Aus\u200b primus"):
        assert count_unknown({name: 2}, known) == f"2 images of {name!r} (nearest known name: 'Aus primus')"
    assert "'Bus é'" in count_unknown({"bus e\u0301": 1}, known)
    assert count_unknown({"Aus primus": 3}, known) == ""
    assert count_unknown({f"x{i}": 1 for i in range(12)}, known).endswith("2 images of 2 other names")


@pytest.mark.slow
def test_every_stage_takes_every_name(tmp_path: Path) -> None:
    silent = Run.silent
    real = make_collection(tmp_path / "real", dict.fromkeys(NASTY, 8), size=32)
    assert inspect(real, silent()).text()
    generator = load_generator(train_tiny("fastgan", real, tmp_path / "generator", steps=2, previews=True).folder)
    made = generate(generator, GenerateConfig(num=2), tmp_path / "made", silent()).collection
    assert made.counts() == dict.fromkeys(NASTY, 2) and all(Path(name).parts[0] == "images" for name in made.table["file_name"])
    assert made.table["file_name"].str.lower().is_unique
    for start in range(0, len(NASTY), 6):
        for layout in ("strip", "board"):
            names = NASTY[start : start + 6]
            blend(generator, BlendConfig(species=names, layout=layout, steps=2), tmp_path / f"{layout}-{start}", silent())
    few = {"num": 1, "species": NASTY[::9], "controls": {"search_steps": 1}}
    inpaint(generator, real, InpaintConfig(box=(0.2, 0.2, 0.6, 0.6), **few), tmp_path / "filled", silent())
    vary(generator, real, VaryConfig(**few), tmp_path / "varied", silent())
    curated = curate(made, real, CurateConfig(size=32), tmp_path / "curated", silent()).collection
    settings = ClassifierConfig(size=32, steps=3, views=1)
    assert train_classifier(real, settings, tmp_path / "classifier", silent(), synthetic=curated).num_train
    for form in ("syntype", "pybioclip"):
        predict(load_classifier(tmp_path / "classifier"), real.root, tmp_path / "names.csv", silent(), form)  # type: ignore[arg-type]
    for layout in LAYOUTS:
        export(made, ExportConfig(layout=layout), tmp_path / f"as-{layout}", silent())  # type: ignore[arg-type]
    evaluate(made, real, EvaluateConfig(size=32), silent())
    plan = {"seeds": 2, "size": 32, "num_bootstrap": 100, "fill_to": 10, "arms": ("real", "mixup", "synthetic+curated")}
    found = study(
        real,
        StudyConfig(synthetic=str(curated.root), quick=True, classifier=ClassifierConfig(steps=3, views=1), **plan),
        tmp_path / "study",
        silent(),
    )
    assert "<script>alert" not in found.report.read_text(encoding="utf-8")
