"""Personalities: traits and a way of speaking, as plain values."""

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

from asterism.plain import as_dict, is_number

_TRAIT = re.compile(r"^[^\W\d_][\w -]{0,39}$")
_LEVELS = (
    (0.0, "not at all"),
    (0.2, "hardly"),
    (0.4, "a little"),
    (0.6, "fairly"),
    (0.8, "very"),
    (1.0, "extremely"),
)
"""From which value downwards a trait is shown how strongly: up to 0.2 hardly, and so on."""


class Personality(BaseModel):
    """What somebody is like, and how they speak; it becomes a part of their prompt.

    Example:
        ```python
        Personality(traits={"thorough": 0.9, "humorous": 0.2}, style="short, formal sentences")
        ```

    Raises:
        pydantic.ValidationError: A trait has no name, or is not from 0 to 1. It is a
            `ValueError`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    traits: dict[str, float] = Field(default_factory=dict[str, float])
    """How strongly each trait is shown, from 0 to 1, under an adjective: `"patient"`."""
    style: str = Field(default="", max_length=500)
    """How they communicate."""

    @field_validator("traits", mode="before")
    @classmethod
    def _within_bounds(cls, traits: object) -> object:
        for name, value in as_dict(traits).items():
            if not _TRAIT.match(str(name)):
                raise ValueError(
                    f"the trait {name!r} has no usable name; allowed: a letter, then letters, "
                    "digits, spaces and hyphens, at most 40"
                )
            if not is_number(value) or not 0 <= value <= 1:
                raise ValueError(f"the trait {name!r} is {value!r}; allowed: 0 to 1")
        return traits

    @field_validator("style")
    @classmethod
    def _one_line(cls, style: str) -> str:
        return " ".join(style.split())

    def sentences(self) -> list[str]:
        """Say what they are like, strongest trait first: the same values, the same words."""
        ordered = sorted(self.traits.items(), key=lambda trait: (-trait[1], trait[0]))
        return [f"You are {_level(value)} {name}." for name, value in ordered]


def _level(value: float) -> str:
    return next(words for bound, words in _LEVELS if value <= bound)
