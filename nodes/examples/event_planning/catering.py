"""Plans a menu that every guest can eat, from a small sample table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import groupby
from typing import Literal, get_args

from langchain_core.tools import tool
from pydantic import TypeAdapter

from asterism.nodes.examples.event_planning.catalogue import DATA
from asterism.nodes.examples.tool_arguments import dollars, quote_argument, read_heads

Style = Literal["buffet", "plated", "finger food"]
STYLES: tuple[str, ...] = get_args(Style)
DIETS = ("vegetarian", "vegan", "gluten-free", "halal", "kosher", "nut-free", "dairy-free")
COURSES = ("Starter", "Main", "Dessert")
ONE_IN = 10
"""A diet without a count is planned for one guest in this many, rounded up."""


@dataclass(frozen=True)
class Dish:
    """A dish with its price per person in US dollars and the diets it is fit for."""

    course: str
    name: str
    styles: tuple[str, ...]
    price: Decimal
    diets: tuple[str, ...]


@dataclass(frozen=True)
class Need:
    """Guests who keep all of these diets at once."""

    diets: frozenset[str]
    guests: int
    counted: bool


@dataclass(frozen=True)
class Serving:
    """How many portions of a dish are made."""

    dish: Dish
    portions: int


@dataclass(frozen=True)
class _Drinks:
    name: str
    price: Decimal


@dataclass(frozen=True)
class _MenuFile:
    note: str
    drinks: _Drinks
    service: dict[str, Decimal]
    dishes: tuple[Dish, ...]


@cache
def _menus() -> _MenuFile:
    return TypeAdapter(_MenuFile).validate_json((DATA / "menus.json").read_bytes())


@tool(parse_docstring=True)
def plan_menu(head_count: int, diets: list[str] | None = None, style: Style = "buffet") -> str:
    """Plan three courses and drinks that suit all diets, with portions and the cost.

    Args:
        head_count: Number of people who eat, 1 to 10000.
        diets: Diets to serve, each alone or with a number of guests: "vegan", "12 vegetarian",
            "3 vegan and nut-free". Known: vegetarian, vegan, gluten-free, halal, kosher,
            nut-free, dairy-free. Without a number, one guest in ten is counted.
        style: How the food is served.
    """
    try:
        heads = read_heads(head_count)
        if style not in STYLES:
            raise ValueError(
                f"the style {quote_argument(style)} is unknown. Use: {', '.join(STYLES)}."
            )
        needs = [need for text in diets or () if (need := read_need(text, heads)).guests]
    except ValueError as error:
        return f"Cannot plan the menu: {error}"
    servings = menu(heads, needs, style)
    each = price_per_person(servings, style)
    lines = [
        f"Catering style: {style}",
        f"Catering per person: {dollars(each)}",
        f"Catering cost: {dollars(each * heads)}",
        *([f"Catering diets: {'; '.join(map(_need_text, needs))}"] if needs else []),
        *("", *_table(servings, heads), ""),
        "Source: sample menu. Check allergies and certified kitchens with the caterer.",
    ]
    return "\n".join(lines)


def read_need(text: str, heads: int) -> Need:
    """Read a diet, or several that belong together, with the number of guests before it.

    Args:
        text: Such as `vegan`, `12 vegetarian` or `3 vegan and nut-free`.
        heads: The number of people.

    Raises:
        ValueError: A diet is unknown, or more guests keep it than come.
    """
    found = re.fullmatch(r"(?:([0-9]{1,9}) ?x? )?(\D+)", " ".join(text.lower().split()))
    words = re.split(r"[,&+]| and ", found[2]) if found else []
    names = [re.sub(r"[ _-]+", "-", word.strip()).removesuffix("s") for word in words]
    if not found or any(name not in DIETS for name in names):
        raise ValueError(
            f"the diet {quote_argument(text)} is unknown. Known: {', '.join(DIETS)}. "
            "A number of guests may stand before it, as in '12 vegetarian'."
        )
    guests = int(found[1]) if found[1] else -(-heads // ONE_IN)
    if guests > heads:
        raise ValueError(
            f"{quote_argument(text)} is more than the {heads:,} people who come. "
            "Give at most that many, or raise head_count."
        )
    return Need(frozenset(names), guests, counted=bool(found[1]))


def menu(heads: int, needs: Sequence[Need], style: str) -> list[Serving]:
    """Choose dishes and portions; in each course the portions add up to `heads`."""
    return [
        serving
        for course in COURSES
        for serving in _course([d for d in dishes(style) if d.course == course], heads, needs)
    ]


def dishes(style: str) -> list[Dish]:
    """Return the dishes that are served in a style, in the order of the table."""
    return [dish for dish in _menus().dishes if style in dish.styles]


def price_per_person(servings: Sequence[Serving], style: str) -> Decimal:
    """Return US dollars per person: the dearest dish of each course, drinks and service."""
    courses = groupby(servings, key=lambda serving: serving.dish.course)
    food = [max(serving.dish.price for serving in course) for _, course in courses]
    return sum(food, _menus().drinks.price + _menus().service[style])


def _course(table: Sequence[Dish], heads: int, needs: Sequence[Need]) -> list[Serving]:
    """Serve each need the first dish that fits, and the other guests the first two dishes."""
    if sum(need.guests for need in needs) > heads:
        # Some guests keep several of the diets, and nobody said who: one dish fits them all.
        asked = frozenset(diet for need in needs for diet in need.diets)
        return [Serving(_fitting(table, asked), heads)]
    portions = dict.fromkeys(table, 0)
    for need in needs:
        portions[_fitting(table, need.diets)] += need.guests
    others = heads - sum(portions.values())
    portions[table[0]] += others - others // 2
    portions[table[1]] += others // 2
    return [Serving(dish, count) for dish, count in portions.items() if count]


def _fitting(table: Sequence[Dish], diets: frozenset[str]) -> Dish:
    return next(dish for dish in table if diets <= set(dish.diets))


def _need_text(need: Need) -> str:
    names = " and ".join(diet for diet in DIETS if diet in need.diets)
    assumed = "" if need.counted else f" (no number given: 1 guest in {ONE_IN})"
    return f"{need.guests} {names}{assumed}"


def _table(servings: Sequence[Serving], heads: int) -> list[str]:
    rows = [
        f"| {serving.dish.course} | {serving.dish.name} | {serving.portions} "
        f"| {_fit(serving.dish.diets)} |"
        for serving in servings
    ]
    drinks = f"| Drinks | {_menus().drinks.name} | {heads} | {_fit(DIETS)} |"
    head = ["| Course | Dish | Portions | Suits |", "| --- | --- | ---: | --- |"]
    return [*head, *rows, drinks]


def _fit(diets: Sequence[str]) -> str:
    return "all diets" if len(diets) == len(DIETS) else ", ".join(diets)
