"""The offline chat model: one reply for one prompt, always the same."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, cast

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolCall,
    ToolMessage,
    UsageMetadata,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

from asterism.core.agent_spec import PLAN_AND_CREATE
from asterism.core.values import as_dict
from asterism.offline.arguments import Sources, read_arguments, spoken
from asterism.offline.routing import (
    CANNOT,
    NEED,
    current_request,
    offline_decision,
    parse_report,
    plan,
    plan_team,
    vote,
)

MODEL_NAME = "offline"
"""Stands as `model_name` in the metadata of every message that the model writes."""

_CRITERION = re.compile(r"criterion_\d+")
_JUDGEMENT = {"score": 0.5, "reason": "(offline model) Nobody has judged this: 0.5 for all work."}

_ANSWERED = re.compile(r"^Answered: (.*(?:\n(?!Asked: |\n).*)*)", re.M)
_ASKED = re.compile(r"^Asked: .*(?:\n(?!Answered: ).*)*\nAnswered: .*(?:\n(?!Asked: |\n).*)*", re.M)
_REPORT = re.compile(r"<report from=[^>]*>\n(.*?)\n</report>", re.S)
"""What a task before has resulted in."""
_LABELLED = re.compile(r"^[A-Z][\w ()/-]{0,40}: .*$", re.M)
_CHARACTERS_PER_TOKEN = 4


class LocalChatModel(BaseChatModel):
    """A chat model without a provider: it has a name in traces, and tools can be bound to it."""

    @property
    def name_of_model(self) -> str:
        """The name under which usage is counted."""
        return self._llm_type

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return {**super()._get_ls_params(stop, **kwargs), "ls_model_name": self.name_of_model}

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        """Bind tools, as the models of providers do."""
        formatted = [format_tool(tool) for tool in tools]
        return self.bind(tools=formatted, tool_choice=tool_choice, **kwargs)


def format_tool(tool: Any) -> dict[str, Any]:
    """Format a tool as a provider gets it; what is a provider's own stays as it is."""
    try:
        return convert_to_openai_tool(tool)
    except (ValueError, TypeError):
        if isinstance(tool, dict):
            return cast(dict[str, Any], tool)
        raise


def message_chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    """Cut a message into what a stream sends: a word each, the tool calls, then what is left."""
    if isinstance(message.content, str):
        for word in re.findall(r"\S+\s*|\s+", message.content):
            yield AIMessageChunk(content=word)
    else:
        yield AIMessageChunk(content=message.content)
    calls = [(c["name"], json.dumps(c["args"]), c["id"]) for c in message.tool_calls]
    calls += [(c["name"] or "", c["args"] or "", c["id"]) for c in message.invalid_tool_calls]
    for place, (name, args, id) in enumerate(calls):
        chunk = tool_call_chunk(name=name, args=args, id=id, index=place)
        yield AIMessageChunk(content="", tool_call_chunks=[chunk])
    yield AIMessageChunk(
        content="",
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
    )


