"""Blocking clients of the broker, for commands: they answer or complain within seconds, and never create a topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer  # type: ignore[import-untyped]  # it ships no types
from kafka.errors import (  # type: ignore[import-untyped]  # it ships no types
    AuthorizationError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    KafkaTimeoutError,
    NotCoordinatorError,
    SaslAuthenticationFailedError,
)

from schemas.errors import printable

from .connection import KafkaConnection
from .errors import AccessError, BrokerError
from .probe import probe
from .refusals import GRANT, log_in_refused

ANSWER_S = 10.0
"""How long the first connection, and each request, may take, seconds."""
_TOLD = 200
_COORDINATOR = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)
_AGAIN_S = 0.1

T = TypeVar("T")


@contextmanager
def admin(connection: KafkaConnection) -> Iterator[Any]:
    """A ``KafkaAdminClient``.

    Raises
    ------
    BrokerError
        Where no broker answers in time, or one refuses a request.
    AccessError
        Where it does not let us in, or do what is asked.
    """
    with _told(connection):
        client = KafkaAdminClient(**connection.kafka_python(), **_limits())
        try:
            yield client
        finally:
            client.close()


@contextmanager
def reader(connection: KafkaConnection) -> Iterator[Any]:
    """A ``KafkaConsumer`` of committed records, without a group: it commits nothing, and no worker notices it."""
    with _told(connection):
        client = KafkaConsumer(
            **connection.kafka_python(),
            **_limits(),
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        try:
            yield client
        finally:
            client.close()


@contextmanager
def sender(connection: KafkaConnection) -> Iterator[Any]:
    """A ``KafkaProducer``: records stay in order, a repeated request may double one.

    It is not idempotent, for the library gives such a producer up for good once a broker refuses a single record.
    """
    with _told(connection):
        client = KafkaProducer(
            **connection.kafka_python(),
            **_limits(),
            acks="all",
            enable_idempotence=False,
            max_in_flight_requests_per_connection=1,  # so that a repeated request overtakes none
            max_block_ms=int(ANSWER_S * 1000),
            delivery_timeout_ms=int(ANSWER_S * 3000),
            linger_ms=5,
            max_request_size=16 << 20,  # it is the topic's limit that counts
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        try:
            yield client
        finally:
            client.close(ANSWER_S)


def coordinated(ask: Callable[[], T]) -> T:
    """What a group's coordinator answers; one that is still on its way, as in a new cluster, is asked again."""
    asked = time.monotonic()
    while True:
        try:
            return ask()
        except _COORDINATOR:
            if time.monotonic() - asked > ANSWER_S:
                raise
            time.sleep(_AGAIN_S)


def _limits() -> dict[str, Any]:
    return {
        "client_id": "rapport",
        "bootstrap_timeout_ms": int(ANSWER_S * 1000),
        "request_timeout_ms": int(ANSWER_S * 1000),
        "reconnect_backoff_max_ms": 1000,
    }


@contextmanager
def _told(connection: KafkaConnection) -> Iterator[None]:
    """The library's errors as ours."""
    where = connection.address
    probe(connection, ANSWER_S)
    try:
        yield
    except SaslAuthenticationFailedError as error:
        raise log_in_refused(where, error) from error
    except AuthorizationError as error:
        raise AccessError(where, f"no permission ({reason(error)})", GRANT) from error
    except KafkaTimeoutError as error:
        remedy = "check that the addresses it names for itself can be reached from here (advertised.listeners)"
        raise BrokerError(where, f"a broker that stopped answering ({reason(error)})", remedy) from error
    except KafkaError as error:
        raise BrokerError(where, reason(error), "check the broker and its log, then try again") from error


def reason(error: KafkaError) -> str:
    """An error of the library in one line.

    >>> reason(KafkaTimeoutError("too slow"))
    'KafkaTimeoutError: too slow'
    """
    return printable(str(error) or type(error).__name__, _TOLD)
