"""Writing to Kafka as the agents need it: a batch's outputs and its offset together, every acknowledgement awaited."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeVar
from zlib import crc32

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer import sender as aiokafka_sender
from aiokafka.structs import OffsetAndMetadata

from . import repeats
from .errors import BrokerError
from .outbox import Output
from .store import Position

T = TypeVar("T")

REQUEST_S = 20.0
STOP_S = 2.0
BETWEEN_S = 0.002
"""Seconds from one try to begin a transaction to the next, while the broker still writes the markers of the one before."""


class Publisher(Protocol):
    """Writes a batch's outputs and its offset as one."""

    async def start(self) -> None:
        """Fence every earlier publisher of the same id, and settle what it left open."""

    async def barrier(self, tp: TopicPartition) -> None:
        """When this returns, whoever asks for the group's committed offset of ``tp`` is told the last one."""

    async def publish(self, outputs: Iterable[Output], offsets: Mapping[TopicPartition, Position]) -> None:
        """All outputs are on their topics when this returns, and the offsets with them."""

    async def stop(self) -> None:
        """Let go of connections; waits only so long."""


class NoAnswerError(BrokerError):
    """The broker does not answer in time; it may yet."""


async def within(seconds: float, what: str, task: Awaitable[T]) -> T:
    """Await, but not for ever.

    Raises
    ------
    NoAnswerError
        Where it took longer.
    """
    awaited = asyncio.ensure_future(task)
    awaited.add_done_callback(_seen)
    try:
        return await asyncio.wait_for(awaited, seconds)
    except TimeoutError:
        raise NoAnswerError(what, f"no answer within {seconds:g} s", "check that the broker is up") from None


