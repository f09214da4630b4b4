"""Every error of Asterism, one tree.

```
AsterismError
├── WorkflowBuildError      (ValueError)    the parts cannot make a workflow; lists every fault
├── ConfigurationError      (ValueError)    a model, thread or setting cannot be used
│   ├── ModelNotFoundError                  no such model, or its package or key is missing
│   └── InvalidThreadError                  no thread id, or one that is not allowed
├── InvalidRequestError     (ValueError)    the input of a run holds no request
├── BadDecisionError        (ValueError)    one answer of a decider cannot be read
├── RoutingError            (RuntimeError)  no valid decision within the bound
├── ThreadBusyError         (RuntimeError)  somebody else drives the thread, or the batch
├── UnknownParticipantError (LookupError)   a stored run waits for somebody who is gone
├── UnknownThreadError      (LookupError)   nothing is stored of a thread
├── WhatIfError             (ValueError)    a past run cannot be changed like that
├── AgentTimeoutError       (TimeoutError)  a participant gave no answer in time
├── BudgetExceededError     (RuntimeError)  a call does not fit into a budget
├── StalledError            (RuntimeError)  a model repeats a tool call without end
├── AbandonedError          (RuntimeError)  an attempt that was given up still wants to store
├── CircuitOpenError        (RuntimeError)  a service failed too often and is left alone
├── CapacityTimeoutError    (TimeoutError)  a service had no capacity left in time
├── ConsensusFailedError    (RuntimeError)  the participants did not agree
├── InvalidMemoryError      (ValueError)    something that cannot be remembered, or by nobody
├── RemoteError             (RuntimeError)  a participant elsewhere gave no usable answer
│   ├── RemoteConnectionError (ConnectionError) it cannot be reached, or the connection broke
│   ├── RemoteFailedError                   its own work has failed
│   ├── RemoteRedirectError                 it sends the call to where it may not go
│   ├── RemoteReplyError    (ValueError)    its answer cannot be read
│   ├── RemoteStatusError                   it refused the call
│   └── RemoteTimeoutError  (TimeoutError)  it gave no complete answer in time
├── AnswerError             (ValueError)    an answer to an open request is refused
│   ├── NothingPendingError                 nobody is waiting for an answer
│   └── UnknownRequestError                 the answered request is not open
├── ChildError              (RuntimeError)  a supervised child did not come to its end
│   ├── ChildFailedError                    it failed, and is not restarted any more
│   ├── ChildKilledError                    it was killed
│   ├── ChildPausedError                    it rests, and its supervisor is shut down
│   └── ChildTimeoutError   (TimeoutError)  it was not over in time, and was killed
├── ChildStateError         (RuntimeError)  a child cannot do that in its state
├── SpawnRefusedError       (RuntimeError)  a supervisor takes no more children
├── UnknownChildError       (LookupError)   a supervisor has no such child
├── ProgramStateError       (RuntimeError)  a program was not started, or is stopped
├── TaskFailedError         (RuntimeError)  a task of a program did not come to a result
└── StorageError            (OSError)       a database cannot be opened or used
```

Each has a stable `code` for programs and is also the built-in error that it resembles.
"""

from asterism.errors.children import (
    ChildError,
    ChildFailedError,
    ChildKilledError,
    ChildPausedError,
    ChildStateError,
    ChildTimeoutError,
    ProgramStateError,
    SpawnRefusedError,
    TaskFailedError,
    UnknownChildError,
)
from asterism.errors.remote import (
    RemoteConnectionError,
    RemoteError,
    RemoteFailedError,
    RemoteRedirectError,
    RemoteReplyError,
    RemoteStatusError,
    RemoteTimeoutError,
)
from asterism.errors.root import AsterismError
from asterism.errors.workflows import (
    AbandonedError,
    AgentTimeoutError,
    AnswerError,
    BadDecisionError,
    BudgetExceededError,
    CapacityTimeoutError,
    CircuitOpenError,
    ConfigurationError,
    ConsensusFailedError,
    InvalidMemoryError,
    InvalidRequestError,
    InvalidThreadError,
    ModelNotFoundError,
    NothingPendingError,
    RoutingError,
    StalledError,
    StorageError,
    ThreadBusyError,
    UnknownParticipantError,
    UnknownRequestError,
    UnknownThreadError,
    WhatIfError,
    WorkflowBuildError,
)

__all__ = [
    "AbandonedError",
    "AgentTimeoutError",
    "AnswerError",
    "AsterismError",
    "BadDecisionError",
    "BudgetExceededError",
    "CapacityTimeoutError",
    "ChildError",
    "ChildFailedError",
    "ChildKilledError",
    "ChildPausedError",
    "ChildStateError",
    "ChildTimeoutError",
    "CircuitOpenError",
    "ConfigurationError",
    "ConsensusFailedError",
    "InvalidMemoryError",
    "InvalidRequestError",
    "InvalidThreadError",
    "ModelNotFoundError",
    "NothingPendingError",
    "ProgramStateError",
    "RemoteConnectionError",
    "RemoteError",
    "RemoteFailedError",
    "RemoteRedirectError",
    "RemoteReplyError",
    "RemoteStatusError",
    "RemoteTimeoutError",
    "RoutingError",
    "SpawnRefusedError",
    "StalledError",
    "StorageError",
    "TaskFailedError",
    "ThreadBusyError",
    "UnknownChildError",
    "UnknownParticipantError",
    "UnknownRequestError",
    "UnknownThreadError",
    "WhatIfError",
    "WorkflowBuildError",
]
