"""Security settings reach both kinds of client alike: ours and Faust's."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from barstream.config import Settings, load_settings
from barstream.errors import ConfigError
from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import client_options, ssl_context
from barstream.runtime.app import faust_credentials

SASL = {"sasl_username": "ada", "sasl_password": "s3cret"}


def secured(**kafka: Any) -> Settings:
    return Settings(bootstrap="a:1,b:2", kafka=kafka)  # type: ignore[arg-type]


def test_without_security_only_addresses_are_given() -> None:
    options = client_options(secured())
    assert options == {"bootstrap_servers": ["a:1", "b:2"], "security_protocol": "PLAINTEXT"}
    assert faust_credentials(secured()) is None


@pytest.mark.parametrize(
    "kafka",
    [
        {"security_protocol": "SSL"},
        {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", **SASL},
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", **SASL},
    ],
)
def test_faust_gets_the_same_security_as_our_own_clients(kafka: dict[str, str]) -> None:
    ours = client_options(secured(**kafka))
    faust = dict(credentials_to_aiokafka_auth(faust_credentials(secured(**kafka))))
    assert ours.pop("bootstrap_servers") == ["a:1", "b:2"]
    ours_tls, faust_tls = ours.pop("ssl_context", None), faust.pop("ssl_context", None)
    assert ours == faust
    assert (ours_tls is None) == (faust_tls is None)


def test_tls_verifies_the_broker_unless_told_not_to_compare_its_name() -> None:
    context = ssl_context(secured(security_protocol="SSL").kafka)
    assert context is not None
    assert context.check_hostname
    loose = ssl_context(secured(security_protocol="SSL", ssl_check_hostname=False).kafka)
    assert loose is not None
    assert not loose.check_hostname
    assert loose.verify_mode is ssl.CERT_REQUIRED


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "ca.pem"
    bad.write_text("not a certificate")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        client_options(secured(security_protocol="SSL", ssl_cafile=bad))


def test_a_cluster_whose_topics_cannot_be_named_can_be_asked_all_the_same() -> None:
    """`topics` and `doctor` reach it, and say what is wrong with the names."""
    cluster = Cluster(load_settings(env={}, overrides={"topics": {"overrides": {"rates": "r"}}}))
    assert cluster.options["bootstrap_servers"] == cluster.addresses
    with pytest.raises(ConfigError, match="rates"):
        _ = cluster.names
