"""What new code would do with a stored thread, found without a model and without code of the user.

```
dry_run      the next step of a thread, in a copy
faults       what stored state names that new code does not have
report       what differs, as text and as JSON
recordings   threads as tests: their steps, and where new code sends something else
```
"""
