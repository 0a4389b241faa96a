"""Rapport's batching transport under Faust, with an agent as the worker has it and lanes whose work only decodes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from aiokafka.structs import ConsumerRecord

from benchmarks.peers.event import decode
from benchmarks.peers.meter import Meter, Task
from streams.app import bare, hand_over
from streams.connection import KafkaConnection
from streams.lanes import Lanes
from streams.settings import StreamSettings
from streams.transport import BatchSchema


class Decoding:
    """The work of a partition: decode, and keep nothing."""

    def __init__(self, meter: Meter) -> None:
        self.done = 0
        self._meter = meter

    async def open(self) -> int:
        """From the beginning."""
        return 0

    async def process(self, records: Sequence[ConsumerRecord]) -> None:
        """Decode a batch."""
        meter = self._meter
        meter.received()
        for record in records:
            decode(record.value or b"")
        self.done += 1
        meter.done += len(records)
        if meter.done >= meter.count:
            meter.end()

    async def idle(self) -> None:
        """Nothing waits."""

    async def finish(self) -> None:
        """Nothing to commit."""

    async def close(self) -> None:
        """Nothing is held."""


def crashed(error: BaseException) -> None:
    """End with an error."""
    print(f"{type(error).__name__}: {error}", flush=True)
    os._exit(1)


async def main() -> None:
    """Run the app until the last event is decoded."""
    task = Task.told()
    meter = Meter(task.count)
    settings = StreamSettings(app=task.group)
    app = bare(KafkaConnection((task.broker,)), settings)
    app.lanes = Lanes(lambda tp: Decoding(meter), settings.session_s, crashed)
    app.agent(app.topic(task.topic, schema=BatchSchema(), acks=False), name="decode")(hand_over(app))
    app.finalize()
    await app.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
