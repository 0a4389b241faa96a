"""A Quix Streams dataframe that only decodes, with its defaults."""

from __future__ import annotations

from quixstreams import Application

from benchmarks.peers.event import Viewed, decode
from benchmarks.peers.meter import Meter, Task


def main() -> None:
    """Decode event by event."""
    task = Task.told()
    meter = Meter(task.count)

    def decoded(value: bytes) -> Viewed:
        meter.received()
        event = decode(value)
        meter.done += 1
        if meter.done == meter.count:
            meter.end()
        return event

    app = Application(
        task.broker,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        state_dir=task.folder,
        loglevel="WARNING",
    )
    frame = app.dataframe(app.topic(task.topic, value_deserializer="bytes"))
    frame.apply(decoded)
    app.run()


if __name__ == "__main__":
    main()
