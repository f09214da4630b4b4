"""An orchestrator of subagents: registered ones, created ones, a plan of one's own, and costs.

Run it: `python examples/subagents.py`. It needs no key. Page: docs/delegation.md.
"""

import asyncio
from typing import Any

from pydantic import BaseModel

from asterism import (
    Agent,
    AgentOrchestrator,
    ExecutionMode,
    SubAgentTask,
    generate_detailed_tool_trace,
    generate_orchestrator_flowchart,
)


async def web_search_tool(query: str) -> str:
    return f"Search results for: {query}"


async def summarize_tool(text: str) -> str:
    return f"Summary: {text[:100]}..."


class ToolInput(BaseModel):
    text: str


async def count_words(input: ToolInput) -> dict[str, Any]:
    """Count words; it says what the call has cost."""
    return {"result": len(input.text.split()), "cost_in_cents": 0.35}


def multiply(expression: str) -> str:
    """Multiply two numbers."""
    first, second = expression.split("*")
    return str(int(first) * int(second))


async def create_agents() -> None:
    """Nobody is registered: the main agent creates who is needed."""
    orchestrator = AgentOrchestrator(
        main_agent=Agent(
            agent_id="main_orchestrator",
            model="offline",  # or provider="anthropic", model="claude-3-5-sonnet"
            system_prompt="You are a research orchestrator. Create specialized agents.",
        ),
        available_tools=[web_search_tool, summarize_tool],
        subagent_model="offline",
        max_retries=3,
        retry_delay=0.1,
    )
    response = await orchestrator.process(
        [{"role": "user", "content": "Research quantum computing and provide a summary"}]
    )
    print(f"Response: {response.content}")
    print(f"Tokens used: {response.total_tokens}")
    print(f"Cost: ${response.cost_in_cents / 100}")
    print(generate_orchestrator_flowchart(response.tool_outputs))
    print(generate_detailed_tool_trace(response.tool_outputs))


async def delegate() -> None:
    """Agents are registered, and get tasks that a model plans, or that code plans."""
    calculator = Agent(
        agent_id="calculator", model="offline", system_prompt="You calculate.", tools=[multiply]
    )
    counter = Agent(
        agent_id="text_processor",
        model="offline",
        system_prompt="You count the words of a text.",
        tools=[count_words],
        memory_config={"enabled": True, "token_threshold": 50_000},
    )
    orchestrator = AgentOrchestrator(main_agent=Agent(agent_id="orchestrator", model="offline"))
    orchestrator.register_subagent(calculator).register_subagent(counter)
    response = await orchestrator.process(
        "Please calculate 15 * 7 and count the words in 'Hello world'"
    )
    print([(report["participant"], report["text"]) for report in response.reports])
    for output in response.tool_outputs:
        if output.get("name") == "delegate_to_subagents":
            costs = output["result"]["total_cost_breakdown"]
            print(f"Tools: ${costs['tool_costs_in_cents'] / 100:.4f}")

    tasks = [
        SubAgentTask(
            agent_id="calculator",
            task_description="Calculate 100 * 50",
            execution_mode=ExecutionMode.PARALLEL,
        ),
        SubAgentTask(
            agent_id="text_processor",
            task_description="Count the words of the text",
            execution_mode=ExecutionMode.SEQUENTIAL,
            dependencies=["calculator"],
        ),
    ]
    planned = await orchestrator.process_tasks(tasks, thread_id="a plan of our own")
    print([(report["participant"], report["status"]) for report in planned.reports])
    await orchestrator.clear_all_memory()


async def main() -> None:
    await create_agents()
    await delegate()


if __name__ == "__main__":
    asyncio.run(main())
