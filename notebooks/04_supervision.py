# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Budgets, and runs that are watched
#
# A budget is checked before each call, so that money is not spent and then regretted. A
# supervisor keeps long runs: it hears their progress, stops what hangs, restarts what fails.

# %%
import asyncio

from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    AgentQuota,
    AgentSupervisor,
    Budget,
    Participant,
    SupervisorConfig,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    Usage,
    lines_of,
    pending_requests,
    resume,
    show,
    show_progress,
    total_cost_breakdown,
)
from asterism.errors import ChildKilledError
from asterism.limits.prices import DEFAULT_PRICES, Price

# %% [markdown]
# ## What a run took
#
# The offline model is free. So that there is something to count, it is given a price here; real
# models have theirs in the package `genai-prices`.

# %%
prices = DEFAULT_PRICES.replaced({"offline": Price(input="0.50", output="2.00")})  # per million tokens


def shop(**options):
    clerk = Participant(model="offline", prompt="You tell prices.", description="Tells prices.")
    return SupervisorWorkflowBuilder("Shop", model="offline", prices=prices, **options).participants(
        clerk=clerk
    )


request = {"messages": [("user", "What does the book cost?")]}
result = shop().build().invoke(request)
total_cost_breakdown(result)

# %%
usage = Usage.of(lines_of(result))
print(usage.calls, "calls,", usage.tokens, "tokens,", usage.cost_usd, "dollars")

# %% [markdown]
# ## A budget that ends a run, and one that asks
#
# Two calls are allowed here; the run needs more. With `on_breach="end"` (the default) it ends
# with what there is and `status="limit"`.

# %%
result = shop(budget=Budget(max_calls=2)).build().invoke(request)
print(result["status"], "-", result["reason"])

# %%
asking = shop(budget=Budget(max_calls=2, on_breach="ask")).build(checkpointer=InMemorySaver())
thread = {"configurable": {"thread_id": "1"}}
asking.invoke(request, thread)
print(pending_requests(asking, thread)[0].prompt)

# %% [markdown]
# The answer is a higher limit, or `stop`. The run goes on where it was; nothing is repeated.

# %%
show(resume(asking, thread, "10"))

# %% [markdown]
# ## Children
#
# A child is a run of a graph on a thread. One of these works; one hangs in the middle of a call.


# %%
async def works(messages):
    await asyncio.sleep(0.05)
    return "done"


async def hangs(messages):
    await asyncio.sleep(3600)


def once(view):
    return SupervisorDecision(next_agent=None if view.reports else "worker")


def graph_of(function):
    return (
        SupervisorWorkflowBuilder("Child", finish="forward")
        .participants(worker=Participant(runs=function, description="Works."))
        .with_manager(once)
        .build(checkpointer=InMemorySaver())
    )


supervisor = AgentSupervisor(SupervisorConfig(max_children=10))
with show_progress(supervisor.bus):
    good = await supervisor.spawn("good", "Do it", graph_of(works))
    bad = await supervisor.spawn(
        "bad", "Do it", graph_of(hangs), AgentQuota(max_duration_seconds=0.3)
    )
    print((await supervisor.await_child(good))["status"])
    try:
        await supervisor.await_child(bad)
    except ChildKilledError as error:
        print(type(error).__name__)

# %%
show(supervisor.aggregate_progress())

# %% [markdown]
# ## A quota that is raised
#
# With `auto_kill_on_quota=False` a child rests at its limit, until it is raised.

# %%
careful = AgentSupervisor(SupervisorConfig(auto_kill_on_quota=False))
child = await careful.spawn(
    "talker", "What does the book cost?", shop().build(checkpointer=InMemorySaver()),
    AgentQuota(max_tokens=300),
)
await careful.settled()
print(careful.status(child), "- asks for more", careful.child(child).asks)

# %%
await careful.raise_quota(child, max_tokens=5_000)
print((await careful.await_child(child))["status"])
await careful.shutdown()
await supervisor.shutdown()
signs = ("heartbeat", "progress")
print([event.type.value for event in careful.bus.history() if event.type not in signs])

# %% [markdown]
# ## With your own key
#
# The same budget, in dollars, on a model that costs something. Set `OPENAI_API_KEY` before the
# notebook starts. Without it, the cell does nothing.

# %%
import os

if os.environ.get("OPENAI_API_KEY"):
    clerk = Participant(prompt="You tell prices.", description="Tells prices.")
    paid = SupervisorWorkflowBuilder(
        "Shop", model="openai:gpt-5-mini", budget=Budget(max_cost_usd="0.01")
    ).participants(clerk=clerk)
    print(total_cost_breakdown(paid.build().invoke(request)))

# %% [markdown]
# ## Exercises
#
# 1. Answer the budget's question with `stop`. What are `status` and `reason`?
# 2. Give the clerk a budget of its own: `Participant(..., budget=Budget(max_calls=1))`. Who is
#    stopped now, and what does the supervisor make of it?
# 3. Let `works` raise an exception in its first call. How often is it started, and what does
#    `SupervisorConfig(max_restarts=0)` change?
