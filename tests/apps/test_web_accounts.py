"""Accounts: invitations, passwords, sessions that end, and what each role may do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from studio_server import PAGES, SMALL, TOKEN, make_full, make_workspace

from syntype.apps.web import passwords
from syntype.apps.web.accounts import IDLE_SECONDS, SESSION_SECONDS, Accounts
from syntype.apps.web.app import create_app
from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.passwords import UNKNOWN, hash_password, is_password
from syntype.apps.web.roles import LEAST, ROLES, Gate
from syntype.apps.web.store import Store, people, signed_in
from syntype.apps.web.workspace import Workspace
from syntype.errors import UserError

CONFIG = StudioConfig(host="0.0.0.0", token=TOKEN, https=True, limits=SMALL)
COST = passwords.COST
PASSWORD = "a long password"
OWNER = {"authorization": f"Bearer {TOKEN}"}
VERDICT = {"image_id": "0-0", "reviewer": "Somebody Else", "decision": "accept"}
VERDICTS = "/api/collections/drawn/verdicts"


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "COST", (4, 1, 1))
    monkeypatch.setattr("syntype.apps.web.accounts.UNKNOWN", UNKNOWN.replace("$15$8$3$", "$4$1$1$"))


@pytest.fixture
def app(tmp_path: Path) -> Iterator[ASGIApp]:
    app = make_app(make_workspace(tmp_path / "workspace"))
    with closing(store_of(app)):
        yield app


def make_app(workspace: Workspace, config: StudioConfig = CONFIG, database: str | None = None) -> ASGIApp:
    return create_app(workspace, config, database)


def inside(app: Any) -> FastAPI:
    """The application inside its middleware."""
    while not isinstance(app, FastAPI):
        app = app.app
    return app


def client_of(app: ASGIApp, **headers: str) -> TestClient:
    """A browser of its own; without ``headers`` nobody is signed in."""
    return TestClient(app, base_url="https://studio.example", headers=headers, raise_server_exceptions=False)


def invite(app: ASGIApp, name: str, role: str, days: int = 7) -> tuple[int, str]:
    """The number and the link's secret of somebody whom the token's owner has invited."""
    made = client_of(app, **OWNER).post("/api/people", json={"name": name, "role": role, "days": days})
    assert made.status_code == 201, made.text
    link = made.json()["link"]
    assert link.startswith("https://studio.example/join#") and made.json()["code"].startswith("<?xml")
    return made.json()["person"]["id"], link.partition("#")[2]


def keep(client: TestClient, answer: Any) -> TestClient:
    """The client, with the header of the session that an answer has begun."""
    assert answer.status_code in (200, 201), answer.text
    client.headers["x-syntype-csrf"] = answer.json()["csrf"]
    return client


def joined(app: ASGIApp, name: str, role: str) -> TestClient:
    """The browser of somebody who has opened an invitation."""
    _, link = invite(app, name, role)
    client = client_of(app)
    return keep(client, client.post("/api/join", json={"link": link, "password": PASSWORD}))


def sign_in(app: ASGIApp, name: str, password: str = PASSWORD) -> Any:
    return client_of(app).post("/api/session", json={"name": name, "password": password})


def number_of(app: ASGIApp, name: str) -> int:
    return next(person["id"] for person in client_of(app, **OWNER).get("/api/people").json() if person["name"] == name)


def store_of(app: ASGIApp) -> Store:
    store: Store = inside(app).state.studio.store
    return store


def test_an_invitation_is_used_once_and_its_secret_is_nowhere(app: ASGIApp, tmp_path: Path) -> None:
    number, link = invite(app, "Ada Byron", "reviewer")
    guest = client_of(app)
    assert guest.post("/api/join/look", json={"link": link}).json() == {"name": "Ada Byron", "role": "reviewer", "joined": False}
    assert guest.post("/api/join", json={"link": link, "password": "too short"}).status_code == 422
    signed = guest.post("/api/join", json={"link": link, "password": PASSWORD})
    cookie = signed.headers["set-cookie"]
    assert all(flag in cookie for flag in ("HttpOnly", "SameSite=strict", "Secure", "Path=/"))
    assert (signed.json()["name"], signed.json()["role"]) == ("Ada Byron", "reviewer")
    assert guest.get("/api/session").json()["name"] == "Ada Byron"
    again = client_of(app).post("/api/join", json={"link": link, "password": "another password"})
    assert again.status_code == 422 and "new link" in again.json()["error"]
    person = client_of(app, **OWNER).get("/api/people").json()[0]
    assert person["id"] == number and person["joined"] and person["link_until"] is None and person["sessions"] == 1
    stored = b"".join(path.read_bytes() for path in (tmp_path / "workspace").rglob("*") if path.is_file())
    assert b"Ada Byron" in stored and b"scrypt$" in stored
    assert '"' not in cookie, "a cookie that needs no quotes"
    assert not any(secret.encode() in stored for secret in (link, PASSWORD, cookie.split(";")[0].split("=", 1)[1]))


def test_an_invitation_expires_and_a_new_one_replaces_it(app: ASGIApp) -> None:
    number, first = invite(app, "Ada", "guest")
    second = client_of(app, **OWNER).post(f"/api/people/{number}/link", json={}).json()["link"].partition("#")[2]
    assert client_of(app).post("/api/join/look", json={"link": first}).status_code == 422
    with store_of(app).writing() as connection:
        connection.execute(update(people).values(link_until=time.time() - 1))
    assert client_of(app).post("/api/join", json={"link": second, "password": PASSWORD}).status_code == 422
    assert sign_in(app, "Ada").status_code == 403


def test_a_forgotten_password_is_replaced_by_a_link_and_other_browsers_are_signed_out(app: ASGIApp) -> None:
    before = joined(app, "Ada", "reviewer")
    link = client_of(app, **OWNER).post(f"/api/people/{number_of(app, 'Ada')}/link", json={}).json()["link"].partition("#")[2]
    assert before.get("/api/collections").status_code == 200, "until it is used"
    client_of(app).post("/api/join", json={"link": link, "password": "another password"})
    assert before.get("/api/collections").status_code == 401
    assert sign_in(app, "Ada").status_code == 403
    assert sign_in(app, "ADA", "another password").status_code == 200, "upper and lower case do not matter"


def test_no_two_people_have_names_that_look_alike(app: ASGIApp) -> None:
    invite(app, "Ada Byron", "guest")
    for name in ("Ada Byron", "ADA  BYRON", "\uff21da Byron", "Ada\u200b Byron\ufeff", "\u202eAda Byron", "Ada\u200d Byron"):
        answer = client_of(app, **OWNER).post("/api/people", json={"name": name, "role": "guest"})
        assert answer.status_code == 422 and "already" in answer.json()["error"], name
    assert client_of(app, **OWNER).post("/api/people", json={"name": "a;b", "role": "guest"}).status_code == 422
    assert client_of(app, **OWNER).post("/api/people", json={"name": "Bo", "role": "king"}).status_code == 422


def test_signs_that_nobody_sees_are_no_part_of_a_name(app: ASGIApp) -> None:
    invite(app, "\ufeffBo\u200b \u202eCy", "guest")  # copied from elsewhere
    assert [person["name"] for person in client_of(app, **OWNER).get("/api/people").json()] == ["Bo Cy"]
    for name in ("\u200b", "\u202e \u2060", "-"):
        answer = client_of(app, **OWNER).post("/api/people", json={"name": name, "role": "guest"})
        assert answer.status_code == 422 and "letters or digits" in answer.json()["error"], name


def test_an_old_page_does_not_change_somebody_who_was_invited_later(app: ASGIApp) -> None:
    owner = client_of(app, **OWNER)
    number = invite(app, "Ada", "guest")[0]
    assert owner.delete(f"/api/people/{number}").status_code == 204
    invite(app, "Bo", "guest")
    for answer in (owner.delete(f"/api/people/{number}"), owner.post(f"/api/people/{number}/role", json={"role": "owner"})):
        assert answer.status_code == 404, "Bo has another number"
    assert owner.get("/api/people").json()[0]["role"] == "guest"


def test_a_session_ends_by_sign_out_by_rest_and_by_age(app: ASGIApp) -> None:
    ada = joined(app, "Ada", "reviewer")
    cookie = ada.cookies["syntype_session"]
    assert ada.delete("/api/session", headers={"x-syntype-csrf": ""}).status_code == 204
    assert client_of(app, cookie=f"syntype_session={cookie}").get("/api/collections").status_code == 401, "a copy of the cookie"
    now = time.time()
    for began, seen, status in (
        (now - SESSION_SECONDS + 60, now - 60, 200),
        (now - SESSION_SECONDS - 60, now - 60, 401),
        (now - 3 * IDLE_SECONDS, now - IDLE_SECONDS + 60, 200),
        (now - 3 * IDLE_SECONDS, now - IDLE_SECONDS - 60, 401),
    ):
        browser = client_of(app)
        keep(browser, browser.post("/api/session", json={"name": "Ada", "password": PASSWORD}))
        with store_of(app).writing() as connection:
            connection.execute(update(signed_in).values(began=began, seen=seen))
        assert browser.get("/api/collections").status_code == status
        if status == 200:
            with store_of(app).reading() as connection:
                assert connection.scalar(select(signed_in.c.seen)) >= now - 1, "a request is a use"
    assert client_of(app, **OWNER).get("/api/people").json()[0]["seen"] >= now - 1


def test_an_open_page_that_asks_for_jobs_does_not_keep_a_session(app: ASGIApp) -> None:
    ada, before = joined(app, "Ada", "owner"), time.time() - IDLE_SECONDS + 60
    for path, used in (("/api/jobs?limit=20", False), ("/api/collections", True)):
        with store_of(app).writing() as connection:
            connection.execute(update(signed_in).values(seen=before))
        assert ada.get(path).status_code == 200
        with store_of(app).reading() as connection:
            assert (connection.scalar(select(signed_in.c.seen)) > before) == used


def test_accounts_and_sessions_survive_a_restart_and_a_new_token(app: ASGIApp, tmp_path: Path) -> None:
    ada = joined(app, "Ada", "reviewer")
    cookie = ada.cookies["syntype_session"]
    again = make_app(Workspace(tmp_path / "workspace"), CONFIG.model_copy(update={"token": TOKEN + "2"}))
    with closing(store_of(again)):
        browser = client_of(again, cookie=f"syntype_session={cookie}")
        assert browser.get("/api/session").json()["name"] == "Ada"
        assert browser.get("/people").status_code == 403
        assert sign_in(again, "Ada").status_code == 200


def test_removal_ends_sessions_at_once_and_verdicts_stay(app: ASGIApp) -> None:
    ada = joined(app, "Ada", "reviewer")
    assert ada.post(VERDICTS, json=VERDICT).status_code == 201
    owner = client_of(app, **OWNER)
    number = number_of(app, "Ada")
    link = owner.post(f"/api/people/{number}/link", json={}).json()["link"].partition("#")[2]
    assert owner.delete(f"/api/people/{number}").status_code == 204
    assert ada.get("/api/collections").status_code == 401
    assert sign_in(app, "Ada").status_code == 403
    assert client_of(app).post("/api/join", json={"link": link, "password": PASSWORD}).status_code == 422
    assert owner.get(VERDICTS).json()["reviewers"] == {"Ada": {"accept": 1}}
    assert owner.delete(f"/api/people/{number}").status_code == 404
    back = owner.post("/api/people", json={"name": "Ada", "role": "reviewer"}).json()
    assert back["has_judged"], "whoever invites is told that there are verdicts under this name"


def test_another_role_and_an_end_of_sessions_hold_at_once(app: ASGIApp) -> None:
    ada = joined(app, "Ada", "owner")
    owner, number = client_of(app, **OWNER), number_of(app, "Ada")
    joined(app, "Bo", "owner")
    assert ada.post("/api/people", json={"name": "Cy", "role": "guest"}).status_code == 201
    assert owner.post(f"/api/people/{number}/role", json={"role": "guest"}).json()["role"] == "guest"
    assert ada.get("/api/collections").status_code == 401
    keep(ada, ada.post("/api/session", json={"name": "Ada", "password": PASSWORD}))
    assert ada.get("/api/collections").status_code == 200 and ada.get("/api/people").status_code == 403
    assert owner.delete(f"/api/people/{number}/sessions").status_code == 204
    assert ada.get("/api/collections").status_code == 401


def test_reviewers_and_guests_are_offered_hybrids_only_where_a_generator_draws_them(app: ASGIApp, tmp_path: Path) -> None:
    people = [joined(app, "Rita", "reviewer"), joined(app, "Gus", "guest")]
    generator = inside(app).state.studio.workspace.root / "generators" / "cutter"
    generator.mkdir(parents=True)
    about = {"family": "pose_transfer", "abilities": [], "species": ["Aus primus"], "config": {"size": 32}}
    for abilities, offered in ([], False), (["blend"], True):
        (generator / "generator.json").write_text(json.dumps({**about, "abilities": abilities}))
        for person in people:
            shown = [person.get(page, headers={"accept": "text/html"}).text for page in ("/", "/generators", "/images")]
            assert all(('href="/hybrids"' in page) is offered for page in shown)


def test_the_last_owner_stays(app: ASGIApp) -> None:
    ada = joined(app, "Ada", "owner")
    number = number_of(app, "Ada")
    invite(app, "Bo", "owner")  # has not joined
    for answer in (ada.delete(f"/api/people/{number}"), ada.post(f"/api/people/{number}/role", json={"role": "guest"})):
        assert answer.status_code == 422 and "last owner" in answer.json()["error"]
    joined(app, "Cy", "owner")
    assert ada.delete(f"/api/people/{number_of(app, 'Cy')}").status_code == 204
    joined(app, "Di", "owner")
    assert ada.delete(f"/api/people/{number}").status_code == 204, "an owner may go as long as another is there"
    assert ada.get("/api/collections").status_code == 401


def test_wrong_passwords_and_links_are_limited_and_tell_nothing(app: ASGIApp) -> None:
    joined(app, "Ada", "reviewer")
    invite(app, "Bo", "reviewer")
    wrong = [sign_in(app, name, password) for name, password in (("Ada", "wrong"), ("Nobody", PASSWORD), ("Bo", PASSWORD), ("Ada", PASSWORD + " "))]
    assert {(answer.status_code, answer.text) for answer in wrong} == {(403, wrong[0].text)}
    for _ in range(6):
        assert client_of(app).post("/api/join/look", json={"link": "wrong"}).status_code == 422
    for answer in (sign_in(app, "Ada"), client_of(app).post("/api/join/look", json={"link": "wrong"})):
        assert answer.status_code == 429 and "Wait a minute" in answer.json()["error"]
    assert client_of(app, **OWNER).get("/api/collections").status_code == 200, "programs with the token are not kept out"


def test_a_password_is_changed_with_the_old_one(app: ASGIApp) -> None:
    ada, other = joined(app, "Ada", "reviewer"), client_of(app)
    keep(other, other.post("/api/session", json={"name": "Ada", "password": PASSWORD}))
    assert ada.post("/api/session/password", json={"old": "wrong", "new": "another password"}).status_code == 403
    assert ada.post("/api/session/password", json={"old": PASSWORD, "new": "short"}).status_code == 422
    assert ada.post("/api/session/password", json={"old": PASSWORD, "new": "another password"}).status_code == 204
    assert (ada.get("/api/collections").status_code, other.get("/api/collections").status_code) == (200, 401)
    assert (sign_in(app, "Ada").status_code, sign_in(app, "Ada", "another password").status_code) == (403, 200)
    assert client_of(app, **OWNER).post("/api/session/password", json={"old": PASSWORD, "new": PASSWORD}).status_code == 422
    assert joined(app, "Class", "guest").post("/api/session/password", json={"old": PASSWORD, "new": PASSWORD + "2"}).status_code == 403


def test_a_change_needs_the_header_of_the_account_s_own_session(app: ASGIApp) -> None:
    ada, bo = joined(app, "Ada", "reviewer"), joined(app, "Bo", "reviewer")
    for csrf in ("", bo.headers["x-syntype-csrf"]):
        assert ada.post(VERDICTS, json=VERDICT, headers={"x-syntype-csrf": csrf}).status_code == 403
    assert ada.post(VERDICTS, json=VERDICT, headers={"origin": "https://evil.example"}).status_code == 403
    link = invite(app, "Cy", "guest")[1]
    answer = client_of(app).post("/api/join", json={"link": link, "password": PASSWORD}, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403, "another page cannot sign anybody in"


def test_a_page_from_before_another_sign_in_saves_nothing_and_says_so_in_the_language(app: ASGIApp) -> None:
    ada, bo = joined(app, "Ada", "reviewer"), joined(app, "Bo", "reviewer")
    answer = ada.post(VERDICTS, json=VERDICT, headers={"x-syntype-csrf": bo.headers["x-syntype-csrf"], "accept-language": "de"})
    assert answer.status_code == 403 and "Laden Sie die Seite neu" in answer.json()["error"]
    assert client_of(app, **OWNER).get(VERDICTS).json()["reviewers"] == {}


def test_who_must_sign_in_comes_to_the_page_that_was_asked_for(app: ASGIApp) -> None:
    client = client_of(app, accept="text/html")
    for asked, to in (
        ("/collections/drawn/curate?judges=2&species=Cus tertius", "/collections/drawn/curate?judges=2&species=Cus%20tertius"),
        ("//evil.example/%0d%0aset-cookie: a=b", None), ("/", None), ("/api/exports/a/file", None),
    ):  # fmt: skip
        leads = urlsplit(client.get(asked, follow_redirects=False).headers["location"])
        assert leads.path == "/signin" and not leads.netloc
        assert parse_qs(leads.query).get("to") == (None if to is None else [to]) or asked.startswith("//")
    assert "session has ended" in client.get("/signin?ended=yes").text and "session has ended" not in client.get("/signin").text


def test_verdicts_quizzes_and_changes_carry_the_name_of_the_account(app: ASGIApp) -> None:
    owner, ada, bo = client_of(app, **OWNER), joined(app, "Ada", "reviewer"), joined(app, "Bo", "owner")
    together = {"image_ids": ["0-1", "0-2"], "reviewer": "Bo", "decision": "reject", "key": "12345678"}
    assert ada.post(VERDICTS, json=VERDICT).status_code == 201
    assert ada.post(f"{VERDICTS}/together", json=together).status_code == 201
    assert owner.get(VERDICTS).json()["reviewers"] == {"Ada": {"accept": 1, "reject": 2}}
    assert [item["image"]["image_id"] for item in ada.get(f"{VERDICTS}/own", params={"reviewer": "Bo"}).json()] == ["0-2", "0-1", "0-0"]
    assert ada.get("/api/collections/drawn/next", params={"reviewer": "Bo"}).json()["num_left"] == 13
    assert ada.post(f"{VERDICTS}/undo", json={"reviewer": "Bo"}).json()["num_undone"] == 2
    quiz = ada.post("/api/quizzes", json={"synthetic": "drawn", "real": "fish", "reviewer": "Bo", "num": 2}).json()
    assert quiz["reviewer"] == "Ada"
    answer = owner.post(VERDICTS, json=VERDICT | {"reviewer": "ada"})
    assert answer.status_code == 422 and "account" in answer.json()["error"], "nobody judges under a name that is not theirs"
    assert owner.post(VERDICTS, json=VERDICT | {"reviewer": "Without Account"}).status_code == 201
    bo.post("/api/collections/fish/names", json={"image_ids": ["0-1"], "species": "Cus tertius", "who": "Ada"}).raise_for_status()
    root = inside(app).state.studio.workspace.root
    change = b"".join(path.read_bytes() for path in (root / "collections" / "fish" / "changes").rglob("*") if path.is_file())
    assert b"Bo" in change and b"Ada" not in change


def test_jobs_and_the_trash_tell_who_it_was(app: ASGIApp) -> None:
    bo = joined(app, "Bo", "owner")
    job = bo.post("/api/jobs", json={"kind": "export", "name": "set", "collection": "fish"}).json()
    assert job["by"] == "Bo" and "Started by Bo." in bo.get(f"/jobs/{job['id']}").text
    assert client_of(app, **OWNER).post("/api/jobs", json={"kind": "reef", "name": "reef"}).json()["by"] is None
    assert [job["by"] for job in bo.get("/api/jobs").json()] == [None, "Bo"]
    assert bo.delete("/api/storage/collections/drawn").json()["by"] == "Bo"
    assert [entry["by"] for entry in bo.get("/api/trash").json()] == ["Bo"]


def test_a_studio_of_this_machine_stays_as_it_was(tmp_path: Path) -> None:
    app = make_app(make_workspace(tmp_path / "workspace"), StudioConfig(limits=SMALL))
    with closing(store_of(app)):
        _everybody_here_is_an_owner(TestClient(app, base_url="http://localhost"))


def _everybody_here_is_an_owner(client: TestClient) -> None:
    keep(client, client.get("/api/session"))
    assert 'href="/signin"' in client.get("/people").text, "who has an account can sign in all the same"
    assert client.get("/signin", follow_redirects=False).headers["location"] == "/"
    assert 'href="/account"' not in client.get("/").text
    link = client.post("/api/people", json={"name": "Ada", "role": "reviewer"}).json()["link"]
    assert link.startswith("http://localhost/join#")
    keep(client, client.post("/api/join", json={"link": link.partition("#")[2], "password": PASSWORD}))
    assert client.get("/people").status_code == 403 and 'href="/account"' in client.get("/").text
    client.delete("/api/session")
    assert client.get("/people").status_code == 200, "without a session everybody on this machine is an owner again"
    assert 'id="signin-name"' in client.get("/signin").text


def test_the_sign_in_page_asks_for_a_name_once_there_are_accounts(app: ASGIApp) -> None:
    assert 'id="signin-name"' not in client_of(app).get("/signin").text
    invite(app, "Ada", "guest")
    assert 'id="signin-name"' not in client_of(app).get("/signin").text
    joined(app, "Bo", "guest")
    page = client_of(app).get("/signin").text
    assert 'id="signin-name"' in page and 'id="signin"' in page and "Bo" not in page
    for sent in ({}, {"name": "Bo"}, {"token": TOKEN, "name": "Bo", "password": PASSWORD}):
        assert client_of(app).post("/api/session", json=sent).status_code == 422


# ---- What each role may do ----

REVIEWERS_CHANGE = {
    "POST /api/collections/{name}/verdicts", "POST /api/collections/{name}/verdicts/together", "POST /api/collections/{name}/verdicts/undo",
    "POST /api/session/password",
}  # fmt: skip
GUESTS_CHANGE = {"POST /api/quizzes", "POST /api/quizzes/{quiz}/items/{number}"}
NOT_TO_LOOK_AT = re.compile(r"^GET /(api/)?(jobs|uploads|new|storage|trash|people|plans|exports|families|identifiers)\b|/(training|refused)$")
"""What reviewers may not even look at."""
OPEN = re.compile(r"^\w+ /(signin|join|static(/.*)?|try(/.*)?|api/try/.*|api/session|api/join|api/join/look)$")
"""What those may open who are not signed in."""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TestClient]]:
    """A browser of each role before a workspace with one thing of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", (4, 1, 1))
        app = make_app(make_full(tmp_path_factory.mktemp("roles") / "workspace"))
        with closing(store_of(app)):
            yield {role: joined(app, f"A {role}", role) for role in ROLES}


