"""Routes and votes of the offline model."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from asterism.core.model_input import GO_ON
from asterism.offline.questions import NEED
from asterism.offline.text_parsing import labels, stem, words
from asterism.offline.tool_choice import clauses, concepts, is_broad, is_small_talk

CANNOT = "Cannot "
"""How a tool says that it was asked for what it has not."""
NOTHING = "There is nothing that the tools could do."
"""What is reported where no tool is asked for."""
UNREAD = f"{CANNOT}go on: the offline model"
_QUESTION = re.compile(
    rf"(?:{NEED} |How many |Which |What (?:is|are) the |[\w ]+: yes or no)[^\n]*\?$"
)

_REPORT = re.compile(
    r'^<report from="(?P<who>[^"]+)"(?: status="(?P<status>\w+)")?>\n(?P<text>.*)\n</report>'
    r"(?:\n\(digest of .*)?$",
    re.S,
)
_MOST_AGENTS = 8
"""How many agents are created for a request, at most."""
_KNOWN_LINES = 24
"""How many known facts an instruction passes on, at most."""


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A report as the offline model reads it."""

    who: str
    status: str
    text: str

    @property
    def open_question(self) -> str | None:
        """What only the user can say, where the report says that something is missing."""
        return open_part(self.text)


def open_part(text: str) -> str | None:
    """Return the question at the end of a report, or what a tool has not; else None."""
    last = text.strip().rpartition("\n\n")[2]
    if _QUESTION.match(last):
        return last
    first = text.strip()
    return first if first.startswith(CANNOT) and not first.startswith(UNREAD) else None


def is_open(text: str) -> bool:
    """Whether a report asks for something, or says what a tool has not."""
    return open_part(text) is not None


def is_own_question(message: BaseMessage) -> bool:
    """Whether a message is a question of the offline model for arguments."""
    return (
        message.type == "ai"
        and _QUESTION.match(message.text.strip().rpartition("\n\n")[2]) is not None
    )


def parse_report(message: BaseMessage) -> Reported | None:
    """Read a report, or return None where a message is none."""
    match = _REPORT.match(message.text) if isinstance(message, HumanMessage) else None
    if match is None:
        return None
    return Reported(who=match["who"], status=match["status"] or "ok", text=match["text"])


