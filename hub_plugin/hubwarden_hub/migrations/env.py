"""How alembic reaches the database: by the connection that `history_schema.opened` hands over.

Must not: open a connection, or use JupyterHub's own `alembic_version` table, should both ever share a database.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="hubwarden_history_version")
with context.begin_transaction():
    context.run_migrations()