def routes_of(app: ASGIApp) -> list[str]:
    """All routes, as ``METHOD PATH``."""
    routes: list[Any] = inside(app).router.routes
    return [f"{method} {route.path}" for route in routes for method in sorted(getattr(route, "methods", None) or ["GET"]) if method != "HEAD"]


def test_every_route_gives_each_role_what_the_table_says(full: dict[str, TestClient]) -> None:
    """Nothing is sent along, so that what is let through is refused for want of a body, and changes nothing."""
    known = {"name": "drawn", "image_id:path": "0-0", "generator": "little", "kind": "map", "number": "1", "picture": "0", "quiz": "0" * 32}
    known |= {"upload": "0" * 32, "trashed": "0" * 32, "favourite": "0" * 20}
    routes = [route for route in routes_of(full["owner"].app) if not OPEN.search(route)]
    assert len(routes) > 90
    for route in routes:
        method, path = route.split(" ")
        least = LEAST.get(route, "owner")
        for role, client in full.items():
            if role == "owner":
                continue
            address = re.sub(r"{([^}]+)}", lambda part: known[part[1]], path)
            answer = client.request(method, address, headers={"accept": "application/json"})
            if ROLES.index(role) < ROLES.index(least):
                assert answer.status_code == 403 and "Ask an owner" in answer.json()["error"], (role, route)
            else:
                assert answer.status_code not in (401, 403), (role, route, answer.text)


