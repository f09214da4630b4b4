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
from asterism.core.values import as_dict, shorten
from asterism.offline.argument_kinds import KIND_WORDS, spoken
from asterism.offline.arguments import Sources, read_arguments
from asterism.offline.questions import Missing, describe_missing, question_for
from asterism.offline.routing import (
    CANNOT,
    NOTHING,
    current_request,
    is_open,
    is_own_question,
    judge,
    offline_decision,
    parse_report,
    plan,
    plan_team,
    request_text,
    vote,
)
from asterism.offline.text_parsing import find_expressions, find_quotations, words
from asterism.offline.tool_choice import (
    Tool,
    changing_verbs,
    choose_tools,
    clauses,
    concepts,
    is_broad,
    is_done,
    is_question,
    is_small_talk,
    orders,
)

MODEL_NAME = "offline"
"""Stands as `model_name` in the metadata of every message that the model writes."""

_REPORT = re.compile(r"<report from=[^>]*>\n(.*?)\n</report>", re.S)
"""What a task before has resulted in."""
_DIALOG = re.compile(
    r"^Asked: (.*(?:\n(?!Answered: ).*)*)\nAnswered: (.*(?:\n(?!Asked: |\n).*)*)", re.M
)
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

    It routes when it is made to call a tool that has a `next_agent`, scores each criterion of
    a review by its words, fills in any other tool that it is made to call, calls the tools that
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
        else:
            conversation = [m.text for m in reversed(messages) if m.type != "system"]
            sources = Sources(request=conversation[-1], results=conversation, today=self.today())
            args, _ = read_arguments(tool["parameters"], sources)
            args |= judge(tool["parameters"], conversation[-1])
        return AIMessage("", tool_calls=[_call(tool["name"], args, len(messages))])

    def _work(
        self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]
    ) -> AIMessage:
        """Call the tools that are asked for, ask for what they need, or write what they gave."""
        turn = _Turn(messages, self.today())
        asked, besides = turn.choose(tools)
        calls: list[ToolCall] = []
        missing: list[Missing] = []
        results = list[str]()
        for tool in [*asked, *besides]:
            name, said = str(tool["name"]), str(tool.get("description") or "")
            args, lacking = read_arguments(
                tool["parameters"], turn.sources, description=said, about=name
            )
            if name in turn.called:
                continue
            if not lacking and (result := turn.result_before(name, args)) is not None:
                results.append(result)
                continue
            if not lacking:
                calls.append(_call(name, args, len(messages) + len(calls)))
            elif tool in asked or not turn.results:
                known = {one.name for one in missing}
                new = [one for one in lacking if one not in known]
                missing += describe_missing(new, tool["parameters"], turn.sources.dialog, said)
        if calls:
            return AIMessage("", tool_calls=calls)
        texts: list[str] = [
            text for text in dict.fromkeys([*results, *turn.results]) if text.strip()
        ]
        if unread := [one for one in missing if one.unread is not None]:
            texts.append(_say_unread(unread[0]))
        elif missing:
            texts.append(question_for(missing))
        return AIMessage("\n\n".join(texts) or NOTHING)


class _Turn:
    """What one who has tools is asked now, and what was done for it before."""

    def __init__(self, messages: Sequence[BaseMessage], today: date) -> None:
        asked = [place for place, m in enumerate(messages) if isinstance(m, HumanMessage)]
        start = asked[-1] if asked else 0
        dialog, request = _read_request(messages[start].text if messages else "")
        first = start
        if not dialog and len(asked) > 1 and is_own_question(messages[start - 1]):
            first = asked[-2]  # a bare agent, which is answered with the next message
            more, before = _read_request(messages[first].text)
            last = messages[start - 1].text.strip().split("\n\n")[-1]
            dialog, request = [*more, (last, request)], before
        elif dialog:  # visits before this answer belong to the same request
            same = [place for place in asked if _read_request(messages[place].text)[1] == request]
            first = min(same, default=start)
        reports, request = _REPORT.findall(request), _REPORT.sub("", request)
        self.request = request
        self._system = "\n".join(m.text for m in messages if m.type == "system")
        given = [m for m in messages[first:] if isinstance(m, ToolMessage)]
        self._given = {m.tool_call_id: m.text for m in given}
        self.results = [m.text for m in messages[start:] if isinstance(m, ToolMessage)]
        self._before = [
            call for m in messages[first:start] for call in getattr(m, "tool_calls", ())
        ]
        self.called = {c["name"] for m in messages[start:] for c in getattr(m, "tool_calls", ())}
        dialog = list(reversed(dialog))
        earlier = [m.text for m in reversed(messages[:first]) if isinstance(m, HumanMessage)]
        self.sources = Sources(
            answers=[said for _, said in dialog],
            dialog=dialog,
            request=request,
            reports=reports,
            results=[m.text for m in reversed(given)],
            earlier=[_DIALOG.sub("", text) for text in earlier],
            today=today,
        )

    def choose(self, tools: Sequence[Tool]) -> tuple[list[Tool], list[Tool]]:
        """Return the tools that the request asks for, and those that a broad one takes besides."""
        request, _, part = self.request.partition("\n\nYour part:")
        part = part.partition("\n")[0]
        if find_expressions(request) and (sums := [tool for tool in tools if _computes(tool)]):
            return sums, []
        if is_small_talk(request):
            return [], []
        reading = [tool for tool in tools if not changing_verbs(tool)]
        tells = part.strip() not in self._system  # else it only describes who is asked
        asks = any(map(is_question, clauses(request)))
        told = choose_tools(reading if asks else tools, part) if tells else []
        chosen = told or choose_tools(tools, request)
        if not tells and not chosen and concepts(request) & concepts(part) and not orders(request):
            chosen = choose_tools(reading, part)
        if not chosen and not orders(request):
            chosen = [tool for tool in reading if self._names_object(tool)]
        takes_all = is_broad(request) or (tells and not chosen)
        return chosen, [t for t in reading if t not in chosen] if takes_all else []

    def _names_object(self, tool: Tool) -> bool:
        """Whether the request says an address, a file, a code or a quotation that a tool needs."""
        found, lacking = read_arguments(tool["parameters"], self.sources, about=str(tool["name"]))
        said = [value for value in found.values() if isinstance(value, str)]
        exact = re.compile(r"\S*(?:\w[@./-]\w|\d)\S*")
        quoted = find_quotations(self.request)
        return not lacking and any(v in quoted or exact.fullmatch(v) for v in said)

    def result_before(self, name: str, args: dict[str, Any]) -> str | None:
        """Return what the same call gave before, for the same request."""
        for call in self._before:
            if call["name"] == name and call["args"] == args:
                return self._given.get(call["id"])
        return None


