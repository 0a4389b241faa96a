"""The transactional half of the delivery protocol, as Apache Kafka and aiokafka really behave.

What holds a promise of the protocol and what only shows a trap that it avoids stand side by side: a new version of
either may change both.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
)
from aiokafka.structs import OffsetAndMetadata

from tests.live.kafka import Elsewhere, KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0
Committed = tuple[int, str] | None


class Child:
    """A transactional producer in another process: see ``child.py``."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.live.child", *self._arguments),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    def tell(self, line: str) -> None:
        """Say what to do, and do not wait."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())

    async def do(self, *lines: str) -> list[str]:
        """Say what to do, one after the other, and return the answers."""
        assert self._process.stdout
        answers = []
        for line in lines:
            self.tell(line)
            answers.append((await asyncio.wait_for(self._process.stdout.readline(), LIMIT_S)).decode().strip())
        return answers

    async def enter(self, *lines: str) -> None:
        """Start a transaction and do these things in it."""
        answers = await self.do("start", "begin", *lines)
        assert answers == ["ok"] * len(answers)

    def freeze(self) -> None:
        """Halt it, as a long pause of its machine would."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    async def wait(self) -> None:
        """Wait until it is dead."""
        await asyncio.wait_for(self._process.wait(), LIMIT_S)

    async def kill(self) -> None:
        """End it with ``kill -9``."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self.wait()


@dataclass
class Stage:
    """Names of a test's own on the shared broker: topics of one partition, a group, a transactional id."""

    bootstrap: str
    name: str
    admin: AIOKafkaAdminClient

    @property
    def out(self) -> TopicPartition:
        """Where the records go."""
        return TopicPartition(f"out-{self.name}", 0)

    @property
    def source(self) -> TopicPartition:
        """The partition whose offsets are committed."""
        return TopicPartition(f"source-{self.name}", 0)

    async def producer(self) -> AIOKafkaProducer:
        """A started producer under the stage's transactional id: the predecessor's transaction is over now."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, transactional_id=self.name, transaction_timeout_ms=30_000
        )
        try:
            await asyncio.wait_for(producer.start(), LIMIT_S)
        except BaseException:
            await producer.stop()
            raise
        return producer

    def child(self, limit_ms: int = 30_000, name: str = "") -> Child:
        """A producer under that id in a process of its own."""
        return Child(self.bootstrap, name or self.name, str(limit_ms), self.out.topic, self.source.topic, self.name)

    async def transact(self, producer: AIOKafkaProducer, value: str, offset: int, metadata: str = "") -> None:
        """One record and an offset in one transaction."""
        await producer.begin_transaction()
        batch = producer.create_batch()
        assert batch.append(timestamp=None, key=None, value=value.encode())
        await (await producer.send_batch(batch, self.out.topic, partition=0))
        await producer.send_offsets_to_transaction({self.source: OffsetAndMetadata(offset, metadata)}, self.name)
        await producer.commit_transaction()

    async def settle(self) -> None:
        """Let the last transaction under the id come to its end, whoever began it."""
        await (await self.producer()).stop()

    async def committed(self) -> Committed:
        """The group's offset and its metadata."""
        async with asyncio.timeout(LIMIT_S):
            while (found := await self.answer()) is None:
                await asyncio.sleep(0.05)
        return None if found.offset == -1 else (found.offset, found.metadata)

    async def answer(self) -> OffsetAndMetadata | None:
        """What the admin client says of the group's offset: -1 is none, and no entry at all is an error it hides."""
        try:
            found = await self.admin.list_consumer_group_offsets(self.name, partitions=[self.source])
        except GroupCoordinatorNotAvailableError:  # on a new broker, until its internal topic is made
            return None
        return found.get(self.source)

    async def visible(self) -> list[str]:
        """What a reader of committed records finds now."""
        async with AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        ) as consumer:
            consumer.assign([self.out])
            end = (await consumer.end_offsets([self.out]))[self.out]
            found: list[str] = []
            while await consumer.position(self.out) < end:
                for messages in (await consumer.getmany(timeout_ms=200)).values():
                    found += [message.value.decode() for message in messages]
            return found


