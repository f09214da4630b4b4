# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Many tasks, and teams within teams
#
# One decision may hand out many tasks. Each starts the moment that what it needs is done, gets
# the results of that in its request, and has a report of its own, also when it fails.

# %%
import re

from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    Agent,
    AgentOrchestrator,
    EventBus,
    Participant,
    SubAgentTask,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    batch_process,
    show,
    show_progress,
)

# %% [markdown]
# ## A plan
#
# `invitation` needs the venue and the menu. `music` fails, which stops nobody else; `dance`
# needs the music, so it is not even tried.


# %%
def scout(messages):
    """Finds venues."""
    return "Harbour Hall, 50 seats"


def cook(messages):
    """Writes menus."""
    return "Soup and bread"


def band(messages):
    """Makes music."""
    raise RuntimeError("the drummer is ill")


def writer(messages):
    """Writes invitations from what the tasks before resulted in."""
    reports = re.findall(r"<report from=.*>\n(.*)\n</report>", messages[-1].text)
    return f"You are invited! {'. '.join(reports)}."


def task(name, who, *needs):
    return SubAgentTask(
        task_id=name, agent_id=who, task_description=f"Do the {name}", dependencies=list(needs)
    )


def decide(view):
    if view.reports:
        return SupervisorDecision(next_agent=None)
    tasks = [
        task("venue", "scout"),
        task("menu", "cook"),
        task("music", "band"),
        task("invitation", "writer", "venue", "menu"),
        task("dance", "scout", "music"),
    ]
    return SupervisorDecision(next_agent=None, tasks=tasks)


party = (
    SupervisorWorkflowBuilder("Party", finish="forward", max_parallel_tasks=3)
    .participants(scout=scout, cook=cook, band=band, writer=writer)
    .with_manager(decide)
    .build(checkpointer=InMemorySaver())
)
thread = {"configurable": {"thread_id": "party"}}
result = party.invoke({"messages": [("user", "A party for 50")]}, thread)

# %% [markdown]
# What ran, by its tasks. Boxes side by side could run at the same time.

# %%
show(party, thread)

# %%
print(next(r["text"] for r in result["reports"] if r.get("task") == "invitation"))

# %% [markdown]
# ## An orchestrator
#
# A main agent plans for agents that are plain values: a name, a prompt, tools by name. Give them
# real models, each another one if you like. The offline model plans by its rules.


# %%
def ticket_price(city: str, travellers: int) -> str:
    """Tell what train tickets to a city cost."""
    return f"Ticket price: ${120 * travellers}.00 for {travellers} to {city}"


def room_price(city: str, travellers: int) -> str:
    """Tell what rooms in a city cost."""
    return f"Room price: ${80 * travellers}.00 a night for {travellers} in {city}"


bus = EventBus()
main = Agent(agent_id="main", model="offline")
trains = Agent(agent_id="trains", system_prompt="You find trains.", tools=["ticket_price"])
rooms = Agent(agent_id="rooms", system_prompt="You find rooms.", tools=["room_price"])

travel = AgentOrchestrator(main, available_tools=[ticket_price, room_price], events=bus)
for agent in (trains, rooms):
    travel.register_subagent(agent)

# %% [markdown]
# `show_progress` follows the event bus in one table, which changes in place.

# %%
with show_progress(bus):
    response = await travel.process("Prepare a trip to Porto for 2 travellers")

# %%
print(response.status, "-", response.total_tokens, "tokens")
print(response.content)

# %% [markdown]
# ## A team within a team
#
# A workflow is a participant as anything else is. Memory, questions, events and usage work at
# any depth.

# %%
kitchen = (
    SupervisorWorkflowBuilder("Kitchen", model="offline", description="Plans food and drinks.")
    .participants(
        food=Participant(runs=lambda messages: "Soup for all", description="Plans food."),
        drinks=Participant(runs=lambda messages: "Tea for all", description="Plans drinks."),
    )
    .build()
)
event = (
    SupervisorWorkflowBuilder("Event", model="offline")
    .participants(venue=scout, kitchen=kitchen)
    .build(checkpointer=InMemorySaver())
)
show(event, xray=True)

# %%
result = event.invoke({"messages": [("user", "Plan an evening")]}, thread)
show(event, thread)

# %% [markdown]
# ## Strategies without a model
#
# A fixed order can decide: `"sequential"`, `"parallel"`, `"hierarchical"`, or `"consensus"`,
# where all answer and then vote.


# %%
def proposes(proposal, vote):
    def member(messages):
        return f"vote: {vote}" if "vote" in messages[-1].text.lower() else proposal

    return Participant(runs=member, description="Proposes where to go.")


jury = (
    SupervisorWorkflowBuilder("Jury", finish="forward")
    .participants(
        harbour=proposes("Harbour Hall: 50 seats, by the water", vote="harbour"),
        garden=proposes("Garden House: 40 seats, if it does not rain", vote="harbour"),
        loft=proposes("The loft: 30 seats, cheap", vote="garden"),
    )
    .with_strategy("consensus")
    .build()
)
print(jury.invoke({"messages": [("user", "Where do we celebrate?")]})["messages"][-1].text)

# %% [markdown]
# ## Batches
#
# Many requests, each on a thread of its own, in order, a few at a time. Called again with the
# same `batch_id`, only what is not finished runs.

# %%
requests = [f"An evening for {number}" for number in (10, 20, 30)]
for outcome in batch_process(event, requests, batch_id="june", max_concurrent=2):
    print(outcome.index, outcome.status)

# %% [markdown]
# ## With your own key
#
# A language model plans by itself: it says which tasks there are and what needs what. Set
# `OPENAI_API_KEY` before the notebook starts. Without it, the cell does nothing.

# %%
import os

if os.environ.get("OPENAI_API_KEY"):
    planned = (
        SupervisorWorkflowBuilder("Party", model="openai:gpt-5-mini")
        .participants(scout=scout, cook=cook, writer=writer)
        .build(checkpointer=InMemorySaver())
    )
    planned.invoke({"messages": [("user", "A party for 50, with invitations")]}, thread)
    show(planned, thread)

# %% [markdown]
# ## Exercises
#
# 1. Give `band` a `RetryPolicy`: `Participant(runs=band, policies=[...])`. What does the report
#    say after the last attempt?
# 2. Let `dance` need nothing. Which boxes of the drawing stand side by side now?
# 3. Run the batch again with the same `batch_id`. How long does it take, and why?
