"""What new code means for the threads that are stored: `check` tells it before it is deployed.

```
dry_run      the next step of a thread, in a copy: no model is called, no code of the user runs
faults       what stored state names that new code does not have
check        all threads of a database, and the rounds of past ones; what differs
report       the result, as text and as JSON
```
"""
