"""The Hub under test: stock DockerSpawner, names with capitals kept, and whatever the test asks for on top."""

import json
import logging
import os
from typing import Any

import hubwarden_hub
from jupyterhub.auth import DummyAuthenticator

settings = json.loads(os.environ["HUBWARDEN_TEST"])
c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821 - JupyterHub provides it


class KeepCase(DummyAuthenticator):  # type: ignore[misc]  # JupyterHub is not typed
    """Everybody is who they say they are, spelled as they spell it."""

    def normalize_username(self, username: str) -> str:
        """Leave it alone."""
        return username


c.JupyterHub.authenticator_class = KeepCase
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"root-admin"}
c.DummyAuthenticator.password = "secret"
c.JupyterHub.spawner_class = "docker"
c.JupyterHub.bind_url = f"http://127.0.0.1:{settings['port']}{settings['base_url']}"
c.JupyterHub.hub_port = settings["hub_port"]
c.JupyterHub.db_url = f"sqlite:///{settings['directory']}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{settings['directory']}/cookie_secret"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.last_activity_interval = 2
c.JupyterHub.allow_named_servers = True
c.ConfigurableHTTPProxy.command = settings["proxy_command"]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings['proxy_api_port']}"
c.ConfigurableHTTPProxy.auth_token = "proxy-secret"
c.ConfigurableHTTPProxy.pid_file = f"{settings['directory']}/proxy.pid"
c.JupyterHub.services = [
    {"name": "operator", "api_token": settings["token"]},
    {"name": "culler", "api_token": settings["token"] + "-culler"},
    {"name": "restarter", "api_token": settings["token"] + "-restarter"},
    {"name": "assistant", "api_token": settings["token"] + "-assistant"},
]
c.JupyterHub.load_roles = [
    {
        "name": "operator",
        "scopes": [
            "admin:users",
            "admin:servers",
            "tokens",
            "proxy",
            "custom:hubwarden:reset",
            "access:servers",
            "read:metrics",
            "admin:groups",
        ],
        "services": ["operator"],
    },
    {"name": "culler", "scopes": ["list:users", "read:servers", "delete:servers"], "services": ["culler"]},
    {"name": "restarter", "scopes": ["servers"], "services": ["restarter"]},
    {
        "name": "assistant",
        "scopes": ["servers!group=course", "custom:hubwarden:reset!group=course"],
        "services": ["assistant"],
    },
]
c.Spawner.poll_interval = 1
c.Spawner.http_timeout = 20
c.DockerSpawner.image = settings["image"]
c.DockerSpawner.prefix = "jupyterlab"
c.DockerSpawner.volumes = {
    "jupyterlab-{username}_home": "/home/jovyan",
    "jupyterlab-{username}_workspace": "/workspace",
    "jupyterlab-{username}_cache": "/cache",
}
c.DockerSpawner.remove = settings["remove"]
c.DockerSpawner.use_internal_ip = settings["use_internal_ip"]
c.DockerSpawner.network_name = "bridge"
c.Hubwarden.agent_address = f"unix://{settings['agent_socket']}"
c.Hubwarden.stop_timeout = 2

# JupyterHub 5 and 6 have EventLogger; 4 has EventLog, which asks for each schema.
events = logging.FileHandler(f"{settings['directory']}/events.jsonl", delay=True)
c.EventLogger.handlers = c.EventLog.handlers = [events]
c.EventLog.allowed_schemas = ["urn:hubwarden:hub:operation"]

for line in settings["lines_before"]:
    exec(line)  # noqa: S102 - the test's own text
hubwarden_hub.configure(c)
for line in settings["lines_after"]:
    exec(line)  # noqa: S102 - the test's own text
