"""Housekeeping: old threads go, threads move between databases, a user is forgotten."""

from asterism.storage.retention.prune import USER_KEYS, Forgotten, Pruned, forget_user, prune
from asterism.storage.retention.transfer import export_thread, import_thread

__all__ = [
    "USER_KEYS",
    "Forgotten",
    "Pruned",
    "export_thread",
    "forget_user",
    "import_thread",
    "prune",
]
