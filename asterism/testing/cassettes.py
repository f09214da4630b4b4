"""Cassettes: answers of real models, recorded once and played back without a call."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self, get_args

from asterism.core.agent_spec import ModelLike
from asterism.errors import ConfigurationError
from asterism.testing.recording import CassetteChatModel
from asterism.testing.tapes import CassetteFile

Mode = Literal["auto", "record", "replay"]
"""`"replay"` never calls a model, `"record"` always does; `"auto"` replays what there is."""

_ON = ("1", "true", "yes", "on")


class Cassette(CassetteFile):
    """A file of model calls and their answers.

    Example:
        ```python
        with Cassette("tests/cassettes/trip.json") as cassette:
            team = build_trip(model=cassette.wrap("openai:gpt-5-mini"))
            ...
        ```

    Where a prompt was recorded several times, its answers come in the order of the recording;
    different prompts may come in any order, as they do where participants work at once. After
    the first that differs no call is answered any more, so that a retry, a fallback model or the
    report of a participant that failed cannot hide it; the end of the `with` block raises it.
    Secrets are taken out of what is written; see `asterism.core.values`.

    Args:
        path: The file; it is readable JSON and is made to be kept with the tests.
        mode: `"auto"` replays where the file exists and records where it does not; in CI, where
            the variable `CI` is set, it does not record.
        normalise: Rewrites the texts of prompts before they are compared and written, for what
            differs each time, as today's date.

    Raises:
        ConfigurationError: The file is missing or is no cassette, or there is no such mode.
    """

    def __init__(
        self,
        path: Path | str,
        mode: Mode = "auto",
        *,
        normalise: Callable[[str], str] | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            allowed = ", ".join(map(repr, get_args(Mode)))
            raise ConfigurationError(f"the mode of a cassette is {mode!r}; allowed: {allowed}")
        path = Path(path)
        replays = mode == "replay" or (mode == "auto" and path.exists())
        if mode == "auto" and not replays and os.environ.get("CI", "").lower() in _ON:
            raise ConfigurationError(
                f"there is no cassette {str(path)!r}, and nothing is recorded in CI. Record it "
                "on your own machine and keep it with the tests, or say mode='record'"
            )
        super().__init__(path, replays=replays, normalise=normalise)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None or self.failed:
            self.assert_finished()

    def wrap(self, model: ModelLike) -> CassetteChatModel:
        """Return a chat model whose calls are recorded or played back.

        Args:
            model: A chat model, or a `"provider:model"` name. A name is all that is needed to
                play back: no key, and no package of the provider.
        """
        return CassetteChatModel(tape=self, model=model)
