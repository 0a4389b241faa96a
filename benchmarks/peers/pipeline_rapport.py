"""A worker of Rapport, as ``rapport worker`` runs it, that says what it did when it is told to end.

``TEST_WORKER`` in the environment names a file with JSON of ``tests.live.cluster.Job``. The clock starts when it has
received its first records, and stops with the last commit that holds a step (state store) or
something that it led to (transaction). Times are of the machine's clock, so that those of several workers can be compared.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.structs import ConsumerRecord

from benchmarks.peers.meter import peak_mb
from streams.agents.intake import IntakePartition
from streams.checkpoint import EnginePartition
from streams.commands.running import logs
from streams.environment import from_environment
from streams.memory import settle
from streams.topic_plan import OUTBOUND
from streams.worker import Worker, run
from tests.live.cluster import Job


class Watch:
    """Follows a worker by its named points.

    Attributes
    ----------
    first, last
        Processor seconds of this process and seconds of the machine's clock: at the start, and after the last commit.
    """

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.steps = self._outputs = 0
        self._steppers: dict[int, Any] = {}  # a partition that is opened anew has another
        self.first = self.last = (0.0, 0.0)

    def __call__(self, point: str) -> None:
        """A point was passed."""
        if point == "committed" and (steps := self._stepped()) != self.steps:
            self.steps, self.last = steps, now()
        elif point == "published" and (outputs := self._published()) != self._outputs:
            self._outputs, self.last = outputs, now()

    def _stepped(self) -> int:
        assert self.worker is not None
        for lane in self.worker.app.lanes:
            if (stepper := getattr(lane.work, "stepper", None)) is not None:
                self._steppers[id(stepper)] = stepper
        return sum(stepper.steps for stepper in self._steppers.values())

    def _published(self) -> int:
        """Outputs of the engine: an offset alone, committed while there is nothing to do, is no part of the work."""
        assert self.worker is not None
        outputs = self.worker.app.tallies.outputs
        return sum(count for topic, count in outputs.items() if topic.endswith(OUTBOUND))

    def received(self) -> None:
        """Records were received."""
        if not self.first[1]:
            self.first = self.last = now()

    def tell(self) -> None:
        """Print the result."""
        result = {
            "first": self.first[1],
            "last": self.last[1],
            "cpu_s": self.last[0] - self.first[0],
            "cpu_at_last_s": self.last[0],
            "steps": self.steps,
            "opened": len(self._steppers),
            "peak_mb": peak_mb(),
        }
        print("result", json.dumps(result), flush=True)


def now() -> tuple[float, float]:
    """Processor seconds of this process, and seconds of the machine's clock."""
    return time.process_time(), time.perf_counter()


def timed(work: type[IntakePartition] | type[EnginePartition], watch: Watch) -> None:
    """Let the clock start with the first records of this kind of work."""
    process = work.process

    async def received(self: Any, records: Sequence[ConsumerRecord]) -> None:
        watch.received()
        await process(self, records)

    vars_of: Any = work
    vars_of.process = received


def main() -> None:
    """Run the worker that the environment describes."""
    settle()
    logs()
    job = msgspec.json.decode(Path(os.environ["TEST_WORKER"]).read_bytes(), type=Job)
    connection = from_environment({}, kafka=job.kafka, redis=job.redis)
    watch = Watch()
    timed(IntakePartition, watch)
    timed(EnginePartition, watch)

    def worker() -> Worker:
        watch.worker = Worker(connection, job.settings(), job.role, points=watch, stall_s=job.stall_s)
        return watch.worker

    code = run(worker)
    watch.tell()
    sys.exit(code)


if __name__ == "__main__":
    main()
