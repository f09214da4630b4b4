"""The page within `langgraph dev`, at /asterism/; `langgraph.json` names it.

The database and the model are those of the environment variables `ASTERISM_DB` and
`ASTERISM_MODEL`, as on the command line.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from asterism.apps.ui.app import create_app

_page = create_app(db=os.environ.get("ASTERISM_DB"), model=os.environ.get("ASTERISM_MODEL"))


def _slash(request: Request) -> Response:
    return RedirectResponse("asterism/")


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with _page.router.lifespan_context(_page):  # what is mounted is not begun by itself
        yield


app = Starlette(routes=[Route("/asterism", _slash), Mount("/asterism", _page)], lifespan=_lifespan)
