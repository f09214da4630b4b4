"""One chat model for a whole team, with a script for each who speaks."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.outputs import ChatResult
from pydantic import PrivateAttr

from asterism.core.supervisor_decision import SupervisorDecision
from asterism.offline.model import LocalChatModel
from asterism.testing.scripted_model import (
    ScriptedCall,
    ScriptedChatModel,
    UnexpectedModelCallError,
)

DECISION = SupervisorDecision.__name__


class TeamChatModel(LocalChatModel):
    """A chat model that knows who of a team asks, and answers by that one's script.

    Give it to everybody who is to be scripted; the prompts, tools and structured answers stay
    those of the team. Streams come in one piece.
    """

    scripts: Mapping[str, Sequence[Any]]
    """The replies of each, in order: by the id of a participant, by its path (`"team/venue"`), or
    `"supervisor"`. A supervisor's decision may be just the id of who works next, or None."""

    _models: dict[str, "_Speaker"] = PrivateAttr(default_factory=dict)

    _strangers: list[UnexpectedModelCallError] = PrivateAttr(
        default_factory=list[UnexpectedModelCallError]
    )

    def model_post_init(self, context: Any, /) -> None:
        """Make a scripted model for each."""
        for name, script in self.scripts.items():
            self._models[name] = _Speaker(script=script)

    @property
    def _llm_type(self) -> str:
        return "team"

    @property
    def name_of_model(self) -> str:
        """The name under which usage is counted."""
        return "scripted"

    def calls(self, speaker: str) -> list[ScriptedCall]:
        """Return the calls that somebody has made.

        Raises:
            LookupError: There is no script for such a one.
        """
        if speaker not in self._models:
            raise LookupError(f"there is no script of {speaker!r}; there are {self._list_names()}")
        return self._models[speaker].calls

    def check(self) -> None:
        """Check that nobody has asked for more than there is; such an error may end in a report.

        Raises:
            UnexpectedModelCallError: Somebody has.
        """
        for error in self._strangers:
            raise error
        for name, model in self._models.items():
            if len(model.calls) > len(model.script):
                prompt = model.calls[len(model.script)].messages
                raise UnexpectedModelCallError(
                    f"{name} made call {len(model.script) + 1} of a script of {len(model.script)} "
                    f"replies; the last message of the prompt: {prompt[-1].text[:200]!r}"
                )

    def assert_finished(self) -> None:
        """Check that every reply was asked for, and none too many.

        Raises:
            AssertionError: Each whose script is not finished.
        """
        self.check()
        left = [
            f"{name} has made {len(model.calls)} calls, its script has {len(model.script)} replies"
            for name, model in self._models.items()
            if len(model.calls) < len(model.script)
        ]
        if left:
            raise AssertionError("; ".join(left))

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        model = self._of(run_manager)
        result: ChatResult = model._generate(messages, stop, run_manager, **kwargs)
        return result

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        model = self._of(run_manager)
        result: ChatResult = await model._agenerate(messages, stop, run_manager, **kwargs)
        return result

    def _of(self, run_manager: Any) -> Any:
        """Return the scripted model of whoever asks, as the metadata of the call tell."""
        facts: Mapping[str, Any] = (run_manager and run_manager.metadata) or {}
        name = str(facts.get("participant") or "supervisor")
        path = str(facts.get("participant_path") or "")
        if name == "supervisor":
            path = f"{path}/{name}" if path else name
        for known in (path,) if name == "supervisor" else (path, name):
            if known in self._models:
                return self._models[known]
        error = UnexpectedModelCallError(
            f"{path or name} makes a call and has no script; there are scripts of "
            f"{self._list_names()}"
        )
        self._strangers.append(error)
        raise error

    def _list_names(self) -> str:
        return ", ".join(self._models) or "nobody"


class _Speaker(ScriptedChatModel):
    """The script of one of a team: where a decision is wanted, a name stands for a whole one."""

    def _entry_at(self, place: int, tools: Sequence[str]) -> Any:
        reply = super()._entry_at(place, tools)
        if DECISION in tools and (reply is None or isinstance(reply, str)):
            return {"next_agent": reply}
        return reply
