"""A stock Faust agent that only decodes: the driver and the settings that a plain ``pip install faust-streaming`` gives."""

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
    """Decode event by event."""
    async for value in stream:
        meter.received()
        decode(value)
        meter.done += 1
        if meter.done == meter.count:
            meter.end()


if __name__ == "__main__":
    run(app)
