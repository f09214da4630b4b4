"""Teams for tests: participants that count their turns, deciders that follow a script."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AnyMessage

from asterism import Participant, SupervisorDecision, SupervisorView, SupervisorWorkflowBuilder


class Turns:
    """Counts the turns of participants and keeps what each was sent."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}
        self.prompts: dict[str, list[list[AnyMessage]]] = {}

    def participant(self, name: str) -> Participant:
        """A participant that answers `name 1`, `name 2`, ... by its real turns."""

        def answer(messages: list[AnyMessage]) -> str:
            self.taken[name] = self.taken.get(name, 0) + 1
            self.prompts.setdefault(name, []).append(messages)
            return f"{name} {self.taken[name]}"

        return Participant(runs=answer, description=f"Answers as {name}.")


def follow(route: Sequence[str | None]) -> Callable[[SupervisorView], SupervisorDecision]:
    """A decider that sends one after the other of `route` to work, then finishes."""

    def decide(view: SupervisorView) -> SupervisorDecision:
        place = view.iterations
        name = route[place] if place < len(route) else None
        return SupervisorDecision(next_agent=name, instruction=name and f"step {place + 1}")

    return decide


def star(turns: Turns, route: Sequence[str | None], **options: Any) -> SupervisorWorkflowBuilder:
    """A star of counting participants that are routed by a script."""
    names = sorted({name for name in route if name})
    options = {"finish": "forward", "max_iterations": 500, **options}
    return (
        SupervisorWorkflowBuilder("Test", **options)
        .participants(**{name: turns.participant(name) for name in names})
        .with_manager(follow(route))
    )


def said(result: Mapping[str, Any]) -> list[str]:
    """What the reports of a result say, in order."""
    return [report["text"] for report in result["reports"]]
