"""What may be created: a decoded body held against the operator's policy, and the specification that comes of it.

Invariants: pure, no I/O. Every field of the `ContainerSpec` comes from the policy, from names that we derived, or
from a value that was compared with one of these; only the environment and the command are the Hub's own, and they act
inside the container (but for runtimes that read devices out of the environment: see the threat model). A refusal names
the field and the key of `[spawn]` that would allow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hubwarden_agent import ownership
from hubwarden_agent.engine.spawn_port import ContainerSpec
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.gateway import mounts, options
from hubwarden_agent.gateway.create_body import CreateBody, HostConfig
from hubwarden_agent.gateway.refusals import GatewayRefusal, field_refused, not_listed
from hubwarden_agent.names import ContainerName, Names, ServerName, Username
from hubwarden_agent.spawn_policy import SpawnPolicy

USER_VARIABLE = "JUPYTERHUB_USER"
SERVER_VARIABLE = "JUPYTERHUB_SERVER_NAME"
"""What JupyterHub tells every server about itself, raw, and so what tells us whose a container is to be."""

MIN_MEMORY = 6 * 1024**2
"""Docker's own minimum, in bytes."""

MIN_CPUS = 0.01
DEFAULT_CPU_PERIOD = 100_000
CPU_PERIODS = range(1_000, 1_000_001)
"""Microseconds, as the kernel takes them."""

SHARED_NETWORKS = frozenset({"host"})
"""Never, whatever the policy lists: this is the host's own network, loopback and all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be created, and for whom."""

    username: Username
    server_name: ServerName
    spec: ContainerSpec


def plan(body: CreateBody, name: ContainerName, policy: SpawnPolicy, names: Names) -> Plan:
    """Decide over a create.

    Args:
        body: the decoded body.
        name: the name that the container is to have.
        policy: the operator's.
        names: derives what the container and the volumes of the user are called.

    Raises:
        RequestRefused: 400, naming the field.
    """
    username, server_name = _whose(body)
    if names.container(username, server_name) != name:
        message = f"hubwarden: name is not that of the server in {USER_VARIABLE} and {SERVER_VARIABLE} ([names])"
        raise GatewayRefusal(message, Reason.NAME_MISMATCH)
    host = body.host
    spec = ContainerSpec(
        name=name,
        image=_listed(body.image, policy.images, "Image", "images"),
        labels=_labels(body.labels, policy.labels) | ownership.labels(username, server_name, names),
        environment=tuple(key if value is None else f"{key}={value}" for key, value in body.environment.items()),
        command=body.command,
        network=_network(host.network, policy),
        mounts=mounts.allowed(
            host.binds, [one.request for one in host.mounts], body.mount_points, mounts.offered(policy, names, username)
        ),
        memory=_memory(host.memory, policy.max_memory),
        cpus=_cpus(host, policy.max_cpus),
        pids=_at_most(host.pids, policy.max_pids, "HostConfig.PidsLimit", "max_pids"),
        auto_remove=host.auto_remove,
        exposed_ports=tuple(body.exposed_ports),
        published=_published(host, policy.publish),
        publish_address=policy.publish,
        options=options.allowed(body.options, policy, auto_remove=host.auto_remove),
    )
    return Plan(username, server_name, spec)


def _whose(body: CreateBody) -> tuple[Username, ServerName]:
    user, server = (body.environment.get(variable) or "" for variable in (USER_VARIABLE, SERVER_VARIABLE))
    try:
        return Username.parse(user), ServerName.parse(server)
    except RequestRefused as refusal:
        raise field_refused("Env", f"must name a user and a server ({USER_VARIABLE}, {SERVER_VARIABLE})") from refusal


def _listed(value: str, allowed: tuple[str, ...], field: str, key: str) -> str:
    if value not in allowed:
        raise not_listed(field, value, key)
    return value


def _network(network: str, policy: SpawnPolicy) -> str:
    if network in SHARED_NETWORKS:
        raise field_refused("HostConfig.NetworkMode", "is the host's own, which is never allowed")
    return _listed(network, policy.networks, "HostConfig.NetworkMode", "networks")


def _labels(asked: Mapping[str, str], allowed: Mapping[str, str]) -> dict[str, str]:
    """Other tools on a host act on labels, so the value counts as much as the key."""
    for key, value in asked.items():
        reserved = key.casefold().startswith(ownership.RESERVED_LABEL_PREFIX)
        if reserved or key not in allowed or allowed[key] != value:
            raise not_listed("Labels", {key: value}, "labels", "has a key and value")
    return dict(asked)


def _at_most(asked: int, maximum: int, field: str, key: str) -> int:
    if asked > maximum:
        raise field_refused(field, f"is more than the policy's maximum (spawn.{key})")
    return asked or maximum


def _memory(asked: int, maximum: int) -> int:
    if 0 < asked < MIN_MEMORY:
        raise field_refused("HostConfig.Memory", "is below Docker's minimum of 6MB")
    return _at_most(asked, maximum, "HostConfig.Memory", "max_memory")


def _cpus(host: HostConfig, maximum: float) -> float:
    if host.cpu_period and host.cpu_period not in CPU_PERIODS:
        raise field_refused("HostConfig.CpuPeriod", "must be between 1000 and 1000000 microseconds")
    cpus = host.cpu_quota / (host.cpu_period or DEFAULT_CPU_PERIOD)
    if 0 < cpus < MIN_CPUS:
        raise field_refused("HostConfig.CpuQuota", "is below Docker's minimum of 0.01 processors")
    if cpus > maximum:
        raise field_refused("HostConfig.CpuQuota", "is more than the policy's maximum (spawn.max_cpus)")
    return cpus or maximum


def _published(host: HostConfig, publish: str) -> tuple[str, ...]:
    """The ports to publish. At which address is the policy's, at which host port Docker's choice."""
    for _, binding in host.published:
        if not publish:
            raise field_refused("HostConfig.PortBindings", "publishes ports, which the policy does not (spawn.publish)")
        if binding.host_ip not in ("", publish):
            raise field_refused("HostConfig.PortBindings", "asks for another host address than spawn.publish")
        if binding.host_port not in ("", "0"):
            raise field_refused("HostConfig.PortBindings", "asks for a host port, which Docker has to choose")
    ports = tuple(port for port, _ in host.published)
    if len(set(ports)) != len(ports):
        raise field_refused("HostConfig.PortBindings", "publishes the same port twice")
    return ports
