"""Stock Faust, run as its users run it; the web server is off, for its port may be taken.

With its default of ``stream_buffer_maxsize`` (4,096 messages) an agent that is slower than the broker waits for most of the
time: its full buffer pauses the partition, and while all partitions are paused its consumer sleeps for whole seconds
(``faust/transport/consumer.py``, ``_wait_next_records``). So it is run both ways: as it comes, and with a buffer that never
fills up (the option, in messages), which shows what its processing costs, and holds the whole backlog in memory.
"""

from __future__ import annotations

from typing import Any

import faust

from benchmarks.peers.meter import Task


def application(task: Task) -> faust.App:
    """An app with Faust's defaults: aiokafka's driver, tables in memory with a changelog topic, one partition a topic; a larger buffer where told."""
    settings: dict[str, Any] = {"stream_buffer_maxsize": task.option} if task.option else {}
    return faust.App(
        task.group,
        broker=f"kafka://{task.broker}",
        datadir=str(task.folder),
        topic_partitions=1,
        web_enabled=False,
        **settings,
    )


def run(app: faust.App) -> None:
    """What ``faust worker`` does."""
    faust.Worker(app, loglevel="WARN").execute_from_commandline()
