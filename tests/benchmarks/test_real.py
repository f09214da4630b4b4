"""What `make real` checks of a run is able to fail, and its proxy enforces tools."""

import json
from typing import Any

import pytest

from benchmarks.real.__main__ import SUPERVISOR, check
from benchmarks.real.proxy import Exchange, with_calls, with_grammar

RULES = {"role": "system", "content": f"{SUPERVISOR} of a team."}
ASKED = {"role": "user", "content": "Two tickets"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "price",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def exchange(*messages: Any, text: str = "It is", reason: str = "stop") -> Exchange:
    choice = {"finish_reason": reason, "message": {"content": text}}
    return Exchange(body={"messages": list(messages)}, answer={"choices": [choice]}, status=200)


def result(**fields: Any) -> dict[str, Any]:
    return {"status": "completed", "reports": [], **fields}


REPORT = {"participant": "trains", "status": "ok", "text": "It is"}


def test_a_run_in_which_all_holds() -> None:
    check(result(), [exchange(RULES, ASKED), exchange(RULES, ASKED, ASKED)])
    check(result(reports=[REPORT]), [exchange(ASKED)])


@pytest.mark.parametrize(
    ("found", "exchanges", "fault"),
    [
        pytest.param(result(), [], "it ends within", id="no call"),
        pytest.param(result(), [exchange(ASKED)] * 13, "it ends within", id="too many calls"),
        pytest.param(result(status="done"), [exchange(ASKED)], "is a status", id="status"),
        pytest.param(result(usage=[]), [exchange(ASKED)], "0 calls are counted", id="usage"),
        pytest.param(
            result(),
            [exchange(RULES, ASKED), exchange(RULES)],
            "each prompt begins",
            id="a prompt that is not appended to",
        ),
        pytest.param(
            result(reports=[REPORT]),
            [exchange(ASKED, reason="length")],
            "was cut off",
            id="cut",
        ),
        pytest.param(
            result(), [exchange({"role": "user", "content": ""})], "says something", id="empty"
        ),
    ],
)
def test_what_does_not_hold_is_found(found: Any, exchanges: list[Exchange], fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        check(found, exchanges)


def test_tools_are_enforced_by_a_schema() -> None:
    forced = {"type": "function", "function": {"name": "price"}}
    body = with_grammar({"messages": [RULES, ASKED], "tools": [TOOL], "tool_choice": forced})
    assert "tools" not in body and "tool_choice" not in body
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["name"] == {"const": "price"}
    assert schema["properties"]["arguments"]["properties"]["city"]["maxLength"] == 24
    said = json.dumps({"name": "price", "arguments": {"city": "Rome"}})
    choice = {"finish_reason": "stop", "message": {"content": said}}
    answer = with_calls({"id": "chatcmpl-12345678", "choices": [choice]})
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "price", "arguments": '{"city": "Rome"}'}
    cut = {"id": "x", "choices": [{**choice, "message": {"content": said[:9]}}]}
    assert with_calls(cut) == cut
