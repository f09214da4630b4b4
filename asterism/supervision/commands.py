"""Orders to a child: pause, resume, kill, raise a quota, and waiting for its end."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from asterism.core.interrupts import answer_command, apending_requests
from asterism.errors import (
    AnswerError,
    ChildFailedError,
    ChildKilledError,
    ChildPausedError,
    ChildStateError,
    ChildTimeoutError,
    ConfigurationError,
)
from asterism.events import SupervisionEventType as Type
from asterism.supervision.attempt import run_detached
from asterism.supervision.child import Child
from asterism.supervision.children import ChildRegistry, EndedChild
from asterism.supervision.quotas import AgentQuota
from asterism.supervision.restart_policy import GO_ON, ChildCommand
from asterism.supervision.spawn import take_child_lease
from asterism.supervision.status import ENDED, ChildStatus, SupervisedAgent, next_status


def child_for(family: ChildRegistry, child_id: str, event: Type) -> Child:
    """Return a child to which an event can happen in its state.

    Raises:
        UnknownChildError: There is none of this id.
        ChildStateError: It cannot happen.
    """
    found = family.child(child_id)
    status = found.facts.status if isinstance(found, EndedChild) else found.status
    next_status(status, event, child_id)
    return cast(Child, found)  # to one that has ended, nothing happens


async def pause_child(child: Child) -> bool:
    """Let a child rest at its next step boundary; return whether it rests then."""
    child.send_command(ChildCommand(kind="pause", reason="it was told to pause"))
    await child.wait_until_settled()
    return _rests(child)


async def kill_child(child: Child, reason: str) -> None:
    """Stop a child at once and for good."""
    child.send_command(ChildCommand(kind="kill", reason=reason))
    while child.status not in ENDED:
        await child.change(None)
    await child.wait_until_settled()


async def resume_child(child: Child, answers: Any) -> bool:
    """Let a child go on; return whether it rested."""
    if not _rests(child):
        return False
    await child.wait_until_settled()
    used = child.gauge.usage()
    if spent := used.exceeded() if child.asks is None else used.spent():
        raise ChildStateError(
            f"The child {child.id!r} has used up {' and '.join(spent)}, so it cannot go on; "
            f"raise_quota(child_id, {spent[0]}=...) lets it."
        )
    pending = await run_detached(apending_requests(child.graph, child.config))
    if pending and answers is None:
        asked = "; ".join(repr(request.prompt) for request in pending)
        raise AnswerError(
            f"The child {child.id!r} waits for a person: {asked}. Answer with "
            "resume_child(child_id, answer)."
        )
    given = GO_ON if answers is None else answer_command(pending, answers)
    if not _rests(child):  # somebody else was faster
        return False
    child.resume(given, take_child_lease(child))
    return True


async def raise_quota(family: ChildRegistry, child: Child, limits: dict[str, Any]) -> AgentQuota:
    """Raise limits of a child; one that asks for it goes on."""
    quota = child.gauge.quota.raised(**limits)
    used = replace(child.gauge.usage(), quota=quota)
    for name in used.spent():
        if name in limits:
            raise ConfigurationError(
                f"{name}={limits[name]!r} is used up already ({used.used(name)} are used). Raise "
                "it further."
            )
    child.raise_quota(quota)
    if child.status is ChildStatus.PAUSED and child.asks is not None and not used.spent():
        await child.wait_until_settled()
        child_for(family, child.id, Type.RESUMED).resume(GO_ON, take_child_lease(child))
    return quota


async def await_child(
    family: ChildRegistry, child_id: str, timeout: float | None, clock: Callable[[], float]
) -> Any:
    """Wait until a child has ended; return its output, or raise what became of it."""
    found = family.child(child_id)
    until = None if timeout is None else clock() + timeout
    while isinstance(found, Child) and found.status not in ENDED:
        if family.closed and found.status is ChildStatus.PAUSED:
            raise ChildPausedError(
                f"The child {child_id!r} rests ({found.reason}), and its supervisor is shut "
                f"down. Another one can adopt it: adopt({found.thread_id!r}, graph).",
                child_id=child_id,
                reason=found.reason,
            )
        left = None if until is None else until - clock()
        if left is not None and left <= 0:
            said = f"it was not over within {timeout:g} s"
            await kill_child(found, said)
            words = f"The child {child_id!r} was killed: {said}."
            raise ChildTimeoutError(words, child_id=child_id, reason=said)
        await found.change(left)
    if isinstance(found, Child):
        await found.wait_until_settled()  # its thread is free then
    facts = found.facts if isinstance(found, EndedChild) else found.facts()
    if facts.status is not ChildStatus.COMPLETED:
        raise _end(facts) from facts.error
    return found.result


def _rests(child: Child) -> bool:
    return child.status is ChildStatus.PAUSED


def _end(facts: SupervisedAgent) -> ChildFailedError | ChildKilledError:
    failed = facts.status is ChildStatus.FAILED
    kind = ChildFailedError if failed else ChildKilledError
    word = "failed" if failed else "was killed"
    said = f"The child {facts.id!r} {word}: {facts.reason}."
    return kind(said, child_id=facts.id, reason=facts.reason)
