"""`hubwarden-agent certs`: what it makes can be served and used, and what it prints is what is in the files."""

from __future__ import annotations

import datetime as dt
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hubwarden_agent import cli, config, tls

NOW = dt.datetime.now(dt.UTC)


def _init(directory: Path, *more: str, agent: str = "agent.example.org", hub: str = "hub.example.org") -> int:
    return cli.main(["certs", "init", str(directory), "--agent-host", agent, "--hub-name", hub, *more])


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_what_it_makes_can_be_served(tmp_path: Path) -> None:
    """The agent's own check takes it, for TLS 1.3 too."""
    assert _init(tmp_path) == 0
    certificate, key, ca = (tmp_path / name for name in ("agent.crt", "agent.key", "ca.crt"))
    settings = config.Tls(certificate, key, ca, clients=("dns:hub.example.org",), minimum="1.3")
    assert tls.mistakes(settings, NOW) == []


def test_keys_are_private_and_lives_are_bounded(tmp_path: Path) -> None:
    """When certificates are made, keys are elliptic with mode 0600, and lives at most 825 days."""
    directory = tmp_path / "made"
    assert _init(directory) == 0
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(key.stat().st_mode) for key in directory.glob("*.key")} == {0o600}
    for path in directory.glob("*.crt"):
        certificate = _certificate(path)
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == dt.timedelta(days=825)
        assert certificate.public_key_algorithm_oid == x509.oid.PublicKeyAlgorithmOID.EC_PUBLIC_KEY


def test_each_certificate_is_for_its_own_side(tmp_path: Path) -> None:
    """When certificates are made, the agent's is for servers and the Hub's for clients, and neither for both."""
    assert _init(tmp_path) == 0
    for name, purpose in (("agent", ExtendedKeyUsageOID.SERVER_AUTH), ("hub", ExtendedKeyUsageOID.CLIENT_AUTH)):
        extensions = _certificate(tmp_path / f"{name}.crt").extensions
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run changes nothing and names what is there."""
    _init(tmp_path)
    (tmp_path / "agent.key").unlink()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert _init(tmp_path) == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert "already holds ca.crt, ca.key" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--days", "826"), ("--days", "0"), ("--agent-host", "Agent")])
def test_impossible_wishes_are_usage_errors(tmp_path: Path, arguments: tuple[str, str]) -> None:
    """When arguments cannot be met, the exit status is 2 and nothing is written."""
    with pytest.raises(SystemExit) as refused:
        _init(tmp_path, *arguments)
    assert refused.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_hub_is_known_by_a_name_or_a_uri(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints for `tls.clients` is what the agent accepts there; an IP address is not."""
    _init(tmp_path, hub="spiffe://example.org/hub")
    assert 'clients = ["uri:spiffe://example.org/hub"]' in capsys.readouterr().out
    assert _init(tmp_path / "other", hub="10.0.0.1") == 1


def test_show_prints_names_and_expiry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Subject, alternative names as `tls.clients` writes them, and until when; of every certificate in a folder."""
    _init(tmp_path, "--days", "10", agent="10.1.2.3")
    capsys.readouterr()
    assert cli.main(["certs", "show", str(tmp_path)]) == 0
    agent, ca, hub = capsys.readouterr().out.splitlines()
    until = f"until {_certificate(tmp_path / 'hub.crt').not_valid_after_utc:%Y-%m-%d %H:%M} UTC (9 days left)"
    assert agent == f"{tmp_path}/agent.crt: CN=10.1.2.3; IPAddress:10.1.2.3; {until}"
    assert ca == f"{tmp_path}/ca.crt: CN=Hubwarden CA; no alternative name; {until}"
    assert hub == f"{tmp_path}/hub.crt: CN=hub.example.org; dns:hub.example.org; {until}"


def test_show_says_which_file_is_not_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a missing file nor another kind of file is a traceback."""
    (tmp_path / "x.crt").write_text("nothing")
    assert cli.main(["certs", "show", str(tmp_path / "x.crt")]) == 1
    assert cli.main(["certs", "show", str(tmp_path / "y.crt")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
