"""A user's script: it holds under `mypy --strict` and `pyright --strict`, but for marked lines.

Both must refuse a line with `# type: ignore`; `make lint` has mypy check that none is unused.
"""

from typing import assert_type

from pydantic import BaseModel

from asterism import (
    SupervisorWorkflowBuilder,
    Workflow,
    WorkflowInput,
    WorkflowResult,
    aproceed,
    aresume,
    proceed,
    resume,
)


class Trip(BaseModel):
    city: str


def build() -> Workflow[Trip]:
    return SupervisorWorkflowBuilder("Trip", model="offline", finish=Trip).build()


def run(workflow: Workflow[Trip]) -> str:
    request: WorkflowInput = {"messages": [("user", "Two days in Rome")]}
    result = workflow.invoke(request, {"configurable": {"thread_id": "1"}})
    assert_type(result, WorkflowResult[Trip])
    if result["status"] == "waiting":
        result = resume(workflow, {}, "yes")
    elif result["status"] == "limit":
        result = proceed(workflow, {})
    assert_type(result["structured_response"], Trip)
    texts = [report["text"] for report in result["reports"] if report["status"] == "ok"]
    reason = result["reason"] or "no reason"
    return "".join([result["structured_response"].city, *texts, reason, str(workflow.name)])


async def arun(workflow: Workflow[Trip]) -> Trip:
    result = await workflow.ainvoke({"messages": "Two days in Rome"}, durability="sync")
    assert_type(await aresume(workflow, {}, "yes"), WorkflowResult[Trip])
    assert_type(await aproceed(workflow, {}), WorkflowResult[Trip])
    async for _ in workflow.astream({"messages": "Rome"}, stream_mode="updates"):
        pass
    return result["structured_response"]


def batch(workflow: Workflow[Trip]) -> list[Trip]:
    found = workflow.batch([{"messages": "Rome"}, {"messages": [{"role": "user", "content": "x"}]}])
    return [result["structured_response"] for result in found]


def without_a_model() -> Workflow:
    workflow = SupervisorWorkflowBuilder("Trip", model="offline", finish="forward").build()
    print(workflow.invoke({"messages": "Rome"})["structured_response"])
    print(workflow.invoke({"messages": "Rome"}, version="v2"))
    return workflow


def mistakes(workflow: Workflow[Trip]) -> None:
    workflow.invoke({"mesages": []})  # type: ignore[call-overload]
    list(workflow.stream({"mesages": []}))  # type: ignore[arg-type]
    workflow.batch([{"mesages": []}])  # type: ignore[list-item]
    result = workflow.invoke({"messages": []})
    print(result["sttus"])  # type: ignore[typeddict-item]
    print(result["status"] == "complete")  # type: ignore[comparison-overlap]
    print(result["structured_response"].nothere)  # type: ignore[attr-defined]
    print(result["reports"][0]["txt"])  # type: ignore[typeddict-item]
    print(resume(workflow, {}, "yes")["structured_response"].nothere)  # type: ignore[attr-defined]
    print(proceed(workflow, {})["sttus"])  # type: ignore[typeddict-item]
    SupervisorWorkflowBuilder("Trip", finish="forwrd")  # type: ignore[arg-type]
    SupervisorWorkflowBuilder("Trip", finish=int)  # type: ignore[type-var]


async def async_mistakes(workflow: Workflow[Trip]) -> None:
    await workflow.ainvoke({"mesages": []})  # type: ignore[call-overload]
    print((await workflow.ainvoke({"messages": []}))["sttus"])  # type: ignore[typeddict-item]
    print((await aresume(workflow, {}, "yes"))["sttus"])  # type: ignore[typeddict-item]
