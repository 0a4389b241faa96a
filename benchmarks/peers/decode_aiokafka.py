"""A loop around aiokafka's ``getmany`` that only decodes."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer

from benchmarks.peers.event import decode
from benchmarks.peers.meter import Meter, Task


async def main() -> None:
    """Decode batch by batch."""
    task = Task.told()
    meter = Meter(task.count)
    consumer = AIOKafkaConsumer(
        task.topic, bootstrap_servers=task.broker, group_id=task.group, auto_offset_reset="earliest"
    )
    await consumer.start()
    while meter.done < meter.count:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            meter.received()
            for record in records:
                decode(record.value)
            meter.done += len(records)
    meter.end()


if __name__ == "__main__":
    asyncio.run(main())
