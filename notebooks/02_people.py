# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Asking people, approving tools
#
# A run that needs a person stops where it is, is stored, and goes on with the answer: in a
# minute, or next week in another process. Nothing that was done before is done again.

# %%
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt
from pydantic import BaseModel

from asterism import (
    Participant,
    SubAgentTask,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    pending_requests,
    resume,
    show,
)
from asterism.errors import AnswerError
from asterism.testing import ScriptedChatModel, ScriptedReply

# %% [markdown]
# ## A question with a typed answer
#
# A participant asks with LangGraph's `interrupt`. A pydantic model says what the answer has to
# look like.


# %%
class Address(BaseModel):
    street: str
    number: int


def courier(messages):
    """Delivers parcels."""
    to = interrupt({"prompt": "Where does the parcel go?"}, response_schema=Address)
    return f"Delivered to {to.street} {to.number}."


# %% [markdown]
# ## A tool that needs an approval
#
# LangChain's `HumanInTheLoopMiddleware` holds a tool call until a person has approved it. The
# model here is scripted, as in a test: it calls `pay` once, then says that it is done.

# %%
paid = []


def pay(amount: int) -> str:
    """Pay an amount in dollars."""
    paid.append(amount)
    return f"paid {amount}"


model = ScriptedChatModel(
    script=[ScriptedReply(tool_calls=[("pay", {"amount": 900})]), "The bill is paid."]
)
bank = create_agent(model, [pay], middleware=[HumanInTheLoopMiddleware(interrupt_on={"pay": True})])

# %% [markdown]
# ## Both at once
#
# The supervisor gives two tasks, which run side by side. A rule decides here; a model would do
# the same with `model="openai:gpt-5-mini"`.


# %%
def decide(view):
    if view.reports:
        return SupervisorDecision(next_agent=None)
    return SupervisorDecision(
        next_agent=None,
        tasks=[
            SubAgentTask(task_id="parcel", agent_id="courier", task_description="Deliver it"),
            SubAgentTask(task_id="bill", agent_id="bank", task_description="Pay the bill"),
        ],
    )


office = (
    SupervisorWorkflowBuilder("Office", finish="forward")
    .participants(courier=courier, bank=Participant(runs=bank, description="Pays bills."))
    .with_manager(decide)
    .build(checkpointer=InMemorySaver())
)
thread = {"configurable": {"thread_id": "1"}}
result = office.invoke({"messages": [("user", "Send the parcel and pay the bill")]}, thread)
result["status"]

# %% [markdown]
# All open requests of a run, at any depth, each with who asks:

# %%
for request in pending_requests(office, thread):
    print(f"{request.participant} ({request.request_type}): {request.prompt}")

# %% [markdown]
# ## Answers are checked before anything runs
#
# Where several are open, answers go by id, some now and some later. One that does not fit is
# refused, and the question stays open.

# %%
requests = {request.participant: request.id for request in pending_requests(office, thread)}
try:
    resume(office, thread, {requests["courier"]: {"street": "Main Street"}})
except AnswerError as error:
    print(error)

# %%
answer = {requests["courier"]: {"street": "Main Street", "number": 6}}
result = resume(office, thread, answer)
print(result["status"], paid)

# %% [markdown]
# An approval is `"approve"`, `"reject"`, or a decision in full, such as an edit:

# %%
edited = {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 90}}}
result = resume(office, thread, {requests["bank"]: edited})
show(result)

# %%
paid  # once, and what was approved

# %% [markdown]
# ## What the supervisor asks
#
# The supervisor asks as well, when it cannot route without an answer: a decision with
# `user_input_needed=True`. The answer then stands in the conversation, and both the request and
# the answer reach whoever works next.


# %%
def asks_first(view):
    if view.iterations == 0:
        return SupervisorDecision(
            next_agent=None, user_input_needed=True, user_prompt="By air or by sea?"
        )
    return SupervisorDecision(next_agent=None if view.reports else "courier")


def reads(messages):
    """Says what it was asked."""
    return messages[-1].text


post = (
    SupervisorWorkflowBuilder("Post", finish="forward")
    .participants(courier=reads)
    .with_manager(asks_first)
    .build(checkpointer=InMemorySaver())
)
post.invoke({"messages": [("user", "Send it to Lisbon")]}, thread)
print(resume(post, thread, "By sea")["messages"][-1].text)

# %% [markdown]
# ## A model that decides
#
# So far rules and scripts decided. Here a model routes, fills in the arguments and asks for what
# is missing; `approve` holds the tool call. The offline model follows fixed rules.


# %%
def book_table(city: str, people: int) -> str:
    """Book a table in a restaurant of a city."""
    return f"Booked a table for {people} in {city}."


def dinner(model):
    tables = Participant(
        tools=[book_table], approve=["book_table"], description="Books tables in restaurants."
    )
    return SupervisorWorkflowBuilder("Dinner", model=model).participants(tables=tables).build(
        checkpointer=InMemorySaver()
    )


team = dinner("offline")
team.invoke({"messages": [("user", "Book a table in Porto")]}, thread)
print(pending_requests(team, "1")[0].prompt)
resume(team, "1", "4 people")
print(pending_requests(team, "1")[0].prompt)
show(resume(team, "1", "approve"))

# %% [markdown]
# ## With your own key
#
# Set `OPENAI_API_KEY` before the notebook starts. Without it, the cell does nothing.

# %%
import os

if os.environ.get("OPENAI_API_KEY"):
    team = dinner("openai:gpt-5-mini")
    team.invoke({"messages": [("user", "Book a table in Porto for 4 people")]}, thread)
    print(pending_requests(team, "1"))

# %% [markdown]
# ## Exercises
#
# 1. Let the person only approve or reject: `approve={"book_table": {"allowed_decisions":
#    ["approve", "reject"]}}`. What does an edit say now?
# 2. Reject the booking with a reason. What does the participant do with it?
# 3. Replace `InMemorySaver()` by `"sqlite:///dinner.db"`, restart the kernel while a question is
#    open, and answer it.
