"""Hints for arguments that people know from other systems: what takes them here, and the page.

Tests: tests/seeds/test_003.py.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

NAMES_PAGE = "docs/names.md lists the names of other systems"
"""The end of every hint."""

_Class = TypeVar("_Class", bound=type)


def hint_foreign_names(way: str, *names: str) -> Callable[[_Class], _Class]:
    """Let a class that is given an argument of another system name the way out.

    Args:
        way: What takes the argument, or does the same.
        *names: The arguments.
    """

    def decorate(cls: _Class) -> _Class:
        target: Any = cls
        create = target.__init__

        @wraps(create)
        def check(self: Any, *args: Any, **kwargs: Any) -> None:
            if strangers := [name for name in names if name in kwargs]:
                raise TypeError(
                    f"{cls.__name__} takes no {', '.join(strangers)}; {way}. {NAMES_PAGE}"
                )
            create(self, *args, **kwargs)

        target.__init__ = check
        return cls

    return decorate
