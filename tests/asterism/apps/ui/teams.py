"""Graphs for the tests of the page, by name: they wait, ask, fail, and say hostile things."""

import threading
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel, Field

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.core.run_types import WorkflowInput
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.teams import follow

HERE = __name__
HOSTILE = (
    '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"> **bold**'
)
GATE_SECONDS = 60
"""How long a participant waits at its gate at most, so that nothing can hang."""


class Gate:
    """Holds a participant until a test lets it go on."""

    def __init__(self) -> None:
        self.reached = threading.Semaphore(0)
        """Is released by each visit that begins."""
        self.open = threading.Semaphore(0)
        """Lets one visit pass."""
        self.visits: list[str] = []

    def reset(self) -> None:
        """Begin anew."""
        self.__init__()  # type: ignore[misc]  # all of it, as for a new one


GATE = Gate()


class Trip(BaseModel):
    """What a traveller is asked."""

    city: str = Field(min_length=1, description="Where to")
    nights: int = Field(ge=1)
    rail: bool = False
    seat: str | None = None


def slow(messages: list[Any]) -> str:
    """Works when it is let."""
    GATE.visits.append("slow")
    GATE.reached.release()
    assert GATE.open.acquire(timeout=GATE_SECONDS)
    return f"slow {len(GATE.visits)}"


def shout(messages: list[Any]) -> str:
    """Says hostile things."""
    return HOSTILE


MARKDOWN = """# Result

It *works*: see [the sheet](https://example.org/sheet) and **this**.

| Item | Cost |
|:-----|-----:|
| `a\\|b` | $2 |

1. one
   - within
2. two

> quoted

```python
def total(n: int) -> int:
    return n * 2  # twice
```

<b>raw</b> ![picture](https://example.org/p.png) [bad](javascript:window.hacked=3)
"""
CODE = "def total(n: int) -> int:\n    return n * 2  # twice\n"


def write(messages: list[Any]) -> str:
    """Writes Markdown."""
    return MARKDOWN


def fast(messages: list[Any]) -> str:
    """Works at once."""
    return "fast"


def travel(messages: list[Any]) -> str:
    """Asks for a trip."""
    return f"booked {interrupt({'prompt': 'Which trip?'}, response_schema=Trip)}"


def _team(route: list[str | None], **members: Any) -> SupervisorWorkflowBuilder:
    specs = {
        name: m if isinstance(m, Participant) else Participant(runs=m, description=m.__doc__ or "")
        for name, m in members.items()
    }
    builder = SupervisorWorkflowBuilder("Test", finish="forward").participants(**specs)
    return builder.with_manager(follow(route))


def gated(model: Any) -> SupervisorWorkflowBuilder:
    return _team(["slow", "slow", "fast"], slow=slow, fast=fast)


def hostile(model: Any) -> SupervisorWorkflowBuilder:
    return _team(["shout"], shout=shout)


def markdown(model: Any) -> SupervisorWorkflowBuilder:
    return _team(["write"], write=write)


def trips(model: Any) -> SupervisorWorkflowBuilder:
    return _team(["travel"], travel=travel)


def broken(model: Any) -> SupervisorWorkflowBuilder:
    def decide(view: Any) -> Any:
        raise RuntimeError("the key is sk-abcdefgh12345678")

    return _team([], shout=shout).with_manager(decide)


def bank(model: Any) -> SupervisorWorkflowBuilder:
    @tool
    def pay(amount: int, to: str) -> str:
        """Pay an amount."""
        return f"paid {amount} to {to}"

    calls = [("pay", {"amount": 5, "to": HOSTILE}), ("pay", {"amount": 7, "to": "Ann"})]
    script: list[Any] = [
        ScriptedReply(tool_calls=calls),
        lambda ms: f"{ms[-2].text}; {ms[-1].text}",
    ]
    guard = HumanInTheLoopMiddleware(interrupt_on={"pay": True})
    agent = create_agent(ScriptedChatModel(script=script), [pay], middleware=[guard])
    return _team(["bank"], bank=Participant(runs=agent, description="Pays."))


def teller(model: Any) -> SupervisorWorkflowBuilder:
    @tool
    def pay(amount: int, to: str, memo: str | None = None) -> str:
        """Transfers money from the account."""
        return f"paid {amount} to {to} ({memo})"

    call = ("pay", {"amount": 5, "to": "Ann"})
    script: list[Any] = [ScriptedReply(tool_calls=[call]), lambda ms: ms[-1].text]
    guard = HumanInTheLoopMiddleware(interrupt_on={"pay": True}, interrupt_mode="per_call")
    agent = create_agent(ScriptedChatModel(script=script), [pay], middleware=[guard])
    return _team(["teller"], teller=Participant(runs=agent, description="Pays."))


def nested(model: Any) -> SupervisorWorkflowBuilder:
    """A team within a team within a team."""
    middle = _team(["inner"], inner=Participant(runs=trips(None).build(), description="Travels."))
    return _team(["team"], team=Participant(runs=middle.build(), description="Sends others."))


def fails(messages: list[Any]) -> str:
    """Cannot work."""
    raise RuntimeError("the warehouse cannot be reached")


def failing(model: Any) -> SupervisorWorkflowBuilder:
    return _team(["fails", "fast"], fails=fails, fast=fast)


def flaky(model: Any) -> SupervisorWorkflowBuilder:
    """A team whose second participant fails the first time."""
    runs = {"count": 0, "stock": 0, "check": 0}

    def count(messages: list[Any]) -> str:
        """Counts."""
        runs["count"] += 1
        return f"counted {runs['count']}"

    def stock(messages: list[Any]) -> str:
        """Looks into the stock."""
        runs["stock"] += 1
        if runs["stock"] == 1:
            raise RuntimeError("the stock is out of reach")
        return f"stock {runs['stock']}"

    def check(messages: list[Any]) -> str:
        """Checks."""
        runs["check"] += 1
        return f"checked {runs['check']}"

    return _team(["count", "stock", "check"], count=count, stock=stock, check=check)


def _echo(state: MessagesState) -> WorkflowInput:
    return {"messages": [("ai", f"you said {state['messages'][-1].text}")]}


def _speak(state: MessagesState) -> WorkflowInput:
    said = [("ai" if place % 2 else "user", f"Message {place}") for place in range(9_999)]
    return {"messages": said}


long = StateGraph(MessagesState).add_node("speak", _speak).add_edge(START, "speak").compile()
plain = StateGraph(MessagesState).add_node("echo", _echo).add_edge(START, "echo").compile()
