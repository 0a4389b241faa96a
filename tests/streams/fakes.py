"""A transactional log in this process, with Kafka's semantics as far as the delivery protocol leans on them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from enum import Enum

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from streams.broker import Broker, Log
from streams.errors import BrokerError
from streams.outbox import Headers, Output
from streams.publishers import Publisher
from streams.repeats import place
from streams.store import Position


class Fault(Enum):
    """What becomes of a publish.

    NONE: it works. BEFORE: nothing is written, and the caller is told. LOST: all is written, but the caller hears of an
    error. LATE: the caller hears of an error, and all is written when the next publisher of that name starts.
    """

    NONE = "none"
    BEFORE = "before"
    LOST = "lost"
    LATE = "late"


class FakeBroker(Broker):
    """Topics of one partition each, as ``read_committed`` sees them; ``events`` is the log.

    Parameters
    ----------
    transactions
        Without them nobody is fenced, offsets lose their metadata, and of a publish that fails a half is written.
    loops
        Whether outputs to ``events`` come back as records of the log.

    ``faults`` and ``delays`` are for the next publishes, one each; ``wrong`` is what must never happen, in words.
    """

    def __init__(self, transactions: bool = True, loops: bool = True) -> None:
        self.transactions = transactions
        self.loops = loops
        self.events: list[ConsumerRecord] = []
        self.sent: dict[str, list[Output]] = defaultdict(list)
        self.offsets: dict[TopicPartition, Position] = {}
        self.epochs: dict[str, int] = defaultdict(int)
        self.late: dict[str, tuple[list[Output], dict[TopicPartition, Position]]] = {}
        self.faults: deque[Fault] = deque()
        self.delays: deque[int] = deque()
        self.wrong: list[str] = []
        self.start = 0
        self.identity = "events:1"
        self.down = False
        self.publishers: list[_Publisher] = []

    def append(self, value: bytes, at: int, key: bytes = b"", headers: Headers = ()) -> None:
        """Write a record to the log."""
        self.events.append(
            ConsumerRecord("events", 0, len(self.events), at, 0, key, value, None, len(key), len(value), headers)
        )

    def publisher(self, name: str) -> Publisher:
        """A publisher that is not started."""
        self.publishers.append(_Publisher(self, name))
        return self.publishers[-1]

    async def committed(self, tp: TopicPartition, publisher: Publisher) -> Position | None:
        """What the group has committed."""
        await asyncio.sleep(0)
        return self.offsets.get(tp)

    async def log(self, tp: TopicPartition) -> Log:
        """The log as it is now."""
        await asyncio.sleep(0)
        return Log(self.start, self.events[-1].offset + 1 if self.events else 0, 1, self.identity)

    async def partitions(self, topic: str) -> int:
        """Every topic has one."""
        return 1

    async def close(self) -> None:
        """Nothing to let go of."""

    def write(self, outputs: Iterable[Output], offsets: Mapping[TopicPartition, Position]) -> None:
        """Records and offsets become visible together."""
        for output in outputs:
            self.sent[output.topic].append(output)
            if output.topic == "events" and self.loops:
                headers = output.headers if self.transactions else (*output.headers, place("0", output.position))
                self.append(output.value, output.at, output.key, headers)
        for tp, position in offsets.items():
            before = self.offsets.get(tp, Position(0))
            if position < before:
                self.wrong.append(f"the committed position went back from {before} to {position}")
            self.offsets[tp] = position if self.transactions else Position(position.offset)


class _Publisher:
    def __init__(self, broker: FakeBroker, name: str) -> None:
        self._broker = broker
        self._name = name
        self._epoch = 0
        self._usable = False
        self.stopped = False

    async def start(self) -> None:
        """Fence older publishers of this name, and settle what they left open."""
        broker = self._broker
        await asyncio.sleep(0)
        if broker.down:
            raise BrokerError(self._name, "no answer", "check that the broker is up")
        broker.epochs[self._name] += 1
        self._epoch, self._usable = broker.epochs[self._name], True
        if self._name in broker.late:
            broker.write(*broker.late.pop(self._name))
        await asyncio.sleep(0)

    async def barrier(self, tp: TopicPartition) -> None:
        """Nothing: this broker tells what is committed at once."""

    async def publish(self, outputs: Iterable[Output], offsets: Mapping[TopicPartition, Position]) -> None:
        """All or nothing, where there are transactions."""
        broker, held = self._broker, list(outputs)
        for _ in range(broker.delays.popleft() if broker.delays else 0):
            await asyncio.sleep(0)
        if not self._usable:
            raise BrokerError(self._name, "a publisher that is not started or had an error", "start another")
        if broker.transactions and self._epoch != broker.epochs[self._name]:
            self._usable = False
            raise BrokerError(self._name, "a newer publisher", "open again")
        fault = broker.faults.popleft() if broker.faults else Fault.NONE
        if fault in (Fault.NONE, Fault.LOST):
            broker.write(held, offsets)
        elif not broker.transactions:
            broker.write(held[: (len(held) + 1) // 2], {})
        elif fault is Fault.LATE:
            broker.late[self._name] = (held, dict(offsets))
        if fault is not Fault.NONE:
            self._usable = False
            raise BrokerError(self._name, f"an outcome nobody knows ({fault.value})", "open again")
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """It publishes nothing any more."""
        self._usable, self.stopped = False, True
