"""A LangGraph store with ranked searches: by meaning (vectors) or by words."""

import re
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from math import sqrt
from operator import mul
from typing import Any, Literal, cast

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)


def normalize_vector(vector: Sequence[float]) -> "array[float]":
    """Return a vector of length 1 in the same direction; nothing has no direction."""
    length = sqrt(sum(map(mul, vector, vector))) or 1.0
    return array("f", [part / length for part in vector])


def cosine_similarity(wanted: Sequence[float], stored: bytes) -> float:
    """Return the cosine of a vector of length 1 and a stored one."""
    other = array("f")
    other.frombytes(stored)
    return float(sum(map(mul, wanted, other)))


Ranking = Literal["semantic", "keyword"]
"""By the meaning of a text, as embeddings have it, or by the words in it."""
Ranked = list[tuple[str, str, float]]
"""Places, as prefix and key, each with how well it fits; the best first."""
Vector = Sequence[float]
"""A vector of length 1."""

_EMBEDDED_AT_ONCE = 256
"""How many texts are handed to the embeddings in one call."""
_QUERY_WORDS = 64
"""How many words of a query count, the last ones."""
COMMON = frozenset(
    "a about all am an and are as at be been by can could did do does for from had has have he her "
    "his how i if in is it its me my no not of on or our she should so that the their them there "
    "they this to us was we were what when where which who whom whose why will with would you your"
    "".split()
)
"""Words that are not looked for, unless a query has no others."""
_ALL = 1 << 31
"""More items than there are."""


class RankedStore(BaseStore):
    """Ranks what is searched for; all else is left to the store of a database below."""

    meaning: Embeddings | None = None
    """What texts mean. A text is embedded when it is first searched."""

    @property
    def ranking(self) -> Ranking:
        """How a search is ranked."""
        return "keyword" if self.meaning is None else "semantic"

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Make the reads, then the writes in one transaction."""
        given = list(ops)
        results: list[Result] = [None] * len(given)
        for writes in (False, True):
            mine = [i for i, op in enumerate(given) if isinstance(op, PutOp) is writes]
            plain = [i for i in mine if not _is_search(given[i])]
            if plain:
                found = self._plain([given[i] for i in plain])
                for place, result in zip(plain, found, strict=True):
                    results[place] = result
            for place in mine:
                if place not in plain:
                    results[place] = self._search(cast(SearchOp, given[place]))
        puts = [op for op in given if isinstance(op, PutOp) and op.index is False]
        if puts:
            self._leave_out([(".".join(op.namespace), op.key) for op in puts])
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Make the reads, then the writes, in a worker thread."""
        return await run_in_executor(None, self.batch, list(ops))

    # ---- what the store of a database does

    @abstractmethod
    def _plain(self, ops: Sequence[Op]) -> list[Result]:
        """Do what needs no ranking."""

    @abstractmethod
    def _leave_out(self, places: Sequence[tuple[str, str]]) -> None:
        """Keep items, by prefix and key, out of searches."""

    @abstractmethod
    def _by_words(self, at: str, words: Sequence[str], most: int) -> Ranked:
        """Find items at or below a prefix by some of these words."""

    @abstractmethod
    def _missing(self, at: str, model: str) -> Sequence[tuple[Any, str]]:
        """Return the texts at or below a prefix that a model has not embedded, each with an id."""

    @abstractmethod
    def _embed(self, model: str, rows: Sequence[tuple[Any, str, Vector]]) -> None:
        """Keep vectors of a model, each with the id and the text that it is of."""

    @abstractmethod
    def _nearest(self, at: str, model: str, wanted: Vector, most: int) -> Ranked:
        """Find items at or below a prefix by the vectors of a model."""

    # ---- ranking

    def _search(self, op: SearchOp) -> list[SearchItem]:
        end = op.offset + op.limit
        rank = self._search_words if self.meaning is None else self._meant
        ranked = rank(".".join(op.namespace_prefix), op.query or "", _ALL if op.filter else end)
        if op.filter:
            every = SearchOp(op.namespace_prefix, op.filter, limit=_ALL)
            items = cast(list[Item], self._plain([every])[0])
        else:
            gets = [GetOp(tuple(prefix.split(".")), key) for prefix, key, _ in ranked]
            found = self._plain(gets) if gets else []
            items = [item for item in found if isinstance(item, Item)]
        known = {(".".join(item.namespace), item.key): item for item in items}
        hits = [
            _hit(known[prefix, key], score)
            for prefix, key, score in ranked
            if (prefix, key) in known
        ]
        return hits[op.offset : end]

    def _search_words(self, at: str, query: str, most: int) -> Ranked:
        every = re.findall(r"\w+", query.casefold())
        words = [word for word in every if word not in COMMON][-_QUERY_WORDS:] or every
        return self._by_words(at, list(dict.fromkeys(words)), most) if words else []

    def _meant(self, at: str, query: str, most: int) -> Ranked:
        meaning = cast(Embeddings, self.meaning)
        wanted = normalize_vector(meaning.embed_query(query))
        named = getattr(meaning, "model", None) or getattr(meaning, "model_name", "")
        model = f"{type(meaning).__qualname__} {named} {len(wanted)}"
        missing = self._missing(at, model)
        for start in range(0, len(missing), _EMBEDDED_AT_ONCE):
            part = missing[start : start + _EMBEDDED_AT_ONCE]
            vectors = meaning.embed_documents([text for _, text in part])
            rows = [
                (row, text, normalize_vector(vector))
                for vector, (row, text) in zip(vectors, part, strict=True)
            ]
            self._embed(model, rows)
        return self._nearest(at, model, wanted, most)


def _is_search(op: Op) -> bool:
    return isinstance(op, SearchOp) and bool(op.query)


def _hit(item: Item, score: float) -> SearchItem:
    return SearchItem(
        namespace=item.namespace,
        key=item.key,
        value=item.value,
        created_at=item.created_at,
        updated_at=item.updated_at,
        score=score,
    )
