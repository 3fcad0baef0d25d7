"""A broker that insists: TLS with a name in its certificate, SCRAM passwords, and ACLs.

The plain listener stays open for the broker itself and for what tests set up.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kafka_cluster import KafkaCluster
from tests.kafka_jars import run_tool

MECHANISM = "SCRAM-SHA-512"
_LISTENER = "listener.name.extra."


@dataclass(frozen=True)
class Certificate:
    """Self-signed, of one name; both files PEM."""

    cert: Path
    key: Path


def certificate(directory: Path, name: str = "IP:127.0.0.1") -> Certificate:
    """A certificate whose subject alternative name is ``name``."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not on the PATH; it makes the certificates of this test")
    directory.mkdir(parents=True, exist_ok=True)
    made = Certificate(directory / "cert.pem", directory / "key.pem")
    form = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=barstream", "-addext", f"subjectAltName={name}"]
    subprocess.run(
        [openssl, "req", *form, *subject, "-keyout", str(made.key), "-out", str(made.cert)],
        check=True,
        capture_output=True,
    )
    return made


def secured_settings(made: Certificate) -> dict[str, str]:
    """Broker properties: TLS and SCRAM on the extra listener, and nothing allowed unless an ACL
    says so; the plain listener is the broker's own."""
    store = made.cert.with_name("store.pem")
    store.write_text(made.key.read_text() + made.cert.read_text())
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        f"{_LISTENER}ssl.keystore.type": "PEM",
        f"{_LISTENER}ssl.keystore.location": str(store),
        f"{_LISTENER}sasl.enabled.mechanisms": MECHANISM,
        f"{_LISTENER}{MECHANISM.lower()}.sasl.jaas.config": login,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "false",
    }


def add_user(cluster: KafkaCluster, user: str, password: str) -> None:
    """Make a user, or give it another password."""
    credentials = f"{MECHANISM}=[iterations=4096,password={password}]"
    run_tool(
        "kafka.admin.ConfigCommand", cluster.bootstrap, "--alter", "--add-config", credentials,
        "--entity-type", "users", "--entity-name", user,
    )  # fmt: skip


def allow(cluster: KafkaCluster, user: str, rules: Iterable[tuple[str, ...]]) -> None:
    """Add ACLs: each is resource option, name, ``literal`` or ``prefixed``, operations."""
    for option, name, pattern, *operations in rules:
        asked = [part for operation in operations for part in ("--operation", operation)]
        run_tool(
            "org.apache.kafka.tools.AclCommand", cluster.bootstrap, "--add", "--allow-principal",
            f"User:{user}", option, name, "--resource-pattern-type", pattern, *asked,
        )  # fmt: skip
