"""The default decider: a chat model that answers with a `SupervisorDecision`.

Open it for the supervisor's prompt and schema. Tests: tests/nodes/test_supervisor.py.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Never

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, SystemMessage
from langchain_core.runnables import Runnable

from asterism.core.agent_spec import ModelLike, innermost_model, resolve_model
from asterism.core.decision_schema import Schema, decision_schema
from asterism.core.defaults import Method
from asterism.core.digests import DIGEST_TOKENS
from asterism.core.supervisor_decision import SupervisorDecision
from asterism.core.sync_async import Steps, arun_steps, run_steps
from asterism.errors import ConfigurationError
from asterism.nodes.decider import AnyDecider
from asterism.nodes.structured_output import StructuredOutput
from asterism.nodes.view import (
    DECIDE,
    Renderer,
    SupervisorView,
    one_time_notes,
    supervisor_run_config,
)
from asterism.prompts import render

PLANS = (
    " Several at once: tasks; one that needs the result of another names its task_id in "
    "dependencies and gets it."
)
"""What a supervisor is told of plans."""
WRITES_LATER = "The answer is written afterwards, not by you."
WRITES_NOW = (
    "Write the complete answer to the user in answer, with numbers, names and dates exactly as "
    "they are reported."
)
"""What it is told of the answer."""


class ModelDecider:
    """A chat model that decides.

    Its answer is handed on unread: whoever asks checks it.

    Args:
        model: The chat model.
        participants_description_block: The lines of the prompt that describe the team.
        prompt: Further instructions.
        digest_tokens: Above how many tokens a report is shown as a digest. None: never.
        once: Whether the model is asked again only where something went wrong.
        plans: Whether it may give several tasks at once.
        answers: Whether the decision that finishes carries the answer.
        decisions: How it is asked; see `create_supervisor_agent`.
        name: What its calls are called in traces.
    """

    def __init__(
        self,
        model: Runnable[Any, AIMessage],
        participants_description_block: str,
        *,
        prompt: str | None = None,
        digest_tokens: int | None = DIGEST_TOKENS,
        once: bool = False,
        plans: bool = True,
        answers: bool = False,
        decisions: Method | None = None,
        name: str | None = None,
    ) -> None:
        self._run_name = DECIDE if name is None else name
        self._answers = answers
        self._output = StructuredOutput(model, decisions)
        self._once = once
        self._plans = plans
        self._block = participants_description_block
        self._instructions = prompt or ""
        self._digest_tokens = digest_tokens
        self._renderer = Renderer(digest_tokens=digest_tokens)

    def decide(self, view: SupervisorView) -> AIMessage | SupervisorDecision:
        """Ask the model."""
        return run_steps(self._ask(view))

    async def adecide(self, view: SupervisorView) -> AIMessage | SupervisorDecision:
        """Ask the model."""
        return await arun_steps(self._ask(view))

    def prompt(self, view: SupervisorView) -> list[AnyMessage]:
        """Write what the model is sent: the rules, the conversation, what was said to it."""
        return self._output.prompt_for(*self._request(view))

    def _ask(self, view: SupervisorView) -> Steps[AIMessage | SupervisorDecision]:
        if self._is_done(view):
            return SupervisorDecision(next_agent=None)
        config = supervisor_run_config(self._run_name, view.iterations + 1)
        return (yield from self._output.ask(*self._request(view), strict=True, config=config))

    def _request(self, view: SupervisorView) -> tuple[list[AnyMessage], Schema]:
        """Write the messages, and the schema of the answer to them."""
        system = render(
            "supervisor",
            participants=self._block,
            plans=PLANS if self._may_plan(view) else "",
            example=next(iter(view.participants), "name"),
            ending=WRITES_NOW if self._answers else WRITES_LATER,
            instructions=f"\n\n{self._instructions}" if self._instructions else "",
        )
        shown = self._renderer.render(view.messages)
        schema = decision_schema(
            tuple(view.participants),
            answers=self._answers,
            reads=self._digest_tokens is not None,
            plans=self._may_plan(view),
        )
        return [SystemMessage(system), *shown, *one_time_notes(view, schema)], schema

    def _may_plan(self, view: SupervisorView) -> bool:
        return self._plans and len(view.participants) > 1

    def _is_done(self, view: SupervisorView) -> bool:
        """Whether nothing is left to decide: all that the model asked for has gone well."""
        if not self._once or view.complaints or not view.reports:
            return False
        return all(report["status"] == "ok" for report in view.reports)


def create_supervisor_agent(
    model: ModelLike | None = None,
    participants_description_block: str = "",
    *,
    client: ModelLike | None = None,
    prompt: str | None = None,
    digest_tokens: int | None = DIGEST_TOKENS,
    once: bool = False,
    plans: bool = True,
    answers: bool = False,
    decisions: Method | None = None,
    name: str | None = None,
    response_format: type[SupervisorDecision] = SupervisorDecision,
    **others: Never,
) -> ModelDecider:
    """Create the default decider.

    Args:
        model: A chat model, a `"provider:model"` name, or `"offline"`.
        participants_description_block: What the model is told about the team, one line each;
            `describe_participants` writes it.
        client: Another name for `model`.
        prompt: Further instructions for the supervisor.
        digest_tokens: Above how many tokens a report is shown as a digest. None: never.
        once: Whether the model decides once for a request, and is asked again only where
            something went wrong.
        plans: Whether the model may give several tasks at once.
        answers: Whether the decision that finishes carries the answer; the workflow needs
            `finish="inline"` to read it.
        decisions: How the model is asked: `"tool"`, `"json_schema"` or `"json"`. None: what its
            profile says, then the next one where it refuses or ignores it.
        name: What its calls are called in traces; its messages are those of `supervisor`.
        response_format: `SupervisorDecision`; the answer may have a model by the `finish` of
            `SupervisorWorkflowBuilder`.
        **others: Nothing: what is not known is refused, with the way out.

    Raises:
        ModelNotFoundError: The model cannot be used; the message says why.
        ConfigurationError: There is none, or it is to decide by something else.
        TypeError: There is an argument that is not known.
    """
    if others:
        raise TypeError(
            f"create_supervisor_agent() takes no {', '.join(map(repr, others))}; what a model is "
            "made with, as its temperature, is given to the model: "
            "init_chat_model('openai:gpt-5-mini', temperature=0). See docs/names.md."
        )
    if response_format is not SupervisorDecision:
        raise ConfigurationError(
            f"response_format is {response_format!r}; a supervisor decides by SupervisorDecision. "
            "A model of the answer is SupervisorWorkflowBuilder(..., finish=model); see "
            "docs/concepts.md."
        )
    given = client if model is None else model
    if given is None:
        raise ConfigurationError(
            "create_supervisor_agent was given no model; give it one: "
            "create_supervisor_agent(model, participants_description_block)."
        )
    return ModelDecider(
        resolve_model(given),
        participants_description_block,
        prompt=prompt,
        digest_tokens=digest_tokens,
        once=once,
        plans=plans,
        answers=answers,
        decisions=decisions,
        name=name,
    )


class SupervisorOrchestratorExecutor:
    """A decider with the ids of those whom it sends to work, for `with_manager`.

    `build()` finds ids that do not take part, and participants that it does not know.

    Args:
        supervisor_agent: The decider, as `create_supervisor_agent` returns it.
        participant_ids: The ids of all participants.
    """

    def __init__(self, supervisor_agent: AnyDecider, participant_ids: Iterable[str]) -> None:
        self.supervisor_agent = supervisor_agent
        self.participant_ids = tuple(participant_ids)

    def faults(self, names: Iterable[str]) -> Iterator[str]:
        """Yield which ids do not fit to the names of those who take part."""
        known, team = dict.fromkeys(self.participant_ids), dict.fromkeys(names)
        for name in (name for name in known if name not in team):
            yield f"participant_ids names {name!r}, who does not take part; add it, or leave it out"
        for name in (name for name in team if name not in known):
            yield f"participant_ids lacks {name!r}, who takes part; add it there"


def describe_participants(descriptions: Mapping[str, str]) -> str:
    """Write the lines of the prompt that tell who is in the team."""
    return "\n".join(f"- {name}: {text}" for name, text in descriptions.items())


def is_model(thing: object) -> bool:
    """Whether `thing` is a chat model, plain or with fallbacks or bound arguments."""
    return isinstance(innermost_model(thing), BaseChatModel)
