"""The Studio on PostgreSQL, which serves many reviewers: what holds on SQLite holds there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import test_web_accounts
import test_web_verdicts
from reviewing import killed_servers_lose_nothing, postgresql_programs, postgresql_server, reviewers_lose_nothing
from studio_server import browser, make_workspace, wait

from syntype.apps.web.accounts import Accounts
from syntype.apps.web.store import Store
from syntype.errors import InputError, UserError


@pytest.fixture
def database() -> Iterator[str]:
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not on this machine (Debian: apt-get install postgresql)")
    with postgresql_server(programs) as url:
        yield url


def test_verdicts_quizzes_and_jobs(database: str, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    with browser(workspace, database=database) as client:
        test_web_verdicts.test_a_decision_sent_twice_counts_once(client)
        client.post(f"{test_web_verdicts.URL}/verdicts/undo", json={"reviewer": "Ada"})
        quiz = client.post("/api/quizzes", json={"synthetic": "drawn", "real": "fish", "reviewer": "Ada", "num": 2}).json()
        assert client.post(f"/api/quizzes/{quiz['id']}/items/1", json={"is_real": True}).json()["num_answered"] == 1
        job = client.post("/api/jobs", json={"kind": "export", "name": "set", "collection": "drawn"}).json()
        assert wait(client, job["id"])["status"] == "finished"


def test_accounts(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntype.apps.web.passwords.COST", (4, 1, 1))
    with closing(Store(database)) as store:
        accounts = Accounts(store)
        number, secret = accounts.invite("Bo", "owner", 60)
        cookie = accounts.join(secret, test_web_accounts.PASSWORD)
        account = accounts.who(cookie)
        assert account is not None and (account.name, account.role) == ("Bo", "owner")
        with pytest.raises(InputError, match="already"):
            accounts.invite("bo", "guest", 60)
        with pytest.raises(UserError, match="last owner"):
            accounts.remove(number)
        test_web_accounts.of_one_link_that_two_open(accounts, monkeypatch)
        accounts.set_role(accounts.list()[0].id, "owner")
        accounts.remove(number)
        assert accounts.who(cookie) is None and accounts.sign_in("Bo", test_web_accounts.PASSWORD) is None
        assert [(person.name, person.joined, person.sessions) for person in accounts.list()] == [("Ada", True, 0)]


@pytest.mark.slow
def test_ten_thousand_verdicts_of_eight_reviewers(database: str, tmp_path: Path) -> None:
    reviewers_lose_nothing(make_workspace(tmp_path / "workspace"), database, 10_000)


@pytest.mark.slow
def test_a_server_killed_twenty_times_has_lost_no_verdict(database: str, tmp_path: Path) -> None:
    killed_servers_lose_nothing(tmp_path, database, 20)
