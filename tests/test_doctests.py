"""The examples of the public docstrings and of the documentation run, and print what they say."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

import syntype

DOCS = Path(__file__).parents[1] / "docs"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
# Stages in the order of a study: each example goes on with what those before it wrote.
STAGES = (
    "collect",
    "draw_reef",
    "draw_images",
    "inspect",
    "relabel",
    "undo_relabel",
    "move_photographs",
    "undo_move",
    "find_suspects",
    "map_images",
    "plot_long_tail",
    "export",
    "list_families",
    "train",
    "load_generator",
    "adapt",
    "adapt_many",
    "read_cluster",
    "generate",
    "blend",
    "vary",
    "inpaint",
    "curate",
    "evaluate",
    "train_classifier",
    "load_classifier",
    "predict",
    "export_onnx",
    "run_study",
    "write_report",
)
MODULES = (
    "syntype",
    "syntype.errors",
    "syntype.recipe",
    "syntype.collection.bins",
    "syntype.collection.splits",
    "syntype.collection.table",
    "syntype.generators.engine.expected",
)
PAGES = ("tutorials/notebook.md", "reference/reef.md")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photographs of two species."""
    config = syntype.ReefConfig(num_species=2, size=32)
    for label, species in enumerate(["Pictopiscis primus", "Pictopiscis alter"]):
        (tmp_path / "photographs" / species).mkdir(parents=True)
        for seed, image in enumerate(syntype.draw_images(config, [label] * 8, range(8))):
            Image.fromarray(image).save(tmp_path / "photographs" / species / f"{seed}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(test: doctest.DocTest) -> None:
    """Run one example and fail with what doctest reports."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    runner.run(test, out=report.append)
    assert not report, "".join(report)


def test_the_examples_of_the_stages_run_one_after_the_other(folder: Path) -> None:
    finder = doctest.DocTestFinder(recurse=False)
    for name in STAGES:
        function = getattr(syntype, name)
        for test in finder.find(function, name, globs={}):
            run(test)


def test_every_public_function_is_among_the_stages() -> None:
    functions = {name for name in syntype.__all__ if name[0].islower()}
    assert functions == set(STAGES)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str, folder: Path) -> None:
    module = import_module(name)
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module, name) if test.examples]
    assert tests, f"{name} has no example"
    for test in tests:
        run(test)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page: str, folder: Path) -> None:
    text = (DOCS / page).read_text(encoding="utf-8").replace("```", "\n")
    run(doctest.DocTestParser().get_doctest(text, {}, page, page, 0))
