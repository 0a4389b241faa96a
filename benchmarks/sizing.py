"""How much of everything is needed: from the newest full-size lines of results/, as tables for docs/scale.md.

``python -m benchmarks.sizing`` prints them, ``--write`` puts them into the page. What is assumed, and not measured, is an
option: how busy a worker and a shard may be, and how much memory a shard has for state.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- sizing: begin -->\n", "<!-- sizing: end -->"
RATES = (1_000, 10_000, 100_000)
CUSTOMERS = (1_000_000, 100_000_000)
GB = 1e9


class NotMeasuredError(Exception):
    """A figure that the tables rest on is not there; the message says which command measures it."""


class Measured(NamedTuple):
    """What one of everything carries.

    Parameters
    ----------
    partition
        Records a second of one partition, by itself on a worker.
    worker
        Records a second of one worker process with six partitions.
    shard
        Records a second that one Redis shard answers, at least: from how long a worker waits for it.
    customer_bytes
        In the store, profile, pending predictions and timers together.
    idle_worker, idle_broker
        Seconds of processor a second that one more idle partition takes.
    rss_mb
        Memory of a worker that one more partition takes.
    from_
        The lines that these are of.
    """

    partition: float
    worker: float
    shard: float
    customer_bytes: float
    idle_worker: float
    idle_broker: float
    rss_mb: float
    from_: tuple[str, ...]


class Assumed(NamedTuple):
    """What is given, not measured.

    Parameters
    ----------
    busy
        Share of what a worker or a shard carries that is planned with.
    shard_gb
        Memory of a shard, GB of 10^9 bytes.
    full
        Share of it that state may take: the rest is for the outbox, buffers and the copy while a file is rewritten.
    """

    busy: float = 0.5
    shard_gb: float = 32.0
    full: float = 0.6


class Needed(NamedTuple):
    """What a load needs."""

    workers: int
    partitions: int
    shards_by_rate: int
    shards_by_memory: int

    @property
    def shards(self) -> int:
        """The larger of the two."""
        return max(self.shards_by_rate, self.shards_by_memory)


def newest(folder: Path, scenario: str) -> dict[str, Any]:
    """The newest full-size line of a scenario of ``make bench-scale``.

    Raises
    ------
    NotMeasuredError
        Where there is none.
    """
    file = folder / "scale.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    found = [line for line in lines if line["scenario"] == scenario and line["scale"] == 1.0]
    if not found:
        raise NotMeasuredError(
            f"no full-size line of {scenario} in {file.name}: python -m benchmarks.scale --only {scenario}"
        )
    line: dict[str, Any] = found[-1]
    return line


def measured(folder: Path) -> Measured:
    """All that the tables rest on."""
    steps, partitions, history = (newest(folder, f"{name}-v1") for name in ("customers", "partitions", "history"))
    largest = max(steps["us_a_step"], key=int)
    by_stage = steps["us_a_step"][largest]["zipf"]
    waited_us = (by_stage["load"] + by_stage["commit"]) * by_stage["steps_a_record"]
    by, more = partitions["by_partitions"], partitions["of_one_more"]
    return Measured(
        by["1"]["records_per_s"],
        by["6"]["records_per_s"],
        1e6 / waited_us,
        history["store"]["used_memory_a_customer"],
        more["idle_worker_s_a_second"],
        more["idle_broker_s_a_second"],
        more["rss_mb"],
        tuple(f"`{line['command']}` ({line['commit']}, {line['machine']})" for line in (steps, partitions, history)),
    )


def needed(rate: float, customers: int, one: Measured, given: Assumed = Assumed()) -> Needed:  # noqa: B008  # frozen
    """What so many records a second of so many customers need.

    Parameters
    ----------
    rate
        Records a second, at the peak that is planned for.

    >>> one = Measured(2_000.0, 2_500.0, 10_000.0, 2_400.0, 0.0, 0.0, 0.0, ())
    >>> needed(10_000, 100_000_000, one)
    Needed(workers=8, partitions=13, shards_by_rate=2, shards_by_memory=13)
    """
    workers = math.ceil(rate / (one.worker * given.busy))
    by_rate = math.ceil(rate / (one.shard * given.busy))
    by_memory = math.ceil(customers * one.customer_bytes / (given.shard_gb * GB * given.full))
    # a partition is one worker's and one shard's, so there are at least as many of them
    partitions = max(math.ceil(rate / (one.partition * given.busy)), workers, by_rate, by_memory)
    return Needed(workers, partitions, by_rate, by_memory)


def bottlenecks(one: Measured) -> list[tuple[str, float]]:
    """What is full first as the rate grows and nothing is added: records a second, least first."""
    carries = {
        "one partition (its lane: intake, step and commit, one after the other)": one.partition,
        "one worker process (one processor: Python)": one.worker,
        "one Redis shard (one thread)": one.shard,
    }
    return sorted(carries.items(), key=lambda found: found[1])


def tables(one: Measured, given: Assumed) -> Iterator[str]:
    """The page's tables, as Markdown."""
    yield "| what | carries, records/s |\n|---|---|"
    for what, rate in bottlenecks(one):
        yield f"| {what} | {rate:,.0f} |"
    yield ""
    yield f"A customer takes {one.customer_bytes:,.0f} bytes of the store. One more idle partition takes {one.idle_worker:.4f} s of"
    yield f"processor a second of a worker, {one.idle_broker:.4f} s of the broker, and {one.rss_mb:.1f} MB of a worker's memory."
    yield ""
    yield f"Planned with at most {given.busy:.0%} of what each carries, and shards of {given.shard_gb:g} GB of which {given.full:.0%} hold state:"
    yield ""
    yield "| records/s | customers | workers | partitions of the log | shards for the rate | shards for the memory | shards |"
    yield "|---|---|---|---|---|---|---|"
    for customers in CUSTOMERS:
        for rate in RATES:
            found = needed(rate, customers, one, given)
            yield (
                f"| {rate:,} | {customers:,} | {found.workers:,} | {found.partitions:,} | {found.shards_by_rate:,} "
                f"| {found.shards_by_memory:,} | {found.shards:,} |"
            )
    yield ""
    yield "From the newest lines of `benchmarks/results/scale.jsonl`:"
    yield ""
    for line in one.from_:
        yield f"- {line}"


def written(page: str, text: str) -> str:
    """A page with the tables between its marks.

    >>> written("a\\n" + BEGIN + "old\\n" + END + "\\nz", "new") == "a\\n" + BEGIN + "new\\n" + END + "\\nz"
    True
    """
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + text.rstrip("\n") + "\n" + END + rest.partition(END)[2]


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=float, default=Assumed().busy, help="share of what each carries, planned with")
    parser.add_argument("--shard-gb", type=float, default=Assumed().shard_gb, help="memory of a Redis shard, GB")
    parser.add_argument("--full", type=float, default=Assumed().full, help="share of it that state may take")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of scale.jsonl")
    parser.add_argument("--write", action="store_true", help="into docs/scale.md, between its marks")
    options = parser.parse_args()
    try:
        one = measured(options.results)
    except NotMeasuredError as error:
        sys.exit(str(error))
    text = "\n".join(tables(one, Assumed(options.busy, options.shard_gb, options.full)))
    print(text)
    if options.write:
        PAGE.write_text(written(PAGE.read_text(), text))


if __name__ == "__main__":
    main()
