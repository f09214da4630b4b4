"""Guards of the supervisor, without a model: work that stands still, ends that come too early."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from asterism.state import Report

STALL_LIMIT = 3
"""How often the same participant may give the same result to the same request."""
STALL_WINDOW = 50
"""How many of the latest reports are looked at."""


def fingerprint(request: str, text: str) -> str:
    """Name a request together with its result; white space does not count."""
    words = f"{' '.join(request.split())}\n{' '.join(text.split())}"
    return hashlib.blake2b(words.encode(), digest_size=8).hexdigest()


def stalled(reports: Sequence[Report]) -> Report | None:
    """Return the last report where it says for the third time what was said before."""
    if not reports:
        return None
    last = reports[-1]
    same = {
        report["round"]
        for report in reports[-STALL_WINDOW:]
        if report["participant"] == last["participant"]
        and report["fingerprint"] == last["fingerprint"]
    }
    return last if len(same) >= STALL_LIMIT else None


def stall_complaint(report: Report) -> str:
    """Say to a decider what stands still."""
    return (
        f"{report['participant']} has given the same answer to the same instruction "
        f"{STALL_LIMIT} times. Choose somebody else, give another instruction, ask the user, or "
        "finish."
    )


def missing(required: Collection[str], reports: Sequence[Report]) -> list[str]:
    """Return those who are required and have not answered, in their order."""
    answered = {report["participant"] for report in reports if report["status"] == "ok"}
    return [name for name in required if name not in answered]


def missing_complaint(names: Sequence[str]) -> str:
    """Say to a decider why it cannot finish yet."""
    return (
        f"the request cannot be finished: {', '.join(names)} must answer first. Send them to work."
    )


def goes_round(
    work: Mapping[str, Any], reports: Sequence[Report], decided: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether a decision goes on with a round of visits that brings nothing new.

    Args:
        work: The work that the decision asks for, as `work_of` returns it.
        reports: The reports of this request.
        decided: What was decided before, as the history has it.
    """
    if decided.count(work) < STALL_LIMIT:
        return False
    tasks = work.get("tasks")
    agents = {task["agent_id"] for task in tasks} if tasks else {work["next_agent"]}
    rounds: dict[tuple[str, str], set[int]] = {}
    for report in reports[-STALL_WINDOW:]:
        key = report["participant"], report["fingerprint"]
        rounds.setdefault(key, set()).add(report["round"])
    return agents <= {who for (who, _), same in rounds.items() if len(same) >= STALL_LIMIT}
