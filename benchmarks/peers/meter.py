"""What every peer measures of itself, by one rule, and how it tells.

Time and processor time count from the first record (or batch) received until the handler of the last one has returned. So
start-up, the group's first assignment and the shutdown count for nobody. What a peer has buffered by then and not yet sent
or committed is not waited for: that favours the peers, since Rapport's end is its last commit.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """What a peer is told.

    Parameters
    ----------
    broker
        ``host:port``
    topic
        The one to read, from its beginning; it has one partition. Other names are made of it.
    count
        Records to read.
    folder
        Where state may be kept; empty at first.
    option
        What a peer that can be run in two ways makes of it; 0 is its default.
    """

    broker: str
    topic: str
    count: int
    folder: Path
    option: int = 0

    @property
    def group(self) -> str:
        """A consumer group of its own."""
        return f"{self.topic}-{self.folder.name}"

    @property
    def triggers(self) -> str:
        """The topic that triggers go to."""
        return f"{self.group}-triggers"

    @classmethod
    def told(cls) -> Task:
        """As the command line says it."""
        broker, topic, count, folder, *option = sys.argv[1:]
        return cls(broker, topic, int(count), Path(folder), *map(int, option))


class Meter:
    """Counts records, and tells once the last one is done.

    Parameters
    ----------
    count
        Records to be done.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.done = 0
        self.first = 0.0
        self._cpu = 0.0

    def received(self) -> None:
        """A record, or a batch of them, has come; the first starts the clock."""
        if not self.first:
            self._cpu = time.process_time()
            self.first = time.perf_counter()

    def tell(self, **figures: float) -> None:
        """Print the result."""
        last, cpu = time.perf_counter(), time.process_time()
        result = {
            "records": self.done,
            "seconds": last - self.first,
            "cpu_s": cpu - self._cpu,
            "peak_mb": peak_mb(),
            **figures,
        }
        print(json.dumps(result), file=sys.__stdout__, flush=True)  # Faust's worker makes log lines of what is printed

    def end(self, **figures: float) -> None:
        """Print the result, and end the process without a goodbye: group and topics are of this run alone."""
        self.tell(**figures)
        sys.stderr.flush()
        os._exit(0)


def peak_mb() -> float:
    """The most memory this process has had resident, MB; not what its parent had, which ``ru_maxrss`` would count."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
