"""Markdown as a tree: the rules of CommonMark by its sections, tables, code, and hostile texts."""

import json
from typing import Any

import pytest

from asterism.apps.ui.markdown import CODE_LIMIT, TEXT_LIMIT, parse_markdown
from tests.asterism.apps.ui.teams import HOSTILE


def markup(nodes: Any) -> str:
    """Write a tree as CommonMark's reference writes HTML, without its line breaks."""
    return "".join(map(_markup, nodes))


def _markup(node: Any) -> str:
    if isinstance(node, str):
        return node.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    names = ("href", "title", "align", "start", "lang", "kind")
    given = "".join(f' {name}="{node[name]}"' for name in names if name in node)
    tag, inner = node["tag"], markup(node["children"])
    return f"<{tag}{given}>" if tag in ("hr", "br") else f"<{tag}{given}>{inner}</{tag}>"


CASES: dict[str, tuple[str, str]] = {
    "tabs: code": ("\tfoo\tbaz", "<pre>foo\tbaz\n</pre>"),
    "escapes: every mark": (r"\*a\* \# \[x\] \`y\`", "<p>*a* # [x] `y`</p>"),
    "escapes: not in code": (r"`` \[\` ``", r"<p><code>\[\`</code></p>"),
    "escapes: backslash at the end": ("foo\\\nbar", "<p>foo<br>bar</p>"),
    "entities": ("&copy; &amp; &#35; &nope;", "<p>© &amp; # &amp;nope;</p>"),
    "precedence: lists before code": ("- `one\n- two`", "<ul><li>`one</li><li>two`</li></ul>"),
    "rules: three kinds": ("***\n---\n___", "<hr><hr><hr>"),
    "rules: with spaces": (" - - -", "<hr>"),
    "rules: two are a text": ("--", "<p>--</p>"),
    "headings: levels": ("# a\n### b\n###### c", "<h1>a</h1><h3>b</h3><h6>c</h6>"),
    "headings: seven are a text": ("####### a", "<p>####### a</p>"),
    "headings: a hashtag": ("#tag", "<p>#tag</p>"),
    "headings: closed": ("## a ##", "<h2>a</h2>"),
    "headings: inline": ("# a *b* `c`", "<h1>a <em>b</em> <code>c</code></h1>"),
    "setext headings": ("A\n===\n\nB\n---", "<h1>A</h1><h2>B</h2>"),
    "indented code": ("    a\n      b\n\n    c", "<pre>a\n  b\n\nc\n</pre>"),
    "indented code: no markup": ("    <a/>\n    *hi*", "<pre>&lt;a/&gt;\n*hi*\n</pre>"),
    "indented code: not in a paragraph": ("a\n    b", "<p>a\nb</p>"),
    "fences": ("```\n<\n >\n```", "<pre>&lt;\n &gt;\n</pre>"),
    "fences: tildes": ("~~~\n```\n~~~", "<pre>```\n</pre>"),
    "fences: longer ones": ("````\n```\n````", "<pre>```\n</pre>"),
    "fences: not closed": ("```\na\n\nb\n", "<pre>a\n\nb\n</pre>"),
    "fences: empty lines": ("```\n\n  \n```", "<pre>\n  \n</pre>"),
    "fences: language unknown": (
        "```nosuch x=1\na = 1\n```",
        '<pre lang="nosuch">a = 1\n</pre>',
    ),
    "fences: indented": ("  ```\n  a\n    b\n  ```", "<pre>a\n  b\n</pre>"),
    "html: a block": ("<b>x</b>\n\ny", "<p>&lt;b&gt;x&lt;/b&gt;</p><p>y</p>"),
    "html: inline": ("a <i>b</i>", "<p>a &lt;i&gt;b&lt;/i&gt;</p>"),
    "html: a comment": ("<!-- x -->", "<p>&lt;!-- x --&gt;</p>"),
    "references": (
        '[foo]: http://u.rl "T"\n\n[foo]',
        '<p><a href="http://u.rl" title="T">foo</a></p>',
    ),
    "references: unknown": ("[foo]", "<p>[foo]</p>"),
    "paragraphs": ("a\nb\n\n\nc", "<p>a\nb</p><p>c</p>"),
    "paragraphs: leading spaces": ("  a\n b", "<p>a\nb</p>"),
    "quotes": ("> # A\n> b\nc", "<blockquote><h1>A</h1><p>b\nc</p></blockquote>"),
    "quotes: nested": (
        "> a\n> > b",
        "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>",
    ),
    "quotes: with code": ("> ```\n> a\n> ```", "<blockquote><pre>a\n</pre></blockquote>"),
    "items: a paragraph within": ("- a\n\n  b", "<ul><li><p>a</p><p>b</p></li></ul>"),
    "items: code within": ("1. a\n\n       b", "<ol><li><p>a</p><pre>b\n</pre></li></ol>"),
    "items: no space": ("-one", "<p>-one</p>"),
    "items: a number within a text": ("The year\n1986. What", "<p>The year\n1986. What</p>"),
    "lists: ordered": ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
    "lists: ordered from a number": ("3) a\n4) b", '<ol start="3"><li>a</li><li>b</li></ol>'),
    "lists: nested": (
        "- a\n  - b\n    - c\n- d",
        "<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ul>",
    ),
    "lists: mixed": ("1. a\n   - b\n2. c", "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>"),
    "lists: another mark": ("- a\n+ b", "<ul><li>a</li></ul><ul><li>b</li></ul>"),
    "lists: loose": ("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
    "lists: an empty item": ("- a\n-\n- c", "<ul><li>a</li><li></li><li>c</li></ul>"),
    "code spans": ("`a` ``b`c`` ` d `", "<p><code>a</code> <code>b`c</code> <code>d</code></p>"),
    "code spans: no markup": ("`*a* <b>`", "<p><code>*a* &lt;b&gt;</code></p>"),
    "code spans: not closed": ("`a", "<p>`a</p>"),
    "emphasis": ("*a* _b_", "<p><em>a</em> <em>b</em></p>"),
    "emphasis: within a word": ("a*b*c snake_case_name", "<p>a<em>b</em>c snake_case_name</p>"),
    "emphasis: spaces": ("2 * 3 * 4", "<p>2 * 3 * 4</p>"),
    "emphasis: strong": ("**a** __b__", "<p><strong>a</strong> <strong>b</strong></p>"),
    "emphasis: both": ("***a***", "<p><em><strong>a</strong></em></p>"),
    "emphasis: nested": ("*a **b** c*", "<p><em>a <strong>b</strong> c</em></p>"),
    "emphasis: not closed": ("**a", "<p>**a</p>"),
    "links": (
        '[a *b*](http://x.y/z?a=1 "T")',
        '<p><a href="http://x.y/z?a=1" title="T">a <em>b</em></a></p>',
    ),
    "links: in angles": ("[a](<https://x.y/a b>)", '<p><a href="https://x.y/a%20b">a</a></p>'),
    "links: mail": ("[m](mailto:a@b.c)", '<p><a href="mailto:a@b.c">m</a></p>'),
    "links: brackets": ("[a](http://x.y/(b))", '<p><a href="http://x.y/(b)">a</a></p>'),
    "autolinks": (
        "<https://x.y> <a@b.c>",
        '<p><a href="https://x.y">https://x.y</a> <a href="mailto:a@b.c">a@b.c</a></p>',
    ),
    "images": ("![a *b*](http://x.y/i.png)", "<p>[image: a b]</p>"),
    "breaks: hard": ("a  \nb", "<p>a<br>b</p>"),
    "breaks: soft": ("a\nb", "<p>a\nb</p>"),
    "strikethrough": ("~~a~~", "<p><s>a</s></p>"),
    "nothing": (" \n\n", ""),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_a_rule_of_commonmark_gives_the_tags_of_the_reference(text: str, expected: str) -> None:
    assert markup(parse_markdown(text)) == expected


def test_a_table_has_its_alignment_and_a_bar_in_code_stays_in_its_cell() -> None:
    text = "| a | b | c | d |\n|---|:--|:-:|--:|\n| `x\\|y` | **1** | | $2 |"
    assert markup(parse_markdown(text)) == (
        '<table><thead><tr><th>a</th><th align="left">b</th><th align="center">c</th>'
        '<th align="right">d</th></tr></thead><tbody><tr><td><code>x|y</code></td>'
        '<td align="left"><strong>1</strong></td><td align="center"></td>'
        '<td align="right">$2</td></tr></tbody></table>'
    )


CODE = 'def f(a: int = 1) -> str:\n\n    """Say `hi`."""\n    return "a" * a  # **so**\n\n\n'


def test_code_is_highlighted_and_keeps_every_character() -> None:
    (block,) = parse_markdown(f"```python\n{CODE}```")
    assert isinstance(block, dict) and block["lang"] == "python"
    pieces = [part if isinstance(part, str) else part["children"][0] for part in block["children"]]
    assert "".join(pieces) == CODE
    kinds = {part["kind"]: part["children"][0] for part in block["children"] if "kind" in part}
    assert kinds["comment"] == "# **so**"
    assert (kinds["number"], kinds["string"], kinds["keyword"]) == ("1", '"a"', "return")


@pytest.mark.parametrize("lang", ["python", "json", "sh", "sql", "js", "html", "yaml", "text", "c"])
@pytest.mark.parametrize("code", [CODE, "\n\n x\n", "{}\t\n", "<a>&\n", "é\u2028\n", "'unclosed\n"])
def test_no_language_loses_a_character(lang: str, code: str) -> None:
    (block,) = parse_markdown(f"~~~{lang}\n{code}~~~")
    assert isinstance(block, dict)
    pieces = [part if isinstance(part, str) else part["children"][0] for part in block["children"]]
    assert "".join(pieces) == code


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "&#106;avascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example",
        "/api/stop",
        "#thread=x",
    ],
)
@pytest.mark.parametrize("form", ["[a]({})", "![a]({})", "<{}>", "[a]\n\n[a]: {}"])
def test_only_links_to_pages_and_mail_are_links(form: str, url: str) -> None:
    tree = json.dumps(parse_markdown(form.format(url)))
    assert '"href"' not in tree and '"tag": "a"' not in tree


def test_hostile_text_stays_text() -> None:
    (paragraph,) = parse_markdown(HOSTILE)
    assert isinstance(paragraph, dict)
    text, strong = paragraph["children"]
    assert text + "**bold**" == HOSTILE
    assert strong == {"tag": "strong", "children": ["bold"]}


@pytest.mark.parametrize("text", ["> " * 500 + "x", "[" * 5_000, "*a " * 5_000, "- " * 300 + "x"])
def test_a_deep_text_is_parsed(text: str) -> None:
    assert json.dumps(parse_markdown(text))


def test_a_text_without_end_is_shown_as_it_is() -> None:
    long = "*a* " * (TEXT_LIMIT // 4 + 1)
    assert parse_markdown(long) == ({"tag": "pre", "children": [long]},)
    code = "a = 1\n" * (CODE_LIMIT // 6 + 1)
    (block,) = parse_markdown(f"```python\n{code}```")
    assert isinstance(block, dict) and block["children"] == [code]
