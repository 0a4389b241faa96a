"""The engine alone, in process: no broker, no store. Reads the records from FOLDER/records, one a line.

Decoding and stepping are timed apart; a step is an event, a timer or a hand-over, and learning from its examples is in it.
"""

from __future__ import annotations

import time

from benchmarks.peers.meter import Meter, Task
from schemas.intake import Intake
from streams.commands.examples import example_settings
from streams.memory import settle
from streams.run import Run


def main() -> None:
    """Decode all, then step over all."""
    task = Task.told()
    raws = (task.folder / "records").read_bytes().splitlines()[: task.count]
    meter, triggers = Meter(task.count), 0

    def decided(decision: object) -> None:
        nonlocal triggers
        triggers += getattr(decision, "arm", "") == "treated"

    intake, run = Intake(), Run(example_settings(), on_decision=decided)
    settle()
    meter.received()
    events = [event for number, raw in enumerate(raws) for event in intake.read(raw, None, f"bench:{number}").events]
    decoded = time.process_time()
    run.drain(events)
    stepping = time.process_time() - decoded
    meter.done = len(raws)
    meter.tell(steps=run.steps, triggers=triggers, us_a_step=1e6 * stepping / run.steps)


if __name__ == "__main__":
    main()
