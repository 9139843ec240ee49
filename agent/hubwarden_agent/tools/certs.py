"""`hubwarden-agent certs`: a private CA with one certificate each for agent and Hub, and a look at what is in files.

Invariants: every key is ECDSA P-256 and in a file of mode 0600; nothing lives longer than 825 days; a file that is
there is never overwritten; a certificate can only be used for its own side of a connection. Never imported by anything
that serves: `cryptography` is an extra of the distribution, and is not in the agent's image.
"""

from __future__ import annotations

import argparse
import datetime as dt
import ipaddress
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:
    raise SystemExit("hubwarden-agent certs needs the package cryptography: pip install './agent[certs]'") from error

MAX_DAYS = 825
"""The longest that some TLS libraries accept a certificate for."""
_BACKDATED = dt.timedelta(minutes=5)
"""So that a machine whose clock is a little behind accepts a new certificate."""
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_MAX_COMMON_NAME = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def files(self, name: str) -> dict[str, bytes]:
        """As PEM files."""
        return {
            f"{name}.crt": self.certificate.public_bytes(serialization.Encoding.PEM),
            f"{name}.key": self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        }


def main(arguments: Sequence[str]) -> int:
    """Run `certs` with the rest of the command line. Returns the exit status."""
    options = _parser().parse_args(arguments)
    now = dt.datetime.now(dt.UTC)
    try:
        if options.command == "init":
            _init(options, now)
        else:
            for path in _certificate_files(options.paths):
                for line in described(path.read_bytes(), now):
                    _say(f"{path}: {line}")
    except (OSError, ValueError) as error:
        print(f"hubwarden-agent certs: {error}", file=sys.stderr)  # noqa: T201 - a command line answers so
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hubwarden-agent certs", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="make a CA, and a certificate each for agent and Hub")
    init.add_argument("directory", type=Path, metavar="DIR", help="is created if missing; nothing in it is overwritten")
    init.add_argument("--agent-host", required=True, type=alternative_name, metavar="NAME", help="as the Hub dials it")
    init.add_argument(
        "--hub-name",
        required=True,
        type=alternative_name,
        metavar="NAME",
        help="for tls.clients and tls.gateway_clients",
    )
    init.add_argument("--days", type=_days, default=MAX_DAYS, help=f"at most {MAX_DAYS}, the default")
    show = commands.add_parser("show", help="print names, alternative names and expiry")
    show.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="PEM files, or directories of *.crt and *.pem"
    )
    return parser


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MAX_DAYS}")
    return int(text)


def alternative_name(text: str) -> x509.GeneralName:
    """An IP address, a URI or a DNS name.

    Raises:
        argparse.ArgumentTypeError: it is none of them.
    """
    if "://" in text and text.isascii() and text.isprintable():
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        if not _DNS_NAME.fullmatch(text):
            raise argparse.ArgumentTypeError("must be a DNS name in lower case, an IP address or a URI") from None
        return x509.DNSName(text)


def _init(options: argparse.Namespace, now: dt.datetime) -> None:
    if isinstance(options.hub_name, x509.IPAddress):
        raise ValueError("--hub-name: must be a DNS name or a URI: tls.clients knows no others")  # noqa: TRY004 - for the operator
    _write(options.directory, material(options.agent_host, options.hub_name, now, dt.timedelta(days=options.days)))
    _say(
        f"Made a CA, and a certificate each for the agent and the Hub, in {options.directory}.\n"
        "To the agent: agent.crt, agent.key, ca.crt. To the Hub: hub.crt, hub.key, ca.crt.\n"
        "ca.key signs new clients: keep it on neither machine. In agent.toml:\n\n"
        f'[tls]\nclients = ["{_typed(options.hub_name)}"]\n'
        f'gateway_clients = ["{_typed(options.hub_name)}"]  # if the gateway is on TCP'
    )


def material(
    agent_host: x509.GeneralName, hub_name: x509.GeneralName, now: dt.datetime, life: dt.timedelta
) -> Mapping[str, bytes]:
    """Everything that two sides need, as file names and contents."""
    authority = make_authority("Hubwarden CA", now, life)
    agent = issue(authority, [agent_host], ExtendedKeyUsageOID.SERVER_AUTH, now, life)
    hub = issue(authority, [hub_name], ExtendedKeyUsageOID.CLIENT_AUTH, now, life)
    return {**authority.files("ca"), **agent.files("agent"), **hub.files("hub")}


def make_authority(name: str, now: dt.datetime, life: dt.timedelta) -> Identity:
    """A CA that signs certificates, and no further CAs."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = (
        _builder(key, subject, subject, now, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Identity(builder.sign(key, hashes.SHA256()), key)


def issue(
    authority: Identity,
    names: Sequence[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
    now: dt.datetime,
    life: dt.timedelta,
) -> Identity:
    """A certificate for one side of a connection. Its common name is for people; no code reads it."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    builder = (
        _builder(key, _name(str(names[0].value)), issuer.subject, now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    return Identity(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    key: ec.EllipticCurvePrivateKey, subject: x509.Name, issuer: x509.Name, now: dt.datetime, life: dt.timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now - _BACKDATED + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_MAX_COMMON_NAME])])


def _write(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Write new files, or none if one is there."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    present = [name for name in contents if (directory / name).exists()]
    if present:
        raise FileExistsError(f"{directory} already holds {', '.join(present)}: nothing was changed")
    for name, content in contents.items():
        mode = 0o600 if name.endswith(".key") else 0o644
        descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def _certificate_files(paths: Sequence[Path]) -> list[Path]:
    return [
        file
        for path in paths
        for file in (sorted([*path.glob("*.crt"), *path.glob("*.pem")]) if path.is_dir() else [path])
    ]


def described(pem: bytes, now: dt.datetime) -> list[str]:
    """One line a certificate: subject, alternative names, expiry.

    Raises:
        ValueError: it holds no certificate in PEM.
    """
    return [_described(certificate, now) for certificate in x509.load_pem_x509_certificates(pem)]


def _described(certificate: x509.Certificate, now: dt.datetime) -> str:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = ", ".join(_typed(name) for name in extension.value)
    except x509.ExtensionNotFound:
        names = "no alternative name"
    end = certificate.not_valid_after_utc
    left = f"{(end - now).days} days left" if end > now else "EXPIRED"
    return f"{certificate.subject.rfc4514_string()}; {names}; until {end:%Y-%m-%d %H:%M} UTC ({left})"


def _typed(name: x509.GeneralName) -> str:
    """A name as `tls.clients` writes it."""
    kinds: dict[type[x509.GeneralName], str] = {x509.DNSName: "dns", x509.UniformResourceIdentifier: "uri"}
    return f"{kinds.get(type(name), type(name).__name__)}:{name.value}"


def _say(text: str) -> None:
    print(text)  # noqa: T201 - a command line answers so
