"""What a decider may say, and how it is read."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import ValidationError

from asterism import HumanFeedbackRequest, SupervisorDecision
from asterism.core.decision_schema import decision_schema
from asterism.core.supervisor_decision import SAID_LIMIT, decider_text, match_name, read_decision
from asterism.errors import BadDecisionError

NAMES = ("venue", "Food_Team")


def _call(**args: Any) -> AIMessage:
    call = {"name": "SupervisorDecision", "args": args, "id": "1"}
    return AIMessage("", tool_calls=[call])


def _deep(levels: int) -> list[Any]:
    """A list in a list in a list ..."""
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"next_agent": "venue"}, ("venue", False), id="a participant"),
        pytest.param({"next_agent": " VENUE\n"}, ("venue", False), id="case and white space"),
        pytest.param({"next_agent": "food_team"}, ("Food_Team", False), id="lower case"),
        pytest.param({"next_agent": "venue\u200b"}, ("venue", False), id="a zero-width space"),
        pytest.param({"next_agent": "ｖｅｎｕｅ"}, ("venue", False), id="full-width letters"),
        pytest.param({"next_agent": None}, (None, False), id="nobody: complete"),
        pytest.param({"next_agent": "venue", "extra": 1}, ("venue", False), id="an extra key"),
        pytest.param(
            {"next_agent": "venue", "user_input_needed": True, "user_prompt": "When?"},
            (None, True),
            id="a question wins over a participant",
        ),
        pytest.param(
            {"next_agent": "nobody", "user_input_needed": True, "user_prompt": "When?"},
            (None, True),
            id="a question wins over an unknown participant",
        ),
        pytest.param(_call(next_agent="venue"), ("venue", False), id="a tool call"),
        pytest.param(AIMessage('{"next_agent": "venue"}'), ("venue", False), id="JSON text"),
        pytest.param(
            AIMessage('```json\n{"next_agent": null}\n```'), (None, False), id="fenced JSON text"
        ),
        pytest.param(SupervisorDecision(next_agent="venue"), ("venue", False), id="a decision"),
    ],
)
def test_a_decision_is_read(said: object, expected: tuple[str | None, bool]) -> None:
    decision = read_decision(said, NAMES)
    assert (decision.next_agent, decision.user_input_needed) == expected


THOUGHT = '<think>\nMaybe {"next_agent": null}? No, {the venue}.\n</think>\n'
VISIT = '{"next_agent": "venue"}'


@pytest.mark.parametrize(
    ("said", "agent"),
    [
        pytest.param(AIMessage(THOUGHT + VISIT), "venue", id="after a thought"),
        pytest.param(AIMessage(f"{THOUGHT}```json\n{VISIT}\n```"), "venue", id="thought, fence"),
        pytest.param(AIMessage("I think.</think>" + VISIT), "venue", id="the first tag is cut off"),
        pytest.param(AIMessage('{"a": 1} then ' + VISIT), "venue", id="the last of two objects"),
        pytest.param(AIMessage(VISIT + ' {"sure": true}'), "venue", id="the last that is valid"),
        pytest.param(AIMessage(VISIT + " in {braces}"), "venue", id="prose with braces after it"),
        pytest.param(
            AIMessage('{"name": "SupervisorDecision", "arguments": ' + VISIT + "}"),
            "venue",
            id="name and arguments",
        ),
        pytest.param(
            AIMessage('{"name": "SupervisorDecision", "parameters": ' + VISIT + "}"),
            "venue",
            id="name and parameters",
        ),
        pytest.param(
            AIMessage(
                '{"function": {"name": "SupervisorDecision", '
                '"arguments": "{\\"next_agent\\": null}"}}'
            ),
            None,
            id="arguments as JSON text",
        ),
        pytest.param(
            AIMessage('{"SupervisorDecision": ' + VISIT + "}"), "venue", id="under its name"
        ),
        *(
            pytest.param({"next_agent": end}, None, id=f"the end as {end!r}")
            for end in ("null", "None", "none", "", "FINISH", "end", "__end__", '"null"')
        ),
        *(
            pytest.param({"next_agent": name}, "venue", id=f"a name as {name!r}")
            for name in ('"venue"', "'venue'", "['venue']", "`venue`", "Venue.", ["venue"])
        ),
        pytest.param(
            {"next_agent": "venue", "instruction": "None", "tasks": "null", "user_prompt": "null"},
            "venue",
            id="null as words",
        ),
        pytest.param(
            {"next_agent": "venue", "user_input_needed": None}, "venue", id="null for false"
        ),
    ],
)
def test_what_models_write_instead(said: object, agent: str | None) -> None:
    decision = read_decision(said, NAMES)
    assert (decision.next_agent, decision.instruction, decision.tasks) == (agent, None, None)


def test_a_participant_may_be_called_like_the_end() -> None:
    assert read_decision({"next_agent": "finish"}, ["Finish", "none"]).next_agent == "Finish"
    assert read_decision({"next_agent": "none"}, ["Finish", "none"]).next_agent == "none"
    assert read_decision({"next_agent": "null"}, ["Finish", "none"]).next_agent is None


TASK = {"task_id": "a", "agent_id": "venue", "task_description": "Find one"}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"tasks": json.dumps([TASK])}, id="as JSON text"),
        pytest.param({"tasks": [{**TASK, "dependencies": None}]}, id="null for no dependencies"),
    ],
)
def test_tasks_in_other_forms(said: object) -> None:
    (task,) = read_decision(said, NAMES).tasks or []
    assert (task.agent_id, task.dependencies) == ("venue", [])


def _calls(*args: Any) -> AIMessage:
    calls = [{"name": "SupervisorDecision", "args": a, "id": str(n)} for n, a in enumerate(args)]
    return AIMessage("", tool_calls=calls)


def test_decisions_that_are_called_for_at_once() -> None:
    visit = {"next_agent": "venue", "instruction": "Find one"}
    meal = {"next_agent": "Food_Team", "instruction": "Plan a menu"}
    assert read_decision(_calls(visit, visit), NAMES).next_agent == "venue"
    tasks = read_decision(_calls(visit, meal), NAMES).tasks or []
    assert [(t.agent_id, t.task_description) for t in tasks] == [
        ("venue", "Find one"),
        ("Food_Team", "Plan a menu"),
    ]
    other = {**TASK, "task_id": "b"}
    plan = read_decision(_calls({"tasks": [TASK]}, {"tasks": [other]}), NAMES).tasks or []
    assert [task.task_id for task in plan] == ["a", "b"]
    for bad in ({"next_agent": None}, {"next_agent": "Food_Team"}):
        with pytest.raises(BadDecisionError, match="2 decisions in one answer"):
            read_decision(_calls(visit, bad), NAMES)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        pytest.param({"next_agent": "venues"}, "not a participant. Allowed: venue", id="near miss"),
        pytest.param({"next_agent": "supervisor"}, "not a participant", id="itself"),
        pytest.param({"next_agent": "human"}, "not a participant", id="the human"),
        pytest.param({"next_agent": 7}, "next_agent: Input should be a valid string", id="number"),
        pytest.param({}, "next_agent: Field required", id="nothing"),
        pytest.param(
            {"next_agent": None, "user_input_needed": True},
            "user_prompt is required",
            id="a question without words",
        ),
        pytest.param(
            {"next_agent": None, "user_input_needed": True, "user_prompt": "  "},
            "user_prompt is required",
            id="a question of spaces",
        ),
        pytest.param(AIMessage("Let me think."), "plain text", id="plain text"),
        pytest.param(AIMessage(""), "plain text", id="an empty message"),
        pytest.param(AIMessage('{"next_agent": '), "plain text", id="cut JSON"),
        pytest.param(AIMessage('{"next_agent": }'), "not valid JSON", id="broken JSON"),
        pytest.param(
            AIMessage('{"next_agent": ' + "[" * 3_000 + "]" * 3_000 + "}"),
            "nested too deeply",
            id="a deep text",
        ),
        pytest.param(_call(next_agent=None, x=_deep(900)), "nested too deeply", id="deep"),
        pytest.param(
            AIMessage('{"name": "launch", "arguments": {"next_agent": "venue"}}'),
            "it called 'launch', which is no tool here",
            id="a call of another tool as text",
        ),
        pytest.param(
            {"next_agent": None, "user_input_needed": True, "user_prompt": "x" * 100_000},
            "user_prompt has 100,000 characters; allowed are 10,000",
            id="a question that is too long",
        ),
        pytest.param(AIMessage("{" * 100_000 + "}"), "not valid JSON", id="braces"),
        pytest.param(None, "returned NoneType", id="None"),
        pytest.param("venue", "returned str", id="a bare name"),
    ],
)
def test_a_bad_decision_is_named(said: object, fault: str) -> None:
    with pytest.raises(BadDecisionError, match=fault):
        read_decision(said, NAMES)
    assert len(decider_text(said)) <= 2_000


def test_a_broken_tool_call_is_read_as_text() -> None:
    broken = {"name": "SupervisorDecision", "args": '{"next_agent": "ven', "id": "1", "error": ""}
    with pytest.raises(BadDecisionError, match="plain text"):
        read_decision(AIMessage("", invalid_tool_calls=[broken]), NAMES)


def test_words_that_cannot_be_stored_are_replaced() -> None:
    decision = read_decision({"next_agent": "venue", "instruction": "b\x00c\ud800"}, NAMES)
    assert decision.instruction == "b�c?"


def test_the_schema_names_the_live_participants() -> None:
    schema = decision_schema(NAMES)
    options = schema["properties"]["next_agent"]["anyOf"]
    assert {"enum": ["venue", "Food_Team"], "type": "string"} in options
    other = decision_schema(NAMES[::-1])["properties"]
    assert other["next_agent"]["anyOf"][0]["enum"] == ["Food_Team", "venue"]
    assert other["tasks"]["items"]["properties"]["agent_id"]["enum"] == ["Food_Team", "venue"]
    assert {"type": "null"} in options
    assert schema["title"] == "SupervisorDecision"


def test_a_decision_is_complete_when_nobody_works_and_nobody_is_asked() -> None:
    assert SupervisorDecision(next_agent=None).complete
    assert not SupervisorDecision(next_agent="venue").complete
    asking = SupervisorDecision(next_agent=None, user_input_needed=True, user_prompt="When?")
    assert not asking.complete
    with pytest.raises(ValidationError, match="user_prompt is required"):
        SupervisorDecision(next_agent=None, user_input_needed=True)


def test_the_first_of_equal_names_is_meant() -> None:
    assert match_name("VENUE", ["venue", "other"]) == "venue"
    assert match_name("nobody", ["venue"]) is None


def test_what_was_said_is_kept_short() -> None:
    assert decider_text(AIMessage("x" * 100_000)) == "x" * SAID_LIMIT
    assert decider_text(_call(next_agent="nobody")) == '{"next_agent": "nobody"}'
    assert decider_text(SupervisorDecision(next_agent=None)).startswith('{"next_agent":null')
    assert decider_text(None) == "None"


def test_a_feedback_request_has_the_fields_that_clients_know() -> None:
    assert set(HumanFeedbackRequest.model_fields) == {
        "prompt",
        "context",
        "request_type",
        "requesting_agent",
        "conversation",
    }
