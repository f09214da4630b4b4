"""A cache of answers of models: exact, and by meaning where that is asked for."""

import hashlib
import json
import logging
import re
import sqlite3
import threading
import time
import weakref
import zlib
from array import array
from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, messages_from_dict, messages_to_dict
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables.config import var_child_runnable_config

from asterism.core.numbers import count_faults, fraction_faults, raise_number_faults, seconds_faults
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError
from asterism.events import EventBus, WorkflowEventType, emit_from_context
from asterism.memories.cache.semantic_guard import distinguishing_facts
from asterism.moved import hint_foreign_names
from asterism.storage.open import make_private, sqlite_path
from asterism.storage.ranked_store import cosine_similarity, normalize_vector

_UNSTABLE = re.compile(r"<class |<function |<bound method | object at 0x|<\w+ at 0x")
"""What a parameter looks like that has no text of its own; it might be anything."""
_LEFT_BEHIND = ("id", "response_metadata", "usage_metadata")
_CUT_OFF = ("length", "max_tokens", "content_filter", "refusal")


def is_stable(parameters: str) -> bool:
    """Whether the parameters of a call have a text of their own, which says what they are."""
    return not _UNSTABLE.search(parameters)


def canonical_prompt(prompt: str) -> str:
    """Return a prompt as LangChain writes it, without what no model is sent.

    What the messages in it have cost, and what else their calls left behind, is another each
    time, also where they were answered from a cache.
    """
    messages: list[Any] = json.loads(prompt)
    for message in messages:
        for name in _LEFT_BEHIND:
            as_dict(message.get("kwargs")).pop(name, None)
    return json.dumps(messages, sort_keys=True)


def split(prompt: str) -> tuple[str, str | None]:
    """Return the prompt without the words of its last request, and those, if it ends with one."""
    messages: list[Any] = json.loads(prompt)
    last: dict[str, Any] = messages[-1] if messages else {}
    fields = as_dict(last.get("kwargs"))
    words = fields.get("content")
    if (last.get("id") or [""])[-1] != "HumanMessage" or not isinstance(words, str):
        return prompt, None
    rest = {**last, "kwargs": {**fields, "content": None}}
    return json.dumps([*messages[:-1], rest]), words


def identity(model: BaseChatModel) -> str:
    """Write down everything that a model is; what has no text of its own is left out."""
    fields = {
        name: repr(value)
        for name in type(model).model_fields
        if name not in ("cache", "callbacks", "metadata", "tags", "verbose", "rate_limiter")
        and is_stable(repr(value := getattr(model, name, None)))
    }
    return json.dumps([f"{type(model).__module__}.{type(model).__qualname__}", fields])


def is_complete_answer(answer: Any) -> bool:
    """Whether an answer says something, and was not cut off."""
    message = getattr(answer, "message", None)
    if not isinstance(message, AIMessage) or not (message.text or message.tool_calls):
        return False
    facts: dict[str, Any] = {**message.response_metadata, **(answer.generation_info or {})}
    return not {str(facts.get(name)) for name in ("finish_reason", "stop_reason")} & {*_CUT_OFF}


def fields_of(answer: ChatGeneration) -> dict[str, Any]:
    """Write an answer as plain values."""
    return {"info": answer.generation_info, "message": messages_to_dict([answer.message])[0]}


def generation_of(fields: dict[str, Any]) -> ChatGeneration:
    """Read a kept answer; a name of its own keeps two uses apart in one history."""
    message = messages_from_dict([fields["message"]])[0]
    usage = getattr(message, "usage_metadata", None)
    none = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    own = {"id": f"cached-{uuid4().hex}", "usage_metadata": usage or none}
    return ChatGeneration(message=message.model_copy(update=own), generation_info=fields["info"])


_log = logging.getLogger(__name__)

LOCK_WAIT = 0.25
"""Seconds that a call waits for a file that is locked, before it goes on without the cache."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    key TEXT PRIMARY KEY, similar TEXT NOT NULL, vector BLOB,
    response TEXT NOT NULL, at REAL NOT NULL, used INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS responses_similar ON responses (similar);
CREATE INDEX IF NOT EXISTS responses_used ON responses (used);
"""
_USE = "(SELECT coalesce(max(used), 0) + 1 FROM responses)"
_OLDEST = "SELECT key FROM responses ORDER BY used DESC LIMIT -1 OFFSET ?"


