"""Which tools a request asks for, by the words of their names and descriptions."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from asterism.offline.text_parsing import stem, words

Tool = Mapping[str, Any]
"""A tool as a provider gets it: `name`, `description` and `parameters`."""

_ALIKE = (
    "price cost fare fee rate pricing expensive",
    "status where track state progress running",
    "mail email send notify message inform tell",
    "reserve reservation",
    "count many number amount quantity stock inventory available availability left remaining free",
    "set change update modify edit mark make raise lower adjust put reschedule rename",
    "delete remove drop erase clear",
    "create add register record new enrol enroll enter",
    "move transfer",
    "temperature warm cold hot degrees",
    "assign reassign give",
    "rollback roll revert",
    "cancel abort",
    "pay charge settle",
    "duplicate similar",
    "absence leave vacation holiday",
)
_ALIASES = {stem(word): group.split()[0] for group in _ALIKE for word in group.split()}
_CHANGING = frozenset(
    stem(word)
    for word in (
        "set update change modify edit delete remove refund pay charge transfer write send notify "
        "assign reassign cancel close reopen resolve reserve create add register submit approve "
        "reject post publish move rename merge mark restart deploy rollback escalate issue enrol "
        "enroll reschedule request apply save store upload insert purchase buy renew return borrow "
        "extend drop erase archive block unblock lock unlock reset grant revoke adjust put record "
        "place start stop scale dispatch ship discharge admit prescribe sign void credit debit"
    ).split()
)
_CHANGING_AS_VERB = _CHANGING | {
    stem(w) for w in "order book mail email schedule file report log open bill invoice".split()
}
"""Those as well where a description begins with them: as parts of a name they may be nouns."""
_ACTIONS = _CHANGING_AS_VERB | {
    stem(word) for word in "call phone ring text inform tell thank invite print translate".split()
}
"""What else one may be told to do, whether there is a tool for it or not."""
_READING = frozenset(
    stem(word)
    for word in (
        "get find list search look lookup check show tell read fetch count is has calculate "
        "compute estimate compare summarise summarize describe view query preview draft load"
    ).split()
)
BROAD = frozenset(
    stem(word)
    for word in (
        "plan organise organize prepare arrange coordinate build produce launch design "
        "develop draft research compare review analyse analyze assess evaluate summarise summarize"
    ).split()
)
_COMMON = frozenset(
    stem(word)
    for word in (
        "the and for with from into that this what which who how are you can please need want "
        "have has had our your its their about find show some any all one by in on of "
        "to a an is it be do does did me my we us or at as user task answers works team "
        "information people get use using look up him her them they was were will would could "
        "should there if not no i s t when much"
    ).split()
)
_ASKS = re.compile(
    r"^\W*(?:(?:and|but|so|ok|hi|hello|please)\W+)*(?:is|are|was|were|am|do|does|did|has|have|had|"
    r"what|what's|where|where's|when|who|whose|which|how|why|should|shall|may|will|would|can|could)"
    r"\b",
    re.I,
)
_POLITE = re.compile(
    r"^\W*(?:(?:and|but|so|ok|hi|hello|please)\W+)*(?:can|could|would|will) you\b(?! tell)", re.I
)
_SMALL_TALK = re.compile(
    r"^(?:hi|hello|hey|good (?:morning|afternoon|evening|day|night)|greetings|thanks?(?: you)?|thx|"
    r"cheers|bye|goodbye|see you|ok(?:ay)?|great|cool|nice|perfect|welcome|sorry|please|there|"
    r"so much|very much|a lot|again|for (?:your|the|all (?:your|the)) help|everyone|team|all|"
    r"how are you(?: doing)?(?: today)?|how(?:'s| is) it going|what'?s up|who are you|"
    r"what can you do|what are you|are you (?:there|a bot|a robot|human|real)|test(?:ing)?|"
    r"tell (?:me|us) (?:a|another) joke|nice to meet you|what is your name|what's your name|"
    r"(?:what(?:'s| is) |how much is |calculate |compute )?[\d\s.+*/x^()=-]*\d[\d\s.+*/x^()=-]*)"
    r"(?:[\W]+|$)",
    re.I,
)


def is_small_talk(request: str) -> bool:
    """Whether a request is made of greetings, thanks and sums alone, so that nothing is to do."""
    rest = request.strip(" \t\n.!?,;:-")
    while rest and (found := _SMALL_TALK.match(rest)):
        rest = rest[found.end() :].lstrip()
    return not rest


def concepts(text: str) -> set[str]:
    """Return what a text speaks of: the stems of its words, one for words that mean the same."""
    said = words(text)
    found = {_ALIASES.get(stem(word), stem(word)) for word in said if stem(word) not in _COMMON}
    verbs = _NOUN_AND_VERB.finditer(" ".join(said))
    return found | {_ALIASES[stem(_MEANS[verb[1]])] for verb in verbs}


_MEANS = {"book": "reserve", "open": "create", "file": "create", "log": "create"}
_NOUN_AND_VERB = re.compile(rf"(?:^|\b(?:please|to|you|and|then|also) )({'|'.join(_MEANS)})\b")
"""Words that mean to change something only as verbs."""


def is_broad(text: str) -> bool:
    """Whether a request asks for all that a team can do: to plan, to prepare, to compare."""
    return any(stem(verb) in BROAD for verb in _AS_VERB.findall(text))


_AS_VERB = re.compile(
    r"(?:^|[.!?:;,]|\b(?:please|to|you|me|us|and|then|also))\s*([a-z]+)", re.I | re.M
)


def clauses(request: str) -> list[str]:
    """Split a request into what it asks for one by one: at sentences, and at `and` with a verb."""
    verbs = "|".join(sorted({re.escape(verb) for verb in _ACTIONS | _READING}))
    joined = rf",?\s+(?:and then|and also|and|then|also)\s+(?=(?:{verbs})\w{{0,3}}\b)"
    sentences = re.split(r"(?<=[.!?;])\s+|\n+", request.strip())
    return [part for text in sentences for part in re.split(joined, text, flags=re.I) if part]


def is_question(clause: str) -> bool:
    """Whether a sentence only asks: `Can you refund it?` does not."""
    if _POLITE.match(clause):
        return False
    return clause.rstrip().endswith("?") or bool(_ASKS.match(clause))


_READS = re.compile(r"returns?\b|adds? up\b|opens? and reads?\b")
"""How descriptions begin that only read, with a verb that elsewhere changes something."""


def changing_verbs(tool: Tool) -> set[str]:
    """Return the verbs by which a tool changes something, or none where it only reads."""
    name, said = words(str(tool["name"])), words(str(tool.get("description") or ""))
    first = stem(said[0]) if said and not _READS.match(" ".join(said)) else ""
    if stem(name[0]) in _READING:
        return {first} & _CHANGING
    if first in _READING and stem(name[0]) not in _CHANGING:
        return set()
    found = {stem(word) for word in name} & _CHANGING | {first} & _CHANGING_AS_VERB
    return found | ({stem(name[0])} & _CHANGING_AS_VERB if found else set())


def choose_tools(tools: Sequence[Tool], request: str) -> list[Tool]:
    """Return the tools that a request asks for, in their order.

    A tool that changes something needs a sentence that tells to do so: no question, and with a
    verb that means the same.
    """
    chosen = [tool for clause in clauses(request) for tool in _tools_of_clause(tools, clause)]
    return [tool for tool in tools if tool in chosen]


def _tools_of_clause(tools: Sequence[Tool], clause: str) -> list[Tool]:
    asked, asks = concepts(clause), is_question(clause)
    scores: list[tuple[int, bool]] = []
    for tool in tools:
        verbs = {_ALIASES.get(verb, verb) for verb in changing_verbs(tool)}
        verbs |= {_ALIASES[stem(_MEANS[verb])] for verb in verbs & _MEANS.keys()}
        if verbs and (asks or not verbs & asked):
            scores.append((0, True))
        else:
            scores.append((_score(tool, asked) + (4 if verbs else 0), bool(verbs)))
    best = max((score for score, _ in scores), default=0)
    return [tool for tool, (score, _) in zip(tools, scores, strict=True) if score == best > 0]


def _score(tool: Tool, asked: set[str]) -> int:
    """Count what a tool shares with a sentence; its name counts most."""
    parameters: dict[str, Any] = tool["parameters"].get("properties") or {}
    first = str(tool.get("description") or "").strip().split("\n")[0]
    named, said = concepts(str(tool["name"])), concepts(first)
    taken = {part for name in parameters for part in concepts(name)}
    return 3 * len(asked & named) + 2 * len(asked & (said - named)) + len(asked & (taken - named))


def orders(clause: str) -> bool:
    """Whether a sentence begins with a verb that tells to change something."""
    first = next(iter(words(re.sub(r"^\W*(?:please|also|then|and)\b", "", clause, flags=re.I))), "")
    return not is_question(clause) and stem(first) in _ACTIONS


def is_done(clause: str, said: str) -> bool:
    """Whether a report speaks of what a sentence tells to do; of a question, always."""
    return not orders(clause) or bool(concepts(clause) & concepts(said))