@pytest_asyncio.fixture
async def stage(kafka: KafkaServer | Elsewhere) -> AsyncIterator[Stage]:
    """A stage that is taken down at the end."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    built = Stage(kafka.bootstrap, uuid.uuid4().hex[:12], admin)
    topics = [built.out.topic, built.source.topic]
    try:
        await admin.create_topics([NewTopic(topic, 1, 1) for topic in topics])
        yield built
        await admin.delete_topics(topics)
    finally:
        await admin.close()


async def test_a_commit_brings_records_offset_and_metadata_at_once(stage: Stage) -> None:
    async with AIOKafkaConsumer(
        stage.source.topic,
        bootstrap_servers=stage.bootstrap,
        group_id=stage.name,
        enable_auto_commit=False,
    ) as member:
        producer = await stage.producer()
        await producer.begin_transaction()
        batch = producer.create_batch()
        written = batch.append(timestamp=1_700_000_000_123, key=b"k", value=b"v", headers=[("type", b"x")])
        assert written
        sent = await producer.send_batch(batch, stage.out.topic, partition=0)
        assert (await sent).offset == 0
        # It goes without the group's member or generation: a live group does not fence a producer.
        await producer.send_offsets_to_transaction({stage.source: OffsetAndMetadata(41, "7")}, stage.name)
        assert await stage.visible() == []
        assert await stage.committed() is None

        await producer.commit_transaction()
        await producer.stop()
        await stage.settle()
        assert await stage.committed() == (41, "7")
        assert await member.committed(stage.source) == 41  # the metadata is dropped
    async with AIOKafkaConsumer(
        stage.out.topic,
        bootstrap_servers=stage.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    ) as reader:
        record = await asyncio.wait_for(reader.getone(), LIMIT_S)
        assert (record.timestamp, record.key, record.value) == (1_700_000_000_123, b"k", b"v")
        assert record.headers == (("type", b"x"),)
        # The marker that closes the transaction takes an offset too: record 0, marker 1.
        assert await reader.end_offsets([stage.out]) == {stage.out: 2}
        assert reader.last_stable_offset(stage.out) == 2


async def test_a_full_batch_takes_no_more_and_says_so_with_none(stage: Stage) -> None:
    producer = await stage.producer()
    await producer.begin_transaction()
    values = [f"{number:04d}{'x' * 396}" for number in range(200)]
    sent = []
    left = values
    while left:
        batch = producer.create_batch()
        taken = 0
        while taken < len(left) and batch.append(timestamp=None, key=None, value=left[taken].encode()) is not None:
            taken += 1
        assert taken == min(39, len(left))  # of 16,384 bytes
        left = left[taken:]
        sent.append(await producer.send_batch(batch, stage.out.topic, partition=0))
    await asyncio.gather(*sent)
    await producer.commit_transaction()
    await producer.stop()
    await stage.settle()
    assert await stage.visible() == values


async def test_one_record_larger_than_a_batch_is_taken_and_left_to_the_broker(stage: Stage) -> None:
    producer = await stage.producer()
    await producer.begin_transaction()
    batch = producer.create_batch()
    assert batch.append(timestamp=None, key=None, value=b"x" * 1_100_000) is not None
    with pytest.raises(MessageSizeTooLargeError):
        await (await producer.send_batch(batch, stage.out.topic, partition=0))
    await producer.stop()


@pytest.mark.parametrize("done", [["send lost"], ["send lost", "offset 9 lost"]])
async def test_a_killed_process_leaves_nothing_and_its_successor_goes_on_at_once(stage: Stage, done: list[str]) -> None:
    producer = await stage.producer()
    await stage.transact(producer, "before", 1, "m")
    await producer.stop()
    async with stage.child() as child:
        await child.enter(*done)
        await child.kill()
    async with AIOKafkaProducer(bootstrap_servers=stage.bootstrap) as plain:
        await plain.send_and_wait(stage.out.topic, b"other", partition=0)
    assert await stage.visible() == ["before"]  # the open transaction hides what stands behind it
    assert await stage.committed() == (1, "m")

    began = asyncio.get_running_loop().time()
    successor = await stage.producer()
    assert asyncio.get_running_loop().time() - began < 5
    assert await stage.visible() == ["before", "other"]
    assert await stage.committed() == (1, "m")
    await stage.transact(successor, "after", 2)
    await successor.stop()
    await stage.settle()
    assert await stage.visible() == ["before", "other", "after"]
    assert await stage.committed() == (2, "")


@pytest.mark.parametrize(
    ("done", "tries", "answers"),
    [
        (["send zombie"], ["commit", "begin"], ["ProducerFenced", "AssertionError"]),
        (["send zombie", "offset 9 zombie"], ["commit", "begin"], ["ProducerFenced", "AssertionError"]),
        (["send zombie"], ["offset 9 zombie", "send again"], ["ProducerFenced", "IllegalOperation"]),
        (["send zombie"], ["offset 9 zombie", "commit"], ["ProducerFenced", "AssertionError"]),
        (["send zombie"], ["send again", "commit"], ["ProducerFenced", "ProducerFenced"]),
        ([], ["send zombie", "commit"], ["ProducerFenced", "AssertionError"]),
        ([], ["offset 9 zombie", "commit"], ["ProducerFenced", "AssertionError"]),
    ],
)
async def test_a_zombie_is_fenced(stage: Stage, done: list[str], tries: list[str], answers: list[str]) -> None:
    async with stage.child() as zombie:
        await zombie.enter(*done)
        zombie.freeze()
        successor = await stage.producer()
        await stage.transact(successor, "successor", 2)
        zombie.thaw()
        assert await zombie.do(*tries) == answers
        await stage.transact(successor, "unharmed", 3)
    await successor.stop()
    await stage.settle()
    assert await stage.visible() == ["successor", "unharmed"]
    assert await stage.committed() == (3, "")


async def test_the_successor_settles_a_commit_whose_outcome_is_unknown(stage: Stage) -> None:
    expected: list[str] = []
    offset: Committed = None
    for number in range(1, 21):
        async with stage.child() as child:
            await child.enter(f"send {number}", f"offset {number} m{number}")
            if number % 2:
                child.tell("commit-and-die")
                await child.wait()
            else:
                child.tell("commit")
                await asyncio.sleep(random.random() * 0.002)
                await child.kill()
        successor = await stage.producer()
        found = await stage.committed()
        if found != offset:
            assert found == (number, f"m{number}")
            offset = found
            expected.append(str(number))
        assert await stage.visible() == expected
        await successor.stop()
        assert await stage.committed() == offset  # it was the truth, not a stage on the way
    assert expected


@pytest.mark.parametrize("way", ["broker halted", "broker killed"])
async def test_so_it_does_where_the_broker_fails(stage: Stage, kafka_server: KafkaServer, way: str) -> None:
    expected: list[str] = []
    offset: Committed = None
    for number in range(1, 3):
        async with stage.child() as child:
            await child.enter(f"send {number}", f"offset {number} m{number}")
            if way == "broker halted":
                kafka_server.suspend()
                child.tell("commit-and-die")
                await child.wait()
                kafka_server.resume()
            else:
                child.tell("commit")
                await asyncio.sleep(random.random() * 0.003)
                kafka_server.kill()
                await child.kill()
                kafka_server.start()
        successor = await stage.producer()
        found = await stage.committed()
        if found != offset:
            assert found == (number, f"m{number}")
            offset = found
            expected.append(str(number))
        assert await stage.visible() == expected
        await successor.stop()


async def test_an_offset_read_before_the_start_may_be_outdated(stage: Stage) -> None:
    async with stage.child() as predecessor:
        await predecessor.enter("send late", "offset 5 late")
        predecessor.freeze()
        early = await stage.committed()
        predecessor.thaw()
        assert await predecessor.do("commit") == ["ok"]  # nobody has fenced it
    assert early is None
    successor = await stage.producer()
    assert await stage.committed() == (5, "late")
    assert await stage.visible() == ["late"]
    await successor.stop()


async def test_a_group_that_is_being_loaded_has_no_entry_rather_than_no_offset(
    stage: Stage, kafka_server: KafkaServer
) -> None:
    """Asked without naming the partition, the two look alike, and a processor would begin anew."""
    assert await stage.committed() is None
    assert await stage.answer() == OffsetAndMetadata(-1, "")
    producer = await stage.producer()
    await stage.transact(producer, "value", 4)
    await producer.stop()
    await stage.settle()
    kafka_server.restart()
    answers: set[OffsetAndMetadata | None] = set()
    async with asyncio.timeout(LIMIT_S):
        while None in answers or OffsetAndMetadata(4, "") not in answers:
            answers.discard(None)
            with contextlib.suppress(KafkaError):
                answers.add(await stage.answer())
    assert answers == {OffsetAndMetadata(4, "")}


async def test_an_open_transaction_without_successor_ends_at_its_limit(stage: Stage) -> None:
    async with stage.child(1000, f"{stage.name}-killed") as killed, stage.child(1000) as slow:
        await killed.enter("send killed")
        await killed.kill()
        await slow.enter("send slow", "offset 9 slow")
        async with AIOKafkaProducer(bootstrap_servers=stage.bootstrap) as plain:
            await plain.send_and_wait(stage.out.topic, b"other", partition=0)
        assert await stage.visible() == []
        # The broker looks for expired transactions every 10 s.
        async with asyncio.timeout(1 + 10 + LIMIT_S):
            while await stage.visible() == []:
                await asyncio.sleep(0.1)
        assert await stage.visible() == ["other"]
        assert await slow.do("commit") == ["ProducerFenced"]
    assert await stage.committed() is None


async def test_a_failed_batch_stops_neither_flush_nor_commit(stage: Stage) -> None:
    """Why every future is awaited, and why the producer is discarded after any error."""
    producer = await stage.producer()
    await producer.begin_transaction()
    batch = producer.create_batch()
    batch.append(timestamp=None, key=None, value=b"x" * 1_100_000)
    sent = await producer.send_batch(batch, stage.out.topic, partition=0)
    await producer.flush()
    await producer.send_offsets_to_transaction({stage.source: OffsetAndMetadata(1, "")}, stage.name)
    await producer.commit_transaction()
    assert isinstance(sent.exception(), MessageSizeTooLargeError)

    await producer.begin_transaction()
    batch = producer.create_batch()
    batch.append(timestamp=None, key=None, value=b"small")
    with pytest.raises(OutOfOrderSequenceNumber):  # the failed batch has used up its sequence numbers
        await (await producer.send_batch(batch, stage.out.topic, partition=0))
    await producer.send_offsets_to_transaction({stage.source: OffsetAndMetadata(2, "")}, stage.name)
    await producer.commit_transaction()
    await producer.stop()
    await stage.settle()
    assert await stage.committed() == (2, "")
    assert await stage.visible() == []


@pytest.mark.parametrize("waiting", ["send", "commit"])
async def test_a_producer_is_discarded_at_once_where_its_broker_hangs(
    stage: Stage, kafka_server: KafkaServer, waiting: str
) -> None:
    before = asyncio.all_tasks()
    producer = await stage.producer()
    await stage.transact(producer, "kept", 1)
    await producer.begin_transaction()
    await (await producer.send(stage.out.topic, b"open", partition=0))
    kafka_server.suspend()
    try:
        call = producer.commit_transaction() if waiting == "commit" else _send(producer, stage.out)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call, 0.2)
        began = asyncio.get_running_loop().time()
        await _discard(producer)
        assert asyncio.get_running_loop().time() - began < 1
        assert asyncio.all_tasks() - before == set()
    finally:
        kafka_server.resume()
    await stage.settle()
    # What was with the kernel still comes to the broker: the commit counts, the late record is aborted.
    assert await stage.visible() == (["kept", "open"] if waiting == "commit" else ["kept"])
    assert await stage.committed() == (1, "")


async def _send(producer: AIOKafkaProducer, to: TopicPartition) -> None:
    await (await producer.send(to.topic, b"late", partition=to.partition))


async def _discard(producer: AIOKafkaProducer) -> None:
    """Give up a producer without a word to the broker; `stop` would first wait for what is under way."""
    sender = producer._sender.sender_task
    while sender is not None and not sender.done():  # the first time it only begins to wait for its requests
        sender.cancel()
        await asyncio.wait([sender], timeout=0.01)
    await producer.client.close()
    producer._closed = True
