"""A server of the `mcp` package with a memory of its session; run it for stdio."""

import sys

from mcp.server.fastmcp import Context, FastMCP
from pydantic import BaseModel

server = FastMCP("desk", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
seen: dict[int, list[str]] = {}


class Seats(BaseModel):
    """The form of a question."""

    seats: int


@server.tool()
def note(text: str, ctx: Context) -> str:  # type: ignore[type-arg]
    """Remember a text for this session, and tell all of them."""
    found = seen.setdefault(id(ctx.session), [])
    found.append(text)
    return " and ".join(found)


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("no such shelf")


@server.tool()
async def book(city: str, ctx: Context) -> str:  # type: ignore[type-arg]
    """Book a table; ask for how many."""
    answer = await ctx.elicit(f"How many seats in {city}?", Seats)
    if answer.action != "accept":
        return f"not booked: {answer.action}"
    return f"{answer.data.seats} seats in {city}"


if __name__ == "__main__":
    server.run("streamable-http" if len(sys.argv) > 1 else "stdio")
