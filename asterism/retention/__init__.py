"""Housekeeping: old threads go, threads move between databases, a user is forgotten."""

from asterism.retention.pruning import Pruned, prune
from asterism.retention.transfer import export_thread, import_thread
from asterism.retention.users import USER_KEYS, Forgotten, forget_user

__all__ = [
    "USER_KEYS",
    "Forgotten",
    "Pruned",
    "export_thread",
    "forget_user",
    "import_thread",
    "prune",
]
