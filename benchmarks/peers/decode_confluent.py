"""A loop around confluent-kafka's ``consume`` that only decodes."""

from __future__ import annotations

from confluent_kafka import Consumer

from benchmarks.peers.event import decode
from benchmarks.peers.meter import Meter, Task


def main() -> None:
    """Decode batch by batch."""
    task = Task.told()
    meter = Meter(task.count)
    consumer = Consumer({"bootstrap.servers": task.broker, "group.id": task.group, "auto.offset.reset": "earliest"})
    consumer.subscribe([task.topic])
    while meter.done < meter.count:
        for message in consumer.consume(500, 0.5):
            meter.received()
            if (error := message.error()) is not None:
                raise RuntimeError(str(error))
            decode(message.value() or b"")
            meter.done += 1
    meter.end()


if __name__ == "__main__":
    main()
