"""What is wrong with which file: each mistake with its key, its path, and what would be right."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hubwarden_agent import config, tls
from hubwarden_agent.tools import certs
from support.agent.tls import CLIENT, LOOPBACK, NOW, SERVER, YEAR, Files, authority, issued, pem, without_names

CA = authority()
GOOD = issued(CA, LOOPBACK, purpose=SERVER)
PEM = serialization.Encoding.PEM
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Files that are right."""
    files = Files(tmp_path)
    files.write(GOOD, CA)
    return files


def _mistakes(files: Files) -> list[str]:
    return tls.mistakes(config.parse(files.toml()).tls, NOW)


def _with_rsa_key() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(65537, 2048)
    builder = certs._builder(key, certs._name("agent"), CA.certificate.subject, NOW, YEAR)  # type: ignore[arg-type]  # noqa: SLF001 - the tool's own certificate builder, and an RSA key
    certificate = builder.add_extension(x509.SubjectAlternativeName([LOOPBACK]), critical=False).sign(
        CA.key, hashes.SHA256()
    )
    return certificate.public_bytes(PEM), key.private_bytes(PEM, TRADITIONAL, serialization.NoEncryption())


def _encrypted() -> bytes:
    return GOOD.key.private_bytes(PEM, TRADITIONAL, serialization.BestAvailableEncryption(b"secret"))


def test_good_files_have_no_mistake(files: Files) -> None:
    """They are read, with the date on which the certificate expires, and the key is not in anybody's log."""
    material = files.read()
    assert material.not_after == GOOD.certificate.not_valid_after_utc
    assert material.clients == {"dns:hub.example.org"}
    assert pem(GOOD)[1].decode()[40:80] not in repr(material)


@pytest.mark.parametrize(
    ("name", "content", "mistake"),
    [
        ("agent.crt", lambda: b"", "tls.certificate: {}: must be certificates in PEM"),
        ("agent.crt", lambda: b"\xff\xfe", "tls.certificate: {}: must be certificates in PEM"),
        ("agent.crt", lambda: pem(GOOD)[0][:300], "tls.certificate: {}: must be certificates in PEM"),
        (
            "agent.crt",
            lambda: pem(issued(CA, LOOPBACK, purpose=SERVER))[0],
            "tls.key: {other}: must be the key of {}",
        ),
        ("agent.key", lambda: b"", "tls.key: {}: must be a private key in PEM"),
        ("agent.key", _encrypted, "tls.key: {}: must not need a password"),
        ("agent.key", lambda: pem(GOOD)[0], "tls.key: {}: must be a private key in PEM"),
        ("ca.crt", lambda: b"nothing", "tls.client_ca: {}: must be certificates in PEM"),
        ("ca.crt", lambda: pem(GOOD)[0], "tls.client_ca: {}: holds no CA certificate"),
        (
            "ca.crt",
            lambda: pem(authority(start=NOW - 2 * YEAR))[0],
            f"tls.client_ca: {{}}: expired on {NOW - YEAR - certs._BACKDATED:%Y-%m-%d %H:%M} UTC",  # noqa: SLF001 - how far the tool dates back
        ),
    ],
)
def test_a_file_that_is_not_what_it_should_be(
    files: Files, name: str, content: Callable[[], bytes], mistake: str
) -> None:
    """When a TLS file holds something else, the error names it and what it should be."""
    path = files.directory / name
    path.write_bytes(content())
    assert _mistakes(files) == [mistake.format(path, other=files.directory / "agent.key")]


@pytest.mark.parametrize(
    ("identity", "mistake"),
    [
        (
            issued(CA, LOOPBACK, purpose=SERVER, start=NOW - 2 * YEAR),
            f"expired on {NOW - YEAR - certs._BACKDATED:%Y-%m-%d %H:%M} UTC",  # noqa: SLF001 - how far the tool dates back
        ),
        (
            issued(CA, LOOPBACK, purpose=SERVER, start=NOW + YEAR),
            f"is not valid before {NOW + YEAR - certs._BACKDATED:%Y-%m-%d %H:%M} UTC",  # noqa: SLF001 - how far the tool dates back
        ),
        (issued(CA, LOOPBACK, purpose=CLIENT), "unsuitable certificate purpose"),
        (
            without_names(CA, SERVER),
            "must have a subject alternative name, by which the Hub knows the agent",
        ),
    ],
    ids=["expired", "not yet valid", "a client's", "nameless"],
)
def test_a_certificate_that_cannot_be_served(files: Files, identity: certs.Identity, mistake: str) -> None:
    """It says why, and when it is about time, when."""
    files.write(identity, CA)
    assert _mistakes(files) == [f"tls.certificate: {files.directory}/agent.crt: {mistake}"]


def test_two_authorities_while_one_replaces_the_other(files: Files) -> None:
    """An old CA beside the new one is no mistake: that is how a CA is replaced."""
    (files.directory / "ca.crt").write_bytes(pem(authority(start=NOW - 2 * YEAR))[0] + pem(CA)[0])
    assert _mistakes(files) == []


@pytest.mark.parametrize(("minimum", "refused"), [("1.2", False), ("1.3", True)])
def test_an_rsa_key_cannot_keep_the_promise_of_1_3(files: Files, minimum: str, *, refused: bool) -> None:
    """With an RSA key a 1.2 client could still agree with gRPC on a suite, so `minimum = "1.3"` is refused."""
    certificate, key = _with_rsa_key()
    (files.directory / "agent.crt").write_bytes(certificate)
    (files.directory / "agent.key").write_bytes(key)
    files.minimum = minimum
    found = _mistakes(files)
    assert len(found) == refused
    assert all("must have an ECDSA key for tls.minimum" in mistake for mistake in found)


def test_an_ecdsa_key_of_another_curve_is_fine(files: Files) -> None:
    """The promise rests on the kind of key, not on its size."""
    key = ec.generate_private_key(ec.SECP384R1())
    builder = certs._builder(key, certs._name("agent"), CA.certificate.subject, NOW, YEAR)  # noqa: SLF001 - the tool's own certificate builder, with dates it would not give
    certificate = builder.add_extension(x509.SubjectAlternativeName([LOOPBACK]), critical=False).sign(
        CA.key, hashes.SHA256()
    )
    files.write(certs.Identity(certificate, key), CA)
    files.minimum = "1.3"
    assert _mistakes(files) == []


def test_every_file_is_reported_at_once(files: Files) -> None:
    """Three missing files are three mistakes, not the first of them."""
    for name in ("agent.crt", "agent.key", "ca.crt"):
        (files.directory / name).unlink()
    assert sorted(_mistakes(files)) == sorted(
        f"tls.{key}: {files.directory}/{name}: {os.strerror(2)}"
        for key, name in (("certificate", "agent.crt"), ("key", "agent.key"), ("client_ca", "ca.crt"))
    )
