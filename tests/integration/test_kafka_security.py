"""TLS, client certificates and passwords pass through to a broker that insists on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer

from barstream.config import Settings
from barstream.errors import BarstreamError
from barstream.kafka.connection import AccessRefusedError, client_options
from barstream.kafka.topics import Level, check, create
from tests.secure_kafka import certificate as self_signed

if TYPE_CHECKING:
    from tests.kafka_cluster import KafkaCluster


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1 and its key, for both sides."""
    made = self_signed(tmp_path)
    return made.cert, made.key


def test_topics_are_made_over_tls_with_a_client_certificate_and_a_password(
    new_kafka: Callable[..., KafkaCluster],
    certificate: tuple[Path, Path],
    tmp_path: Path,
    unique: str,
) -> None:
    cert, key = certificate
    store = tmp_path / "store.pem"
    store.write_text(key.read_text() + cert.read_text())
    listener = "listener.name.extra."
    cluster = new_kafka(
        extra_listener="SASL_SSL",
        settings={
            f"{listener}ssl.keystore.type": "PEM",
            f"{listener}ssl.keystore.location": str(store),
            f"{listener}ssl.truststore.type": "PEM",
            f"{listener}ssl.truststore.location": str(cert),
            f"{listener}ssl.client.auth": "required",
            f"{listener}sasl.enabled.mechanisms": "PLAIN",
            f"{listener}plain.sasl.jaas.config": (
                "org.apache.kafka.common.security.plain.PlainLoginModule required "
                'user_ada="s3cret";'
            ),
        },
    )

    def settings(**changed: Any) -> Settings:
        kafka = {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "PLAIN",
            "sasl_username": "ada",
            "sasl_password": "s3cret",
            "ssl_cafile": cert,
            "ssl_certfile": cert,
            "ssl_keyfile": key,
            "request_timeout_s": 10,
        } | changed
        return Settings(bootstrap=cluster.extra_bootstrap, app_id=unique, kafka=kafka)  # type: ignore[arg-type]

    asyncio.run(create(settings()))
    assert {finding.level for finding in asyncio.run(check(settings()))} == {Level.OK}
    asyncio.run(_send(settings()))

    with pytest.raises(AccessRefusedError, match="Invalid username or password"):
        asyncio.run(check(settings(sasl_password="wrong")))
    with pytest.raises(BarstreamError):
        asyncio.run(check(settings(ssl_certfile=None, ssl_keyfile=None)))
    with pytest.raises(AccessRefusedError, match="certificate verify failed"):
        # The certificate is not one of the system's authorities.
        asyncio.run(check(settings(ssl_cafile=None)))


async def _send(settings: Settings) -> None:
    producer = AIOKafkaProducer(**client_options(settings), transactional_id=settings.app_id)
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait("ticks", b"tick", key=b"A\0B")
    finally:
        await producer.stop()
