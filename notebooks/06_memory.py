# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Memory
#
# A participant remembers its own thread. A team shares a board. What is decided lasts across
# threads and is found again by asking. Each of them can be read, corrected and forgotten.

# %%
from tempfile import TemporaryDirectory

from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    LongTermMemory,
    Participant,
    Personality,
    ResponseCache,
    SharedMemory,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    memory,
    open_store,
    show,
)
from asterism.offline import OfflineChatModel

# %% [markdown]
# ## What a participant remembers
#
# Its own history, in its thread, and nobody else's.


# %%
def venues(messages):
    """Finds venues."""
    return f"Visit {len(messages) // 2 + 1}; the first was for: {messages[0].text}"


def once(view):
    return SupervisorDecision(next_agent=None if view.reports else "venue")


party = (
    SupervisorWorkflowBuilder("Party", finish="forward")
    .participants(venue=venues)
    .with_manager(once)
    .build(checkpointer=InMemorySaver())
)
thread = {"configurable": {"thread_id": "1"}}
for request in ("A hall for 50", "One by the water"):
    print(party.invoke({"messages": [("user", request)]}, thread)["messages"][-1].text)

# %% [markdown]
# `memory` opens it: read, edit, forget, take to another thread. The next visit sees the change.

# %%
own = memory(party, thread, "venue")
own.edit(own.messages()[0].id, "A hall for 60")
for message in own.messages():
    print(f"{message.type:>6} | {message.text}")

# %%
print(party.invoke({"messages": [("user", "Once more")]}, thread)["messages"][-1].text)
own.forget()
print(party.invoke({"messages": [("user", "A hall for 5")]}, thread)["messages"][-1].text)

# %% [markdown]
# ## What lasts: long-term memory
#
# What was remembered in one thread, and by one process, is found in another. Without embeddings
# the search is by words (BM25), so it needs no model and no network; `open_store(url,
# embeddings=...)` searches by meaning.

# %%
folder = TemporaryDirectory()
url = f"sqlite:///{folder.name}/memory.db"

with open_store(url) as store:
    notes = LongTermMemory(store=store, team="parties")
    notes.remember("Ann decided on Harbour Hall for the party", user="ann")
    notes.remember("The caterer does not deliver on Sundays", user="ann")

# %% [markdown]
# The store is closed. Opened again, as another process would, it has both:

# %%
with open_store(url) as store:
    notes = LongTermMemory(store=store, team="parties")
    for found in notes.recall("Which hall did we decide on last week?", user="ann", limit=1):
        print(found.text, "- found by", found.found_by)
    print(notes.recall("Which hall did we decide on?", user="bob"))  # Bob sees nothing of it

# %% [markdown]
# With `recalls=notes`, what fits the request stands below it, as information and not as an order.
# The user of a run is the `user_id` of its config; no model can name another one. A model decides
# here who works.


# %%
def planner(messages):
    """Plans parties."""
    return messages[-1].text


def recall_team(model, notes, store):
    return (
        SupervisorWorkflowBuilder("Party", model=model, finish="forward", recalls=notes)
        .participants(planner=planner)
        .build(checkpointer=InMemorySaver(), store=store)
    )


invite = {"messages": [("user", "Plan who is invited to the hall")]}
ann = {"configurable": {"thread_id": "2", "user_id": "ann"}}
with open_store(url) as store:
    notes = LongTermMemory(store=store, team="parties")
    show(recall_team("offline", notes, store).invoke(invite, ann))

# %% [markdown]
# ## What a team shares: a board with room for so much
#
# Where there is no room, what was used longest ago gives way, and the writer is told.

# %%
with open_store(url) as store:
    board = SharedMemory(store=store, team="parties", capacity_tokens=12)
    board.write("hall", "Harbour Hall", by="venue")
    board.write("food", "Tapas, no nuts", by="catering")
    print(board.read("hall"))
    print("gave way:", board.write("date", "December 15", by="venue"))

# %% [markdown]
# ## Calls that are not made twice
#
# A cache knows a call again by the model, its parameters, the tools and the messages. A hit costs
# nothing.

# %%
cache = ResponseCache("memory:", ttl=3600)
model = cache.on(OfflineChatModel())
for _ in range(3):
    model.invoke("What is the capital of France?")
print(cache.hits, "hits,", cache.misses, "miss")

# %% [markdown]
# ## Who one is
#
# A character is a value too, and becomes the same words each time.

# %%
careful = Personality(traits={"thorough": 0.9, "humorous": 0.2}, style="short sentences")
writer = Participant(prompt="You write invitations.", personality=careful)
print(*careful.sentences(), sep="\n")

# %% [markdown]
# ## With your own key
#
# Set `OPENAI_API_KEY` before the notebook starts. Without it, the cell does nothing.

# %%
import os

if os.environ.get("OPENAI_API_KEY"):
    with open_store(url) as store:
        notes = LongTermMemory(store=store, team="parties")
        team = recall_team("openai:gpt-5-mini", notes, store)
        show(team.invoke(invite, {"configurable": {"thread_id": "3", "user_id": "ann"}}))

# %% [markdown]
# ## Exercises
#
# 1. Take the history of `venue` to another thread, `own.fork("other")`, and ask there.
# 2. Forget what is known of Ann: `notes.forget_user("ann")`. What does the planner read then?
# 3. Ask the cached model with another temperature. Is it a hit?
