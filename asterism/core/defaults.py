"""What is taken where nothing is said, and what the command line allows to say."""

from typing import Literal

OFFLINE = "offline"
"""The name of the model that needs no key and no network."""

Method = Literal["tool", "json_schema", "json"]
"""How a model is asked for an object: by a tool that it has to call, by a JSON schema that its
answer has to fit, or in words, as JSON text."""

METHODS: tuple[Method, ...] = ("tool", "json_schema", "json")

METHOD_VARIABLE = "ASTERISM_DECISIONS"
"""The environment variable that names the method where no argument does."""
