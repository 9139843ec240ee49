"""Ending browser sessions at a server, and revoking the token of a server that the Hub forgets.

Invariants: ending sessions deletes only what was issued through the server's own OAuth client, whoever it was issued
to; the server's own token (client `jupyterhub`) and the OAuth client itself stay, because a restarted container has
both in its environment. The caller commits.
"""

from __future__ import annotations

from typing import Any

from jupyterhub import orm


def end_browser_sessions(db: Any, oauth_client_id: str) -> int:
    """Delete the tokens and codes of everybody's sessions at one server.

    Args:
        db: the Hub's database session. Not committed here.
        oauth_client_id: the Spawner's.

    Returns:
        how many there were.
    """
    # By a statement: many restarts may end together, and loading rows keeps the loop. "fetch" keeps the session true.
    mine = (db.query(table).filter_by(client_id=oauth_client_id) for table in (orm.APIToken, orm.OAuthCode))
    return sum(rows.delete(synchronize_session="fetch") for rows in mine)


def revoke_token(db: Any, api_token: str) -> None:
    """Revoke the token that a server has for the Hub, if there is one. Not committed here."""
    if (token := orm.APIToken.find(db, api_token)) is not None:
        db.delete(token)
