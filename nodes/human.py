"""The node that waits for a person. It holds the interrupt, alone."""

from typing import Annotated, Any

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import interrupt
from pydantic import StringConstraints

from asterism.decisions import HumanFeedbackRequest
from asterism.effects import Steps, StepsNode
from asterism.messages import clean_text
from asterism.nodes.routing import HUMAN
from asterism.nodes.view import facts_of
from asterism.state import WorkflowState

CONVERSATION_LENGTH = 20
"""How many of the latest messages a person is shown with a question."""

AnswerText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""The answer to a question: a text that is not empty."""


_ANSWER: Any = AnswerText  # any type that pydantic reads is a schema here


def create_human_node() -> StepsNode:
    """Create the node that asks the user what the supervisor wants to know."""

    def human(state: WorkflowState, config: RunnableConfig) -> Steps[dict[str, Any]]:
        yield from ()
        decision = state.get("decision")
        question = (decision and decision.get("user_prompt")) or "What should happen next?"
        request = HumanFeedbackRequest(
            prompt=question,
            context={
                "request": "\n\n".join(state.get("brief") or ()),
                "reported": [report["participant"] for report in state.get("reports") or ()],
            },
            conversation=[_shown(m) for m in state["messages"][-CONVERSATION_LENGTH:]],
        )
        answer = clean_text(interrupt(request.model_dump(), response_schema=_ANSWER))
        return {
            "messages": [HumanMessage(answer)],
            "brief": [f"Asked: {question}\nAnswered: {answer}"],
            "status": "running",
            "decision": None,
        }

    return StepsNode(human, name=HUMAN)


def _shown(message: AnyMessage) -> dict[str, str]:
    role = "user" if message.type == "human" else "assistant"
    name = message.name or ("supervisor" if facts_of(message) else role)
    return {"role": role, "name": name, "content": message.text}
