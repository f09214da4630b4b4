"""Markdown as a tree of nodes in plain JSON, from which the page builds elements.

A node is a text, or `{"tag", "children"}` with some of `href`, `title`, `align`, `start`, `lang`
and `kind`, the class of a piece of code. Tests: tests/asterism/apps/ui/test_markdown.py.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from pygments.lexers import find_lexer_class_by_name
from pygments.token import Comment, Keyword, Literal, Name, Number, String, is_token_subtype
from pygments.util import ClassNotFound

Node = str | dict[str, Any]

TEXT_LIMIT = 200_000
"""How many characters of a text are read as Markdown; a longer one is shown as it is."""
CODE_LIMIT = 50_000
"""How many characters of a code block are highlighted."""
_LINK = re.compile(r"(https?://|mailto:)", re.IGNORECASE)
_KINDS = (
    (Comment, "comment"),
    (String, "string"),
    (Number, "number"),
    (Literal, "string"),
    (Keyword, "keyword"),
    (Name.Builtin, "keyword"),
    (Name.Tag, "keyword"),
)
_ALIGNED = re.compile(r"text-align:(left|right|center)")


def _is_safe_link(url: str) -> bool:
    """Whether a link may be followed; any other stays text, as it was written."""
    return _LINK.match(url) is not None


_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_PARSER.validateLink = _is_safe_link  # type: ignore[method-assign]  # how the library is told


@lru_cache(maxsize=1_000)
def parse_markdown(text: str) -> tuple[Node, ...]:
    """Parse a text as CommonMark with tables and strikethrough; HTML in it stays text."""
    if len(text) > TEXT_LIMIT:
        return ({"tag": "pre", "children": [text]},)
    return tuple(_nodes(SyntaxTreeNode(_PARSER.parse(text))))


def _nodes(parent: SyntaxTreeNode) -> list[Node]:
    return [node for child in parent.children for node in _convert(child)]


def _convert(node: SyntaxTreeNode) -> Iterable[Node]:
    kind = node.type
    if kind == "inline" or (kind == "paragraph" and node.hidden):
        return _join(_nodes(node))
    if kind in ("text", "html_block", "html_inline"):
        return [node.content] if node.content else []
    if kind == "softbreak":
        return ["\n"]
    if kind == "image":
        return [f"[image: {_plain_text(node)}]"]
    if kind == "code_inline":
        return [{"tag": "code", "children": [node.content]}]
    if kind in ("fence", "code_block"):
        return [_code_block(node.content, node.info)]
    return [{"tag": node.tag, **_attributes(node), "children": _nodes(node)}]


def _attributes(node: SyntaxTreeNode) -> dict[str, Any]:
    kept: dict[str, Any] = {
        name: node.attrs[name] for name in ("href", "title", "start") if name in node.attrs
    }
    aligned = _ALIGNED.fullmatch(str(node.attrs.get("style", "")))
    return {**kept, "align": aligned[1]} if aligned else kept


def _join(nodes: Iterable[Node]) -> list[Node]:
    """Put texts that follow each other together."""
    joined: list[Node] = []
    for node in nodes:
        if isinstance(node, str) and joined and isinstance(joined[-1], str):
            joined[-1] += node
        else:
            joined.append(node)
    return joined


def _plain_text(node: SyntaxTreeNode) -> str:
    own = node.content if node.type in ("text", "code_inline") else ""
    return own + "".join(map(_plain_text, node.children))


def _code_block(code: str, info: str) -> Node:
    lang = info.split()[0] if info.strip() else ""
    children = _highlight(code, lang) if lang else [code]
    return {"tag": "pre", **({"lang": lang} if lang else {}), "children": children}


def _highlight(code: str, lang: str) -> list[Node]:
    """Cut code into pieces with their kinds; every character of it stays."""
    if len(code) > CODE_LIMIT:
        return [code]
    try:
        lexer = find_lexer_class_by_name(lang)(stripnl=False, ensurenl=False)
    except ClassNotFound:
        return [code]
    pieces: list[tuple[str, str]] = []
    for token, text in lexer.get_tokens(code):
        kind = next((kind for parent, kind in _KINDS if is_token_subtype(token, parent)), "")
        if pieces and pieces[-1][0] == kind:
            pieces[-1] = (kind, pieces[-1][1] + text)
        else:
            pieces.append((kind, text))
    if "".join(text for _, text in pieces) != code:
        return [code]
    return [{"tag": "span", "kind": k, "children": [text]} if k else text for k, text in pieces]
