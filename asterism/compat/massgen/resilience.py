"""Circuit breakers, as they are in the core."""

from asterism.limits.circuit_breaker import CircuitBreaker

__all__ = ["CircuitBreaker"]
