"""The guard: what is let in, and what is not."""

import pytest

from asterism.apps.ui.origin_guard import find_origin_fault
from asterism.apps.ui.responses import BODY_LIMIT

HOST = ("host", "localhost:8000")
ORIGIN = ("origin", "http://localhost:8000")
JSON = ("content-type", "application/json")


def fault(method: str, *headers: tuple[str, str]) -> int | None:
    found = find_origin_fault(method, [(k.encode(), v.encode("latin-1")) for k, v in headers])
    return found[0] if found else None


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:1"]
)
def test_this_machine_is_let_in(host: str) -> None:
    assert fault("GET", ("host", host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.com", "localhost.evil.com:8000", "127.0.0.1.evil.com", "evil.com:8000@localhost:1x",
        "192.168.0.1:8000", "0.0.0.0:8000", "", "localhost, evil.com", "2130706433", "[::ffff:1]",
        "[", "localhost:8000/evil", "evil.com#localhost", "evil.com\\@localhost",
    ],
)  # fmt: skip
def test_another_name_of_the_server_is_refused(host: str) -> None:
    assert fault("GET", ("host", host)) == 403


def test_no_host_or_two_hosts_are_refused() -> None:
    assert fault("GET") == 403
    assert fault("GET", HOST, ("host", "evil.com")) == 403


@pytest.mark.parametrize(
    "origin",
    ["http://evil.com", "null", "http://localhost:3000", "http://localhost", "file://", ""],
)
def test_another_origin_is_refused(origin: str) -> None:
    assert fault("GET", HOST, ("origin", origin)) == 403
    assert fault("POST", HOST, ("origin", origin), JSON) == 403


def test_the_page_itself_may_act() -> None:
    assert fault("POST", HOST, ORIGIN, JSON) is None
    assert fault("POST", HOST, ORIGIN, ("content-type", "application/json; charset=utf-8")) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_what_acts_needs_the_origin_of_the_page(method: str) -> None:
    assert fault(method, HOST, JSON) == 403


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"]
)
def test_what_acts_has_to_be_json(kind: str) -> None:
    assert fault("POST", HOST, ORIGIN, ("content-type", kind)) == 415


def test_what_acts_has_to_be_small() -> None:
    assert fault("POST", HOST, ORIGIN, JSON, ("content-length", str(BODY_LIMIT))) is None
    for length in (str(BODY_LIMIT + 1), "-1", "x"):
        assert fault("POST", HOST, ORIGIN, JSON, ("content-length", length)) == 413


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_what_another_site_embeds_is_refused_and_its_links_are_not(site: str) -> None:
    fetched = ("sec-fetch-site", site)
    opened = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
    assert fault("GET", HOST, fetched) == 403
    assert fault("GET", HOST, fetched, ("sec-fetch-dest", "script")) == 403
    assert fault("GET", HOST, fetched, *opened) is None
    assert fault("GET", HOST, fetched, opened[0], ("sec-fetch-dest", "iframe")) == 403
    assert fault("POST", HOST, ORIGIN, JSON, fetched, *opened) == 403
