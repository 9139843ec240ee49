"""TCP never starts without all of `[tls]`, and every mistake of both is listed at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent import config

COMPLETE = {
    "certificate": '"/tls/agent.crt"',
    "key": '"/tls/agent.key"',
    "client_ca": '"/tls/ca.crt"',
    "clients": '["dns:hub.example.org"]',
}


def _toml(address: str = "tcp://0.0.0.0:7443", **changes: str | None) -> str:
    keys = {key: value for key, value in (COMPLETE | changes).items() if value is not None}
    lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
    return f'[listen]\ngrpc = ["{address}"]\n[tls]\n{lines}\n'


def _mistakes(text: str, examine: config.Examine | None = None) -> list[str]:
    with pytest.raises(config.ConfigurationError) as refused:
        config.parse(text, examine)
    return refused.value.mistakes


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:7443", "tcp://agent.example.org:1", "tcp://[::]:65535"])
def test_a_complete_table_is_enough(address: str) -> None:
    """When the TLS table is complete, TCP is allowed beside or instead of a unix socket."""
    settings = config.parse(_toml(address))
    assert (settings.listen.unix, settings.listen.tcp) == ((), (address.removeprefix("tcp://"),))
    assert settings.tls.clients == ("dns:hub.example.org",)


@pytest.mark.parametrize("key", COMPLETE)
def test_an_incomplete_table_is_refused(key: str) -> None:
    """When a key of the TLS table is missing, it is refused and named."""
    missing: dict[str, Any] = {key: None}
    assert _mistakes(_toml(**missing)) == [f"tls.{key}: must be set, because [listen] has a tcp:// address"]


def test_plaintext_is_refused() -> None:
    """When TCP is configured without a TLS table, every missing key is named."""
    mistakes = _mistakes('[listen]\ngrpc = ["tcp://0.0.0.0:7443"]')
    assert sorted(mistake.partition(":")[0] for mistake in mistakes) == sorted(f"tls.{key}" for key in COMPLETE)


def test_an_empty_list_of_clients_is_refused() -> None:
    """When the list of clients is empty, it is refused."""
    assert _mistakes(_toml(clients="[]")) == ["tls.clients: must be set, because [listen] has a tcp:// address"]


@pytest.mark.parametrize(
    "client",
    ["hub.example.org", "dns:*.example.org", "dns:Hub", "dns:", "ip:10.0.0.1", "uri:x y:z", "uri:/p"],
)
def test_a_client_that_is_not_an_exact_typed_name_is_refused(client: str) -> None:
    """No wildcard, no other kind of name, nothing untyped."""
    (mistake,) = _mistakes(_toml(clients=f'["{client}"]'))
    assert mistake.startswith("tls.clients: entry 1: must be an alternative name of a client certificate, exact: ")


@pytest.mark.parametrize("client", ["dns:hub.example.org", "uri:spiffe://example.org/ns/hub", "dns:hub"])
def test_dns_and_uri_names_are_clients(client: str) -> None:
    """When a client is a DNS name or a URI, such as a SPIFFE id, it is accepted."""
    assert config.parse(_toml(clients=f'["{client}"]')).tls.clients == (client,)


@pytest.mark.parametrize(
    "address", ["tcp://0.0.0.0", "tcp://0.0.0.0:0", "tcp://:7443", "tcp://0.0.0.0:65536", "0.0.0.0:7443", "dns:x:1"]
)
def test_an_address_that_gRPC_would_read_its_own_way_is_refused(address: str) -> None:  # noqa: N802 - its name
    """When an address is not tcp://HOST:PORT, it is refused."""
    (mistake,) = _mistakes(_toml(address))
    assert mistake.startswith('listen.grpc: entry 1: must be "unix:///absolute/path", or with [tls] "tcp://HOST:PORT"')


def test_a_plaintext_gateway_is_refused() -> None:
    """When the gateway is on TCP without a TLS table, every missing key is named."""
    mistakes = _mistakes('[listen]\ngateway = "tcp://0.0.0.0:7444"')
    wanted = ("tls.certificate", "tls.client_ca", "tls.gateway_clients", "tls.key")
    assert sorted(mistake.partition(":")[0] for mistake in mistakes) == list(wanted)


def test_each_listener_has_a_list_of_its_own() -> None:
    """When a listener is on TCP, its own list of clients is required, and no other."""
    listen = '[listen]\ngateway = "tcp://0.0.0.0:7444"\n'
    keys = "\n".join(f"{key} = {value}" for key, value in COMPLETE.items())
    (mistake,) = _mistakes(f"{listen}[tls]\n{keys}")
    assert mistake == "tls.gateway_clients: must be set, because [listen] has a tcp:// address"
    settings = config.parse(f"{listen}[tls]\n{keys.replace('clients', 'gateway_clients')}")
    assert (settings.tls.clients, settings.tls.gateway_clients) == ((), ("dns:hub.example.org",))
    assert settings.listen.tls_keys == ("certificate", "key", "client_ca", "gateway_clients")


def test_two_listeners_never_share_an_address() -> None:
    """When gRPC and gateway have the same address, it is refused."""
    keys = "\n".join(f"{key} = {value}" for key, value in (COMPLETE | {"gateway_clients": '["dns:hub"]'}).items())
    address = "tcp://0.0.0.0:7443"
    mistakes = _mistakes(f'[listen]\ngrpc = ["{address}"]\ngateway = "{address}"\n[tls]\n{keys}')
    assert mistakes == ["listen.gateway: must not be the address of listen.grpc"]


def test_a_renewal_may_empty_the_lists(tmp_path: Path) -> None:
    """When the lists of clients are empty or gone while listeners serve, they are read as nobody."""
    file = tmp_path / "agent.toml"
    for text in ("[tls]\nclients = []\ngateway_clients = []", "[listen]\ngrpc = 7"):
        file.write_text(text, encoding="utf-8")
        assert (config.load_tls(file).clients, config.load_tls(file).gateway_clients) == ((), ())


def test_a_renewal_with_a_wrong_client_is_refused(tmp_path: Path) -> None:
    """When a list holds what no client can be called, the renewal is refused: nobody knows who was meant."""
    file = tmp_path / "agent.toml"
    file.write_text('[tls]\nclients = ["hub"]', encoding="utf-8")
    with pytest.raises(config.ConfigurationError, match=r"tls\.clients: entry 1"):
        config.load_tls(file)


def test_mistakes_of_keys_and_of_files_come_together() -> None:
    """A wrong limit does not hide an expired certificate."""
    text = _toml() + 'minimum = "1.1"\n[limits]\nmax_deadline = 0\n'
    assert len(_mistakes(text, lambda _: ["tls.key: /tls/agent.key: no"])) == 2
    text = _toml() + "[limits]\nmax_deadline = 0\n"
    assert "tls.key: /tls/agent.key: no" in _mistakes(text, lambda _: ["tls.key: /tls/agent.key: no"])


def test_files_are_not_looked_at_without_tcp() -> None:
    """When the agent listens on a unix socket only, TLS files are not read."""
    config.parse("", lambda _: ["no"])
