"""The history's schema: a file of 0.1.0 is taken over, a newer one refused, and the migrations make what is used."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hubwarden_hub.batch_store import BatchStore
from hubwarden_hub.commands import RequestId
from hubwarden_hub.history import Filter, History
from hubwarden_hub.history_schema import METADATA, UnknownSchema, opened
from hubwarden_hub.records import Deed, End, Kind

LOG = logging.getLogger("test-history")
FILE_OF_0_1_0 = """
CREATE TABLE hubwarden_operations (
	id INTEGER NOT NULL,
	kind VARCHAR(16) NOT NULL,
	username VARCHAR(255) NOT NULL,
	server_name VARCHAR(255) NOT NULL,
	actor VARCHAR(300) NOT NULL,
	request_id VARCHAR(36) NOT NULL,
	began_at FLOAT NOT NULL,
	seconds FLOAT,
	result VARCHAR(16),
	reason VARCHAR(64),
	PRIMARY KEY (id)
);
CREATE INDEX ix_hubwarden_operations_username ON hubwarden_operations (username);
CREATE INDEX ix_hubwarden_operations_actor ON hubwarden_operations (actor);
CREATE INDEX ix_hubwarden_operations_request_id ON hubwarden_operations (request_id);
INSERT INTO hubwarden_operations VALUES
	(7, 'reset', 'alice', '', 'user:root', '6f1c9d1e-0000-4000-8000-000000000001', 1000.0, 1.5, 'failed', 'TOO_BUSY');
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that Hubwarden 0.1.0 left behind."""
    file = tmp_path / "history.sqlite"
    with sqlite3.connect(file) as connection:
        connection.executescript(FILE_OF_0_1_0)
    connection.close()
    return file


def version_of(file: Path) -> str:
    """The version of the schema that the file has."""
    connection = sqlite3.connect(file)
    (version,) = connection.execute("SELECT version_num FROM hubwarden_history_version").fetchone()
    connection.close()
    return str(version)


async def test_a_file_of_0_1_0_is_taken_over(file: Path) -> None:
    """When the file has no version, it gets one, keeps its entries, and new ones follow; also at a second start."""
    for expected in (["bob", "alice"], ["bob", "bob", "alice"]):
        history = History(f"sqlite:///{file}", 10, LOG)
        deed = Deed(Kind.RESTART, "bob", "", "user:bob", RequestId.new())
        history.begun(deed)
        history.ended(deed, End(None, 1.0))
        entries = await history.entries(Filter(), 10)
        history.close()
        assert [entry["username"] for entry in entries] == expected
        assert entries[-1] == {
            "id": 7,
            "kind": "reset",
            "username": "alice",
            "server_name": "",
            "actor": "user:root",
            "request_id": "6f1c9d1e-0000-4000-8000-000000000001",
            "began_at": 1000.0,
            "seconds": 1.5,
            "result": "failed",
            "reason": "TOO_BUSY",
        }
        assert version_of(file) == "0002"


def test_the_migrations_make_the_tables_that_are_used(file: Path) -> None:
    """When a file is new, or of 0.1.0, its tables, columns and indexes are afterwards those of the code."""
    for path in (file, file.with_name("new.sqlite")):
        engine = opened(f"sqlite:///{path}")
        with engine.connect() as connection:
            options = {"include_object": lambda _object, name, *_: name != "hubwarden_history_version"}
            assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
        engine.dispose()


async def test_a_newer_file_is_refused_and_left_alone(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When a newer Hubwarden has migrated the file, nothing is written to it, and the log says why."""
    opened(f"sqlite:///{file}").dispose()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE hubwarden_history_version SET version_num = '9999'")
    connection.close()
    before = file.read_bytes()
    history, batches = History(f"sqlite:///{file}", 10, LOG), BatchStore(f"sqlite:///{file}", LOG)
    history.begun(Deed(Kind.RESTART, "bob", "", "user:bob", RequestId.new()))
    with pytest.raises(UnknownSchema):
        await history.entries(Filter(), 10)
    assert not await batches.save({"id": "1"})
    history.close()
    assert file.read_bytes() == before
    assert "an entry of the history is lost: UnknownSchema" in caplog.text
    assert sa.inspect(opened("sqlite://")).has_table("hubwarden_batches")