class _LetterVectors(Embeddings):
    """Texts that are written alike are close: each three letters in a row are counted."""

    SIZE = 512

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        vector = [0.0] * self.SIZE
        letters = " ".join(["", *re.findall(r"[^\W_]+", text.casefold()), ""])
        for start in range(len(letters) - 2):
            vector[zlib.crc32(letters[start : start + 3].encode()) % self.SIZE] += 1.0
        return vector


@hint_foreign_names(
    "a similarity_threshold makes it semantic; asterism.compat.massgen.IntelligentCache takes it",
    "strategy",
)
class ResponseCache(BaseCache):
    """A cache of model calls in sqlite, as LangChain's models take it.

    Give it to one model, `cache.on(model)`, or to all of the process,
    `set_llm_cache(cache)`. A call is known again by the model with all its parameters, the
    tools, the schema and the messages. By itself it answers only the very same call.
    With a `similarity_threshold`, a call that differs in the words of its last request alone
    may get the answer of a similar one: similar by meaning where there are `embeddings`, else by
    how it is written. It never does where a number, a date, a name, a
    unit, a negation or any word differs that `semantic_guard` does not list.

    What is cached is what a model says, never what a participant or a tool does: an answer
    with tool calls is kept, and its tools act each time. Whatever is wrong with the file, the
    call is made as if there were no cache.

    Args:
        url: `sqlite:///path`, which several processes may share, or `memory:`.
        ttl: Seconds for which an answer is good. None: for ever.
        max_size: How many answers are kept; those go first that were not used for longest.
        embeddings: What requests mean. None: with a threshold, how they are written counts.
        similarity_threshold: The least cosine of two requests, from above 0 to 1. None: only the
            very same call is answered.
        events: A bus that is told of hits and misses, besides that of the run.
        clock: The time in seconds since 1970.

    Raises:
        StorageError: The URL means nothing here, or the file cannot be made.
        ConfigurationError: A number is not allowed, or embeddings have no threshold.
    """

    def __init__(
        self,
        url: str = "memory:",
        *,
        ttl: float | None = None,
        max_size: int = 10_000,
        embeddings: Embeddings | None = None,
        similarity_threshold: float | None = None,
        events: EventBus | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check(ttl, max_size, embeddings, similarity_threshold)
        self._path = sqlite_path(url)
        if self._path is not None:
            make_private(self._path)
        self._ttl, self._max_size, self._clock = ttl, max_size, clock
        self._meaning = None
        if similarity_threshold is not None:
            self._meaning = _LetterVectors() if embeddings is None else embeddings
        self._threshold = similarity_threshold or 1.0
        self._events = events
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None
        self._complained = False
        self.hits = 0
        """How many calls were answered."""
        self.misses = 0
        """How many were not."""
        self.faults = 0
        """How often the file or the embeddings failed."""

    def on(self, model: BaseChatModel) -> BaseChatModel:
        """Return a copy of a model that asks this cache, with all of its parameters.

        LangChain tells a cache little of a model of one's own making; this way each of its
        fields counts.

        Raises:
            ConfigurationError: It is no chat model itself: give the cache to the model first,
                then bind tools or fallbacks.
        """
        if not isinstance(cast(object, model), BaseChatModel):
            raise ConfigurationError(
                f"{type(model).__name__} is no chat model; write cache.on(model).bind(...)"
            )
        return model.model_copy(update={"cache": _OfModel(self, identity(model))})

    # ---- what LangChain calls

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return what was answered to a call, or None."""
        if not is_stable(llm_string):
            return None
        found, how = self._safely(lambda: self._found(canonical_prompt(prompt), llm_string)) or (
            None,
            None,
        )
        self._tell(how)
        return found

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep what was answered to a call, if it is a whole answer and plain data."""
        if is_stable(llm_string):
            self._safely(lambda: self._keep(canonical_prompt(prompt), llm_string, return_val))

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers."""
        self._safely(lambda: self._run("DELETE FROM responses"))

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    # ---- how

    def _found(self, prompt: str, model: str) -> tuple[RETURN_VAL_TYPE | None, str | None]:
        key = _hash(prompt, model)
        oldest = float("-inf") if self._ttl is None else self._clock() - self._ttl
        rows = self._run("SELECT response FROM responses WHERE key = ? AND at > ?", key, oldest)
        how = "exact"
        if not rows and self._meaning is not None:
            similar, how = self._similar(prompt, model, oldest), "semantic"
            if similar is not None:
                key = similar
                rows = self._run("SELECT response FROM responses WHERE key = ?", key)
        if not rows:
            return None, None
        self._run(f"UPDATE responses SET used = {_USE} WHERE key = ?", key)
        return [generation_of(fields) for fields in json.loads(rows[0][0])], how

    def _similar(self, prompt: str, model: str, oldest: float) -> str | None:
        """Return the key of the most similar request that asks for the same facts."""
        before, question = split(prompt)
        if question is None:
            return None
        rows = self._run(
            "SELECT vector, key FROM responses WHERE similar = ? AND at > ? AND vector IS NOT NULL",
            *(_hash(before, model, *distinguishing_facts(question)), oldest),
        )
        if not rows:
            return None
        wanted = self._vector(question)
        near, key = max((cosine_similarity(wanted, vector), key) for vector, key in rows)
        return key if near >= self._threshold else None

    def _keep(self, prompt: str, model: str, answer: RETURN_VAL_TYPE) -> None:
        if not all(map(is_complete_answer, answer)):
            return
        response = json.dumps([fields_of(cast(ChatGeneration, one)) for one in answer])
        before, question = split(prompt) if self._meaning is not None else ("", None)
        similar, vector = "", None
        if question is not None:
            similar = _hash(before, model, *distinguishing_facts(question))
            vector = self._vector(question).tobytes()
        with self._lock:
            self._run(
                f"INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?, {_USE})",
                *(_hash(prompt, model), similar, vector, response, self._clock()),
            )
            if self._ttl is not None:
                self._run("DELETE FROM responses WHERE at <= ?", self._clock() - self._ttl)
            self._run(f"DELETE FROM responses WHERE key IN ({_OLDEST})", self._max_size)

    def _vector(self, question: str) -> "array[float]":
        return normalize_vector(cast(Embeddings, self._meaning).embed_query(question))

    def _run(self, statement: str, *values: Any) -> list[Any]:
        with self._lock:
            if self._open is None:
                place = self._path or ":memory:"
                connection = sqlite3.connect(
                    place, timeout=LOCK_WAIT, check_same_thread=False, isolation_level=None
                )
                try:
                    connection.execute("PRAGMA journal_mode=WAL")
                    connection.execute("PRAGMA synchronous=NORMAL")
                    connection.executescript(_SCHEMA)
                except sqlite3.Error:
                    connection.close()
                    raise
                weakref.finalize(self, connection.close)
                self._open = connection
            return self._open.execute(statement, values).fetchall()

    def _safely(self, work: Callable[[], Any]) -> Any:
        """Do what can be done: a cache that fails is no cache, and harms no call."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the call goes on
            self.faults += 1
            if not self._complained:
                self._complained = True
                _log.warning("The cache %s is left aside: %s", self._path or "in memory", error)
            return None

    def _tell(self, how: str | None) -> None:
        self.hits, self.misses = self.hits + bool(how), self.misses + (not how)
        kind = WorkflowEventType.CACHE_HIT if how else WorkflowEventType.CACHE_MISS
        config = var_child_runnable_config.get() or {}
        path = as_dict(config.get("metadata")).get("participant_path")
        emit_from_context(kind, how=how, path=path)
        if self._events is not None:
            emit_from_context(kind, self._events, how=how, path=path)


class _OfModel(BaseCache):
    """A cache as one model sees it."""

    def __init__(self, cache: ResponseCache, model: str) -> None:
        self._cache, self._model = cache, model

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return what was answered to a call, or None."""
        return self._cache.lookup(prompt, f"{self._model}\n{llm_string}")

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep what was answered to a call."""
        self._cache.update(prompt, f"{self._model}\n{llm_string}", return_val)

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers."""
        self._cache.clear(**kwargs)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


def _check(ttl: Any, max_size: Any, embeddings: Any, threshold: Any) -> None:
    faults = list(count_faults("max_size", max_size))
    if ttl is not None:
        faults += seconds_faults("ttl", ttl, above_zero=True)
    if threshold is not None:
        faults += fraction_faults("similarity_threshold", threshold, above_zero=True)
    if threshold is None and embeddings is not None:
        faults.append("embeddings need a similarity_threshold, such as 0.95")
    raise_number_faults(faults, ConfigurationError)