def current_request(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages since the last final answer."""
    start = 0
    if messages and messages[-1].text == GO_ON:
        messages = messages[:-1]  # what stands before it is a question, and no answer
    for place, message in enumerate(messages[:-1]):
        if isinstance(message, AIMessage) and _is_answer(message.text):
            start = place + 1
    return [message for message in messages[start:] if message.type != "system"]


def request_text(messages: Sequence[BaseMessage]) -> str:
    """Return what the user asks for in the messages of a request; reports are none of it."""
    asked = (m for m in messages if isinstance(m, HumanMessage) and not parse_report(m))
    return next((message.text for message in asked), "")


def offline_decision(
    system: str, messages: Sequence[BaseMessage], names: Sequence[str]
) -> dict[str, Any]:
    """Choose who works next: the first who is concerned and has not answered yet."""
    now = current_request(messages)
    reports: dict[str, Reported] = {}
    for message in now:
        if report := parse_report(message):
            reports[report.who] = report
        elif isinstance(message, HumanMessage):
            reports = {who: r for who, r in reports.items() if not r.open_question}
    if asked := next((r.open_question for r in reports.values() if r.open_question), None):
        return _decision(user_input_needed=True, user_prompt=_as_question(asked))
    request = request_text(now)
    described = descriptions(system, names)
    concerned = find_concerned(request, described)
    if reports and all(report.text == NOTHING for report in reports.values()):
        concerned = [*concerned, *described]  # nobody whose words it said had a tool for it
    for name in concerned:
        if name not in reports:
            instruction = _instruction(described[name], list(reports.values()))
            return _decision(next_agent=name, instruction=instruction)
    return _decision()


def plan(
    system: str, messages: Sequence[BaseMessage], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Give a task to each who is concerned and has not answered yet, all at once."""
    now = current_request(messages)
    answered = {report.who for message in now if (report := parse_report(message))}
    request = request_text(now)
    described = descriptions(system, names)
    return [
        {"task_id": name, "agent_id": name, "task_description": described[name]}
        for name in find_concerned(request, described)
        if name not in answered
    ]


def plan_team(messages: Sequence[BaseMessage], tools: Sequence[str]) -> dict[str, Any]:
    """Create an agent for each tool that a request concerns, each after those before it.

    Nobody is created once there are reports.
    """
    now = current_request(messages)
    request = request_text(now)
    of_agent: dict[str, list[str]] = {}
    for tool in tools if not any(map(parse_report, now)) else ():
        of_agent.setdefault(_agent_of(tool), []).append(tool)
    described = {
        name: f"Works with {', '.join(' '.join(words(tool)) for tool in used)}."
        for name, used in of_agent.items()
    }
    names = find_concerned(request, described)[:_MOST_AGENTS]
    agents = [
        {
            "agent_id": name,
            "system_prompt": described[name],
            "description": described[name],
            "tools": of_agent[name],
        }
        for name in names
    ]
    tasks = [
        {
            "task_id": name,
            "agent_id": name,
            "task_description": described[name].replace("Works with", "Use", 1),
            "dependencies": names[:place],
        }
        for place, name in enumerate(names)
    ]
    return {"subagents": agents, "tasks": tasks}


def _agent_of(tool: str) -> str:
    """Name the agent for a tool: `web_search_tool` is that of `web_search_agent`."""
    own = [word for word in words(tool) if word != "tool"]
    return "_".join([*own, "agent"])[-64:].lstrip("_0123456789")


def descriptions(system: str, names: Sequence[str]) -> dict[str, str]:
    """Find the line of the prompt that describes each participant."""
    found: dict[str, str] = {}
    for name in names:
        match = re.search(rf"^- {re.escape(name)}: (.*)$", system, re.M)
        found[name] = match[1] if match else name
    return found


def find_concerned(request: str, described: dict[str, str]) -> list[str]:
    """Return the participants that a request concerns, in the order of the team.

    Small talk concerns nobody. A broad request (plan, prepare, compare, ...) concerns all. A narrow
    one concerns, sentence by sentence, those whose names it says, or else those with whose
    descriptions it shares a word, or else all.
    """
    if is_small_talk(request):
        return []
    if is_broad(request):
        return list(described)
    found = set[str]()
    for asked in map(concepts, clauses(request)):
        named = {name for name in described if asked & concepts(name)}
        found |= named or {name for name, text in described.items() if asked & concepts(text)}
    return [name for name in described if name in found] or list(described)


def _instruction(description: str, reports: Sequence[Reported]) -> str:
    """Say what to do, and pass on the facts that are known by name."""
    lines = [
        f"{label}: {value}"
        for report in reports
        if report.status == "ok" and not report.open_question
        for label, value in labels(report.text)
        if "|" not in label
    ]
    known = "\n".join(["", "Known so far:", *lines[:_KNOWN_LINES]]) if lines else ""
    return f"{description}{known}"


def _decision(**fields: Any) -> dict[str, Any]:
    return {"next_agent": None, "user_input_needed": False, **fields}


def _as_question(text: str) -> str:
    return (
        text if text.rstrip().endswith("?") else f"{text.rstrip()}\n\nWhat should be done instead?"
    )


def _is_answer(text: str) -> bool:
    """Whether an own message ends a request: neither a decision nor a question."""
    stripped = text.strip()
    return bool(stripped) and not stripped.startswith("{") and not stripped.endswith("?")


_BALLOT = re.compile(r'Write "vote: " and one of (?P<names>.+) on the first line', re.I)
_SELF = re.compile(r"\bYou are ([\w-]+); you may vote")
_ANSWER = re.compile(r'<report from="(?P<who>[^"]+)">\n(?P<text>.*?)\n</report>', re.S)


def vote(messages: Sequence[BaseMessage]) -> str | None:
    """Vote where the last message asks for it, or return None.

    Among the answers of others, the one wins that has most of the words of the request and of
    the own prompt; of equal ones, the first.
    """
    asked = messages[-1].text if messages else ""
    if not (ballot := _BALLOT.search(asked)):
        return None
    names = [name.strip() for name in ballot["names"].split(",")]
    answers = {m["who"]: m["text"] for m in _ANSWER.finditer(asked) if m["who"] in names}
    own = _SELF.search(asked)
    answers = {who: text for who, text in answers.items() if not own or who != own[1]} or answers
    if not answers:
        return "I cannot vote: there are no answers."
    rules = "\n".join(m.text for m in messages if m.type == "system")
    wanted = {stem(word) for word in words(f"{rules}\n{_ANSWER.sub('', asked)}")}
    shared = {who: len(wanted & {stem(w) for w in words(text)}) for who, text in answers.items()}
    best = max(shared, key=lambda who: shared[who])
    return f"vote: {best}\nIt has {shared[best]} of the words that I was asked about."


def judge(schema: Mapping[str, Any], work: str) -> dict[str, Any]:
    """Give each criterion of a review a score: the share of its words that the work has."""
    found: dict[str, Any] = {}
    definitions: dict[str, Any] = schema.get("$defs") or {}
    properties: dict[str, dict[str, Any]] = schema.get("properties") or {}
    have = {stem(word) for word in words(work)}
    for name, spec in properties.items():
        inner: list[dict[str, Any]] = [spec, *(spec.get("allOf") or ())]
        named = [str(one.get("$ref", "")).rpartition("/")[2] for one in inner]
        inner += [definitions[key] for key in named if key in definitions]
        fields = {str(key) for one in inner for key in one.get("properties", ())}
        if fields == {"score", "reason"}:
            wanted = concepts(str(spec.get("description") or name))
            share = len(wanted & have) / len(wanted) if wanted else 0.0
            reason = f"(offline model) Of the words of this criterion, {share:.0%} are in the work."
            found[name] = {"score": round(share, 2), "reason": reason}
    return found
