"""Examples for evaluations: from files, from kept threads, and as LangSmith stores them.

Tests: tests/asterism/apps/test_evaluation.py.
"""

import asyncio
import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import UUID, uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from asterism.apps.stored_threads import latest_threads, reader_of
from asterism.core.config_files import raise_faults, read_values
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.values import as_dict, as_list
from asterism.errors import ConfigurationError
from asterism.graphs.request_checks import check_thread

if TYPE_CHECKING:
    from langsmith import Client
    from langsmith.schemas import Example

FILES = (".jsonl", ".json", ".csv", ".yaml", ".yml")
"""How files of examples are called."""
MOST_THREADS = 10_000
"""How many kept threads are read at most, the latest ones."""


def _split(value: Any) -> Any:
    """Read a route that is one text, as in a cell of CSV: `venue > catering`."""
    return re.split(r"[\s,;>]+", value.strip()) if isinstance(value, str) else value


class EvaluationExample(BaseModel):
    """A request, and what is expected of the run; what is left out is not scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: str = Field(min_length=1)
    answer: str | None = None
    """The expected answer, or a part of it."""
    route: Annotated[list[str] | None, BeforeValidator(_split)] = None
    """The participants that should work, in order; `person` last where the user is to be asked."""
    max_cost_usd: float | None = Field(default=None, ge=0)
    max_turns: int | None = Field(default=None, ge=0)
    """How often participants may run, retries included."""


Dataset = str | Path | Iterable[EvaluationExample | Mapping[str, Any]]
"""A file of examples, or examples."""


def load_examples(source: Dataset) -> list[EvaluationExample]:
    """Read examples from a file, or check those that are given.

    Raises:
        ConfigurationError: There are none, or some cannot be used; every fault is listed.
    """
    rows = _read_file(Path(source)) if isinstance(source, str | Path) else list(source)
    examples, faults = list[EvaluationExample](), list[str]()
    for number, row in enumerate(rows, 1):
        try:
            examples.append(EvaluationExample.model_validate(row))
        except ValidationError as error:
            faults += [
                f"example {number}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors()
            ]
    where = Path(source) if isinstance(source, str | Path) else "The data set"
    raise_faults(where, faults if rows else ["there is no example"])
    return examples


def _read_file(path: Path) -> list[Any]:
    kind = path.suffix.lower()
    if kind not in FILES:
        raise ConfigurationError(
            f"The file {str(path)!r} holds no examples; allowed: {', '.join(FILES)}."
        )
    if kind not in (".jsonl", ".csv"):
        return as_list(read_values(path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if kind == ".jsonl":
                return [json.loads(line) for line in file if line.strip()]
            rows = csv.DictReader(file, restkey="(cells without a name)")
            return [{k: v for k, v in row.items() if v} for row in rows]
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The file {str(path)!r} cannot be read: {error}") from error


def examples_from_threads(
    saver: BaseCheckpointSaver[Any], threads: Sequence[str] | None = None
) -> list[EvaluationExample]:
    """Make examples of kept threads: the latest request of each, its answer and its route.

    Args:
        saver: The database.
        threads: The ids of threads. None: all that are completed.

    Raises:
        ConfigurationError: A thread that is named is not completed, or not there.
    """
    return run_steps(_read_threads(saver, threads))


async def aexamples_from_threads(
    saver: BaseCheckpointSaver[Any], threads: Sequence[str] | None = None
) -> list[EvaluationExample]:
    """Make examples of kept threads; see `examples_from_threads`."""
    return await arun_steps(_read_threads(saver, threads))


def _read_threads(
    saver: BaseCheckpointSaver[Any], threads: Sequence[str] | None
) -> Steps[list[EvaluationExample]]:
    reader, found = reader_of(saver), list[EvaluationExample]()
    names: Sequence[str] = threads or ()
    if threads is None:
        in_thread = partial(cast(Any, asyncio.to_thread), latest_threads)
        names = yield Call(latest_threads, in_thread, (saver, MOST_THREADS))
    for name in names:
        place: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
        check_thread(place)
        snapshot = yield Call(reader.get_state, reader.aget_state, (place,))
        values = as_dict(snapshot.values)
        if values.get("status") == "completed" and values.get("brief"):
            found.append(_example_of(values))
        elif threads is not None:
            status = values.get("status") or "not there"
            raise ConfigurationError(f"The thread {name!r} is {status}; allowed: completed ones.")
    return found


def _example_of(values: Mapping[str, Any]) -> EvaluationExample:
    reports = [r for r in values.get("reports") or () if r["status"] != "skipped"]
    return EvaluationExample(
        request="\n\n".join(values["brief"]),
        answer=values["messages"][-1].text or None,
        route=[report["participant"] for report in reports],
    )


def upload_examples(
    examples: Sequence[EvaluationExample], name: str, client: "Client | None"
) -> list["Example"]:
    """Return examples as LangSmith has them, and add those that its data set lacks.

    Args:
        examples: The examples.
        name: The name of the data set.
        client: Uploads them. None: nothing is sent.
    """
    from langsmith.schemas import Example

    place = UUID(int=0)
    known: dict[str, Example] = {}
    if client is not None:
        has_it = client.has_dataset(dataset_name=name)
        made = client.read_dataset(dataset_name=name) if has_it else client.create_dataset(name)
        place = made.id
        known = {_key(e.inputs, e.outputs): e for e in client.list_examples(dataset_id=place)}
    stored, new = list[Example](), list[dict[str, Any]]()
    for example in examples:
        outputs = example.model_dump(mode="json", exclude_none=True)
        inputs = {"request": outputs.pop("request")}
        if (one := known.get(_key(inputs, outputs))) is None:
            one = Example(
                id=uuid4(),
                dataset_id=place,
                inputs=inputs,
                outputs=outputs,
                created_at=datetime.now(UTC),
            )
            new.append({"id": one.id, "inputs": inputs, "reference_outputs": outputs})
        stored.append(one)
    if client is not None and new:
        client.create_examples(dataset_id=place, examples=cast(Any, new))
    return stored


def _key(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True, default=str)
