"""Names of callers: typed, verified, and never the common name."""

from __future__ import annotations

from hubwarden_agent.authorization import alternative_names


def test_names_have_their_type() -> None:
    """A URI that looks like a DNS name, or the other way round, is not taken for it."""
    verified = {"peer_dns": [b"spiffe://example.org/hub"], "peer_uri": [b"hub.example.org"]}
    assert alternative_names(verified) == {"dns:spiffe://example.org/hub", "uri:hub.example.org"}


def test_other_names_do_not_count() -> None:
    """Common name, mail, IP address and gRPC's mixed list are not read."""
    verified = {
        "x509_common_name": [b"hub.example.org"],
        "x509_subject": [b"CN=hub.example.org"],
        "x509_subject_alternative_name": [b"hub.example.org"],
        "peer_email": [b"hub@example.org"],
        "peer_ip": [b"10.0.0.1"],
    }
    assert alternative_names(verified) == frozenset()


def test_dns_names_compare_without_case_and_uris_with_it() -> None:
    """When a client's names are compared, DNS names ignore case and URIs do not."""
    verified = {"peer_dns": [b"Hub.Example.ORG"], "peer_uri": [b"spiffe://example.org/Hub"]}
    assert alternative_names(verified) == {"dns:hub.example.org", "uri:spiffe://example.org/Hub"}


def test_a_name_with_a_nul_is_not_the_name_before_it() -> None:
    """The classic trick, and bytes that are no text, stay what they are."""
    assert "dns:hub.example.org" not in alternative_names({"peer_dns": [b"hub.example.org\0.evil", b"\xff"]})
