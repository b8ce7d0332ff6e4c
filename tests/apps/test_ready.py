"""What the tests' own jobs are copied from."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from ready import PRELOADED


def test_what_jobs_are_copied_from_can_import_all_that_is_named(tmp_path: Path) -> None:
    assert [name for name in PRELOADED if find_spec(name) is None] == []
    code = "import sys; from importlib.util import find_spec; print(*(name for name in sys.argv[1:] if find_spec(name) is None))"
    packages = {name.partition(".")[0] for name in PRELOADED}
    done = subprocess.run([sys.executable, "-c", code, *packages], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