class OfflineChatModel(LocalChatModel):
    """Answers by fixed rules, with no key and no network; see `asterism.offline`.

    It routes when it is made to call a tool that has a `next_agent`, gives each criterion of a
    review the same score, fills in any other tool that it is made to call, calls the tools that
    it may call, votes where it is asked to, and otherwise writes down what the reports say. Where
    a tool takes tasks for agents, it gives one to each who is concerned; where there are no agents
    and it may create some, it creates one for each tool.
    """

    today: Callable[[], date] = date.today
    """Tells the date from which a day without a year is the next one."""
    pace: float = 0.0
    """Seconds that a reply takes, so that a run can be watched."""
    sleep: Callable[[float], None] = time.sleep
    """Waits for so many seconds."""

    @property
    def _llm_type(self) -> str:
        return MODEL_NAME

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = self._reply(messages, kwargs)
        self._rest()
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        parts = [*message_chunks(self._reply(messages, kwargs))]
        for part in parts:
            self._rest(len(parts))
            chunk = ChatGenerationChunk(message=part)
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _rest(self, parts: int = 1) -> None:
        if self.pace:
            self.sleep(self.pace / parts)

    def _reply(self, messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> AIMessage:
        tools = [tool["function"] for tool in options.get("tools") or ()]
        forced = next((t for t in tools if t["name"] == options.get("tool_choice")), None)
        if forced is not None:
            message = self._call_forced_tool(messages, forced)
        elif (voted := vote(messages)) is not None:
            message = AIMessage(voted)
        elif team := _team(tools):
            message = _delegate(messages, *team)
        elif creation := next((t for t in tools if t["name"] == PLAN_AND_CREATE), None):
            message = _create(messages, creation)
        elif tools:
            message = self._work(messages, tools)
        else:
            message = AIMessage(_write(messages))
        message.response_metadata = {"model_name": MODEL_NAME, "offline": True}
        message.usage_metadata = _usage(messages, message)
        return message

    def _call_forced_tool(
        self, messages: Sequence[BaseMessage], tool: Mapping[str, Any]
    ) -> AIMessage:
        """Call the one tool that has to be called."""
        properties: dict[str, Any] = tool["parameters"].get("properties") or {}
        names = _names(as_dict(properties.get("next_agent")))
        team = {} if names else plan_team(messages, _tools_of(properties))
        args: dict[str, Any]
        if team.get("tasks"):
            args = {"next_agent": None, **team} if "next_agent" in properties else team
        elif "next_agent" in properties:
            system = "\n".join(m.text for m in messages if m.type == "system")
            args = offline_decision(system, messages, names)
        elif properties and all(map(_CRITERION.fullmatch, properties)):
            args = {criterion: dict(_JUDGEMENT) for criterion in properties}
        else:
            conversation = [m.text for m in reversed(messages) if m.type != "system"]
            sources = Sources(request=conversation[-1], results=conversation, today=self.today())
            args, _ = read_arguments(tool["parameters"], sources)
        return AIMessage("", tool_calls=[_call(tool["name"], args, len(messages))])

    def _work(
        self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]
    ) -> AIMessage:
        """Call the tools whose arguments are known, then write down what they gave."""
        start = max((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), default=0)
        results = [m for m in messages[start:] if isinstance(m, ToolMessage)]
        called = {call["name"] for m in messages[start:] for call in getattr(m, "tool_calls", ())}
        sources = self._sources(messages[: start + 1], results)
        calls: list[ToolCall] = []
        missing: list[str] = []
        for tool in tools:
            if tool["name"] not in called:
                args, lacking = read_arguments(tool["parameters"], sources)
                missing += [name for name in lacking if name not in missing]
                if not lacking:
                    calls.append(_call(tool["name"], args, len(messages) + len(calls)))
        if calls:
            return AIMessage("", tool_calls=calls)
        if results:
            return AIMessage("\n\n".join(result.text for result in results))
        return AIMessage(_ask(missing))

    def _sources(self, messages: Sequence[BaseMessage], results: Sequence[ToolMessage]) -> Sources:
        request = messages[-1].text if messages else ""
        earlier = [m.text for m in reversed(messages[:-1]) if isinstance(m, HumanMessage)]
        return Sources(
            answers=list(reversed(_ANSWERED.findall(request))),
            request=_REPORT.sub("", _ASKED.sub("", request)),
            reports=_REPORT.findall(request),
            results=[result.text for result in reversed(results)],
            earlier=[_ASKED.sub("", text) for text in earlier],
            today=self.today(),
        )


def _team(tools: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]] | None:
    """Find the tool that gives tasks to agents, and whom it can give them to."""
    for tool in tools:
        properties: dict[str, Any] = tool["parameters"].get("properties") or {}
        items = as_dict(as_dict(properties.get("tasks")).get("items"))
        names = _names(as_dict(as_dict(items.get("properties")).get("agent_id")))
        if names:
            return str(tool["name"]), names
    return None


