"""What it costs in triggers that raw topics are read out of step. ``python -m benchmarks.skew``.

Workload ``skew-60k-v1``: the first 60,000 records of the simulated shop (seed 1, 3,000 customers), shipped campaigns, learning
inline, in process. Events of the four raw topics come as intake would write them: in order (``0``), with the topics up to so
many hours apart (within each window of that length one topic after the other), or in equal numbers of records each in turn
(``equal``), as a worker reads a backlog: then the small topics are done long before the large one.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from msgspec.structs import force_setattr

from benchmarks.machine import ROOT, append, provenance, say
from benchmarks.speed import records
from schemas.base import HOUR_MS, Event
from schemas.control import tick
from schemas.decisions import Decision
from schemas.intake import Intake
from schemas.routing import RAW_TOPICS, glance
from streams.commands.examples import example_settings
from streams.run import Run

RESULTS = ROOT / "benchmarks" / "results" / "skew.jsonl"
RECORDS = 60_000
SKEWS = ("0", "1", "6", "24", "168", "equal")
CHUNK = 1_000
SOURCES = {topic: f"{topic}/0" for topic in RAW_TOPICS}


def read(raws: list[bytes]) -> list[tuple[str, Event]]:
    """Topic and event, in order; every hour a tick in each topic, as ``rapport play`` writes them."""
    intake, latest, ticked = Intake(), 0, 0
    found: list[tuple[str, Event]] = []
    for number, raw in enumerate(raws):
        topic = glance(raw).topic
        for event in intake.read(raw, None, f"skew:{number}").events:
            force_setattr(event, "via", SOURCES[topic])  # nobody else holds it yet
            found.append((topic, event))
            latest = max(latest, event.occurred_at)
        if latest - ticked >= HOUR_MS:
            ticked = latest
            found += [(topic, tick(latest, "event", via)) for topic, via in SOURCES.items()]
    return found


def windows(events: list[tuple[str, Event]], hours: int) -> Iterator[Event]:
    """Within each window of time one topic after the other; with 0 as they came."""
    if not hours:
        yield from (event for _, event in events)
        return
    held: dict[int, dict[str, list[Event]]] = defaultdict(lambda: {topic: [] for topic in RAW_TOPICS})
    latest = dict.fromkeys(RAW_TOPICS, 0)
    for topic, event in events:
        latest[topic] = max(latest[topic], event.occurred_at)
        held[latest[topic] // (hours * HOUR_MS)][topic].append(event)
    for window in sorted(held):
        for of_topic in held[window].values():
            yield from of_topic


def equally(events: list[tuple[str, Event]]) -> Iterator[Event]:
    """So many records of each topic in turn."""
    by_topic = {topic: [event for of, event in events if of == topic] for topic in RAW_TOPICS}
    for first in range(0, max(map(len, by_topic.values())), CHUNK):
        for of_topic in by_topic.values():
            yield from of_topic[first : first + CHUNK]


def triggers(events: Iterator[Event]) -> Counter[str]:
    """How many triggers each campaign sent."""
    sent: Counter[str] = Counter()

    def decided(decision: Decision) -> None:
        if decision.arm == "treated":
            sent[decision.campaign] += 1

    Run(example_settings(), on_decision=decided, sources=SOURCES.values()).drain(events)
    return sent


def main() -> None:
    """Run each, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skews", default=",".join(SKEWS), help="hours, 0, or equal")
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--dry", action="store_true", help="do not append the result")
    options = parser.parse_args()
    raws = records(options.records)
    found: dict[str, Any] = {}
    for skew in options.skews.split(","):
        events = read(raws)  # anew: the engine is given these very objects
        sent = triggers(equally(events) if skew == "equal" else windows(events, int(skew)))
        found[skew] = {"triggers": sent.total(), "by_campaign": dict(sorted(sent.items()))}
        say(f"{skew}: {found[skew]}")
    result = {
        **provenance(f"python -m benchmarks.skew --records {options.records} --skews {options.skews}"),
        "workload": "skew-60k-v1",
        "records": options.records,
        "skews": found,
    }
    print(json.dumps(result))
    if not options.dry:
        append(RESULTS, result)


if __name__ == "__main__":
    main()
