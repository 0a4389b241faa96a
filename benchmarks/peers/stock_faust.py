"""Stock Faust, run as its users run it; the web server is off, for its port may be taken."""

from __future__ import annotations

import faust

from benchmarks.peers.meter import Task


def application(task: Task) -> faust.App:
    """An app with Faust's defaults: aiokafka's driver, tables in memory with a changelog topic, one partition a topic."""
    return faust.App(
        task.group,
        broker=f"kafka://{task.broker}",
        datadir=str(task.folder),
        topic_partitions=1,
        web_enabled=False,
    )


def run(app: faust.App) -> None:
    """What ``faust worker`` does."""
    faust.Worker(app, loglevel="WARN").execute_from_commandline()
