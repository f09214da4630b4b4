"""Evaluate a team: run it on examples over LangSmith's `evaluate`, offline unless told otherwise.

Open it for what evaluators see of a run, the ready ones, and the result. The examples come from
`asterism.apps.evaluation_data`. Tests: tests/asterism/apps/test_evaluation.py.
"""

import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from itertools import groupby
from math import inf
from operator import itemgetter
from pathlib import Path
from pkgutil import resolve_name
from statistics import fmean
from typing import Any, TypedDict, Unpack, cast
from uuid import uuid4

import langsmith
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langsmith import Client
from pydantic import BaseModel

from asterism.apps.evaluation_data import Dataset, load_examples, upload_examples
from asterism.core.agent_spec import ModelLike
from asterism.core.continuation import Graph, needs_async
from asterism.core.defaults import OFFLINE
from asterism.core.interrupts import INTERRUPT
from asterism.core.sync_async import run_coroutine
from asterism.core.text_tables import PLAIN, Bundle, as_table
from asterism.core.usage import Usage, lines_of
from asterism.core.values import shorten
from asterism.errors import ConfigurationError
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.catalog import open_graph
from asterism.nodes.deciders.reviewers import create_reviewer

TeamLike = str | SupervisorWorkflowBuilder | Graph | Callable[..., Any]
"""What `asterism run` takes: a shipped graph or `module:attribute`, or the object itself."""
Evaluator = str | Callable[..., Any]
"""The name of a ready evaluator, `module:function`, or a function with LangSmith's signature."""
Fields = dict[str, Any]
FLUSH_SECONDS = 60.0
"""How long the end of an evaluation waits for uploads that are under way."""


class EvaluationOptions(TypedDict, total=False):
    """Options of an evaluation."""

    model: ModelLike
    """The model that the team is built with. Left out: its own, or the offline model."""
    checkpointer: BaseCheckpointSaver[Any]
    """Where threads are stored, a new one for each example; in memory by default."""
    judge: ModelLike
    """The model of the evaluator `"judge"`."""
    upload: bool
    """Whether LangSmith is sent examples, traces and scores; by default nothing is sent."""
    name: str
    """The name of the experiment and of LangSmith's data set; by default that of the file."""
    client: Client
    """The client that uploads; by default that of the environment's settings."""
    concurrency: int
    """How many examples are run at once; by default one."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """One example with its run and its scores."""

    request: str
    outputs: Mapping[str, Any]
    """What evaluators see: `answer`, `structured_response`, `status`, `reason`, `route` (who
    worked), `rounds` (the same by round), `turns` (how often participants ran), `cost_usd` (None
    where it is not known) and `thread`. Empty where the run raised."""
    scores: Mapping[str, float]
    """By evaluator; one that had nothing to compare with is missing, one that raised gives 0."""
    comments: Mapping[str, str]
    seconds: float
    error: str | None
    """What the run raised."""


@dataclass(frozen=True, kw_only=True)
class TeamEvaluation:
    """The result of an evaluation: a row for each example, in their order."""

    rows: tuple[EvaluationRow, ...]
    url: str | None = None
    """The experiment at LangSmith, where it was uploaded."""

    @property
    def means(self) -> dict[str, float]:
        """The mean of each score, over the examples that have it."""
        keys = dict.fromkeys(key for row in self.rows for key in row.scores)
        return {k: fmean(r.scores[k] for r in self.rows if k in r.scores) for k in keys}

    def find_shortfalls(self, minimum: Mapping[str, float]) -> list[str]:
        """List the means that are too low or missing, and the runs that raised."""
        means = self.means
        found = [f"no evaluator gave a score {key!r}" for key in minimum if key not in means]
        found += [
            f"{key} is {means[key]:.3f}; at least {least:g} is asked for"
            for key, least in minimum.items()
            if key in means and means[key] < least
        ]
        return found + [
            f"{row.request[:60]!r} raised {row.error}" for row in self.rows if row.error
        ]

    def as_json(self) -> Fields:
        """Return the means and the rows as plain JSON values."""
        return {"means": self.means, "url": self.url, "rows": [asdict(row) for row in self.rows]}

    def __str__(self) -> str:
        return str(self._repr_mimebundle_()[PLAIN])

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        means = self.means
        mean = ["mean", *[""] * 4, *(f"{value:.2f}" for value in means.values())]
        names = ("request", "status", "route", "turns", "USD", *means)
        return as_table(names, [*(_cells(row, means) for row in self.rows), mean])


def _cells(row: EvaluationRow, keys: Iterable[str]) -> list[str]:
    cost, route = row.outputs.get("cost_usd"), row.outputs.get("route")
    return [
        shorten(" ".join(row.request.split()), 40),
        str(row.outputs.get("status", "raised")),
        " > ".join(route or ()) or "-",
        str(row.outputs.get("turns", "-")),
        "?" if cost is None else f"{cost:.4f}",
        *(f"{row.scores[key]:.2f}" if key in row.scores else "-" for key in keys),
    ]


def evaluate_team(
    team: TeamLike,
    dataset: Dataset,
    evaluators: Sequence[Evaluator] | None = None,
    **options: Unpack[EvaluationOptions],
) -> TeamEvaluation:
    """Run a team on examples, each on a thread of its own, and score what it does.

    Args:
        team: What `asterism run` takes, or the object itself.
        dataset: A file of examples (.jsonl, .json, .yaml, .csv), or examples.
        evaluators: Functions with LangSmith's signature, and names of ready ones: `"route"`,
            `"contains"`, `"match"`, `"cost"`, `"turns"`, `"judge"`. None: all but `"match"`,
            and `"judge"` where it has a model.
        **options: See `EvaluationOptions`.

    Raises:
        ConfigurationError: The team, the examples or the evaluators cannot be used.
    """
    run = _Evaluation(team, dataset, evaluators, options)
    with run.quiet():
        found = langsmith.evaluate(run.target, **run.settings)
        return run.read(found, found.url if run.uploads else None)


async def aevaluate_team(
    team: TeamLike,
    dataset: Dataset,
    evaluators: Sequence[Evaluator] | None = None,
    **options: Unpack[EvaluationOptions],
) -> TeamEvaluation:
    """Run a team on examples and score what it does; see `evaluate_team`."""
    run = _Evaluation(team, dataset, evaluators, options)
    with run.quiet():
        found = await langsmith.aevaluate(run.atarget, **run.settings)
        return run.read([row async for row in found], found.url if run.uploads else None)


class _OfflineClient(Client):
    """A client that sends nothing: `aevaluate` posts runs even with `upload_results=False`."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", api_key="none", auto_batch_tracing=False, info={})

    def create_run(self, *args: Any, **kwargs: Any) -> None:
        """Send nothing."""

    def update_run(self, *args: Any, **kwargs: Any) -> None:
        """Send nothing."""


