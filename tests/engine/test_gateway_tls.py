"""A gateway on TCP before the real engine: docker-py with `tls_config`, as a DockerSpawner on another host has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from docker import APIClient  # noqa: TID251 - the client that DockerSpawner uses
from docker.errors import DockerException, NotFound  # noqa: TID251 - the client that DockerSpawner uses
from docker.tls import TLSConfig  # noqa: TID251 - the client that DockerSpawner uses
from hubwarden_agent.tools import certs
from support.agent import process
from support.agent.process import Place
from support.agent.tls import LOOPBACK, SERVER, authority, issued, pem
from support.docker.private_engine import Workbench
from support.waiting.conditions import wait_for
from support.waiting.ports import free_port

CA = authority()


def client(directory: Path, port: int, identity: certs.Identity | None) -> APIClient:
    """docker-py as DockerSpawner makes it from `tls_config`."""
    certificate, key = pem(identity) if identity else (b"", b"")
    (directory / "cert.pem").write_bytes(certificate)
    (directory / "key.pem").write_bytes(key)
    (directory / "ca.pem").write_bytes(pem(CA)[0])
    pair = (str(directory / "cert.pem"), str(directory / "key.pem")) if identity else None
    tls = TLSConfig(client_cert=pair, ca_cert=str(directory / "ca.pem"), verify=True)
    return APIClient(base_url=f"tcp://127.0.0.1:{port}", version="auto", tls=tls)


@pytest.fixture(autouse=True)
def _own_ca(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests would let the machine's bundle replace the CA of `tls_config`."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def port(place: Place, bench: Workbench) -> Iterator[int]:
    """The port of the gateway of a serving agent."""
    port, files = free_port(), place.directory
    certificate, key = pem(issued(CA, LOOPBACK, purpose=SERVER))
    (files / "agent.crt").write_bytes(certificate)
    (files / "agent.key").write_bytes(key)
    (files / "ca.crt").write_bytes(pem(CA)[0])
    sections = f"""
        [tls]
        certificate = "{files}/agent.crt"
        key = "{files}/agent.key"
        client_ca = "{files}/ca.crt"
        gateway_clients = ["dns:hub.example.org"]
        [spawn]
        images = [{json.dumps(bench.image)}]
        networks = ["bridge"]
        """
    place.write(sections, f'gateway = "tcp://127.0.0.1:{port}"')
    with process.serving(place) as agent:
        wait_for(lambda: agent.logged('"message": "serving"'), "the agent serves")
        yield port


def test_a_container_from_create_to_remove(port: int, place: Place, bench: Workbench, tmp_path: Path) -> None:
    """When docker-py has a listed certificate, create, start, inspect, stop and remove work; the audit names it."""
    user = bench.username()
    name = f"jupyterlab-{user}"
    api = client(tmp_path, port, issued(CA))
    binds = [f"{name}_home:/home/jovyan:rw"]
    created = api.create_container(
        bench.image,
        ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
        name=name,
        environment={"JUPYTERHUB_USER": user, "JUPYTERHUB_SERVER_NAME": ""},
        volumes=["/home/jovyan"],
        host_config=api.create_host_config(binds=binds, network_mode="bridge"),
    )
    api.start(created["Id"])
    assert bench.client.containers.get(name).status == "running"
    assert api.inspect_container(name)["State"]["Running"] is True
    api.stop(created["Id"])
    api.remove_container(created["Id"], v=True)
    with pytest.raises(NotFound):
        api.inspect_container(name)
    bench.forget_volume(f"{name}_home")
    api.close()
    assert {record["peer"] for record in place.audit()} == {"dns:hub.example.org"}


def test_others(port: int, place: Place, tmp_path: Path) -> None:
    """When docker-py has no certificate, it gets no connection; when its certificate is not listed, 403."""
    with pytest.raises(DockerException, match=r"SSLError|reset|aborted"):
        client(tmp_path, port, None)
    with pytest.raises(DockerException, match=r"403.*may not call the agent"):
        client(tmp_path, port, issued(CA, x509.DNSName("other.example.org")))
    assert [record["reason"] for record in place.audit()] == ["CLIENT_NOT_ALLOWED"]
