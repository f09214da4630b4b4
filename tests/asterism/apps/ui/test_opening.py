"""`asterism.serve`: the page on a team that is at hand, in one line."""

import asyncio
import time
from typing import Any

import httpx
import pytest

import asterism
from tests.asterism.apps.ui.teams import bank


async def test_a_team_is_served_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    asterism.serve(bank("offline").build(), port=0, name="bank")  # a loop runs: in a thread
    until = time.monotonic() + 60
    while not opened and time.monotonic() < until:
        await asyncio.sleep(0.05)
    address, _, query = opened[0].partition("/?")
    async with httpx.AsyncClient(base_url=address, timeout=60) as page:
        assert (await page.get("/api/graphs")).status_code == 401
        token = {"authorization": f"Bearer {query.removeprefix('token=')}"}
        graphs: Any = (await page.get("/api/graphs", headers=token)).json()["graphs"]
        assert graphs[0]["name"] == "bank"
        body = {"graph": "bank", "request": "Pay 5 to Ann"}
        begun = await page.post("/api/run", json=body, headers={**token, "origin": address})
        assert begun.status_code == 202, begun.text
