"""The demo's Hub: stock DockerSpawner behind Hubwarden's spawn gateway.

Invariants: Docker is reached through the gateway that DOCKER_HOST names. Names, network, image and volumes are those of
``deploy/demo/agent.toml``.
Must not: contain a password; ``deploy/demo/demo.sh`` makes one and passes it by environment.
"""

import os

from traitlets.config import Config, get_config

c: Config = get_config()

# Who may log in: anybody who knows the one password of this demo. Not for production.
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = os.environ["HUBWARDEN_DEMO_PASSWORD"]
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"admin"}

# Where it listens: the browser's side on every address of this container (compose.yml publishes it on loopback), the
# servers' side under the name that the network gives this container.
c.JupyterHub.bind_url = "http://:8000"
c.JupyterHub.hub_ip = "0.0.0.0"  # noqa: S104 - reachable from the demo's own network only
c.JupyterHub.hub_connect_ip = "hub"

# What it keeps, in a volume. Servers outlive the Hub's container, as they would in production.
c.JupyterHub.db_url = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/srv/jupyterhub/cookie_secret"  # noqa: S105 - a path, not a secret
c.ConfigurableHTTPProxy.pid_file = "/srv/jupyterhub/proxy.pid"
c.JupyterHub.cleanup_servers = False

# Unmodified DockerSpawner. Its default name template makes jupyterlab-NAME and, for named servers,
# jupyterlab-NAME--SERVER; `remove = False` keeps a stopped container and what was installed in it.
c.JupyterHub.spawner_class = "dockerspawner.DockerSpawner"
c.JupyterHub.allow_named_servers = True
c.DockerSpawner.prefix = "jupyterlab"
c.DockerSpawner.image = os.environ.get("HUBWARDEN_USER_IMAGE", "hubwarden-demo/user:latest")
c.DockerSpawner.network_name = os.environ.get("HUBWARDEN_NETWORK", "hubwarden-demo")
c.DockerSpawner.use_internal_ip = True
c.DockerSpawner.remove = False
c.DockerSpawner.volumes = {
    "jupyterlab-{username}_home": "/home/jovyan",
    "jupyterlab-{username}_workspace": "/workspace",
    "jupyterlab-{username}_cache": "/cache",
}
c.DockerSpawner.mem_limit = "1G"
c.DockerSpawner.cpu_limit = 1.0
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120

# Everything of Hubwarden: handlers, page, scopes and the Spawner's restart mechanics.
import hubwarden_hub; hubwarden_hub.configure(c)  # noqa: E402, E702, I001 - the one line an operator adds  # fmt: skip
