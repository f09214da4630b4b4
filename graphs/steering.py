"""Steer a running team: `steer`, and the tool by which other agents do so.

What a run begins with such messages is in graphs/waiting_messages.py; where it takes them in, in
nodes/steering.py. Tests: tests/graphs/test_steering.py.
"""

from collections.abc import Collection
from typing import Any, cast

from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.core.continuation import ThreadLike, thread_config
from asterism.core.messages import clean
from asterism.core.steering import SteeringMessage, When, add_steering
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError, InvalidRequestError, UnknownParticipantError
from asterism.graphs.request_checks import check_thread
from asterism.graphs.workflow import Workflow
from asterism.nodes.routing import SUPERVISOR
from asterism.nodes.steering import is_orphan


def steer(
    workflow: Workflow[Any],
    config: ThreadLike,
    text: str,
    *,
    to: str | None = None,
    when: When = "asap",
) -> str:
    """Send a message into a running team; whoever drives the thread takes it in exactly once.

    It is stored beside the thread at once. A run takes it in at its next boundary: the supervisor
    at its next decision, an agent at its next model call, any other participant at its next visit.
    Where the run ends before that, or nobody runs, it is the next request: `invoke(None, config)`,
    `proceed`, the next message or a worker takes it up.

    Args:
        workflow: The team; it has a checkpointer.
        config: The thread, or its id.
        text: What the user says.
        to: The participant that it is for, or a path as `"team/venue"`. None: the supervisor.
        when: `"asap"`: at the next boundary. `"idle"`: it is the next request once the run is over.

    Returns:
        The id of the message; in the history its message has `steer-` before that.

    Raises:
        InvalidRequestError: The text says nothing.
        UnknownParticipantError: Nobody of that name takes part.
        ConfigurationError: Nothing is stored, so nobody can be reached; or `when` is unknown.
    """
    return run_steps(_steer(workflow, config, text, to, when))


async def asteer(
    workflow: Workflow[Any],
    config: ThreadLike,
    text: str,
    *,
    to: str | None = None,
    when: When = "asap",
) -> str:
    """Send a message into a running team; see `steer`."""
    return await arun_steps(_steer(workflow, config, text, to, when))


def create_steer_tool(workflow: Workflow[Any]) -> BaseTool:
    """Create the tool by which another agent steers the runs of a workflow.

    Args:
        workflow: The team; it has a checkpointer.
    """
    team = ", ".join(workflow.facts.participants)

    def steer_team(thread_id: str, message: str, to: str | None = None) -> str:
        steer(workflow, thread_id, message, to=to)
        return "The message is stored; the team takes it in at its next step."

    async def asteer_team(thread_id: str, message: str, to: str | None = None) -> str:
        await asteer(workflow, thread_id, message, to=to)
        return "The message is stored; the team takes it in at its next step."

    return StructuredTool.from_function(
        steer_team,
        coroutine=asteer_team,
        name="steer_team",
        description=(
            f"Send a message into a running conversation of the team {workflow.name!r}. `to`: one "
            f"of {team}, or nothing for the supervisor of the team."
        ),
    )


def read_message(text: object, to: str | None = None, when: object = "asap") -> SteeringMessage:
    """Make a steering message of what somebody says.

    Raises:
        InvalidRequestError: The text says nothing.
        ConfigurationError: `when` is unknown.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidRequestError(f"The message is {text!r:.100}. Allowed: a text.")
    if when not in ("asap", "idle"):
        raise ConfigurationError(f"when is {when!r:.100}; allowed: 'asap', 'idle'.")
    name = "" if to in (None, SUPERVISOR) else str(to).strip("/")
    return SteeringMessage(content=clean(text), to=name, when=when)


def _steer(
    workflow: Workflow[Any], config: ThreadLike, text: str, to: str | None, when: When
) -> Steps[str]:
    saver = cast(Any, workflow.checkpointer)
    message = read_message(text, to, when)
    if not isinstance(saver, BaseCheckpointSaver):
        raise ConfigurationError(
            f"The workflow {workflow.name!r} stores no threads, so no message can reach a run. "
            'Give it a checkpointer: build(checkpointer="sqlite:///threads.db").'
        )
    config = thread_config(config)
    thread = check_thread(config)
    if message.to:
        team, where = workflow.facts.team, ""
        known: Collection[str] = workflow.facts.participants
        if message.to.split("/")[0] not in known:  # it may be an agent that a model has created
            found = yield Call(workflow.get_state, workflow.aget_state, (config,))
            known = team.live(as_dict(found.values))
        if is_orphan(message, where, known):
            raise UnknownParticipantError(
                f"The message is for {to!r}, who takes no part. Allowed: "
                f"{', '.join(known)}, or None for the supervisor."
            )
    yield from add_steering(saver, thread, message)
    return message.id
