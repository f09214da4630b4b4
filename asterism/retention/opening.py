"""The rows of whatever database a saver has."""

from asterism.errors import ConfigurationError
from asterism.retention.rows import Rows


def open_rows(saver: object) -> Rows:
    """Return the rows of a saver that `open_checkpointer` opened.

    Raises:
        ConfigurationError: It stores nothing that lasts.
    """
    from asterism.sqlite import GroupCommitSaver

    if isinstance(saver, GroupCommitSaver):
        from asterism.retention.sqlite import SqliteRows

        return SqliteRows(saver)
    try:
        from asterism.postgres.saver import LeasedPostgresSaver
    except ImportError:
        pass
    else:
        if isinstance(saver, LeasedPostgresSaver):
            from asterism.retention.postgres import PostgresRows

            return PostgresRows(saver)
    raise ConfigurationError(
        f"Housekeeping needs a database, not {type(saver).__name__}. Allowed: what "
        "open_checkpointer opens at sqlite:///path or postgresql://..."
    )
