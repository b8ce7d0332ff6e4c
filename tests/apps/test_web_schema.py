"""The REST interface against its own description: Schemathesis sends what the description allows and what it forbids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from studio_server import SMALL, TOKEN, make_workspace

from syntype.apps.web.app import create_app
from syntype.apps.web.limits import StudioConfig

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The description, and for its parameters what is there, so that requests get further than to the refusal of an unknown name."""
    limits = SMALL.model_copy(update={"uploads": 10_000})
    studio = create_app(make_workspace(tmp_path_factory.mktemp("schema") / "workspace"), StudioConfig(host="0.0.0.0", token=TOKEN, limits=limits))

    studio.app.state.studio.answers._ask = lambda task: (False, "nothing is asked")  # type: ignore[attr-defined]

    async def without_queue(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "jobs are queued and not begun: what their commands do is other tests' matter"
        await studio(scope, receive, send)

    client = TestClient(studio, headers=HEADERS)
    there = {"name": "drawn", "collection": "fish", "synthetic": "drawn", "real": "fish", "image_id": "0-0", "number": 1, "token": TOKEN}
    there["upload"] = client.post("/api/uploads").json()["upload"]
    there["quiz"] = client.post("/api/quizzes", json={"synthetic": "drawn", "real": "fish", "reviewer": "Ada"}).json()["id"]
    client.post("/api/jobs", json={"kind": "export", "name": "set", "collection": "fish"}).raise_for_status()
    yield schemathesis.openapi.from_asgi("/api/openapi.json", without_queue, headers=HEADERS), there
    studio.app.state.studio.looks.stop()  # type: ignore[attr-defined]


def _ask(operation: Any, there: dict[str, Any], mode: GenerationMode, num: int) -> None:
    """So many requests of one operation, which its description allows or forbids."""

    @settings(max_examples=num, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def ask(case: schemathesis.Case, known: bool) -> None:
        for sent in (case.path_parameters, case.query, case.body):
            if known and mode is GenerationMode.POSITIVE and isinstance(sent, dict):
                sent.update({name: value for name, value in there.items() if name in sent and not (name == "name" and sent is case.body)})
        # What the description allows may still be refused, with 422, for what the workspace holds.
        case.call_and_validate(headers=HEADERS, timeout=300, excluded_checks=[positive_data_acceptance])

    ask()


def _answers_conform(described: tuple[Any, dict[str, Any]], num: int) -> None:
    schema, there = described
    for operation in sorted((found.ok() for found in schema.get_all_operations()), key=lambda operation: operation.method == "delete"):
        _ask(operation, there, GenerationMode.POSITIVE, num)
        if operation.path_parameters or operation.query or operation.body:
            _ask(operation, there, GenerationMode.NEGATIVE, num)


def test_answers_are_as_described(described: tuple[Any, dict[str, Any]]) -> None:
    _answers_conform(described, 2)


@pytest.mark.slow
def test_many_answers_are_as_described(described: tuple[Any, dict[str, Any]]) -> None:
    _answers_conform(described, 12)
