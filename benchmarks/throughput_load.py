"""Input of ``benchmarks/throughput.py``: seeded workloads, and topics that hold them before a peer starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from random import Random

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.limits_load import lines
from schemas.intake import Intake

CUSTOMERS = 10_000
EXPONENT = 1.1
SEED = 1


class Zipf:
    """Draws users: the one of rank r with a weight of r to the power of -1.1.

    >>> draw, random = Zipf(), Random(1)
    >>> [draw(random) for _ in range(4)]
    ['z00005', 'z01690', 'z00734', 'z00006']
    """

    def __init__(self, customers: int = CUSTOMERS, exponent: float = EXPONENT) -> None:
        self._names = [f"z{rank:05d}" for rank in range(1, customers + 1)]
        self._weights = list(accumulate(rank**-exponent for rank in range(1, customers + 1)))

    def __call__(self, random: Random) -> str:
        """A user id."""
        return random.choices(self._names, cum_weights=self._weights)[0]


def zipf(count: int) -> list[bytes]:
    """Workload ``zipf``: Segment records over ten days, of 10,000 customers."""
    return list(lines(count, Zipf(), SEED))


def keyed(raws: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Each record with the customer of its first event as key, as the engine names it; without one it is nobody's."""
    intake = Intake()
    for number, raw in enumerate(raws):
        events = intake.read(raw, None, f"bench:{number}").events
        yield (events[0].customer.encode() if events else b"", raw)


def fill(broker: str, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Make a topic of one partition, and write keys and values into it."""
    create(broker, topic)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 20, "queue.buffering.max.messages": 100_000})
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.1)
    if left := producer.flush(60):
        raise RuntimeError(f"{left} records of {topic} were not taken by the broker")


def create(broker: str, *topics: str) -> None:
    """Make topics of one partition."""
    admin = AdminClient({"bootstrap.servers": broker})  # held until the answers are there
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in topics]).values():
        future.result(30)
