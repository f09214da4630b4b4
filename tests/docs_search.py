"""Search the documentation as a reader does: word overlap, with more weight on titles.

`python -m tests.docs_search out/site/search/search_index.json` checks the index of a built site.
"""

import json
import re
import sys
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
IGNORED = {"a", "an", "do", "does", "how", "i", "in", "is", "it", "of", "on", "the", "to", "what"}

QUESTIONS = {
    "how do I use Claude": ("troubleshooting", "models"),
    "how do I approve a tool call": ("troubleshooting", "people", "index"),
    "how do I run it on two machines": ("troubleshooting", "deploy", "scaling"),
    "what happens when it crashes": ("troubleshooting", "durability"),
    "how do I limit cost": ("troubleshooting", "money"),
    "how do I see what happened": ("troubleshooting", "pictures"),
    "how do I resume": ("troubleshooting", "durability", "people"),
    "how do I fork a run": ("troubleshooting", "pictures"),
    "how do I add memory": ("troubleshooting", "memory"),
    "how do I test without a model": ("troubleshooting", "testing"),
    "how do I use my own LangGraph graph": ("troubleshooting", "migration"),
    "how do I stream": ("streaming", "troubleshooting"),
}
"""What newcomers ask, and the pages that answer."""

WORDS = {
    "openai": ("models",),
    "anthropic": ("models",),
    "ollama": ("models",),
    "install": ("install",),
    "tutorial": ("tutorial",),
    "docker": ("deploy", "install"),
    "deploy": ("deploy",),
    "fastapi": ("streaming",),
    "streaming": ("streaming",),
    "approval": ("people", "tutorial"),
    "human in the loop": ("people",),
    "checkpoint": ("durability", "debugging"),
    "resume": ("durability", "troubleshooting"),
    "fork": ("pictures", "troubleshooting"),
    "retry": ("delegation",),
    "timeout": ("delegation",),
    "fallback": ("delegation",),
    "rate limit": ("supervision",),
    "budget": ("money", "tutorial"),
    "mcp": ("mcp",),
    "structured output": ("structured",),
    "image": ("media",),
    "windows": ("windows", "install"),
    "faq": ("troubleshooting",),
    "guardrails": ("security",),
    "migrate create_supervisor": ("migration",),
    "environment variables": ("cli",),
}
"""The field's words, and the pages that a search for them leads to first."""


class Section(NamedTuple):
    """A heading of a page, and the text below it."""

    page: str
    title: str
    text: str


def read_markdown() -> list[Section]:
    """Read the sections of the pages, without reference, decisions and what is included."""
    sections: list[Section] = []
    for path in sorted(DOCS.glob("*.md")):
        plain = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
        for part in re.split(r"^#+ ", plain, flags=re.M)[1:]:
            title, _, text = part.partition("\n")
            sections.append(Section(path.stem, title, text))
    return sections


def read_index(path: Path) -> list[Section]:
    """Read the sections of a built site."""
    entries = json.loads(path.read_text())["docs"]
    pages = ((entry, entry["location"].split("#")[0].removesuffix(".html")) for entry in entries)
    return [
        Section(page, entry["title"], re.sub("<[^>]+>", " ", entry["text"]))
        for entry, page in pages
        if "/" not in page  # what is asked for is in a guide, not in the reference
    ]


def split_words(text: str) -> set[str]:
    """Return the words of a text, without endings and without words that carry nothing."""
    words = re.findall(r"[a-z_]+", text.lower())
    return {re.sub(r"(ing|es|s|ed|e|al)$", "", word) for word in words if word not in IGNORED}


def search(query: str, sections: Sequence[Section]) -> list[str]:
    """Return the pages, best first: rare words count more, words of a title most."""
    titles = [split_words(section.title) for section in sections]
    texts = [split_words(section.text) for section in sections]
    wanted = split_words(query)
    both = [title | text for title, text in zip(titles, texts, strict=True)]
    count = {word: sum(word in words for words in both) for word in wanted}
    weight = {word: log(1 + len(sections) / (1 + count[word])) for word in wanted}
    scores = [
        sum(weight[w] * (4 * (w in title) / (1 + len(title) / 8) + (w in text)) for w in wanted)
        for title, text in zip(titles, texts, strict=True)
    ]
    order = sorted(range(len(sections)), key=lambda place: -scores[place])
    return list(dict.fromkeys(sections[place].page for place in order if scores[place]))


def find_faults(sections: Sequence[Section]) -> list[str]:
    """Return the queries whose first result is not a page that answers them."""
    found = {query: search(query, sections)[:3] for query in QUESTIONS | WORDS}
    expected = QUESTIONS | WORDS
    return [f"{q}: {found[q]}, not {expected[q]}" for q in found if found[q][0] not in expected[q]]


if __name__ == "__main__":
    sys.exit("\n".join(find_faults(read_index(Path(sys.argv[1])))) or None)
