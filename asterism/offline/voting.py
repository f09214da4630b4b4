"""How the offline model votes: for the answer that has most of the words it is asked about."""

import re
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from asterism.offline.reading import stem, words

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
