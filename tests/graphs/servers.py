"""A development server of LangGraph, started for tests, without a key or a network."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

START_SECONDS = 90
KEYS = ("OPENAI_API_KEY", "LANGSMITH_API_KEY", "LANGCHAIN_API_KEY", "ASTERISM_MODEL")


def free_port() -> int:
    """A port that nobody gets by chance before the server has it, as other tests get theirs."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@contextmanager
def dev_server(config: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve the graphs of a `langgraph.json` from a folder; yields the address."""
    port = free_port()
    inherited = {k: v for k, v in os.environ.items() if k not in KEYS}
    log, url = folder / "log", f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"),
                *("--host", "127.0.0.1", "--port", str(port), "--n-jobs-per-worker", "10"),
                *("--config", str(config)),
            ],
            cwd=folder,
            env={
                **inherited,
                **{"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1"},
                **environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(f"{url}/ok", server, log)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(url, timeout=1).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")