class _Evaluation:
    """One evaluation: the opened team, and what LangSmith is told."""

    def __init__(
        self,
        team: TeamLike,
        dataset: Dataset,
        evaluators: Sequence[Evaluator] | None,
        options: EvaluationOptions,
    ) -> None:
        model, saver = options.get("model"), options.get("checkpointer") or InMemorySaver()
        self.uploads = options.get("upload", False)
        examples = load_examples(dataset)
        self._graph = open_graph(team, model=model, checkpointer=saver)
        self._labels = (
            {"graph": team, "model": str(model or OFFLINE)} if isinstance(team, str) else {}
        )
        file = Path(dataset).stem if isinstance(dataset, str | Path) else ""
        name = options.get("name") or file or self._graph.get_name()
        count = options.get("concurrency", 1)
        client = (options.get("client") or Client()) if self.uploads else None
        data = upload_examples(examples, name, client)
        self._client = client or _OfflineClient()
        self._order = {example.id: place for place, example in enumerate(data)}
        self.settings: Fields = {
            "data": data,
            "evaluators": resolve_evaluators(evaluators, options.get("judge")),
            "client": self._client,
            "experiment_prefix": name,
            "max_concurrency": count if count > 1 else 0,
            "upload_results": self.uploads,
            "disable_evaluator_tracing": not self.uploads,  # else LangChain's part is sent
        }

    @contextmanager
    def quiet(self) -> Generator[None]:
        """Leave stdout to the result: what LangSmith prints goes to stderr."""
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.filterwarnings(
                "ignore", message="'upload_(results|runs)' parameter is in beta"
            )
            yield
        if self.uploads:
            self._client.flush(FLUSH_SECONDS)

    def target(self, inputs: Fields) -> Fields:
        """Run the team on a request."""
        given, config = self._prepare(inputs)
        with self._tracing():
            if needs_async(self._graph):
                return _outputs(run_coroutine(self._graph.ainvoke(given, config)), config)
            return _outputs(self._graph.invoke(given, config), config)

    async def atarget(self, inputs: Fields) -> Fields:
        """Run the team on a request."""
        given, config = self._prepare(inputs)
        with self._tracing():
            return _outputs(await self._graph.ainvoke(given, config), config)

    def read(self, found: Iterable[Any], url: str | None) -> TeamEvaluation:
        """Read the rows of LangSmith, in the order of the examples."""
        rows = sorted(found, key=lambda row: self._order[row["example"].id])
        return TeamEvaluation(rows=tuple(map(_row, rows)), url=url)

    def _prepare(self, inputs: Fields) -> tuple[Fields, RunnableConfig]:
        place = {"thread_id": f"eval-{uuid4().hex}"}
        given = {"messages": [("user", inputs["request"])]}
        return given, {"configurable": place, "metadata": self._labels}

    def _tracing(self) -> Any:
        # LangSmith itself keeps traces "local" without an upload; LangChain would send its part.
        return langsmith.tracing_context(enabled=self.uploads)


