# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quickstart
#
# A team of two with a tool of its own, a streamed run, a question, and the drawing.
# Everything runs offline: `model="offline"` is a stand-in that follows fixed rules. Name a
# real model, such as `"openai:gpt-5-mini"`, and the same cells use it.

# %%
from asterism import (
    Participant,
    SupervisorWorkflowBuilder,
    open_checkpointer,
    pending_requests,
    resume,
    show,
)


def ticket_price(city: str, travellers: int) -> str:
    """Tell what train tickets to a city cost.

    Args:
        city: where to
        travellers: how many people travel
    """
    fares = {"Lisbon": 120, "Vienna": 95}
    if city not in fares:
        return f"Cannot price tickets to {city}: there are trains to {', '.join(fares)}."
    return f"Ticket price: ${fares[city] * travellers}.00 for {travellers} to {city}"


# %% [markdown]
# A participant is a model with tools, an agent, a graph, or just a function of messages.


# %%
def packing(messages):
    """Says what to pack."""
    rain = "Lisbon" not in messages[-1].text
    return "Pack a raincoat." if rain else "Pack sunglasses."


# %% [markdown]
# The builder joins them to a supervisor. The checkpointer stores every step. `memory:` lasts as
# long as this notebook; `sqlite:///trips.db` lasts. In a program, write `with ... as saver:`.

# %%
opened = open_checkpointer("memory:")
saver = opened.__enter__()
trip = (
    SupervisorWorkflowBuilder("Trip", model="offline")
    .participants(
        trains=Participant(tools=[ticket_price], description="Prices train tickets to a city."),
        packing=packing,
    )
    .build(checkpointer=saver)
)

# %% [markdown]
# ## The star
#
# The drawing is made here, without a web service. `show(trip, xray=True)` opens the participants.

# %%
trip

# %% [markdown]
# ## A streamed run
#
# Each part of the stream says who speaks.

# %%
thread = {"configurable": {"thread_id": "lisbon"}}
request = {"messages": [("user", "Prepare a trip to Lisbon for 3 travellers")]}

async for node, update in (
    item
    async for step in trip.astream(request, thread, stream_mode="updates")
    for item in step.items()
):
    for message in (update or {}).get("messages", []):
        print(f"{node:>10} | {message.text.splitlines()[0]}")

# %%
show(trip, thread)  # what ran on this thread, and what it took

# %% [markdown]
# ## A question
#
# Nobody said how many people travel, so the run waits. It may wait for days, and be answered
# from another process.

# %%
thread = {"configurable": {"thread_id": "vienna"}}
result = trip.invoke({"messages": [("user", "Prepare a trip to Vienna")]}, thread)
result["status"]

# %%
for open_request in pending_requests(trip, thread):
    print(f"{open_request.participant} asks: {open_request.prompt}")

# %%
result = resume(trip, thread, "2 travellers")
show(result)

# %% [markdown]
# ## What a participant remembers
#
# Each keeps its own history, and only its own.

# %%
inside = {"configurable": {"thread_id": "vienna", "checkpoint_ns": "trains"}}
for message in trip.get_state(inside).values["messages"]:
    print(f"{message.type:>6} | {message.text!r}")
