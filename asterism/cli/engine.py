"""All of the engine that commands use."""

from asterism.cli.doctor import examine, report
from asterism.cli.output import again, finish
from asterism.cli.page import serve_page
from asterism.cli.running import drive
from asterism.cli.supervise import supervise_file, supervision_summary
from asterism.cli.trace import picture
from asterism.core.continuation import is_unfinished
from asterism.core.interrupts import answer_command, apending_requests
from asterism.events import Event, EventBus
from asterism.graphs.catalog import SHIPPED, allowed_graphs, check_named, open_graph
from asterism.memories.long_term import forget_everywhere
from asterism.observability import Format
from asterism.storage.open import (
    aopen_checkpointer,
    is_postgres,
    migrate,
    open_checkpointer,
    open_store,
)
from asterism.storage.retention import USER_KEYS, export_thread, forget_user, import_thread, prune
from asterism.supervision import AgentProgress, SupervisorConfig
from asterism.threads import (
    MEMORY_FILE,
    check_model_label,
    config_of,
    list_threads,
    open_database,
    origin_of,
    reader_of,
    transcript,
)

__all__ = [
    "MEMORY_FILE",
    "SHIPPED",
    "USER_KEYS",
    "AgentProgress",
    "Event",
    "EventBus",
    "Format",
    "SupervisorConfig",
    "again",
    "allowed_graphs",
    "answer_command",
    "aopen_checkpointer",
    "apending_requests",
    "check_model_label",
    "check_named",
    "config_of",
    "drive",
    "examine",
    "export_thread",
    "finish",
    "forget_everywhere",
    "forget_user",
    "import_thread",
    "is_postgres",
    "is_unfinished",
    "list_threads",
    "migrate",
    "open_checkpointer",
    "open_database",
    "open_graph",
    "open_store",
    "origin_of",
    "picture",
    "prune",
    "reader_of",
    "report",
    "serve_page",
    "supervise_file",
    "supervision_summary",
    "transcript",
]
