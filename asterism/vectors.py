"""Vectors of embeddings, stored as bytes and compared without a library."""

from array import array
from collections.abc import Sequence
from math import sqrt
from operator import mul


def normalize_vector(vector: Sequence[float]) -> "array[float]":
    """Return a vector of length 1 in the same direction; nothing has no direction."""
    length = sqrt(sum(map(mul, vector, vector))) or 1.0
    return array("f", [part / length for part in vector])


def cosine_similarity(wanted: Sequence[float], stored: bytes) -> float:
    """Return the cosine of a vector of length 1 and a stored one."""
    other = array("f")
    other.frombytes(stored)
    return float(sum(map(mul, wanted, other)))
