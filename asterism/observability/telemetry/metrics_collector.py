"""`MetricsCollector`: how long functions take, with percentiles, in this process.

Open it to change what is measured of a tracked function or what a push gateway is sent.
Tests: tests/asterism/observability/telemetry/test_metrics_collector.py.
"""

import inspect
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, ParamSpec, TypeVar, cast

from asterism.core.numbers import count_faults, raise_number_faults
from asterism.core.values import log_failure, redact
from asterism.errors import ConfigurationError
from asterism.observability.trace import percentile

_P = ParamSpec("_P")
_R = TypeVar("_R")
_log = logging.getLogger(__name__)

PUSH_SECONDS = 5.0
"""How long a push gateway may take."""


class Metric:
    """The latest values of one metric.

    Args:
        name: Its name.
        kept: How many values are kept; the oldest go first. Count and sum are of all.
    """

    def __init__(self, name: str, kept: int) -> None:
        self.name = name
        self.count = 0
        """How many values there were."""
        self.sum = 0.0
        """The sum of all of them."""
        self._values: deque[float] = deque(maxlen=kept)
        self._lock = threading.Lock()

    @property
    def values(self) -> list[float]:
        """The latest values, oldest first."""
        with self._lock:
            return list(self._values)

    @property
    def mean(self) -> float | None:
        """The mean of all values. None: there was none."""
        return self.sum / self.count if self.count else None

    def record(self, value: float) -> None:
        """Add a value."""
        with self._lock:
            self._values.append(value)
            self.count += 1
            self.sum += value

    def percentile(self, percent: float) -> float | None:
        """Return the value that `percent` of the latest do not exceed. None: there was none."""
        return percentile(self.values, percent)

    def __repr__(self) -> str:
        return f"Metric({self.name!r}, count={self.count}, mean={self.mean})"


class MetricsCollector:
    """Measures how long functions take; `instrument` has the metrics of workflows themselves.

    Example:
        ```python
        metrics = MetricsCollector()

        @metrics.track("task_duration")
        def run_task(workflow, task): ...

        metrics.get_metric("task_duration").percentile(95)
        ```

    Args:
        backend: `"memory"` keeps the values in this process; `"prometheus"` also sends count and
            sum to the push gateway, if there is one.
        push_gateway: Its URL. It is sent the metrics after each call of a tracked function, in a
            thread of its own; where that fails, it is logged and the call is unharmed.
        kept: How many values of a metric are kept for percentiles.

    Raises:
        ConfigurationError: A value is not allowed, or a package is missing.
    """

    def __init__(
        self,
        backend: Literal["memory", "prometheus"] = "memory",
        push_gateway: str | None = None,
        *,
        kept: int = 10_000,
    ) -> None:
        raise_number_faults(count_faults("kept", kept), ConfigurationError)
        if backend not in ("memory", "prometheus"):
            raise ConfigurationError(f"backend is {backend!r}; allowed: 'memory', 'prometheus'")
        if push_gateway is not None and backend == "memory":
            raise ConfigurationError("a push_gateway needs backend='prometheus'")
        if push_gateway is not None and find_spec("prometheus_client") is None:
            raise ConfigurationError(
                "push_gateway needs a package: pip install 'asterism-agents[otel]'."
            )
        self.push_gateway = push_gateway
        self._kept = kept
        self._metrics: dict[str, Metric] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="push") if push_gateway else None
        self._next: Future[None] | None = None

    def track(self, name: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
        """Measure the seconds of each call of a sync or async function, failed ones too.

        Args:
            name: The metric.
        """
        metric = self._metrics.setdefault(name, Metric(name, self._kept))

        @contextmanager
        def measure() -> Generator[None]:
            begun = time.perf_counter()
            try:
                yield
            finally:
                metric.record(time.perf_counter() - begun)
                self._push_soon()

        def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
            if inspect.iscoroutinefunction(function):

                @wraps(function)
                async def acall(*args: _P.args, **kwargs: _P.kwargs) -> Any:
                    with measure():
                        return await cast(Any, function)(*args, **kwargs)

                return cast(Callable[_P, _R], acall)

            @wraps(function)
            def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
                with measure():
                    return function(*args, **kwargs)

            return call

        return decorate

    def record(self, name: str, value: float) -> None:
        """Add a value to a metric."""
        self._metrics.setdefault(name, Metric(name, self._kept)).record(value)
        self._push_soon()

    def get_metric(self, name: str) -> Metric:
        """Return a metric.

        Raises:
            LookupError: Nothing is measured under this name.
        """
        if name not in self._metrics:
            known = ", ".join(self._metrics) or "none yet"
            raise LookupError(f"there is no metric {name!r}; there are: {known}")
        return self._metrics[name]

    def push(self) -> None:
        """Send count and sum of each metric to the push gateway, and wait for it.

        Raises:
            ConfigurationError: There is no push gateway.
            OSError: It could not be reached, or refused.
        """
        if self.push_gateway is None:
            raise ConfigurationError(
                "there is no push gateway; give MetricsCollector(backend='prometheus', "
                "push_gateway='http://host:9091')"
            )
        prometheus: Any = import_module("prometheus_client")
        registry = prometheus.CollectorRegistry()
        for metric in list(self._metrics.values()):
            name = re.sub(r"\W", "_", metric.name)
            for part, value in (("count", metric.count), ("sum", metric.sum)):
                words = f"The {part} of {metric.name}"
                prometheus.Gauge(f"{name}_{part}", words, registry=registry).set(value)
        url = self.push_gateway
        prometheus.push_to_gateway(url, "asterism", registry, timeout=PUSH_SECONDS)

    def _push_soon(self) -> None:
        """Push in the background, unless a push that has not begun yet will do."""
        if self._pool is None or (self._next and not self._next.running() | self._next.done()):
            return
        self._next = self._pool.submit(self._push_or_log)

    def _push_or_log(self) -> None:
        try:
            self.push()
        except Exception as error:  # noqa: BLE001 - what is measured is unharmed
            words = "the push gateway %s could not be reached"
            log_failure(_log, words, redact(str(self.push_gateway)), error=error)
