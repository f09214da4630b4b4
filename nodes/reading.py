"""Reading: a decider is shown the reports that it wants to read whole, and asked again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from asterism.core.supervisor_decision import reports_wanted
from asterism.core.sync_async import Steps
from asterism.nodes.view import SupervisorView, report_texts

MAX_REPORT_READS = 5
"""How many reports a decider may read whole for one decision."""

AskDecider = Callable[[SupervisorView], Steps[Any]]
"""Puts a view to a decider, and returns what it says."""


def ask_with_report_reads(
    view: SupervisorView, put: AskDecider
) -> Steps[tuple[SupervisorView, Any]]:
    """Ask, and ask again as long as reports are wanted that can be read.

    Returns:
        The view with all that was read, and what the decider said to it.
    """
    said = yield from put(view)
    while wanted := reports_wanted(said)[: MAX_REPORT_READS - len(view.readings)]:
        reports = report_texts(view.messages)
        known = {name for name, _ in view.readings}
        new = [name for name in dict.fromkeys(wanted) if name in reports and name not in known]
        if not new:
            break  # nothing that it could learn
        view = replace(view, readings=(*view.readings, *((name, reports[name]) for name in new)))
        said = yield from put(view)
    return view, said
