"""A loop around kafka-python's ``poll`` that only decodes."""

from __future__ import annotations

from kafka import KafkaConsumer  # type: ignore[import-untyped]  # it ships no types

from benchmarks.peers.event import decode
from benchmarks.peers.meter import Meter, Task


def main() -> None:
    """Decode batch by batch."""
    task = Task.told()
    meter = Meter(task.count)
    consumer = KafkaConsumer(
        task.topic, bootstrap_servers=task.broker, group_id=task.group, auto_offset_reset="earliest"
    )
    while meter.done < meter.count:
        for records in consumer.poll(timeout_ms=500).values():
            meter.received()
            for record in records:
                decode(record.value)
            meter.done += len(records)
    meter.end()


if __name__ == "__main__":
    main()
