"""Tools for a team that plans events: venue, budget, catering and logistics."""

from langchain_core.tools import BaseTool

from asterism.nodes.examples.event_planning.budget import make_budget
from asterism.nodes.examples.event_planning.catering import plan_menu
from asterism.nodes.examples.event_planning.logistics import (
    make_calendar,
    make_schedule,
    weather_outlook,
)
from asterism.nodes.examples.event_planning.venue import search_venues
from asterism.nodes.examples.tool_arguments import explain

__all__ = ["DESCRIPTIONS", "TOOLS"]

TOOLS: dict[str, list[BaseTool]] = {
    "venue": [search_venues],
    "budget": [make_budget],
    "catering": [plan_menu],
    "logistics": [weather_outlook, make_schedule, make_calendar],
}
"""The tools of each participant."""

DESCRIPTIONS: dict[str, str] = {
    "venue": "Finds venues by city, head count, date and price.",
    "budget": "Adds up the costs; needs the venue cost and the catering cost.",
    "catering": "Plans a menu for the head count and diets, with its cost.",
    "logistics": "Tells the usual weather, plans the run of the day and makes a calendar file.",
}
"""What the supervisor is told about each participant."""

for _tool in (tool for tools in TOOLS.values() for tool in tools):
    # Without this, an argument of the wrong type raises instead of telling the model.
    _tool.handle_validation_error = explain
