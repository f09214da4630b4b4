"""The graphs that `langgraph.json` names: compiled without storage, which the server brings.

The model is the one that the environment variable `ASTERISM_MODEL` names; without it, the
offline model.
"""

import os

from asterism.core.defaults import OFFLINE
from asterism.graphs.examples.event_planning import create_event_planning
from asterism.graphs.examples.research import create_consensus, create_research
from asterism.graphs.examples.toy_example import create_toy_example
from asterism.graphs.examples.update_manifest import create_update_manifest

MODEL = os.environ.get("ASTERISM_MODEL", OFFLINE)

event_planning = create_event_planning(MODEL).build()
research = create_research(MODEL).build()
consensus = create_consensus(MODEL).build()
toy_example = create_toy_example(MODEL).build()
update_manifest = create_update_manifest(MODEL, asks_first=True).build()
