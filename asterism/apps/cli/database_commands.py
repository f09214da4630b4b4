"""The commands that keep a database: prepare, prune, export, import, forget."""

import json
import re
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from asterism.apps.cli.lazy_engine import engine
from asterism.apps.cli.options import (
    ERRORS,
    FAILED,
    KEEP,
    LOOK,
    AsJson,
    Database,
    ThreadId,
    exit_with,
    print_json,
    print_text,
    text_of,
)
from asterism.errors import ConfigurationError, StorageError

commands = typer.Typer()

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@commands.command("migrate", rich_help_panel=KEEP)
def migrate_database(
    back_to: Annotated[
        str | None,
        typer.Option(help="Change nothing; print what this older version would not read."),
    ] = None,
    db: Database = None,
) -> None:
    """Create the tables of a Postgres database, or upgrade them.

    Example: asterism migrate --db postgresql://user:password@host/name
    """

    async def work() -> int:
        if back_to is not None:
            from asterism.storage.versions import find_losses

            losses = find_losses(engine.open_database(db), back_to)
            print_text("\n".join(losses) or f"Version {back_to} reads all that is there.")
            return FAILED if losses else 0
        engine.migrate(engine.open_database(db))
        ERRORS.print("The database is ready.")
        return 0

    exit_with(work())


@commands.command("prune", rich_help_panel=KEEP)
def prune_database(
    older_than: Annotated[
        str | None, typer.Option(help="Delete threads of this age: 30d, 12h, 4w.")
    ] = None,
    keep_last: Annotated[
        int | None, typer.Option(min=1, help="Keep this many checkpoints of each other thread.")
    ] = None,
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="Delete old threads that wait or are stopped as well."),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Shrink the file; other processes wait meanwhile.")
    ] = False,
    db: Database = None,
    as_json: AsJson = False,
) -> None:
    """Delete old threads. Running, waiting and resumable ones are kept.

    Example: asterism prune --older-than 30d --keep-last 10
    """

    async def work() -> int:
        age = None if older_than is None else age_of(older_than)
        with engine.open_checkpointer(engine.open_database(db)) as saver:
            found = engine.prune(
                saver, older_than=age, keep_last=keep_last, unfinished=unfinished, full=full
            )
        if as_json:
            print_json(asdict(found))
            return 0
        print_text(
            f"{found.threads} threads and {found.checkpoints} checkpoints of others deleted; "
            f"{found.busy} driven and {found.unfinished} unfinished threads left alone, "
            f"{found.damaged} damaged ones as well; "
            f"{found.bytes_before / 1e6:.1f} MB are now {found.bytes_after / 1e6:.1f} MB."
        )
        return 0

    exit_with(work())


@commands.command("export", rich_help_panel=KEEP)
def export_to_json(
    thread: ThreadId,
    out: Annotated[Path | None, typer.Option(help="The file to write. Default: print.")] = None,
    db: Database = None,
) -> None:
    """Write a thread, with those of its participants, as JSON.

    Example: asterism export THREAD --out thread.json
    """

    async def work() -> int:
        with engine.open_checkpointer(engine.open_database(db)) as saver:
            data = engine.export_thread(saver, thread)
        if out is None:
            print_json(data, indent=1)
        else:
            out.touch(mode=0o600)  # what people told the workflow stands in it
            text = json.dumps(data, ensure_ascii=False, indent=1)
            out.write_text(f"{text}\n", encoding="utf-8")
        return 0

    exit_with(work())


@commands.command("import", rich_help_panel=KEEP)
def import_from_json(
    file: Annotated[Path, typer.Argument(help="A file that `asterism export` wrote.")],
    thread: Annotated[str | None, typer.Option(help="Another id for the thread.")] = None,
    db: Database = None,
) -> None:
    """Store an exported thread, and print its id.

    Example: asterism import thread.json --db other.db
    """

    async def work() -> int:
        with engine.open_checkpointer(engine.open_database(db)) as saver:
            name = engine.import_thread(saver, _read(file), thread_id=thread)
        print_text(name)
        return 0

    exit_with(work())


@commands.command("spend", rich_help_panel=LOOK)
def show_spending(
    by: Annotated[
        list[str] | None,
        typer.Option(help="Tell apart: account, team, participant, model, day; may be repeated."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="The first day: 2026-11-30, or an age such as 7d.")
    ] = None,
    db: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show what users, tenants and teams with contracts have spent.

    Example: asterism spend --by account --by model --since 7d
    """

    async def work() -> int:
        from asterism.storage.contract_ledger import ContractLedger
        from asterism.storage.open import open_transactions

        names = tuple(by or ("account", "participant", "model"))
        with closing(open_transactions(engine.open_database(db))) as transactions:
            rows = ContractLedger(transactions).spending(names, since=_first_day(since))
        if as_json:
            print_json(rows)
            return 0
        if not rows:
            ERRORS.print("Nothing is counted yet. Teams count with contracts=[Contract(...)].")
            return 0
        table = Table(*names, "calls", "tokens", "seconds", "US dollars", box=None)
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        print_text(text_of(table))
        return 0

    exit_with(work())


@commands.command("forget", rich_help_panel=KEEP)
def forget(
    user: Annotated[str, typer.Argument(help="The id of the user.")],
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="A key of `configurable` or metadata that holds the user's id; may be repeated."
        ),
    ] = None,
    db: Database = None,
) -> None:
    """Delete all threads of a user, finished or not, and the memories about them.

    Example: asterism forget ann@example.com --key user_id
    """

    async def work() -> int:
        with (
            engine.open_checkpointer(engine.open_database(db)) as saver,
            engine.open_store(engine.open_database(db)) as store,
        ):
            found = engine.forget_user(saver, user, keys=tuple(key or engine.USER_KEYS))
            memories = engine.forget_everywhere(store, user)
        print_text(f"{len(found.threads)} threads and {memories} memories deleted.")
        if found.busy:
            ERRORS.print(
                f"{len(found.busy)} threads are driven just now: {', '.join(found.busy)}. "
                "Run this again when they are over.",
                markup=False,
            )
        return FAILED if found.busy else 0

    exit_with(work())


def age_of(text: str) -> timedelta:
    """Read an age such as `30d`.

    Raises:
        ConfigurationError: It is none.
    """
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if found is None:
        raise ConfigurationError(
            f"The age is {text!r}. Allowed: a number with m, h, d or w for minutes, hours, days "
            "or weeks, such as 30d."
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _first_day(since: str | None) -> str | None:
    """Read a day, or an age as the day that it leads back to."""
    if since is None or re.fullmatch(r"\d{4}-\d\d-\d\d", since):
        return since
    return f"{datetime.now(UTC) - age_of(since):%Y-%m-%d}"


def _read(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"The file {str(file)!r} cannot be read as JSON: {error}") from error
