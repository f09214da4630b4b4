"""Supervision: runs of graphs as children that are watched, paused, restarted and stopped.

```
who             AgentSupervisor (supervisor) over a Family (family) of Child (child)
what it may     AgentQuota, AgentQuotaUsage (quotas), measured by a Gauge (gauge)
how it runs     Attempt (attempts), heard by a Guard (guard), looked at by a Watch (watch),
                judged in verdicts, in the states of the table in states
left alone      Fence (fences), Crew (threads)
```

What the events tell, beside the `name` of the child:

```
spawned         thread_id, quotas, metadata
started         attempt; for a restart the reason, and abandoned
heartbeat       doing, and what is used: elapsed_seconds, cost_usd, tokens, iterations, ...
progress        doing: the step or the round that is done, and what is used
heartbeat_lost  silent_seconds, doing
quota_warning   quota, used, limit, percent
quota_exceeded  quota, used, limit, percent, action: killed or asked
paused          reason, asks (a quota to be raised), questions (for a person), what is used
resumed         attempt
completed       attempt, what is used
failed, killed, cancelled
                attempt, reason, what is used; abandoned, where something could not be stopped
```
"""

from asterism.supervision.config import OnHang, RestartStrategy, SupervisorConfig
from asterism.supervision.quotas import AgentQuota, AgentQuotaUsage
from asterism.supervision.status import AgentProgress, ChildStatus, SupervisedAgent
from asterism.supervision.supervisor import AgentSupervisor

__all__ = [
    "AgentProgress",
    "AgentQuota",
    "AgentQuotaUsage",
    "AgentSupervisor",
    "ChildStatus",
    "OnHang",
    "RestartStrategy",
    "SupervisedAgent",
    "SupervisorConfig",
]
