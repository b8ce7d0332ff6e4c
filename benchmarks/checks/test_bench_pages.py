"""Every page is what its benchmark renders from the result that is there."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from common.results import RESULTS, ROOT


@pytest.mark.parametrize("name", sorted(path.stem for path in RESULTS.glob("*.json")))
def test_the_page_is_rendered_from_the_result(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    result = (RESULTS / f"{name}.json").read_text(encoding="utf-8")
    (tmp_path / "results" / f"{name}.json").write_text(result, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [name, "--page", "--results", str(tmp_path / "results"), "--docs", str(tmp_path)])
    importlib.import_module(name).main()
    page = Path("benchmarks") / f"{name}.md"
    assert (tmp_path / page).read_text(encoding="utf-8") == (ROOT / "docs" / page).read_text(encoding="utf-8"), "run the benchmark with --page"
    assert (tmp_path / "results" / f"{name}.json").read_text(encoding="utf-8") == result
