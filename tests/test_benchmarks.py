"""The shape of benchmarks/ and of the pages that are rendered from its results. What the benchmarks compute is checked in benchmarks/checks."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS, PAGES = ROOT / "benchmarks", ROOT / "docs" / "benchmarks"
SCRIPTS = {path.stem for path in BENCHMARKS.glob("*.py")}
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))
TESTS = {path.stem for path in (ROOT / "tests").rglob("*.py")}


def imported(path: Path) -> set[str]:
    """First parts of the names of all modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def test_a_benchmark_imports_what_is_shared_and_no_other_benchmark() -> None:
    for path in [*BENCHMARKS.glob("*.py"), *BENCHMARKS.glob("common/*.py")]:
        others = {name for name in imported(path) & SCRIPTS if not name.startswith("peer_")}
        assert not others, f"{path.name} imports {others}: what two benchmarks share belongs into benchmarks/common"


def test_tests_import_no_benchmark_and_benchmarks_no_tests() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        assert path == Path(__file__) or not re.search(r"[\"'/]benchmarks\b", path.read_text(encoding="utf-8")), f"{path} reaches into benchmarks/"
    for path in BENCHMARKS.rglob("*.py"):
        assert not re.search(r"/ [\"']tests\b", path.read_text(encoding="utf-8")), f"{path} reaches into tests/"
        assert not imported(path) & (TESTS - SCRIPTS - {"conftest"}), path


def test_make_bench_runs_every_benchmark_and_no_helper() -> None:
    plan = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in SCRIPTS:
        assert (f"benchmarks/{name}.py" in plan) == (not name.startswith("peer_"))


def stamps(node: object) -> Iterator[dict]:
    if isinstance(node, dict):
        if "measured" in node:
            yield node["measured"]
        for value in node.values():
            yield from stamps(value)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_says_when_and_where_it_was_measured_and_has_a_page(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["name"] == path.stem and path.stem in SCRIPTS
    assert result["question"].endswith("?") and result["answer"] and result["headline"]
    found = list(stamps(result["figures"]))
    assert found
    for one in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", one["date"]) and re.fullmatch(r"[0-9a-f]{7}\+?", one["commit"])
        assert one["machine"] and one["command"].startswith(f"python benchmarks/{path.stem}.py")
    page = (PAGES / f"{path.stem}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {result['title']}\n\n**Question.** {result['question']}\n\n**Answer.** {result['answer']}\n")
    assert "\n## How it was measured\n" in page and found[0]["commit"] in page and found[0]["date"] in page


def test_no_page_shows_a_dictionary_of_the_program() -> None:
    for path in PAGES.glob("*.md"):
        assert not re.search(r"[{][\"']\w+[\"']:", path.read_text(encoding="utf-8")), path


def test_the_index_is_what_the_script_writes_from_the_results(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(BENCHMARKS / "index.py"), "--docs", str(tmp_path)], check=True, capture_output=True)
    written = (tmp_path / "benchmarks" / "index.md").read_text(encoding="utf-8")
    assert (PAGES / "index.md").read_text(encoding="utf-8") == written, "run: python benchmarks/index.py"
    for path in PAGES.glob("*.md"):
        assert path.name == "index.md" or f"]({path.name})" in written, f"{path.name} is missing from the index"
