import datetime
from collections.abc import Callable
from decimal import Decimal

import pytest

from asterism.nodes.examples.event_planning.catalogue import (
    DATA,
    WEEKDAYS,
    Venue,
    cities,
    climate_of,
    find_city,
    read_date,
    read_time,
    venues_of,
    with_weekday,
)

CITIES = cities()
LOFT = Venue("Loft", "loft", "Here", 80, Decimal("2000.00"), ("Monday",), (12,), ("kitchen",))


def test_there_are_forty_different_cities() -> None:
    assert len(CITIES) == len(set(CITIES)) == 40


def test_no_two_venues_share_a_name() -> None:
    names = [venue.name for city in CITIES for venue in venues_of(city)]
    assert len(names) == len(set(names)) == 240


@pytest.mark.parametrize("city", CITIES)
def test_a_city_has_six_plausible_venues(city: str) -> None:
    venues = venues_of(city)
    capacities = [venue.capacity for venue in venues]
    assert len(venues) == 6
    assert capacities == sorted(set(capacities))
    assert capacities[0] <= 40 and capacities[-1] >= 500
    for venue in venues:
        assert 300 <= venue.price_per_day <= 20_000
        assert venue.price_per_day == venue.price_per_day.quantize(Decimal("0.01"))
        assert set(venue.closed_weekdays) < set(WEEKDAYS)
        assert set(venue.peak_months) < set(range(1, 13))
        assert venue.features and len(set(venue.features)) == len(venue.features)


@pytest.mark.parametrize("city", CITIES)
def test_a_city_has_a_plausible_climate(city: str) -> None:
    climate = climate_of(city)
    assert len(climate.high_c) == len(climate.low_c) == len(climate.wet_days) == 12
    for high, low, wet in zip(climate.high_c, climate.low_c, climate.wet_days, strict=True):
        assert -15 <= low <= high <= 45
        assert 0 <= wet <= 31
    assert climate.high_c[6] > climate.high_c[0], "all of them are in the northern hemisphere"


@pytest.mark.parametrize(
    ("city", "month", "high", "wet"),
    [
        pytest.param("Phoenix", 7, 41, 4, id="hot desert"),
        pytest.param("Seattle", 12, 8, 19, id="wet winter"),
        pytest.param("Los Angeles", 8, 29, 0, id="dry summer"),
        pytest.param("Chicago", 1, 0, 11, id="cold winter"),
        pytest.param("London", 7, 24, 8, id="mild summer"),
    ],
)
def test_known_normals(city: str, month: int, high: int, wet: int) -> None:
    climate = climate_of(city)
    assert (climate.high_c[month - 1], climate.wet_days[month - 1]) == (high, wet)


@pytest.mark.parametrize(
    ("file", "words"),
    [("venues.json", "Sample data"), ("menus.json", "Sample data"), ("climate.json", "normals")],
)
def test_the_data_says_what_it_is(file: str, words: str) -> None:
    first = (DATA / file).read_text(encoding="utf-8").splitlines()[1]
    assert first.startswith('"note":') and words in first


@pytest.mark.parametrize("city", CITIES)
@pytest.mark.parametrize("write", [str, str.upper, str.lower, " {}  ".format, "{}.".format])
def test_a_city_is_found_however_it_is_written(city: str, write: Callable[[str], str]) -> None:
    assert find_city(write(city)) == city


@pytest.mark.parametrize(
    ("text", "city"),
    [
        ("Seattle, WA", "Seattle"),
        ("seattle wa", "Seattle"),
        ("Seattle,Washington, USA", "Seattle"),
        ("New York City", "New York"),
        ("NYC", "New York"),
        ("New York, New York, United States", "New York"),
        ("oklahoma  city, ok", "Oklahoma City"),
        ("L.A.", "Los Angeles"),
        ("San José", "San Jose"),
        ("Washington, D.C.", "Washington"),
        ("Portland, Oregon", "Portland"),
        ("london, uk", "London"),
        ("KØBENHAVN", "Copenhagen"),
        ("Wien, Österreich", "Vienna"),
    ],
)
def test_suffixes_and_other_names_are_forgiven(text: str, city: str) -> None:
    assert find_city(text) == city


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Atlantis", id="unknown"),
        pytest.param("", id="empty"),
        pytest.param("   ", id="blank"),
        pytest.param("Portland, ME", id="other state"),
        pytest.param("Paris, Texas", id="other country"),
        pytest.param("Seattle Heights", id="longer"),
        pytest.param("York", id="part"),
        pytest.param("🎉", id="emoji"),
        pytest.param("Seattle" + ", WA" * 50_000 + "x", id="endless"),
        pytest.param("\ud800", id="half a character"),
    ],
)
def test_an_unknown_city_is_answered_with_the_known_ones(text: str) -> None:
    with pytest.raises(ValueError, match="sample catalogue does not have") as caught:
        find_city(text)
    assert all(city in str(caught.value) for city in CITIES)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("day", "price"),
    [
        pytest.param("2026-12-15", "2400.00", id="peak month"),
        pytest.param("2026-11-17", "2000.00", id="other month"),
    ],
)
def test_a_peak_month_costs_a_fifth_more(day: str, price: str) -> None:
    assert LOFT.price_on(datetime.date.fromisoformat(day)) == Decimal(price)


def test_a_venue_knows_its_closed_weekday() -> None:
    monday = datetime.date(2026, 12, 14)
    assert not LOFT.open_on(monday)
    assert LOFT.open_on(monday + datetime.timedelta(days=1))


def test_a_date_is_read_and_written_with_its_weekday() -> None:
    assert with_weekday(read_date("2026-12-15")) == "2026-12-15 (Tuesday)"
    assert read_date("2028-02-29") == datetime.date(2028, 2, 29)


@pytest.mark.parametrize(
    "text",
    [
        *("15/12/2026", "2026-12-5", "20261215", "2026-W51-2", "2026-12-15T18:00", " 2026-12-15"),
        *("2026-12-15\n", "2026-02-30", "0206-12-15", "9999-12-31", "tomorrow", "", "٢٠٢٦-١٢-١٥"),
    ],
)
def test_a_date_in_another_form_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM-DD") as caught:
        read_date(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["24:00", "6 pm", "18", "18:60", "18:00:00", "9:00", ""])
def test_a_time_in_another_form_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="HH:MM") as caught:
        read_time(text)
    assert repr(text) in str(caught.value)


def test_a_time_is_read() -> None:
    assert read_time("00:05") == datetime.time(0, 5)
