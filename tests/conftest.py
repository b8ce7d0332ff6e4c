"""What all tests share: where the real photographs lie, and one torch thread policy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_DATA = Path(os.environ.get("SYNTYPE_FISH4KNOWLEDGE", Path(__file__).parents[2] / "shared" / "data" / "fish4knowledge"))


@pytest.fixture(scope="session")
def fish4knowledge() -> Path:
    """The real photographs; tests that need them skip where they are absent."""
    if not (REAL_DATA / "classification.csv").is_file():
        pytest.skip("the fish4knowledge photographs are not on this machine (set SYNTYPE_FISH4KNOWLEDGE to their folder)")
    return REAL_DATA
