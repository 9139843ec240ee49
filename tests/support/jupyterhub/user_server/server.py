"""Stands in for jupyterhub-singleuser: answers below its prefix, says whose it is, and misbehaves on request.

What it does at SIGTERM and at its later starts depends on how its user is called: `stubborn...` ignores SIGTERM,
`sulky...` does not come back once, `slow...` takes some seconds until it listens again.
"""

import http.server
import json
import os
import pathlib
import signal
import sys
import time

USER = os.environ["JUPYTERHUB_USER"]
PREFIX = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
STARTS = pathlib.Path("/starts")


class Handler(http.server.BaseHTTPRequestHandler):
    """Says who it is to every GET below the prefix."""

    def do_GET(self) -> None:
        """Answer 404 for other users' prefixes, as a Jupyter server does."""
        mine = self.path.startswith(PREFIX)
        body = json.dumps({"user": USER, "host": os.uname().nodename}, ensure_ascii=False).encode()
        self.send_response(200 if mine else 404)
        self.send_header("X-JupyterHub-Version", "0.0.0")
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


with STARTS.open("a+") as starts:
    starts.write("x")
starts_so_far = STARTS.stat().st_size
signal.signal(signal.SIGTERM, signal.SIG_IGN if USER.startswith("stubborn") else lambda *_: sys.exit(0))
if starts_so_far == 2 and USER.startswith("sulky"):
    sys.exit(1)
if starts_so_far > 1 and USER.startswith("slow"):
    time.sleep(4)
http.server.ThreadingHTTPServer(("0.0.0.0", 8888), Handler).serve_forever()  # noqa: S104 - inside a container
