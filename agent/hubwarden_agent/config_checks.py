"""What has to hold between the keys of `agent.toml`, once each value has its type.

Invariants: pure. Each mistake begins with the key that has to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from os.path import normpath

from hubwarden_agent import host_paths, image_references, mount_targets
from hubwarden_agent.addresses import TCP
from hubwarden_agent.config_tables import Config
from hubwarden_agent.config_types import UNSET
from hubwarden_agent.names import template_mistakes
from hubwarden_agent.spawn_allow import listed

HEALTH_SOCKET = "health.sock"
"""In the state directory: where health is asked for on this host."""


def errors(settings: Config, wrong: frozenset[str]) -> list[str]:
    """One sentence for each mistake that no key has by itself.

    Args:
        settings: with a default wherever a value was wrong.
        wrong: the keys of these values. Nothing is said of them, nor of what depends on them.
    """
    found = [
        mistake
        for check, keys in _CHECKS
        if not any(key.startswith(keys) for key in wrong)
        for mistake in check(settings)
    ]
    return [mistake for mistake in found if mistake.partition(":")[0] not in wrong]


def _template_mistakes(settings: Config) -> Iterator[str]:
    volumes = tuple(settings.spawn.volumes) if settings.listen.gateway else ()
    for key, mistake in template_mistakes(settings.names, volumes).items():
        yield f"{key}: {mistake}"


def _address_mistakes(settings: Config) -> Iterator[str]:
    """No two listeners are in one place, and none where Docker is or health will be."""
    taken = {_place(f"unix://{settings.state_directory}/{HEALTH_SOCKET}"): "the health socket in state.directory"}
    listen = settings.listen
    for key, addresses in (
        ("docker.host", (settings.docker.host,)),
        ("listen.grpc", listen.grpc),
        ("listen.gateway", (listen.gateway,)),
        ("listen.metrics", (listen.metrics,)),
    ):
        for address in filter(None, addresses):
            other = taken.setdefault(_place(address), key)
            if other != key:
                yield f"{key}: must not be the address of {other}"


def _place(address: str) -> str:
    """An address as it compares: sockets by their path, ports by host and number."""
    return normpath(address) if address.startswith("unix:") else address.removeprefix(TCP)


def _tls_mistakes(settings: Config) -> list[str]:
    """TCP never starts without its part of `[tls]`."""
    unset = [key for key in settings.listen.tls_keys if getattr(settings.tls, key) in (UNSET, ())]
    return [f"tls.{key}: must be set, because [listen] has a tcp:// address" for key in unset]


def _host_path_mistakes(settings: Config) -> Iterator[str]:
    """The files that have to be kept from a container are the engine's and the agent's own, homes' backups too."""
    tls, listen = settings.tls, settings.listen
    files = (settings.docker.host, settings.state_directory, settings.reset.backup_dir, *listen.grpc, listen.gateway)
    own = (
        str(file).removeprefix("unix://") for file in (*files, listen.metrics, tls.certificate, tls.key, tls.client_ca)
    )
    for mistake in host_paths.errors(settings.spawn.host_paths, tuple(path for path in own if path.startswith("/"))):
        yield f"spawn.host_paths: {mistake}"


def _image_mistakes(settings: Config) -> Iterator[str]:
    spawn = settings.spawn
    for image in spawn.pull:
        if image not in spawn.images:
            yield f"spawn.pull: {image} is not in spawn.images, so no server can use it"
    yield from image_references.errors(spawn.images, spawn.pull, listed(spawn.allow, "User").values())


def _target_mistakes(settings: Config) -> list[str]:
    return mount_targets.errors(settings.spawn.targets)


_CHECKS: tuple[tuple[Callable[[Config], Iterable[str]], tuple[str, ...]], ...] = (
    (_template_mistakes, ("names", "spawn.volumes")),
    (_address_mistakes, ()),
    (_tls_mistakes, ("listen.grpc", "listen.gateway")),
    (_host_path_mistakes, ("spawn.host_paths",)),
    (_image_mistakes, ("spawn.images", "spawn.pull")),
    (_target_mistakes, ()),
)
"""What holds between keys, and the beginnings of the keys without which that cannot be told."""
