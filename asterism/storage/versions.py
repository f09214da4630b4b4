"""What each version of the library stores besides threads, and what an older one would not read.

Tests: tests/asterism/storage/test_versions.py.
"""

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any

from asterism.errors import ConfigurationError, StorageError
from asterism.storage.open import open_transactions
from asterism.storage.transactions import Execute

TABLES: Mapping[str, Mapping[str, str]] = {
    "0.1.0": {},
    "0.2.0": {},
    "0.3.0": {
        "asterism_steering": "messages for running teams that were not taken in yet",
        "asterism_accounts": "accounts of contracts: their limits would hold no more",
        "asterism_notices": "notes of who was sent a question: notices would be sent again",
        "asterism_events": "events from outside that were not taken in yet",
    },
}
"""The versions, the oldest first: the tables that came with each, and what stands in them."""


def find_losses(url: str, version: str) -> list[str]:
    """Say what an older version of the library would not read of a database; nothing is changed.

    Args:
        url: The database; see `open_checkpointer`.
        version: The older version, as `"0.2.0"`.

    Returns:
        A line for each kind of thing that is there, with how many there are.

    Raises:
        ConfigurationError: There is no such version.
        StorageError: The database cannot be used.
    """
    names = [*TABLES]
    if version not in names:
        raise ConfigurationError(
            f"There is no version {version!r} to go back to; allowed: {', '.join(names)}"
        )
    newer = {
        name: what
        for one in names[names.index(version) + 1 :]
        for name, what in TABLES[one].items()
    }
    found: list[str] = []
    with closing(open_transactions(url)) as transactions:
        for name, what in newer.items():
            query = f"SELECT COUNT(*) AS count FROM {name}"
            try:
                rows = transactions.run(partial(_read, query))
            except StorageError as error:
                if "no such table" not in str(error):
                    raise
                continue  # what first needs it makes it
            if count := int(rows[0]["count"]):
                found.append(f"{count} {what}")
    return found


def _read(query: str, execute: Execute) -> list[Mapping[str, Any]]:
    return execute(query)
