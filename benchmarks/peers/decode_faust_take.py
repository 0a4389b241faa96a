"""A stock Faust agent that only decodes, in batches by ``take``."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.event import decode
from benchmarks.peers.meter import Meter, Task
from benchmarks.peers.stock_faust import application, run

task = Task.told()
meter = Meter(task.count)
app = application(task)


@app.agent(app.topic(task.topic, value_serializer="raw"))
async def agent(stream: Any) -> None:
    """Decode batch by batch; the clock starts when the first event comes, not when the first batch is full."""
    stream.add_processor(noted)
    async for values in stream.take(500, within=1.0):
        for value in values:
            decode(value)
        meter.done += len(values)
        if meter.done >= meter.count:
            meter.end()


def noted(value: bytes) -> bytes:
    """Start the clock."""
    meter.received()
    return value


if __name__ == "__main__":
    run(app)
