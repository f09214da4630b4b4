"""What a cassette holds: the calls of models, kept in a file and found again."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import AIMessage
from pydantic import BaseModel, ValidationError

from asterism.core.values import plain_facts, redact_values
from asterism.errors import AsterismError, ConfigurationError
from asterism.testing.cassette_requests import Request, difference, key_of, nearest

_ANSWER = ("content", "tool_calls", "invalid_tool_calls", "additional_kwargs", "usage_metadata")
_ABOUT = ("model_name", "model", "model_provider", "finish_reason", "stop_reason")
"""What is kept of an answer's `response_metadata`: headers and the like are not."""


class CassetteMismatchError(AsterismError, AssertionError):
    """A prompt is not what was recorded, or one that was recorded was not asked."""

    code = "cassette_mismatch"


class RecordedCall(BaseModel):
    """One call of a model, as the file has it."""

    request: Request
    answer: dict[str, Any]


class _File(BaseModel):
    version: Literal[1] = 1
    calls: list[RecordedCall]


class CassetteFile:
    """Calls that are being recorded, or played back.

    Args:
        path: The file.
        replays: Whether it is played back.
        normalise: Rewrites the texts of prompts before they are compared and written.

    Raises:
        ConfigurationError: It is to be played back, and is missing or is no cassette.
    """

    def __init__(
        self, path: Path, *, replays: bool, normalise: Callable[[str], str] | None = None
    ) -> None:
        self.path = path
        self.replays = replays
        """Whether answers are played back; else they are recorded."""
        self.normalise = normalise
        self._lock = threading.Lock()
        self._calls: list[RecordedCall | None] = list(_read(path)) if replays else []
        self._open = list(range(len(self._calls)))  # the places that were not asked for yet
        self._keys = [key_of(call.request) for call in self._calls if call]
        self._failed: CassetteMismatchError | None = None

    def __deepcopy__(self, memo: Any) -> "CassetteFile":
        """Stay the one that it is: models are copied, and share it."""
        return self

    @property
    def failed(self) -> bool:
        """Whether a prompt was asked that is not there."""
        return self._failed is not None

    def assert_finished(self) -> None:
        """Check that every recorded call was asked for, and no other.

        Raises:
            CassetteMismatchError: One was not, or a prompt was asked that is not there.
        """
        if self._failed is not None:
            raise self._failed
        if self.replays and self._open:
            call = self._recording_at(self._open[0])
            last = (call.request.get("messages") or [{"content": ""}])[-1]["content"]
            raise CassetteMismatchError(
                f"{len(self._open)} of {len(self._calls)} recorded calls were not asked for; the "
                f"first is call {self._open[0] + 1} of {str(self.path)!r}, which ends with "
                f"{str(last)[:200]!r}. {_ANEW}"
            )

    def play(self, request: Request) -> AIMessage:
        """Return the recorded answer to a request.

        Raises:
            CassetteMismatchError: There is none; the message shows the difference.
        """
        key = key_of(request)
        with self._lock:
            if self._failed is not None:
                raise self._failed
            for place in self._open:
                if self._keys[place] == key:
                    self._open.remove(place)
                    return AIMessage.model_validate(self._recording_at(place).answer)
            self._failed = CassetteMismatchError(self._explain(request, key))
            raise self._failed

    def begin(self, request: Request) -> int:
        """Keep a place for a call that is being made: they are written in this order."""
        with self._lock:
            self._calls.append(None)
            self._keys.append(json.dumps(request))
            return len(self._calls) - 1

    def keep(self, place: int, answer: AIMessage) -> None:
        """Write the answer to a call that was begun."""
        with self._lock:
            request: Request = json.loads(self._keys[place])
            self._calls[place] = RecordedCall(request=request, answer=_plain(answer, place + 1))
            _write(self.path, [call for call in self._calls if call is not None])

    def _recording_at(self, place: int) -> RecordedCall:
        call = self._calls[place]
        assert call is not None
        return call

    def _explain(self, request: Request, key: str) -> str:
        where = repr(str(self.path))
        if times := self._keys.count(key):
            return f"A prompt is asked {times + 1} times, and {where} has it {times} times. {_ANEW}"
        others = [self._recording_at(place) for place in self._open]
        place = nearest(request, [call.request for call in others])
        if place is None:
            asked = len(self._calls) + 1
            return f"Call {asked} is asked, and {where} has {len(self._calls)} calls. {_ANEW}"
        shown = difference(others[place].request, request)
        return (
            f"A prompt is not in {where}. The nearest that was recorded and not asked for is call "
            f"{self._open[place] + 1}:\n{shown}\n{_ANEW}"
        )


_ANEW = "If the change is meant, record anew with mode='record' (pytest --asterism-record)."


def _read(path: Path) -> list[RecordedCall]:
    try:
        return _File.model_validate_json(path.read_bytes()).calls
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no cassette {str(path)!r}; record it with mode='record'"
        ) from error
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"{str(path)!r} cannot be read as a cassette: {error}. Record it anew with "
            "mode='record'"
        ) from error


def _write(path: Path, calls: list[RecordedCall]) -> None:
    """Write the file at once, so that no one finds half of it."""
    text = json.dumps(_File(calls=calls).model_dump(), indent=2, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _plain(answer: AIMessage, number: int) -> dict[str, Any]:
    """Return what is kept of an answer: what a run needs of it, without secrets."""
    facts: Mapping[str, Any] = answer.response_metadata
    kept: dict[str, Any] = {name: getattr(answer, name) for name in _ANSWER}
    kept["response_metadata"] = {name: facts[name] for name in _ABOUT if name in facts}
    kept = {name: value for name, value in kept.items() if value or name == "content"}
    text = json.dumps(redact_values(plain_facts(kept)))
    calls = [*answer.tool_calls, *answer.invalid_tool_calls]
    for place, call in enumerate(calls, 1):  # ids that are the same in each recording
        text = text.replace(json.dumps(call["id"]), f'"call_{number}_{place}"')
    plain: dict[str, Any] = json.loads(text)
    return plain
