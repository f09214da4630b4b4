"""Embeddings for tests: without a model, always the same."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping

from langchain_core.embeddings import Embeddings

from asterism.storage.ranked_store import COMMON

_ENDINGS = re.compile(r"(?:ies|ing|ed|es|s|d|e|y)$")


class WordEmbeddings(Embeddings):
    """Texts that share words, or the beginnings and parts of words, are close.

    Each word and each three letters in it fall into places of the vector by their hash; a
    common word weighs little. It knows nothing of meaning: use it where a test
    needs some embeddings, not to judge how well real ones work.

    Args:
        size: How many numbers a vector has.
        synonyms: Words, each with the one that it is taken for.
    """

    def __init__(self, size: int = 512, *, synonyms: Mapping[str, str] | None = None) -> None:
        self.size = size
        self.synonyms = dict(synonyms or {})
        self.calls: list[str] = []
        """The texts that were embedded."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed a text."""
        self.calls.append(text)
        vector = [0.0] * self.size
        for part, weight in self._parts(text):
            place = int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest())
            vector[place % self.size] += weight if place >> 63 else -weight
        return vector

    def _parts(self, text: str) -> Iterator[tuple[str, float]]:
        for found in map(str, re.findall(r"\w+", text.casefold())):
            word = self.synonyms.get(found, found)
            stem = _ENDINGS.sub("", word) if len(word) > 3 else word
            weight = 0.1 if word in COMMON else 1.0
            yield stem, weight
            for start in range(len(stem) - 2):
                yield f"#{stem[start : start + 3]}", weight / math.sqrt(len(stem))
