"""A service that keeps failing is left alone for a while, then tried with a few calls."""

import threading
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal
from weakref import WeakSet

from langgraph.errors import GraphBubbleUp

from asterism.core.numbers import count_faults, raise_number_faults, seconds_faults
from asterism.errors import CapacityTimeoutError, CircuitOpenError

CircuitState = Literal["closed", "open", "half_open"]
"""Calls pass, calls are refused, a few calls try whether the service is back."""


class Permit:
    """Leave to make one call; whoever has it says how the call went.

    Only the first word counts, and none once the circuit has changed its state. A permit that
    is dropped without a word is given back.
    """

    turned: "CircuitState | None" = None
    """The state that the circuit got into by this call, where it did."""

    def __init__(self, breaker: "CircuitBreaker", circuit: "Circuit") -> None:
        self._breaker = breaker
        self._circuit = circuit
        self._generation = circuit.generation
        self._settled = False

    def record_success(self) -> None:
        """Say that the call succeeded."""
        self._settle(True)

    def record_failure(self, error: BaseException) -> None:
        """Say that the call failed; an error that does not count gives the permit back."""
        self._settle(False if self._breaker.is_failure(error) else None)

    def release(self) -> None:
        """Give the permit back: the call says nothing about the service."""
        self._settle(None)

    def _settle(self, ok: bool | None) -> None:
        now = self._breaker.clock()
        circuit = self._circuit
        with circuit.lock:
            if self._settled:
                return
            self._settled, self.turned = True, None
            circuit.probes.discard(self)
            if ok is not None and self._generation == circuit.generation:
                circuit.note(self._breaker, ok, now)
                if circuit.generation != self._generation:
                    self.turned = circuit.state


@dataclass(eq=False, kw_only=True)
class Circuit:
    """What is known about one service. Its breakers share it, and hold its lock to use it."""

    state: CircuitState = "closed"
    """As of the last call; an open one is half open as soon as its time is over."""
    since: float = 0.0
    """When it got into its state, in seconds of its breakers' clock."""
    generation: int = 0
    """How often it has changed its state."""
    failures: int = 0
    """How many calls failed in a row while it was closed."""
    successes: int = 0
    """How many probes succeeded since it is half open."""
    probes: WeakSet[Permit] = field(default_factory=WeakSet[Permit])
    """The probes under way. Weak, for a caller that died must not keep the circuit open."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def turn(self, state: CircuitState, now: float) -> None:
        """Change the state; every permit given before has nothing to say any more."""
        self.state, self.since = state, now
        self.generation += 1
        self.failures = self.successes = 0
        self.probes = WeakSet()

    def note(self, breaker: "CircuitBreaker", ok: bool, now: float) -> None:
        """Note how a call went that was admitted in this state."""
        if self.state == "half_open":
            self.successes += ok
            if not ok:
                self.turn("open", now)
            elif self.successes >= breaker.half_open_attempts:
                self.turn("closed", now)
        else:
            self.failures = 0 if ok else self.failures + 1
            if self.failures >= breaker.failure_threshold:
                self.turn("open", now)


CircuitRegistry = dict[str, Circuit]
"""Circuits by the service or key that they are about."""

CIRCUITS: CircuitRegistry = {}
"""The circuits of this process."""
_guard = threading.Lock()


@dataclass(frozen=True)
class CircuitBreaker:
    """Refuses calls of a service that failed too often, until it has had time to recover.

    A circuit is closed until `failure_threshold` calls have failed in a row; then it is open,
    and no call passes for `recovery_timeout` seconds; then it is half open, and a few probes
    pass: the first that fails opens it again, `half_open_attempts` that succeed close it.

    All breakers of this process with the same service or key share its circuit, whether they
    are used by threads or by asyncio; each judges it by its own numbers.

    Args:
        service: What is guarded. None: what `admit` names, such as a model or a participant.
        failure_threshold: How many failures in a row open the circuit.
        recovery_timeout: Seconds until an open circuit lets probes pass.
        half_open_attempts: How many probes may be under way at once, and how many successes
            close the circuit.
        counts: Which errors are failures of the service. None: every `Exception`, but no
            interrupt.
        clock: The time in seconds; the same for all breakers that share a circuit.
        registry: Where the circuits are kept. Breakers with different registries share nothing.
    """

    service: str | None = None
    _: KW_ONLY
    failure_threshold: int = 5
    recovery_timeout: float = 30.0
    half_open_attempts: int = 1
    counts: Callable[[BaseException], bool] | None = None
    clock: Callable[[], float] = time.monotonic
    registry: CircuitRegistry = field(default_factory=lambda: CIRCUITS, repr=False, compare=False)
    _own: Circuit = field(default_factory=Circuit, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        service: Any = self.service
        if service is not None and not (isinstance(service, str) and service.strip()):
            raise ValueError(f"service is {service!r}; it must be a name, or None")
        raise_number_faults(
            [
                *count_faults("failure_threshold", self.failure_threshold),
                *count_faults("half_open_attempts", self.half_open_attempts),
                *seconds_faults("recovery_timeout", self.recovery_timeout, above_zero=True),
            ]
        )

    def admit(self, key: str = "") -> Permit:
        """Let a call pass, or refuse it.

        Args:
            key: What is called, such as `"openai/gpt-5-mini"`; a `service` takes its place.
                Where neither is given, the breaker shares its circuit with no other.

        Returns:
            A permit, which is to be settled when the call has ended, however it has.

        Raises:
            CircuitOpenError: The service is left alone, or as many probes are under way as
                may be.
        """
        now = self.clock()
        circuit = self._circuit(key)
        with circuit.lock:
            recovers = circuit.state == "open" and self._rest(circuit, now) <= 0
            if recovers:
                circuit.turn("half_open", now)
            if circuit.state == "open":
                raise self._refusal(key, "is left alone", self._rest(circuit, now))
            permit = Permit(self, circuit)
            if circuit.state == "half_open":
                if len(circuit.probes) >= self.half_open_attempts:
                    why = "is being tried with as many calls as may pass"
                    raise self._refusal(key, why, self.recovery_timeout)
                circuit.probes.add(permit)
            permit.turned = "half_open" if recovers else None
            return permit

    def state(self, key: str = "") -> CircuitState:
        """Return how a circuit stands now."""
        now = self.clock()
        circuit = self._circuit(key)
        with circuit.lock:
            rested = circuit.state == "open" and self._rest(circuit, now) <= 0
            return "half_open" if rested else circuit.state

    def is_failure(self, error: BaseException) -> bool:
        """Whether an error says that the service does not work.

        An interrupt does not, nor does a refusal further in, where no call was made.
        """
        if isinstance(error, GraphBubbleUp | CapacityTimeoutError | CircuitOpenError):
            return False
        return isinstance(error, Exception) if self.counts is None else self.counts(error)

    def _circuit(self, key: str) -> Circuit:
        name = self.service or key
        if not name:
            return self._own
        with _guard:
            return self.registry.setdefault(name, Circuit())

    def _rest(self, circuit: Circuit, now: float) -> float:
        return circuit.since + self.recovery_timeout - now

    def _refusal(self, key: str, why: str, seconds: float) -> CircuitOpenError:
        service = self.service or key
        name = repr(service) if service else "the service"
        return CircuitOpenError(
            f"No call is made, because {name} failed too often and {why}. "
            f"Try again in {seconds:.1f} s, or use another one meanwhile.",
            service=service,
            retry_in=seconds,
        )
