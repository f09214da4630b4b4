"""Which cases there are, and who takes part in them."""

from collections.abc import Iterator, Sequence

from benchmarks.rounds import Case

OURS, UNLIMITED, BASE = "ours", "ours_unlimited", "by_hand"
HAND = ("loop", "by_hand_plain", BASE, OURS)
PEERS = ("langgraph_supervisor", "deep_agents", "agent_framework", "openai_agents", "autogen")
NO_FAN = ("langgraph_supervisor",)
"""It runs one participant of those that it calls at once."""


def all_cases(contenders: Sequence[str]) -> list[Case]:
    families = (_turns, _many, _fan, _plan, _start)
    return [case for family in families for case in family(contenders)]


def _turns(contenders: Sequence[str]) -> Iterator[Case]:
    hand = tuple(name for name in contenders if name in HAND)
    for stored in (False, True):
        where = "stored" if stored else "not stored"
        for turns in (10, 50, 200):
            yield Case(
                workload="turns",
                title=f"{turns} turns, 4 participants, {where}",
                sizes={"turns": turns, "participants": 4},
                stored=stored,
                contenders=contenders,
            )
        yield Case(
            workload="turns",
            title=f"200 turns, 50 participants, {where}",
            sizes={"turns": 200, "participants": 50},
            stored=stored,
            contenders=contenders,
        )
        long = [("2000 turns, 4 participants", 2_000, 4), ("200 turns, 500 participants", 200, 500)]
        for name, turns, participants in long:
            yield Case(
                workload="turns",
                title=f"{name}, {where}",
                sizes={"turns": turns, "participants": participants},
                stored=stored,
                contenders=(OURS,) if stored and turns == 2_000 else hand,
            )


def _many(contenders: Sequence[str]) -> Iterator[Case]:
    for stored in (False, True):
        for conversations in (200, 1_000):
            yield Case(
                workload="many",
                title=f"{conversations} conversations of 10 turns at once, "
                f"{'stored' if stored else 'not stored'}",
                sizes={"conversations": conversations, "turns": 10},
                stored=stored,
                contenders=(*contenders, UNLIMITED),
            )


def _fan(contenders: Sequence[str]) -> Iterator[Case]:
    able = [name for name in contenders if name not in NO_FAN]
    for stored in (False, True):
        for participants in (8, 64):
            yield Case(
                workload="fan",
                title=f"fan-out to {participants} of 50 ms, {'stored' if stored else 'not stored'}",
                sizes={"participants": participants},
                stored=stored,
                contenders=able,
            )


def _plan(contenders: Sequence[str]) -> Iterator[Case]:
    able = tuple(name for name in contenders if name in (OURS, BASE, "by_hand_plain"))
    title = "a plan of 12 tasks whose critical path takes 600 ms, not stored"
    yield Case(workload="plan", title=title, contenders=able)


def _start(contenders: Sequence[str]) -> Iterator[Case]:
    for workload, what in (("start", "cold start"), ("build", "build")):
        for participants in (4, 50, 500):
            yield Case(
                workload=workload,
                title=f"{what} with {participants} participants",
                sizes={"participants": participants},
                contenders=contenders,
            )
    yield Case(
        workload="resume",
        title="resume after 100 turns in a fresh process",
        sizes={"turns": 100},
        stored=True,
        contenders=contenders,
    )
