# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Traces, pictures, and what if
#
# A trace is what the event bus told of a run. A record is what its checkpoints hold, for any
# thread, with nothing switched on before. What-if changes one thing of a past run and runs again
# only what follows.

# %%
from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorTrace,
    SupervisorWorkflowBuilder,
    compare_runs,
    generate_detailed_tool_trace,
    generate_orchestrator_flowchart,
    read_run,
    show,
    what_if,
)

# %% [markdown]
# ## A team that is traced

# %%
trace = SupervisorTrace()  # or SupervisorTrace("sqlite:///traces.db")


def ticket_price(city: str, travellers: int) -> str:
    """Tell what train tickets to a city cost."""
    return f"Ticket price: ${120 * travellers}.00 for {travellers} to {city}"


def packing(messages):
    """Says what to pack."""
    return "Pack a raincoat."


trip = (
    SupervisorWorkflowBuilder("Trip", model="offline", events=trace.bus)
    .participants(
        trains=Participant(tools=[ticket_price], description="Prices train tickets to a city."),
        packing=packing,
    )
    .build(checkpointer=InMemorySaver())
)
thread = {"configurable": {"thread_id": "lisbon"}}
result = trip.invoke({"messages": [("user", "Prepare a trip to Lisbon for 3 travellers")]}, thread)

# %%
show(trace.get_trace("lisbon"))

# %% [markdown]
# What many traces have in common:

# %%
trip.invoke(
    {"messages": [("user", "Prepare a trip to Vienna")]}, {"configurable": {"thread_id": "vienna"}}
)
metrics = trace.get_trace_metrics()
print(metrics.total, metrics.statuses, metrics.success_rate)

# %% [markdown]
# ## Pictures of any thread
#
# These are read from the checkpoints alone. `format="mermaid"` and `"json"` are there too.

# %%
run = read_run(trip, thread)
print(generate_detailed_tool_trace(run))

# %%
print(generate_orchestrator_flowchart(run))

# %%
run  # the same as a table

# %% [markdown]
# ## What if another one had packed?
#
# The thread is copied up to the change; the old one stays as it is.

# %%
found = what_if(trip, thread, participant="packing", instead=lambda messages: "Pack sunglasses.")
found.difference

# %% [markdown]
# ## What if the supervisor had decided otherwise?

# %%
found = what_if(trip, thread, decision=SupervisorDecision(next_agent=None).model_dump(), round=2)
found.difference

# %%
show(found.result)

# %% [markdown]
# Any two runs can be compared:

# %%
print(compare_runs(run, read_run(trip, thread)))

# %% [markdown]
# ## With your own key
#
# What would another model have done? `what_if` runs the participant again, on a fork of the thread.
# Set `OPENAI_API_KEY` before the notebook starts. Without it, the cell does nothing.

# %%
import os

if os.environ.get("OPENAI_API_KEY"):
    other = Participant(
        model="openai:gpt-5-mini", tools=[ticket_price], description="Prices train tickets to a city."
    )
    print(what_if(trip, thread, participant="trains", instead=other).difference)

# %% [markdown]
# ## Exercises
#
# 1. Let `packing` raise an exception. Where does its traceback stand in `run`?
# 2. Draw the run as a timeline: `generate_timeline(run)`. What took longest?
# 3. Change the instruction of the first round: `what_if(trip, thread, round=1, decision={"next_agent":
#    "trains", "instruction": "Only for 2 travellers"})`.
