"""The database of history and batches: one alembic migration a version of its schema, applied when it is opened.

Invariants: tables and columns keep their names; a file of Hubwarden 0.1.0, which has no version, is taken over with all
its entries; a database of a newer Hubwarden is refused and left as it is; one thread at a time migrates.
"""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

MIGRATIONS = Path(__file__).parent / "migrations"
METADATA = sa.MetaData()
OPERATIONS = sa.Table(
    "hubwarden_operations",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("username", sa.String(255), nullable=False, index=True),
    sa.Column("server_name", sa.String(255), nullable=False),
    sa.Column("actor", sa.String(300), nullable=False, index=True),
    sa.Column("request_id", sa.String(36), nullable=False, index=True),
    sa.Column("began_at", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float),
    sa.Column("result", sa.String(16)),
    sa.Column("reason", sa.String(64)),
)
BATCHES = sa.Table(
    "hubwarden_batches",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("batch", sa.JSON, nullable=False),
)
_migrating = threading.Lock()
"""alembic's context is one for the whole process."""


class UnknownSchema(sa.exc.SQLAlchemyError):
    """The database has a version that is not known here."""


def opened(url: str) -> sa.Engine:
    """An engine whose database has this version's schema.

    Raises:
        UnknownSchema: a newer Hubwarden has written to it.
        sqlalchemy.exc.SQLAlchemyError: the database does not answer.
    """
    engine = sa.create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with _migrating, engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise UnknownSchema(f"The history's database is not this version's: {error}") from error
    return engine
