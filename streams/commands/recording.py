"""``rapport record``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from streams.environment import kafka_from_environment
from streams.files import STDIO
from streams.recording import recording

from . import common

INTERRUPTED = 130
EVERY = 1000


def record(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's whole name, such as events.")],
    out: common.EventsOut = STDIO,
    kafka: Annotated[
        str | None, typer.Option("--kafka", metavar="HOST:PORT", help="The broker; RAPPORT_KAFKA without it.")
    ] = None,
    partition: Annotated[
        int | None, typer.Option("--partition", min=0, metavar="N", help="This partition only, not all in turn.")
    ] = None,
) -> None:
    """Write what is in a topic now into a file, each record's value as a line.

    Only what is committed, from the earliest record to the end as it is at the start.

    Example: rapport record events --partition 0 -o log.jsonl.gz

    Then: rapport replay --log log.jsonl.gz -c examples/campaigns.toml

    Exit code: 0 done; 1 the broker is away, there is no such topic, or a value is no line; 2 wrong options; 130 Ctrl-C.
    """
    connection = kafka_from_environment(os.environ, kafka)
    with recording(connection, topic, partition) as found:
        try:
            with common.err.status(f"recording {topic}") as status:

                def progress(count: int) -> None:
                    if count % EVERY == 0:
                        status.update(f"recording {topic}: {count:,} records")

                count = common.written(out, found.lines(progress))
        except KeyboardInterrupt:
            common.say("stopped: nothing written" if out != STDIO else "stopped", console=common.err)
            raise typer.Exit(INTERRUPTED) from None
    place = "standard output" if out == STDIO else out
    partitions = f"partition {partition}" if partition is not None else f"{len(found.partitions)} partitions"
    common.say(f"{count:,} records of {topic}, {partitions}, written to {place}", console=common.err)
