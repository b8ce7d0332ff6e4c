"""The files that run the Studio in containers say what the program understands: options, variables, extras, addresses and ports."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import closing
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from starlette.testclient import TestClient

from syntype.apps.cli_serve import serve
from syntype.apps.web.app import create_app
from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.workspace import Workspace

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTAINERFILE = [line.split(maxsplit=1) for line in (ROOT / "Containerfile").read_text().splitlines() if line and not line.startswith("#")]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
STUDIO = SERVICES["studio"]
EXAMPLE = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#"))
TOKEN = "0123456789abcdef"
PROXY = "172.20.0.3"


def serve_options(arguments: list[str]) -> dict[str, Any]:
    """What ``syntype`` reads from arguments; an option that it does not know fails."""
    assert arguments[0] == "serve"
    return serve.make_context("serve", list(arguments[1:])).params


def instructions(name: str) -> list[str]:
    return [rest for word, rest in CONTAINERFILE if word == name]


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The Studio with the options and variables of compose.yaml, as the proxy reaches it. Its database is a file here."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in STUDIO["environment"].items():
            patch.setenv(name, TOKEN if name == "SYNTYPE_TOKEN" else value)
        options = serve_options(STUDIO["command"])
        config = StudioConfig(**{name: options[name] for name in ("host", "port", "token", "https")})
        app = create_app(Workspace(tmp_path_factory.mktemp("container") / "workspace"), config)
        server = uvicorn.Config(app, lifespan="off", log_config=None)
        server.load()
    with closing(app.app.state.studio.store):
        yield TestClient(server.loaded_app, base_url="http://studio.museum.example", client=(PROXY, 40000))


def sent_by(address: str) -> dict[str, str]:
    """Headers that the proxy adds to a request of somebody."""
    return {"x-forwarded-for": address, "x-forwarded-proto": "https", "x-forwarded-host": "studio.museum.example"}


def test_the_image_starts_with_options_that_there_are_and_installs_extras_that_there_are() -> None:
    (entry,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    options = serve_options(yaml.safe_load(command))
    assert yaml.safe_load(entry) == ["syntype"] and "syntype" in PYPROJECT["project"]["scripts"]
    assert options["workspace"] == Path("/workspace") and options["port"] is None
    assert instructions("EXPOSE") == [str(StudioConfig().port)]
    (extras,) = (value for name, _, value in (argument.partition("=") for argument in instructions("ARG")) if name == "EXTRAS")
    shown = re.findall(r"[a-z0-9]+ reads", (ROOT / ".env.example").read_text())
    assert {*extras.split(","), *(words.split()[0] for words in shown)} <= PYPROJECT["project"]["optional-dependencies"].keys()
    assert {"web", "postgresql"} <= set(extras.split(","))
    assert f"${{EXTRAS:-{extras}}}" == STUDIO["build"]["args"]["EXTRAS"] and extras == EXAMPLE["EXTRAS"]
    assert set(STUDIO["build"]["args"]) == {argument.partition("=")[0] for argument in instructions("ARG")}


def test_the_image_is_built_of_all_that_the_package_needs_and_of_nothing_private() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {name for line in instructions("COPY") if not line.startswith("--from") for name in shlex.split(line)[:-1]}
    assert copied == let_in and all((ROOT / name).exists() for name in copied)
    project, wheel = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {project["readme"], *project["license-files"], *wheel["force-include"], *(package.split("/")[0] for package in wheel["packages"])}
    assert needed <= copied
    assert not [name for name in (".env", "out", ".git") if any(fnmatch(name, rule) for rule in let_in)]
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    assert instructions("USER") == ["syntype"]
    variables = {*instructions("ENV"), *instructions("ARG")}
    assert not [line for line in variables if re.search("TOKEN|PASSWORD", line)]


def test_compose_starts_the_studio_with_options_that_there_are_where_the_proxy_looks_for_it() -> None:
    options = serve_options(STUDIO["command"])
    assert options["https"] and options["host"] == "0.0.0.0"
    assert f"reverse_proxy studio:{options['port']} " in (ROOT / "Caddyfile").read_text()
    assert f"http://127.0.0.1:{options['port']}/" in STUDIO["healthcheck"]["test"][-1]
    database = SERVICES["database"]["environment"]
    assert options["database"] == f"postgresql://{database['POSTGRES_USER']}@database/{database['POSTGRES_DB']}"
    assert STUDIO["environment"]["PGPASSWORD"] == database["POSTGRES_PASSWORD"]  # libpq's own variable: no password on a command line
    known = {parameter.envvar for parameter in serve.params if parameter.envvar}
    assert {name for name in STUDIO["environment"] if name.startswith("SYNTYPE_")} <= known
    mounted = {volume.partition(":")[2] for volume in STUDIO["volumes"]}
    assert mounted == set(yaml.safe_load(instructions("VOLUME")[0])) and str(options["workspace"]) in mounted


def test_only_the_proxy_is_reached_from_outside_and_everything_starts_again() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert not set(SERVICES["proxy"]["networks"]) & set(SERVICES["database"]["networks"])
    assert COMPOSE["networks"]["back"] == {"internal": True}
    for service in SERVICES.values():
        assert service["restart"] == "unless-stopped" and service["healthcheck"]["test"][0] == "CMD"
        named = {volume.partition(":")[0] for volume in service["volumes"] if not volume.startswith(".")}
        assert named <= COMPOSE["volumes"].keys()


def test_every_setting_of_compose_is_in_the_example_without_a_secret() -> None:
    asked = dict(re.findall(r"\$\{([A-Z_]+):([?-])", (ROOT / "compose.yaml").read_text()))
    assert asked.keys() == EXAMPLE.keys()
    assert all(EXAMPLE[name] == "" for name, kind in asked.items() if kind == "?")


def test_the_health_address_answers_without_the_token_and_tells_nothing(behind_proxy: TestClient) -> None:
    (path,) = re.findall(r"http://127.0.0.1:\d+(/[^\"]*)", STUDIO["healthcheck"]["test"][-1])
    answer = behind_proxy.get(path)
    assert answer.status_code == 200 and answer.json() == {"signed_in": False, "csrf": None, "name": None, "role": None}
    assert "set-cookie" not in answer.headers
    compile(STUDIO["healthcheck"]["test"][-1], "health check", "exec")


def test_behind_the_proxy_cookies_are_for_https_alone_and_wrong_tokens_count_for_their_sender(behind_proxy: TestClient) -> None:
    origin = {"origin": "https://studio.museum.example"}
    for _ in range(10):
        assert behind_proxy.post("/api/session", json={"token": "wrong"}, headers=sent_by("203.0.113.5") | origin).status_code == 403
    assert behind_proxy.post("/api/session", json={"token": TOKEN}, headers=sent_by("203.0.113.5") | origin).status_code == 429
    answer = behind_proxy.post("/api/session", json={"token": TOKEN}, headers=sent_by("198.51.100.7") | origin)
    assert answer.status_code == 200
    assert {"Secure", "HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
