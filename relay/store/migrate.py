"""Brings a database to the schema of this release, with Alembic, under the database's lock.

Alembic is imported only where there is something to do: a relay that runs for months need not carry it.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, select, text

from protocol.errors import ConfigInvalid
from relay.store.engine import Database

HEAD = "0004"
"""The revision of tables.py; a test compares it with the migrations' own."""

KNOWN = ("0001", "0002", "0003", "0004")
"""Revisions that this release can start from, oldest first."""


async def revision(database: Database) -> str | None:
    """Of the database; None where it is empty. Raises ConfigInvalid where it is something else's."""
    return await database.read(_revision)


def _revision(connection: Connection) -> str | None:
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise ConfigInvalid("the database is not a relay's", hint="[store] database names the file.")
    return str(connection.execute(select(text("version_num")).select_from(text("alembic_version"))).scalar_one())


async def migrate(database: Database) -> bool:
    """Bring it to HEAD; return whether there was anything to do. Raises ConfigInvalid for a newer release's."""
    current = await revision(database)
    if current == HEAD:
        return False
    if current is not None and current not in KNOWN:
        raise ConfigInvalid(
            f"the database is of another release (schema {current[:20]}, this one knows {HEAD})",
            code="schema_unknown",
            hint="Run the newer release, or restore the backup that was made before it.",
        )
    await database.write(_upgrade)
    return True


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