def test_the_table_opens_what_it_should_and_nothing_else(full: dict[str, TestClient]) -> None:
    routes = {route for route in routes_of(full["owner"].app) if not OPEN.search(route)}
    assert set(LEAST) <= routes, "a route in the table is not there"
    changing = {route: role for route, role in LEAST.items() if not route.startswith("GET ")}
    assert {route for route, role in changing.items() if role == "guest"} == GUESTS_CHANGE
    assert {route for route, role in changing.items() if role == "reviewer"} == REVIEWERS_CHANGE
    assert [route for route in LEAST if NOT_TO_LOOK_AT.search(route)] == []
    closed = {route for route in routes - set(LEAST) if route.startswith("GET ") and not NOT_TO_LOOK_AT.search(route)}
    assert closed == {"GET /api/openapi.json"}


def test_a_page_that_is_closed_says_so_in_plain_words(full: dict[str, TestClient]) -> None:
    page = full["reviewer"].get("/storage", headers={"accept": "text/html"})
    assert page.status_code == 403 and "reviewer" in page.text and "Ask an owner" in page.text
    assert 'href="/images"' in page.text and 'href="/storage"' not in page.text
    for path in ("/Storage/../storage", "/storage/", "/%73torage"):
        assert full["guest"].get(path, headers={"accept": "application/json"}).status_code in (403, 404), path


