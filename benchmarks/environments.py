"""The environments of the peers, each made on first use: `python -m benchmarks.environments`."""

import subprocess
import sys
import tomllib
import venv
from pathlib import Path

PINS = Path(__file__).with_name("peers.toml")
FOLDER = Path(__file__).with_name(".venvs")


def python_of(contender: str) -> Path:
    """Return the interpreter of a contender: a peer's own, or this one."""
    own = FOLDER / contender.replace("_", "-")
    return _python(own) if own.exists() else Path(sys.executable)


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def made(contender: str) -> Path:
    """Return the interpreter of a peer; its environment is made where it is missing or old."""
    name = contender.replace("_", "-")
    requires = tomllib.loads(PINS.read_text())[name]["requires"]
    folder = FOLDER / name
    mark = folder / "installed"
    if not mark.exists() or mark.read_text() != "\n".join(requires):
        venv.create(folder, with_pip=True)
        install = [str(_python(folder)), "-m", "pip", "install", "--quiet", *requires]
        subprocess.run(install, check=True, timeout=1_800)
        mark.write_text("\n".join(requires))
    return _python(folder)


if __name__ == "__main__":
    for peer in tomllib.loads(PINS.read_text()):
        print(made(peer))
