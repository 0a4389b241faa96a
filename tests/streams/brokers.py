"""A broker for a test module: the embedded one, or Apache Kafka where it can be had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams.connection import KafkaConnection
from streams.embedded import Broker
from tests.live.kafka import KafkaServer, missing

BOTH = ("embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.live]))


@contextmanager
def running(kind: str, folder: Path) -> Iterator[KafkaConnection]:
    """One of ``BOTH``; a Kafka that cannot be had skips the test, or fails it as the live tests do."""
    if kind == "embedded":
        with Broker(folder) as broker:
            yield KafkaConnection((broker.address,))
        return
    if address := os.environ.get("RAPPORT_KAFKA"):
        yield KafkaConnection((address,))
        return
    if reason := missing():
        if os.environ.get("RAPPORT_REQUIRE_KAFKA") == "1":
            pytest.fail(f"RAPPORT_REQUIRE_KAFKA is 1, but {'; '.join(reason)}", pytrace=False)
        pytest.skip("; ".join(reason))
    with KafkaServer() as server:
        yield KafkaConnection((server.bootstrap,))
