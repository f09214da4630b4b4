"""All of the engine that commands use."""

from asterism.cli.output import finish
from asterism.cli.page import serve_page
from asterism.cli.running import drive
from asterism.cli.supervise import summary, supervise_file
from asterism.cli.trace import picture
from asterism.events import Event, EventBus
from asterism.graphs.catalog import SHIPPED, open_graph
from asterism.people import answer_command, apending_requests
from asterism.pictures import Format
from asterism.remembering.longterm import forget_everywhere
from asterism.retention import USER_KEYS, export_thread, forget_user, import_thread, prune
from asterism.runs import is_unfinished
from asterism.storage import aopen_checkpointer, is_postgres, migrate, open_checkpointer, open_store
from asterism.supervision import AgentProgress, SupervisorConfig
from asterism.threads import MEMORY_FILE, config_of, database, list_threads, origin_of, transcript

__all__ = [
    "MEMORY_FILE",
    "SHIPPED",
    "USER_KEYS",
    "AgentProgress",
    "Event",
    "EventBus",
    "Format",
    "SupervisorConfig",
    "answer_command",
    "aopen_checkpointer",
    "apending_requests",
    "config_of",
    "database",
    "drive",
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
    "open_graph",
    "open_store",
    "origin_of",
    "picture",
    "prune",
    "serve_page",
    "summary",
    "supervise_file",
    "transcript",
]
