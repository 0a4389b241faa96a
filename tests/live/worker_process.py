"""A worker in a process of its own that kills or suspends itself at a named point of the protocol; the switch exists only here.

The environment says what to run: ``TEST_WORKER`` names a file with JSON of ``tests.live.cluster.Job``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec

from streams.commands.running import logs
from streams.environment import from_environment
from streams.memory import settle
from streams.worker import Worker, run
from tests.live.cluster import Job
from tests.live.faults import mutations


def step_clock(seconds: float) -> None:
    """Let the wall clock of this process, as Python tells it, jump."""
    now = time.time
    vars(time)["time"] = lambda: now() + seconds


def main() -> None:
    """Run the worker that the environment describes."""
    settle()
    logs()
    job = msgspec.json.decode(Path(os.environ["TEST_WORKER"]).read_bytes(), type=Job)
    if job.without:
        mutations.remove(job.without)
    signal.signal(signal.SIGUSR1, lambda *_: step_clock(3600.0))
    signal.signal(signal.SIGUSR2, lambda *_: step_clock(-7200.0))
    seen: Counter[str] = Counter()

    def points(point: str) -> None:
        seen[point] += 1
        if point == job.die_at and seen[point] == job.die_after:
            os.kill(os.getpid(), signal.SIGSTOP if job.halt else signal.SIGKILL)

    connection = from_environment({}, kafka=job.kafka, redis=job.redis)
    sys.exit(run(lambda: Worker(connection, job.settings(), job.role, points=points, stall_s=job.stall_s)))


if __name__ == "__main__":
    main()
