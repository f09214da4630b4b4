"""Memories that open their own storage, by the words of MassGen."""

import weakref
from pathlib import Path
from typing import Literal

from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore

from asterism.errors import ConfigurationError, ModelNotFoundError, StorageError
from asterism.memories import long_term, shared
from asterism.memories.context_policies import ContextManager
from asterism.moved import NAMES_PAGE
from asterism.storage.open import open_store

__all__ = ["ContextManager", "LongTermMemory", "SharedMemory"]


class MassGenSharedMemory(shared.SharedMemory):
    """Notes of a team, in a file of its own; agents write and read them by tools.

    Args:
        capacity: How many tokens all notes may have together.
        persistence: Whether they outlive the process.
        storage_path: The folder, or the `.db` file, that keeps them. None: `./memory`.
        team: Whose notes they are.
    """

    def __init__(
        self,
        capacity: int = 4_000,
        persistence: bool = False,
        storage_path: str | Path | None = None,
        *,
        team: str = "team",
    ) -> None:
        if storage_path is not None and not persistence:
            raise ConfigurationError("a storage_path needs persistence=True")
        path = Path(storage_path or "./memory")
        path = path if path.suffix == ".db" else path / "shared.db"
        store = _open_for(self, f"sqlite:///{path}" if persistence else "memory:")
        super().__init__(team=team, store=store, capacity_tokens=capacity)


class MassGenLongTermMemory(long_term.LongTermMemory):
    """What a team remembers across sessions, one memory for all users.

    Args:
        backend: `"vector_db"` ranks by meaning, `"sql"` by words.
        connection_string: `sqlite:///path`, `postgresql://...` or `memory:`.
        embedding_model: What ranks by meaning: an `Embeddings`, or a name such as
            `"openai:text-embedding-3-small"`; a name alone is OpenAI's.
        team: Whose memory it is.
    """

    def __init__(
        self,
        backend: Literal["vector_db", "sql"] = "sql",
        connection_string: str = "memory:",
        embedding_model: str | Embeddings | None = None,
        *,
        team: str = "team",
    ) -> None:
        if backend not in ("vector_db", "sql"):
            raise ConfigurationError(
                f"backend is {backend!r}; allowed: 'vector_db', which ranks by meaning, and 'sql', "
                f"which ranks by words. {NAMES_PAGE}"
            )
        if backend == "vector_db" and embedding_model is None:
            raise ConfigurationError(
                "backend 'vector_db' ranks by meaning and needs an embedding_model; or give "
                "backend='sql', which ranks by words"
            )
        store = _open_for(self, connection_string, _find_embeddings(embedding_model))
        super().__init__(team=team, store=store, per_user=False)


def _open_for(owner: object, url: str, embeddings: Embeddings | None = None) -> BaseStore:
    """Open a store that is closed with its owner."""
    opened = open_store(url, embeddings=embeddings)
    try:
        store = opened.__enter__()
    except StorageError as error:
        raise StorageError(f"{error} {NAMES_PAGE}") from error
    weakref.finalize(owner, opened.__exit__, None, None, None)
    return store


def _find_embeddings(model: str | Embeddings | None) -> Embeddings | None:
    if not isinstance(model, str):
        return model
    from langchain.embeddings import init_embeddings

    try:
        found: Embeddings = init_embeddings(model if ":" in model else f"openai:{model}")
    except Exception as error:  # each provider has its own for a key that is missing
        raise ModelNotFoundError(
            f"The embedding_model {model!r} cannot be used: {error} Give an Embeddings of "
            f"LangChain, or backend='sql' without one, which ranks by words. {NAMES_PAGE}"
        ) from error
    return found


SharedMemory, LongTermMemory = MassGenSharedMemory, MassGenLongTermMemory
