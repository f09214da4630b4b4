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
    memory,
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
# The builder joins them to a supervisor. The checkpointer stores every step: `"memory:"` lasts as
# long as this notebook, `"sqlite:///trips.db"` as long as the file.

# %%
trip = (
    SupervisorWorkflowBuilder("Trip", model="offline")
    .participants(
        trains=Participant(tools=[ticket_price], description="Prices train tickets to a city."),
        packing=packing,
    )
    .build(checkpointer="memory:")
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

async for step in trip.astream(request, thread, stream_mode="updates"):
    for node, update in step.items():
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
for open_request in pending_requests(trip, "vienna"):
    print(f"{open_request.participant} asks: {open_request.prompt}")

# %%
result = resume(trip, "vienna", "2 travellers")
show(result)

# %% [markdown]
# ## What a participant remembers
#
# Each keeps its own history, and only its own.

# %%
for message in memory(trip, "vienna", "trains").messages():
    print(f"{message.type:>6} | {message.text!r}")

# %% [markdown]
# ## With your own key
#
# A language model decides, calls the tools and writes the answer. Set `OPENAI_API_KEY` before the
# notebook starts. Without it, the cell does nothing. `asterism doctor --model openai:gpt-5-mini`
# says what a model is able to do.

# %%
import os

if os.environ.get("OPENAI_API_KEY"):
    trains = Participant(tools=[ticket_price], description="Prices train tickets to a city.")
    team = SupervisorWorkflowBuilder("Trip", model="openai:gpt-5-mini").participants(
        trains=trains, packing=packing
    )
    show(team.build().invoke(request))

# %% [markdown]
# ## Exercises
#
# 1. Give the team a participant that books hotels, with `approve=["book_hotel"]`, and answer its
#    approval with `resume`.
# 2. Ask a second question on the thread `lisbon`. What does `packing` remember of the first one?
# 3. Change a decision of the past: `what_if(trip, "lisbon", round=1, decision={"next_agent":
#    "packing"})`, and show the result.
