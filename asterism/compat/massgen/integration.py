"""`MicroserviceAgent`: a service behind HTTP, by the words of MassGen."""

import warnings
from typing import Any

from langgraph.types import RetryPolicy

from asterism.compat.massgen.teams import Agent
from asterism.errors import ConfigurationError
from asterism.limits.circuit_breaker import CircuitBreaker
from asterism.limits.failure_policies import MODEL_RETRY
from asterism.memories.shared import SharedMemory
from asterism.nodes.participant_spec import Participant
from asterism.nodes.remote.service import Service


class MicroserviceAgent(Agent):
    """An agent that works elsewhere; the service is sent a `ServiceRequest`, see docs/remote.md.

    Args:
        name: What it is called.
        backend: Is not used, which a warning says: the service answers by itself.
        service_url: Where it is.
        circuit_breaker: Whether it is left alone after failures; or a circuit breaker.
        retry_policy: `"exponential"`, a `RetryPolicy`, or None.
        role: What it is for.
        **service: Further arguments of `Service`: `headers`, `hosts`, `timeout`.
    """

    def __init__(
        self,
        name: str,
        backend: Any = None,
        *,
        service_url: str,
        circuit_breaker: bool | CircuitBreaker = False,
        retry_policy: str | RetryPolicy | None = None,
        role: str = "",
        **service: Any,
    ) -> None:
        if backend is not None:
            words = f"The backend of {name!r} is not used: its service answers by itself."
            warnings.warn(words, stacklevel=2)
        policy = MODEL_RETRY if retry_policy == "exponential" else retry_policy
        if not isinstance(policy, RetryPolicy | None):
            raise ConfigurationError(
                f"retry_policy is {retry_policy!r}; allowed: 'exponential', a RetryPolicy, None"
            )
        breaker = CircuitBreaker() if circuit_breaker is True else circuit_breaker or None
        policies = [policy] if policy is not None else []
        super().__init__(name, role=role, circuit_breaker=breaker, policies=policies)
        self.service = Service(service_url, description=role or name, **service)

    def participant(self, memory: SharedMemory | None = None) -> Participant:
        """Make the participant; the service has no part in the team's notes."""
        return Participant(runs=self.service, policies=self.spec.policies)
