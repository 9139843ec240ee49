"""Restart Server and Reset Home Volume for the users of a JupyterHub, without the Docker socket in the Hub.

Everything an operator needs is `configure`; the settings are `hubwarden_hub.settings.Hubwarden`'s traits. The package
must never import `docker` or `hubwarden_agent`: what is privileged happens behind the agent's socket.
"""

from hubwarden_hub.configuration import configure

__all__ = ["configure"]