@pytest.mark.parametrize("role", ["reviewer", "guest"])
def test_no_page_offers_what_its_reader_may_not_do(full: dict[str, TestClient], role: str) -> None:
    client, followed, opened = full[role], set[str](), 0
    for address in PAGES:
        page = client.get(address, headers={"accept": "text/html"})
        assert page.status_code in (200, 403), (address, page.text)
        if page.status_code == 403:
            continue
        opened += 1
        for link in {link.partition("?")[0] for link in re.findall(r'(?:href|action)="(/[^"]*)"', page.text)} - followed:
            followed.add(link)
            assert client.get(link).status_code != 403, (address, link)
        for owners in ("data-do=", 'id="importing"', 'id="adding"', 'id="try"', 'id="begin"', "data-resume", 'id="jobs-button"', "data-names"):
            assert owners not in page.text or (owners == 'id="begin"' and address == "/quiz"), (address, owners)
        assert ('data-decision="accept" disabled' in page.text) == (role == "reviewer" and address == "/collections/drawn"), address
    assert opened > 15


@pytest.mark.parametrize("role", ROLES)
def test_links_to_what_is_open_to_everybody_stay_on_the_pages_of_all(full: dict[str, TestClient], role: str) -> None:
    page = '<a href="/try">a</a><a href="/try/little">b</a><a href="/signin">c</a>'
    gate = Gate(inside(full["owner"].app).router.routes)
    assert gate.without_closed_links(role, page) == page  # type: ignore[arg-type]


