"""Modules that were moved: their old names lead to the same objects, with a warning."""

import importlib
import sys

import pytest

from asterism.moved import MOVED


@pytest.mark.parametrize("old", [*MOVED, "asterism.workers.queue", "asterism.ui.app"])
def test_an_old_name_leads_to_the_same_module(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = next(name for name in MOVED if old.startswith(name))
    new = importlib.import_module(MOVED[place] + old[len(place) :])
    spec = new.__spec__
    for name in [name for name in sys.modules if name.startswith(place)]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.warns(DeprecationWarning, match=" now"):
        assert importlib.import_module(old) is new
    assert new.__spec__ is spec


def test_a_name_that_never_was_is_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"asterism\.nonsense"):
        importlib.import_module("asterism.nonsense")
