"""The broker that the live tests share: an Apache Kafka of their own, or one that the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.live.kafka import Elsewhere, KafkaServer, missing


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer | Elsewhere]:
    """A running Kafka: the one at ``RAPPORT_KAFKA``, or one of our own for the whole session.

    Without ``RAPPORT_REQUIRE_KAFKA=1`` the tests are skipped; with it they fail where none can be started.
    """
    if address := os.environ.get("RAPPORT_KAFKA"):
        yield Elsewhere(address)
        return
    if reason := missing():
        pytest.fail(f"RAPPORT_REQUIRE_KAFKA is 1, but {reason}", pytrace=False)
    with KafkaServer() as server:
        yield server


@pytest.fixture
def kafka_server(kafka: KafkaServer | Elsewhere) -> KafkaServer:
    """The shared Kafka where it may be halted, which somebody else's may not; leave it running."""
    if isinstance(kafka, Elsewhere):
        pytest.skip("RAPPORT_KAFKA names a broker that is not ours to halt")
    return kafka
