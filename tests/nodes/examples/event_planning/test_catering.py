import re
from collections.abc import Set as AbstractSet
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism.nodes.examples.event_planning.catering import (
    COURSES,
    DIETS,
    STYLES,
    Need,
    dishes,
    menu,
    plan_menu,
    price_per_person,
    read_need,
)
from tests.nodes.examples.event_planning.helpers import function_of

NEEDS = st.lists(
    st.builds(
        Need,
        st.frozensets(st.sampled_from(DIETS), min_size=1, max_size=3),
        st.integers(1, 60),
        st.booleans(),
    ),
    max_size=5,
)


def test_the_answer_is_labelled_lines_and_a_table() -> None:
    answer = plan_menu.invoke({"head_count": 50, "diets": ["12 vegetarian", "vegan"]})
    assert answer.splitlines()[:4] == [
        "Catering style: buffet",
        "Catering per person: $48.00",
        "Catering cost: $2,400.00",
        "Catering diets: 12 vegetarian; 5 vegan (no number given: 1 guest in 10)",
    ]
    assert "| Starter | Smoked salmon on rye | 17 | halal, kosher, nut-free, dairy-free |" in answer
    assert "| Drinks | Water, juices, coffee and tea | 50 | all diets |" in answer


@pytest.mark.parametrize(
    ("style", "each"), [("buffet", "48.00"), ("plated", "60.00"), ("finger food", "37.00")]
)
def test_the_price_is_what_the_dearest_dishes_drinks_and_service_cost(
    style: str, each: str
) -> None:
    assert price_per_person(menu(50, [], style), style) == Decimal(each)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("course", COURSES)
def test_each_course_has_a_dish_for_all_diets_at_once(style: str, course: str) -> None:
    table = [dish for dish in dishes(style) if dish.course == course]
    assert len(table) >= 3
    assert any(set(dish.diets) == set(DIETS) for dish in table)


@pytest.mark.parametrize("style", STYLES)
def test_the_diets_of_a_dish_agree_with_each_other(style: str) -> None:
    for dish in dishes(style):
        assert set(dish.diets) <= set(DIETS)
        assert "vegan" not in dish.diets or {"vegetarian", "dairy-free"} <= set(dish.diets)
        assert "kosher" not in dish.diets or "dairy-free" in dish.diets


@given(heads=st.integers(1, 2000), needs=NEEDS, style=st.sampled_from(STYLES))
def test_portions_add_up_and_every_guest_has_one(heads: int, needs: list[Need], style: str) -> None:
    needs = [need for need in needs if need.guests <= heads]
    servings = menu(heads, needs, style)
    for course in COURSES:
        served = [serving for serving in servings if serving.dish.course == course]
        assert sum(serving.portions for serving in served) == heads
        assert all(serving.portions > 0 for serving in served)
        for need in needs:
            fit = sum(s.portions for s in served if need.diets <= set(s.dish.diets))
            assert fit >= need.guests


@given(heads=st.integers(1, 10_000), diets=st.lists(st.sampled_from(DIETS)))
def test_the_cost_is_the_price_per_person_for_everybody(heads: int, diets: list[str]) -> None:
    answer = function_of(plan_menu)(heads, diets)
    each, cost = (
        Decimal(text.replace(",", "")) for text in re.findall(r"^Catering .*\$(.*)$", answer, re.M)
    )
    assert each * heads == cost


@pytest.mark.parametrize(
    ("text", "diets", "guests"),
    [
        pytest.param("vegan", {"vegan"}, 5, id="no number: one in ten"),
        pytest.param("12 vegetarian", {"vegetarian"}, 12, id="number"),
        pytest.param(" 3  Gluten Free ", {"gluten-free"}, 3, id="case and spaces"),
        pytest.param("2x nut_free", {"nut-free"}, 2, id="times"),
        pytest.param("4 vegans", {"vegan"}, 4, id="plural"),
        pytest.param("3 vegan and nut-free", {"vegan", "nut-free"}, 3, id="two diets of one guest"),
        pytest.param("1 halal, dairy-free", {"halal", "dairy-free"}, 1, id="comma"),
    ],
)
def test_a_diet_is_read(text: str, diets: AbstractSet[str], guests: int) -> None:
    need = read_need(text, 50)
    assert (need.diets, need.guests) == (diets, guests)


@pytest.mark.parametrize(
    "text",
    [
        *("keto", "", "12", "-5 vegan", "2.5 vegan", "10% vegan", "vegan and keto", "vegan 3"),
        *("9999999999 vegan", "٣ vegan", "none"),
    ],
)
def test_an_unknown_diet_is_answered_with_the_known_ones(text: str) -> None:
    answer = function_of(plan_menu)(50, [text])
    assert answer.startswith(f"Cannot plan the menu: the diet {text!r} is unknown.")
    assert all(diet in answer for diet in DIETS)


def test_more_guests_with_a_diet_than_come_are_refused() -> None:
    answer = function_of(plan_menu)(50, ["51 vegan"])
    assert answer.startswith("Cannot plan the menu: '51 vegan' is more than the 50 people")


def test_a_diet_that_nobody_keeps_changes_nothing() -> None:
    assert function_of(plan_menu)(50, ["0 vegan"]) == function_of(plan_menu)(50)


def test_diets_that_must_overlap_get_one_dish_for_all() -> None:
    answer = function_of(plan_menu)(3, ["2 vegetarian", "2 kosher"])
    assert "| Starter | Hummus with warm flatbread | 3 |" in answer


def test_an_unknown_style_is_answered_with_the_known_ones() -> None:
    answer = function_of(plan_menu)(50, None, "banquet")
    assert answer.startswith("Cannot plan the menu: the style 'banquet' is unknown.")
    assert all(style in answer for style in STYLES)
