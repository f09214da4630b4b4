"""A real browser and a real server: the page as people have it."""

import asyncio
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asterism.apps.ui.app import Server, create_app
from tests.asterism.apps.ui.teams import GATE
from tests.asterism.apps.ui.test_app import GRAPHS

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NPM = ("@ag-ui/client@1.0.0", "axe-core@4.14.1")
SECONDS = 30_000
"""Milliseconds that anything on the page may take, so that nothing can hang."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser is installed ({', '.join(BROWSERS)}): apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("playwright is not installed: pip install playwright")
    with sync_playwright() as playwright:
        # root has no sandbox in a container; the browser opens nothing but our own page
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> Path:
    """What the tests need of npm, kept in the cache of pytest; the page itself needs nothing."""
    if shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: apt-get install nodejs npm")
    folder = Path(request.config.cache.mkdir("npm"))
    if not all((folder / "node_modules" / name.rpartition("@")[0]).is_dir() for name in NPM):
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-save")
        subprocess.run(["npm", "install", *quiet, *NPM], cwd=folder, check=True, timeout=300)
    return folder / "node_modules"


@contextmanager
def serve(db: str) -> Iterator[str]:
    """Serve the page on a free port."""
    GATE.reset()
    app = create_app(db=db, graphs=GRAPHS)
    with socket.create_server(("127.0.0.1", 0)) as opened:
        server = Server(app)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[opened])))
        thread.start()
        yield f"http://localhost:{opened.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=60)
        assert not thread.is_alive()


@pytest.fixture
def db(tmp_path: Path) -> str:
    """The database of the page; a test may take another one."""
    return str(tmp_path / "threads.db")


@pytest.fixture
def address(db: str) -> Iterator[str]:
    """A server on a free port."""
    with serve(db) as found:
        yield found


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page in a window of its own; whatever it complains about fails the test."""
    complaints: list[str] = []
    windows: list[Any] = []

    def open_page(**options: Any) -> Any:
        window = browser.new_context(**{"viewport": {"width": 1360, "height": 900}, **options})
        window.set_default_timeout(SECONDS)
        windows.append(window)
        page = window.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.extend(_complaints(said)))
        page.on("request", lambda sent: complaints.extend(_strangers(sent.url, address)))
        page.goto(address)
        return page

    yield open_page
    for window in windows:
        window.close()
    assert complaints == []


def _complaints(said: Any) -> list[str]:
    """What the browser finds wrong; it also notes each answer that is a refusal."""
    wrong = said.type == "error" and "the server responded with a status of 4" not in said.text
    return [said.text] if wrong else []


def _strangers(url: str, address: str) -> list[str]:
    """What is asked for elsewhere."""
    return [] if url.startswith((address, "data:")) else [url]


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keeps a picture of the page, where `ASTERISM_PICTURES` names a folder."""
    folder = os.environ.get("ASTERISM_PICTURES")

    def take(page: Any, name: str, **options: Any) -> None:
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled", **options)

    return take
