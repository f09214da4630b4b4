"""A program of a team from a configuration: it works on tasks, and each task leaves a trace.

Run it: `python examples/programs_and_traces.py`. It needs no key. Page: docs/programs.md.
"""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from asterism import BaseSupervisor, analyze_traces, load_config

CONFIG = {
    "my_program": {
        "agents": {
            "custom_agent": {
                "name": "custom_agent",
                "system_message": "I am a custom agent",
                "llm_config": {"model": "offline", "temperature": 0.7},
            }
        },
        "supervisor": {"max_retries": 3, "retry_delay": 0.01, "timeout": 30},
        "tracing": {"level": "detailed", "max_traces": 100},
    }
}


class CustomAgent:
    """Works on custom tasks; the first time, what it needs is down."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.calls = 0

    async def run(self, message: str) -> str:
        self.calls += 1
        if self.calls == 1:
            raise ConnectionError("the service is down")
        return f"{self.config['system_message']}. Done: {message.splitlines()[0]}"


class MyProgramSupervisor(BaseSupervisor):
    """The supervisor of the program."""

    async def _create_agent(self, name: str, config: Any) -> Any:
        if name == "custom_agent":
            return CustomAgent(config)
        return await super()._create_agent(name, config)

    def _task_to_message(self, task: Any) -> Any:
        message = super()._task_to_message(task)
        if task.get("type") == "custom_task":
            message += f"\nCustom Context: {task.get('metadata', {}).get('context', 'unknown')}"
        return message

    async def handle_error(self, error: Exception, context: Any) -> None:
        print(f"attempt {context['attempt']} failed: {error}")
        await super().handle_error(error, context)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "global_config.json"
        path.write_text(json.dumps(CONFIG))
        config = load_config(path)
    supervisor = MyProgramSupervisor(config["my_program"])
    await supervisor.start()
    result = await supervisor.process_task(
        {
            "type": "custom_task",
            "content": "Process this task",
            "metadata": {"context": "custom context"},
        }
    )
    print(f"{result['status']} after {result['attempts']} attempts: {result['content']}")

    trace: Any = supervisor.get_trace(result["id"])
    for event in trace["events"]:
        print(f"- {event['type']}")
    print(json.dumps(supervisor.get_trace_metrics()["statuses"]))
    analysis = analyze_traces(supervisor.get_all_traces())
    print(f"success rate {analysis['success_rate']:.0%}, errors {analysis['error_types']}")
    supervisor.clear_traces()
    await supervisor.stop()


if __name__ == "__main__":
    asyncio.run(main())