def _outputs(values: Any, config: RunnableConfig) -> Fields:
    """Return what evaluators see of a run, as plain JSON values; see `EvaluationRow.outputs`."""
    reports = [report for report in values.get("reports") or () if report["status"] != "skipped"]
    rounds = [
        sorted(report["participant"] for report in group)
        for _, group in groupby(reports, key=itemgetter("round"))
    ]
    is_waiting = bool(values.get(INTERRUPT))
    rounds += [["person"]] * is_waiting
    messages, structured = values.get("messages"), values.get("structured_response")
    usage = Usage.of(lines_of(values))
    is_priced = "reports" in values and not usage.unknown  # another graph keeps no usage entries
    return {
        "answer": messages[-1].text if messages and not is_waiting else "",
        "structured_response": structured.model_dump(mode="json")
        if isinstance(structured, BaseModel)
        else structured,
        "status": "waiting" if is_waiting else values.get("status", "completed"),
        "reason": values.get("reason"),
        "route": [name for names in rounds for name in names],
        "rounds": rounds,
        "turns": sum(report["attempts"] for report in reports),
        "cost_usd": float(usage.cost_usd) if is_priced else None,
        "thread": config.get("configurable", {})["thread_id"],
    }


def _row(found: Mapping[str, Any]) -> EvaluationRow:
    run, results = found["run"], found["evaluation_results"]["results"]
    failed = {result.key for result in results if (result.extra or {}).get("error")}
    return EvaluationRow(
        request=found["example"].inputs["request"],
        outputs=run.outputs or {},
        scores={
            result.key: float(result.score or 0)
            for result in results
            if result.score is not None or result.key in failed
        },
        comments={result.key: result.comment for result in results if result.comment},
        seconds=(run.end_time - run.start_time).total_seconds(),
        error=run.error and run.error.splitlines()[0],
    )


# ---- evaluators


def _is_route(found: Fields, due: list[str]) -> bool:
    """Whether those worked who should, in order; those of one round in any order."""
    for names in found.get("rounds") or ():
        if sorted(due[: len(names)]) != names:
            return False
        due = due[len(names) :]
    return not due


def _cost(found: Fields) -> float:
    cost = found.get("cost_usd")
    return inf if cost is None else float(cost)


def _plain(text: str | None) -> str:
    return " ".join((text or "").casefold().split())


READY: Mapping[str, tuple[str, Callable[[Fields, Any], bool]]] = {
    "route": ("route", _is_route),
    "contains": ("answer", lambda found, due: _plain(due) in _plain(found.get("answer"))),
    "match": ("answer", lambda found, due: _plain(due) == _plain(found.get("answer"))),
    "cost": ("max_cost_usd", lambda found, due: _cost(found) <= due),
    "turns": ("max_turns", lambda found, due: found.get("turns", due + 1) <= due),
}
"""The ready evaluators without a model: the field of the example, and when the score is 1."""


def _ready_evaluator(key: str) -> Callable[..., Fields]:
    field, is_met = READY[key]

    def score(outputs: Fields, reference_outputs: Fields) -> Fields:
        if (due := reference_outputs.get(field)) is None:
            return {"results": []}
        shown = due if isinstance(due, str | float | int) else " > ".join(due)
        comment = f"{field}: {shown}"
        return {"key": key, "score": int(is_met(outputs, due)), "comment": comment}

    return score


CRITERION = (
    "The answer answers the request. Where an expected answer is given, it says the same; the "
    "words may differ."
)
"""What the judge goes by."""


def _judge(model: ModelLike) -> Callable[..., Fields]:
    """Let a model score the answer from 0 to 1, with its reason as the comment."""
    reviewer = create_reviewer(model, {"answer": CRITERION})

    def judge(inputs: Fields, outputs: Fields, reference_outputs: Fields) -> Fields:
        texts = {"Request": inputs["request"], "Expected answer": reference_outputs.get("answer")}
        texts["Answer"] = outputs.get("answer") or "(none)"
        work = "\n\n".join(f"{name}:\n{text}" for name, text in texts.items() if text)
        said = reviewer.review(work).judgements["answer"]
        return {"key": "judge", "score": said.score, "comment": said.reason}

    return judge


def resolve_evaluators(
    given: Sequence[Evaluator] | None, judge: ModelLike | None
) -> list[Callable[..., Any]]:
    """Return the functions that evaluators stand for.

    Raises:
        ConfigurationError: There is no such evaluator, or the judge has no model.
    """
    if given is None:
        given = [key for key in READY if key != "match"] + ["judge"] * (judge is not None)
    return [_resolve(one, judge) if isinstance(one, str) else one for one in given]


def _resolve(name: str, judge: ModelLike | None) -> Callable[..., Any]:
    if name in READY:
        return _ready_evaluator(name)
    if name == "judge" and judge is not None:
        return _judge(judge)
    if name == "judge":
        raise ConfigurationError("The evaluator 'judge' needs a model: judge='provider:model'.")
    if ":" not in name:
        raise ConfigurationError(
            f"There is no evaluator {name!r}; allowed: {', '.join(READY)}, judge, and your own as "
            "module:function."
        )
    try:
        return cast(Callable[..., Any], resolve_name(name))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"The evaluator {name!r} cannot be opened: {error}") from error
