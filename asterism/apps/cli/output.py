"""What the command line prints and writes: results, questions, files."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from rich.markdown import Markdown

from asterism.apps.cli.options import (
    ERRORS,
    FAILED,
    NEEDS_INPUT,
    STOPPED,
    SafeConsole,
    print_json,
    print_text,
)
from asterism.apps.cli.run_command import CommandOutcome
from asterism.core.values import printable_text
from asterism.graphs.catalog import allowed_graphs


def again(thread: str, graph: str, answer: str = "") -> str:
    """Return the command that goes on with a thread."""
    named = "" if graph in allowed_graphs() else f" --graph {graph}"
    return f"asterism resume {shlex.quote(thread)}{answer}{named}"


def finish(
    outcome: CommandOutcome, thread: str, *, graph: str, as_json: bool, out: Path | None
) -> int:
    """Print the answer, or the questions that are open, and return the exit code."""
    values = outcome.snapshot.values
    if outcome.handed_over:
        said = f"Another process runs the thread {thread}; the message was handed to that run."
        ERRORS.print(said, markup=False, highlight=False)
        if as_json:
            print_json({"thread": thread, "status": "steered", "reason": said})
        return 0
    if as_json:
        print_json(result_summary(outcome, thread))
    elif outcome.pending:
        print_text("\n".join(f"{one.participant} asks: {one.prompt}" for one in outcome.pending))
    elif not outcome.drained:
        _print_answer(_answer(values))
    if outcome.drained:
        ERRORS.print(f"Stopped. Go on with: {again(thread, graph)}", markup=False)
        return STOPPED
    if outcome.pending:
        command = again(thread, graph, " 'your answer'")
        several = len(outcome.pending) > 1
        for one in outcome.pending:
            named = f" --id {one.id}" if several else ""
            ERRORS.print(f"Answer with: {command}{named}", markup=False)
        return NEEDS_INPUT
    if out:
        for path in write_files(values, out):
            ERRORS.print(f"wrote {path}", markup=False, highlight=False)
    status = values.get("status", "completed")
    lost = any(report.get("status") == "failed" for report in values.get("reports") or ())
    if status != "completed" or lost:
        ERRORS.print(f"{status}: {values.get('reason')}", style="yellow", markup=False)
    return 0 if status in ("completed", "limit") else FAILED


def result_summary(outcome: CommandOutcome, thread: str) -> dict[str, Any]:
    """Put a run into plain JSON."""
    values = outcome.snapshot.values
    structured = values.get("structured_response")
    return {
        "thread": thread,
        "status": values.get("status"),
        "reason": values.get("reason"),
        "iterations": values.get("iterations"),
        "answer": _answer(values) if values.get("status") not in ("running", "waiting") else None,
        "structured_response": structured.model_dump(mode="json") if structured else None,
        "reports": values.get("reports") or [],
        "questions": [request.as_json() for request in outcome.pending],
    }


def write_files(values: dict[str, Any], folder: Path) -> list[Path]:
    """Write the answer and the files that tools made; names cannot leave the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [{"name": "answer.md", "text": _answer(values)}]
    files += [file for report in values.get("reports") or () for file in report.get("files") or ()]
    written: list[Path] = []
    for file in files:
        name = re.sub(r"[^\w.-]+", "-", Path(file["name"]).name).lstrip(".") or "file"
        path = folder / name
        path.write_bytes(
            file["text"].rstrip("\n").encode() + b"\n"
            if name.endswith(".md")
            else file["text"].encode()
        )
        written.append(path)
    return written


def _answer(values: dict[str, Any]) -> str:
    messages: list[BaseMessage] = values.get("messages") or []
    return messages[-1].text if messages else ""


def _print_answer(text: str) -> None:
    if sys.stdout.isatty():
        SafeConsole(emoji=False).print(Markdown(printable_text(text), hyperlinks=False))
    else:
        print_text(text)