def _delegate(messages: Sequence[BaseMessage], tool: str, names: Sequence[str]) -> AIMessage:
    """Give tasks to those who have not answered, or write down what was answered."""
    system = "\n".join(m.text for m in messages if m.type == "system")
    if tasks := plan(system, messages, names):
        return AIMessage("", tool_calls=[_call(tool, {"tasks": tasks}, len(messages))])
    return AIMessage(_write(messages))


def _create(messages: Sequence[BaseMessage], tool: Mapping[str, Any]) -> AIMessage:
    """Create agents for a request, or write down what they answered."""
    properties: dict[str, Any] = tool["parameters"].get("properties") or {}
    now = current_request(messages)
    args = plan_team(messages, _tools_of(properties))
    if "objective" in properties and not any(map(parse_report, now)):
        args = {"objective": next((m.text for m in now if isinstance(m, HumanMessage)), "")}
    elif not args["tasks"]:
        return AIMessage(_write(messages))
    return AIMessage("", tool_calls=[_call(str(tool["name"]), args, len(messages))])


def _tools_of(properties: Mapping[str, Any]) -> list[str]:
    """Find what agents may call that are created, in the schema that creates them."""
    spec: Any = properties.get("subagents")
    for key in ("items", "properties", "tools", "items"):
        spec = as_dict(as_dict(spec).get(key))
    return list(as_dict(spec).get("enum") or ())


def _names(spec: Mapping[str, Any]) -> list[str]:
    """Find the participants in the schema of `next_agent`."""
    options = [spec, *(spec.get("anyOf") or ())]
    return [name for o in options for name in [*(o.get("enum") or ()), o.get("const")] if name]


def _call(name: str, args: dict[str, Any], place: int) -> ToolCall:
    return ToolCall(name=name, args=args, id=f"offline_{name}_{place}", type="tool_call")


def _ask(missing: Sequence[str]) -> str:
    if not missing:
        return "There is nothing that the tools could do."
    said = [f"the {spoken(name)}" for name in missing]
    listed = ", ".join(said[:-1]) + " and " + said[-1] if len(said) > 1 else said[0]
    return f"{NEED} {listed}. What {'are they' if len(said) > 1 else 'is it'}?"


def _write(messages: Sequence[BaseMessage]) -> str:
    """Write the final answer: the reports of this request, under headings, as they are."""
    now = current_request(messages)
    reports = [report for message in now if (report := parse_report(message))]
    if not reports:
        asked = next((m.text for m in reversed(messages) if isinstance(m, HumanMessage)), "")
        return f"(offline model) There is no tool and no report to answer from. Asked was: {asked}"
    latest: dict[str, list[str]] = {}
    for report in reports:
        latest[report.who] = [
            *(text for text in latest.get(report.who, []) if not text.startswith((NEED, CANNOT))),
            *([report.text] if report.text not in latest.get(report.who, []) else []),
        ]
    request = next((m.text for m in now if isinstance(m, HumanMessage) and not parse_report(m)), "")
    sections = [
        "\n\n".join([f"## {who.replace('_', ' ').capitalize()}", *map(_as_list, texts)])
        for who, texts in latest.items()
    ]
    title = f"# {request.strip().splitlines()[0]}" if request.strip() else "# Answer"
    return "\n\n".join([title, *sections])


def _as_list(text: str) -> str:
    """Make a list of lines `Label: value`: Markdown would run them together."""
    return _LABELLED.sub(r"- \g<0>", text)


def _usage(messages: Sequence[BaseMessage], message: AIMessage) -> UsageMetadata:
    sent = sum(len(m.text) for m in messages) // _CHARACTERS_PER_TOKEN
    said = (len(message.text) + sum(len(str(c["args"])) for c in message.tool_calls)) // 4
    return UsageMetadata(input_tokens=sent, output_tokens=said, total_tokens=sent + said)
