"""Records that read by attribute and by key: what a person who expects a `dict` may write."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, ClassVar, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python


class JsonRecord(dict[str, Any]):
    """A frozen dataclass that is a mapping of plain JSON values too, so `json.dumps` takes it.

    Derive a frozen dataclass from it. Its keys are its fields, and the properties that `ALSO`
    names.
    """

    ALSO: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Fill the mapping."""
        names = [field.name for field in fields(cast(Any, self))]
        for name in (*names, *self.ALSO):
            self[name] = _plain(getattr(self, name))

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return dict(self)


def _plain(value: object) -> Any:
    """Return a value as plain JSON; records within it are so already."""
    if isinstance(value, JsonRecord):
        return dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in cast(tuple[object, ...], value)]
    return to_jsonable_python(value, fallback=str)


class MappingModel(BaseModel, Mapping[str, Any]):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A pydantic model that reads as a mapping of its fields too."""

    def __getitem__(self, key: str) -> Any:
        """Return a field."""
        if key in type(self).model_fields:
            return getattr(self, key)
        raise KeyError(key)

    def __setitem__(self, key: str, value: object) -> None:
        """Refuse to change what was read.

        Raises:
            TypeError: Always; the message says the way out.
        """
        raise TypeError(
            f"the {type(self).__name__} was read already and does not change; set {key!r} in the "
            f"file, or in the plain values that it is read from (see docs/programs.md)"
        )

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        """Yield the names of the fields."""
        return iter(type(self).model_fields)

    def __len__(self) -> int:
        """Count the fields."""
        return len(type(self).model_fields)

    def as_json(self) -> dict[str, Any]:
        """Return the model as plain JSON values."""
        return self.model_dump(mode="json")