def _computes(tool: Tool) -> bool:
    """Whether a tool takes a sum."""
    names = tool["parameters"].get("properties") or ()
    return any(KIND_WORDS["expression"].intersection(words(name)) for name in names)


def _read_request(text: str) -> tuple[list[tuple[str, str]], str]:
    """Return the questions with their answers, and the request without them."""
    return _DIALOG.findall(text), re.sub(r"\n{3,}", "\n\n", _DIALOG.sub("", text))


def _say_unread(missing: Missing) -> str:
    kind = {"integer": "a whole number", "number": "a number", "boolean": "yes or no"}
    options = ", ".join(map(str, missing.spec.get("enum") or ()))
    wanted = f"one of {options}" if options else kind.get(str(missing.spec.get("type")), "a value")
    return (
        f"{CANNOT}go on: the offline model reads no {spoken(missing.name)} in "
        f"{shorten(repr(missing.unread), 80)}. Ask again with {wanted}, written as "
        f"`{missing.name}: value`, or use a real model."
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
        args = {"objective": request_text(now)}
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


def _write(messages: Sequence[BaseMessage]) -> str:
    """Write the final answer: the reports of this request, under headings, as they are."""
    now = current_request(messages)
    reports = [report for message in now if (report := parse_report(message))]
    if not reports:
        asked = next((m.text for m in reversed(messages) if isinstance(m, HumanMessage)), "")
        if is_small_talk(asked):
            return (
                "(offline model) Hello. Nothing was done: fixed rules work for this team, not chat."
            )
        return f"(offline model) There is no tool and no report to answer from. Asked was: {asked}"
    latest: dict[str, list[str]] = {}
    for report in reports:
        latest[report.who] = [
            *(text for text in latest.get(report.who, []) if not is_open(text)),
            *([report.text] if report.text not in latest.get(report.who, []) else []),
        ]
    if any(NOTHING not in texts for texts in latest.values()):
        latest = {who: texts for who, texts in latest.items() if texts != [NOTHING]}
    request = request_text(now)
    sections = [
        "\n\n".join([f"## {who.replace('_', ' ').capitalize()}", *map(_as_list, texts)])
        for who, texts in latest.items()
    ]
    title = f"# {request.strip().splitlines()[0]}" if request.strip() else "# Answer"
    said = "\n".join(text for texts in latest.values() for text in texts)
    if undone := [f"- {clause}" for clause in clauses(request) if not is_done(clause, said)]:
        sections.append(
            "\n".join(["## Not done", "", *undone, "", "Nobody in this team reported that."])
        )
    return "\n\n".join([title, *sections])


def _as_list(text: str) -> str:
    """Make a list of lines `Label: value`: Markdown would run them together."""
    return _LABELLED.sub(r"- \g<0>", text)


def _usage(messages: Sequence[BaseMessage], message: AIMessage) -> UsageMetadata:
    sent = sum(len(m.text) for m in messages) // _CHARACTERS_PER_TOKEN
    said = (len(message.text) + sum(len(str(c["args"])) for c in message.tool_calls)) // 4
    return UsageMetadata(input_tokens=sent, output_tokens=said, total_tokens=sent + said)
