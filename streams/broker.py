"""Kafka as the agents need it: a publisher a partition, what is committed, and what a partition of the log looks like."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from . import clients, repeats
from .connection import KafkaConnection
from .errors import BrokerError
from .publishers import REQUEST_S, NoAnswerError, PlainPublisher, Publisher, TransactionalPublisher, within
from .store import Position

TRANSACTION_MS = 30_000
LARGEST = 900_000  # below the 1 MiB that brokers take by default


class Log(NamedTuple):
    """A partition of a topic: its first offset, the one after its last, the topic's partition count and id."""

    start: int
    end: int
    partitions: int
    identity: str


class Broker:
    """One cluster.

    Parameters
    ----------
    connection
        Where it is and how to log in.
    group
        The consumer group of all workers of an installation.
    transactions
        False where the broker has none: see ``PlainPublisher``.
    points
        Called at named points of a transaction; tests end the process there.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        group: str,
        transactions: bool = True,
        points: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._connection = connection
        self._group = group
        self.transactions = transactions
        self._points = points
        self._admin: AIOKafkaAdminClient | None = None
        self._reader: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()
        self._turn = asyncio.Lock()
        self.commit_offsets: Callable[[Mapping[TopicPartition, int]], Awaitable[None]] = _commit_nothing

    def publisher(self, name: str) -> Publisher:
        """A publisher of its own for ``name``, a partition of a topic as in ``events-0``; not started."""
        common = {
            **self._connection.aiokafka(),
            "acks": "all",
            "max_request_size": LARGEST,
            "max_batch_size": LARGEST,
            "request_timeout_ms": int(REQUEST_S * 1000),
            "linger_ms": 0,
            "retry_backoff_ms": 20,  # waits between transactions and after a predecessor's; 100 by default
        }
        if not self.transactions:
            return PlainPublisher(
                AIOKafkaProducer(**common), self.commit_offsets, lambda: self._sender(name), self._points, self._turn
            )
        producer = AIOKafkaProducer(
            **common, transactional_id=f"{self._group}-{name}", transaction_timeout_ms=TRANSACTION_MS
        )
        return TransactionalPublisher(producer, self._group, self._points)

    async def committed(self, tp: TopicPartition, publisher: Publisher) -> Position | None:
        """The last committed position of the group, its metadata included; None where there is none.

        Parameters
        ----------
        publisher
            The one that commits for ``tp``, started: what its predecessors left open is settled, and it writes the barrier.
        """
        await publisher.barrier(tp)
        async with self._asking():
            admin = await self._started_admin()
            found = await within(
                REQUEST_S, "committed offsets", admin.list_consumer_group_offsets(self._group, partitions=[tp])
            )
        if tp not in found:
            # so the client answers while the broker is still loading the group; "none" would be an offset of -1
            raise NoAnswerError("committed offsets", "no entry for the partition", "wait: the group is being loaded")
        at: OffsetAndMetadata = found[tp]
        if at.offset < 0:
            return None
        return Position(at.offset, int(at.metadata or 0) if str(at.metadata or "0").isdigit() else 0)

    async def log(self, tp: TopicPartition) -> Log:
        """The extent of a partition as it is now, and which topic it is of: one made anew under the same name is another."""
        async with self._asking():
            reader = await self._started_reader()
            start = await within(REQUEST_S, "log start", reader.beginning_offsets([tp]))
            end = await within(REQUEST_S, "log end", reader.end_offsets([tp]))
        # aiokafka does not tell a topic's id
        partitions, identity = await within(REQUEST_S, "a topic", asyncio.to_thread(self._describe, tp.topic))
        return Log(start[tp], end[tp], partitions, f"{tp.topic} {identity} of {partitions}")

    def _describe(self, topic: str) -> tuple[int, str]:
        with clients.admin(self._connection) as admin:
            (found,) = admin.describe_topics([topic])
        return len(found["partitions"]), str(found.get("topic_id", ""))

    async def _sender(self, name: str) -> str:
        topic, _, partition = name.rpartition("-")
        _, topic_id = await within(REQUEST_S, "a topic", asyncio.to_thread(self._describe, topic))
        return repeats.sender(topic, int(partition), topic_id)

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; raises ``BrokerError`` where it does not exist."""
        async with self._asking():
            admin = await self._started_admin()
            (found,) = await within(REQUEST_S, "a topic", admin.describe_topics([topic]))
        if found["error_code"] or not found["partitions"]:
            raise BrokerError(topic, "no such topic", "create the topics first: rapport topics create")
        return len(found["partitions"])

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """One at a time; after an error, or cut short, the clients are given up."""
        async with self._lock:
            try:
                yield
            except BaseException:
                await self._drop_clients()
                raise

    async def _started_admin(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(**self._connection.aiokafka())
            await within(REQUEST_S, self._connection.address, self._admin.start())
        return self._admin

    async def _started_reader(self) -> AIOKafkaConsumer:
        if self._reader is None:
            self._reader = AIOKafkaConsumer(**self._connection.aiokafka())
            await within(REQUEST_S, self._connection.address, self._reader.start())
        return self._reader

    async def _drop_clients(self) -> None:
        admin, self._admin = self._admin, None
        reader, self._reader = self._reader, None
        with contextlib.suppress(Exception):
            if admin is not None:
                await asyncio.wait_for(admin.close(), 2)
        with contextlib.suppress(Exception):
            if reader is not None:
                await asyncio.wait_for(reader.stop(), 2)

    async def close(self) -> None:
        """Close the connections."""
        await self._drop_clients()


async def _commit_nothing(offsets: Mapping[TopicPartition, int]) -> None:
    """Until the consumer has started there is nobody to commit for."""
