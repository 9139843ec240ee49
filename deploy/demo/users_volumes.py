"""Prints the volumes that the users in a demo Hub's database have or can have, one name a line.

Fed to the Hub image's Python by stack.sh, with the Hub's volume mounted.
Invariants: names are derived from user names, as agent.toml's templates and DockerSpawner's escaping do.
Must not: write to the database.
"""

import sqlite3
import sys
from pathlib import Path
from string import ascii_lowercase, digits

import escapism

DATABASE = Path("/srv/jupyterhub/jupyterhub.sqlite")

if DATABASE.exists():
    with sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True) as database:
        for (name,) in database.execute("select name from users"):
            escaped = escapism.escape(name, safe=set(ascii_lowercase + digits), escape_char="-").lower()
            for kind in ("home", "workspace", "cache"):
                sys.stdout.write(f"jupyterlab-{escaped}_{kind}\n")
