"""The token of the page: brought once in the address, kept in a cookie."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from asterism.apps.ui.app import create_app

ADDRESS = "http://localhost:8000"


@pytest.fixture
def page(tmp_path: Path) -> TestClient:
    app = create_app(db=str(tmp_path / "t.db"), token=SecretStr("right"))
    return TestClient(app, base_url=ADDRESS)


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=Right"])
@pytest.mark.parametrize("path", ["/", "/page.js", "/api/threads", "/api/graphs"])
def test_without_the_token_nothing_is_answered(page: TestClient, path: str, query: str) -> None:
    with page:
        refused = page.get(path + query)
        assert refused.status_code == 401
        assert "set-cookie" not in refused.headers


def test_who_acts_needs_it_as_well(page: TestClient) -> None:
    body = {"graph": "event_planning", "request": "Plan"}
    with page:
        for path in ("/api/run", "/api/run?token=right"):
            acted = page.post(path, json=body, headers={"origin": ADDRESS})
            assert acted.status_code == 401
        page.cookies.set("asterism-8000", "wrong")
        assert page.post("/api/run", json=body, headers={"origin": ADDRESS}).status_code == 401


def test_it_is_brought_once_and_then_a_cookie(page: TestClient) -> None:
    with page:
        admitted = page.get("/?token=right", follow_redirects=False)
        assert (admitted.status_code, admitted.headers["location"]) == (303, f"{ADDRESS}/")
        cookie = admitted.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert page.get("/").status_code == 200
        assert page.get("/api/threads").json()["runs"] == []
        acted = page.post("/api/stop", json={"thread": "t"}, headers={"origin": ADDRESS})
        assert acted.status_code == 202


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_program_sends_it_as_a_header(page: TestClient, scheme: str) -> None:
    with page:
        headers = {"authorization": f"{scheme} right"}
        assert page.get("/api/threads", headers=headers).status_code == 200


def test_another_site_is_refused_before(page: TestClient) -> None:
    with page:
        refused = page.get("/?token=right", headers={"host": "evil.com"})
        assert refused.status_code == 403 and "set-cookie" not in refused.headers
