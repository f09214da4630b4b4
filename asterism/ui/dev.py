"""The page within `langgraph dev`, at /asterism/; `langgraph.json` names it.

The database and the model are those of the environment variables `ASTERISM_DB` and
`ASTERISM_MODEL`, as on the command line.
"""

import os

from starlette.applications import Starlette
from starlette.routing import Mount

from asterism.models import OFFLINE
from asterism.ui.app import create_app

_page = create_app(
    db=os.environ.get("ASTERISM_DB"), model=os.environ.get("ASTERISM_MODEL", OFFLINE)
)
app = Starlette(
    routes=[Mount("/asterism", _page)],
    lifespan=lambda _: _page.router.lifespan_context(_page),
)
