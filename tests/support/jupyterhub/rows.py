"""What the Hub's own database holds, read behind its back: nothing may be left over.

Invariants: read only, by SQL, so that neither the Hub's code nor Hubwarden's can influence the result.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from support.jupyterhub.people import Person
from support.jupyterhub.stack import Hub

# Whatever belongs to nobody, by what it is.
_ORPHANS = {
    "servers": """SELECT id FROM servers WHERE id NOT IN (SELECT server_id FROM spawners WHERE server_id IS NOT NULL)
        AND id NOT IN (SELECT _server_id FROM services WHERE _server_id IS NOT NULL)""",
    "spawners": "SELECT id FROM spawners WHERE user_id NOT IN (SELECT id FROM users)",
    "tokens": "SELECT id FROM api_tokens WHERE client_id NOT IN (SELECT identifier FROM oauth_clients)",
    "codes": "SELECT id FROM oauth_codes WHERE client_id NOT IN (SELECT identifier FROM oauth_clients)",
    "clients": """SELECT identifier FROM oauth_clients WHERE identifier LIKE 'jupyterhub-user-%' AND identifier NOT IN
        (SELECT 'jupyterhub-user-' || name FROM users)""",
}


def _select(hub: Hub, query: str, *parameters: str) -> list[str]:
    with closing(sqlite3.connect(Path(hub.options["directory"]) / "jupyterhub.sqlite", timeout=30)) as db:
        return [str(value) for (value,) in db.execute(query, parameters)]


def notes(hub: Hub) -> list[str]:
    """The Spawners' states that hold a note about an operation."""
    return [
        state for state in _select(hub, "SELECT state FROM spawners WHERE state IS NOT NULL") if "hubwarden" in state
    ]


def orphans(hub: Hub) -> dict[str, list[str]]:
    """Rows that belong to nobody, by table."""
    found = {table: _select(hub, query) for table, query in _ORPHANS.items()}
    return {table: rows for table, rows in found.items() if rows}


def own_rows(person: Person) -> dict[str, int]:
    """How many rows a user's running default server has: its Spawner, its Server, its token, its OAuth client."""
    counts = {
        "spawners": "SELECT count(*) FROM spawners JOIN users ON users.id = user_id WHERE users.name = ?",
        "servers": "SELECT count(server_id) FROM spawners JOIN users ON users.id = user_id WHERE users.name = ?",
        "tokens": """SELECT count(*) FROM api_tokens JOIN users ON users.id = user_id
            WHERE note LIKE 'Server at %' AND users.name = ?""",
        "clients": "SELECT count(*) FROM oauth_clients WHERE identifier = 'jupyterhub-user-' || ?",
        "sessions": "SELECT count(*) FROM api_tokens WHERE client_id = 'jupyterhub-user-' || ?",
    }
    return {what: int(_select(person.hub, query, person.name)[0]) for what, query in counts.items()}


ONE_RUNNING = {"spawners": 1, "servers": 1, "tokens": 1, "clients": 1, "sessions": 0}
"""`own_rows` of somebody whose server runs and whom no browser has a session with."""