def _seen(task: asyncio.Future[T]) -> None:
    """An error that comes while its waiter is cancelled is nobody's: asyncio would print it when all is over."""
    if not task.cancelled():
        task.exception()


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that a key goes to: crc32, as librdkafka's ``consistent`` partitioner.

    >>> partition_of(b"u:7", 6)
    3
    """
    return crc32(key) % partitions


class _Publisher:
    """What both kinds share: filling batches and awaiting every one of them.

    ``in_turn``: whether the next batch of a partition waits for the one before.
    """

    in_turn = False

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._partitions: dict[str, int] = {}

    async def start(self) -> None:
        await within(REQUEST_S, "starting a producer", self._producer.start())

    async def stop(self) -> None:
        """Give the producer up: its own ``stop`` waits as long as a broker hangs, and leaks when that is cut short."""
        producer = self._producer
        sender = producer._sender.sender_task
        until = time.monotonic() + STOP_S
        producer._closed = True  # first, for this may be cut short
        while sender is not None and not sender.done() and time.monotonic() < until:
            sender.cancel()  # the first time it only goes to wait for its requests
            await asyncio.wait([sender], timeout=0.01)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(producer.client.close(), STOP_S)

    async def _count(self, topic: str) -> int:
        known = self._partitions.get(topic)
        if known is None:
            known = self._partitions[topic] = len(await self._producer.partitions_for(topic))
        return known

    async def _send(self, outputs: Iterable[Output]) -> None:
        """Send all, in order for each partition, and await every acknowledgement: ``flush`` hides failures."""
        groups: dict[tuple[str, int], list[Output]] = defaultdict(list)
        for output in outputs:
            partition = output.partition
            if partition < 0:
                partition = partition_of(output.key, await self._count(output.topic))
            groups[output.topic, partition].append(output)
        sent = [await self._fill(topic, partition, group) for (topic, partition), group in groups.items()]
        for futures in sent:
            for future in futures:
                await future

    async def _fill(self, topic: str, partition: int, outputs: list[Output]) -> list[asyncio.Future[object]]:
        producer, futures = self._producer, []
        batch = producer.create_batch()
        for output in outputs:
            while not _appended(batch, output):
                futures.append(await producer.send_batch(batch, topic, partition=partition))
                if self.in_turn:
                    await futures[-1]
                batch = producer.create_batch()
        futures.append(await producer.send_batch(batch, topic, partition=partition))
        return futures


def _appended(batch: object, output: Output) -> bool:
    appended = batch.append(  # type: ignore[attr-defined]  # aiokafka's builder is not typed
        key=output.key or None, value=output.value, timestamp=output.at, headers=list(output.headers)
    )
    return appended is not None


class TransactionalPublisher(_Publisher):
    """Outputs and offset in one transaction: seen together under ``read_committed``, or not at all.

    Parameters
    ----------
    producer
        With a transactional id of its own: InitProducerId is the only fence on Kafka's side.
    group
        The consumer group whose offset is committed.
    points
        Called at named points; tests end the process there.
    """

    def __init__(self, producer: AIOKafkaProducer, group: str, points: Callable[[str], None]) -> None:
        super().__init__(producer)
        self._group = group
        self._points = points
        aiokafka_sender.BACKOFF_OVERRIDE = BETWEEN_S  # 20 ms there, which no setting reaches

    async def barrier(self, tp: TopicPartition) -> None:
        """Write among the group's offsets, and take it back.

        A broker that comes up again may know none of them, or older ones, and say so without an error. It finds out when
        something is written, and loads them again; the write is acknowledged after that.
        """
        await within(REQUEST_S, "a barrier", self._barrier(tp))

    async def _barrier(self, tp: TopicPartition) -> None:
        await self._producer.begin_transaction()
        await self._producer.send_offsets_to_transaction({tp: OffsetAndMetadata(0, "")}, self._group)
        await self._producer.abort_transaction()

    async def publish(self, outputs: Iterable[Output], offsets: Mapping[TopicPartition, Position]) -> None:
        try:
            await within(REQUEST_S, "a transaction", self._transaction(outputs, offsets))
        except AssertionError as error:  # what aiokafka raises once it was fenced, or a call before failed
            raise BrokerError("a transaction", "a producer that is done with", "none needed: it opens anew") from error

    async def _transaction(self, outputs: Iterable[Output], offsets: Mapping[TopicPartition, Position]) -> None:
        await self._producer.begin_transaction()
        await self._send(outputs)
        self._points("sent")
        await self._producer.send_offsets_to_transaction(
            {tp: OffsetAndMetadata(position.offset, str(position.n)) for tp, position in offsets.items()}, self._group
        )
        self._points("offsets")
        await self._producer.commit_transaction()
        self._points("transaction")


class PlainPublisher(_Publisher):
    """For a broker without transactions: awaited sends; what is sent again keeps its id.

    Parameters
    ----------
    commit
        Commits offsets after the sends.
    sender
        Asks the broker who writes: see ``repeats.py``.
    points
        Called at named points; tests end the process there.
    turn
        Held while sending: where several write to a partition at once, the embedded broker can show readers a later
        batch before an earlier one.
    """

    in_turn = True  # a batch that comes behind a lost one would make it look like a repeat

    def __init__(
        self,
        producer: AIOKafkaProducer,
        commit: Callable[[Mapping[TopicPartition, int]], Awaitable[None]],
        sender: Callable[[], Awaitable[str]],
        points: Callable[[str], None],
        turn: asyncio.Lock,
    ) -> None:
        super().__init__(producer)
        self._turn = turn
        self._commit = commit
        self._ask = sender
        self._sender = ""
        self._points = points

    async def start(self) -> None:
        await super().start()
        self._sender = await self._ask()

    async def barrier(self, tp: TopicPartition) -> None:
        """Nothing: such a broker forgets its topics when it ends."""

    async def publish(self, outputs: Iterable[Output], offsets: Mapping[TopicPartition, Position]) -> None:
        async with self._turn:
            await within(REQUEST_S, "sending", self._send(map(self._placed, outputs)))
        self._points("sent")
        await self._commit({tp: position.offset for tp, position in offsets.items()})
        self._points("offsets")

    def _placed(self, output: Output) -> Output:
        if not self._sender or output.offset < 0:
            return output
        header = repeats.place(self._sender, output.position)
        return msgspec.structs.replace(output, headers=(*output.headers, header))