def test_a_new_route_is_the_owners_until_it_is_in_the_table(full: dict[str, TestClient], app: ASGIApp) -> None:
    inside(app).add_api_route("/api/added", lambda: "here")
    assert joined(app, "Ada", "reviewer").get("/api/added").status_code == 403
    assert client_of(app, **OWNER).get("/api/added").status_code == 200


def test_only_slow_hashes_of_passwords_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "COST", COST)
    assert COST == (15, 8, 3)
    kept = hash_password(PASSWORD)
    assert is_password(PASSWORD, kept) and not is_password(PASSWORD + "x", kept)
    assert UNKNOWN.count("$") == kept.count("$") and len(UNKNOWN) == len(kept), "it takes as long where there is no such account"
    assert not is_password("", UNKNOWN)


def test_a_link_that_two_open_at_once_works_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Store(f"sqlite:///{tmp_path / 'studio.sqlite'}")) as store:
        of_one_link_that_two_open(Accounts(store), monkeypatch)


def of_one_link_that_two_open(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    _, link = accounts.invite("Ada", "reviewer", 60)

    def slow(password: str) -> str:
        monkeypatch.undo()
        accounts.join(link, "the quicker one")  # in the middle of the slower one
        return hash_password(password)

    monkeypatch.setattr("syntype.apps.web.accounts.hash_password", slow)
    with pytest.raises(UserError, match="of no use"):
        accounts.join(link, "the slower one")
    assert accounts.sign_in("Ada", "the quicker one") and not accounts.sign_in("Ada", "the slower one")
