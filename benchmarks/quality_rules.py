"""Over a million events of the closed loop, were consent, quiet hours, caps, holdouts and budgets kept?

The engine and the simulated shop write a log, decisions and triggers; ``checker.py``, which imports neither, reads them.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.policy.reading import read
from models.simulator.config import ShopConfig
from schemas.base import DAY_MS
from schemas.codec import encode_decision
from streams.closed_loop import Loop

from . import checker

CAMPAIGNS = Path(__file__).with_name("checker-campaigns.toml")
CUSTOMERS, DAYS, SEED = 14_000, 120, 1
REPORT_EVERY_DAYS = 20
LEAST_EVENTS = 1_000_000


def run(say: Callable[[str], None], customers: int = CUSTOMERS, days: int = DAYS) -> dict[str, Any]:
    """Live through the days, write the files, check them."""
    settings = read(CAMPAIGNS.read_text(encoding="utf-8"), str(CAMPAIGNS))
    loop = Loop(ShopConfig(seed=SEED, customers=customers, days=days), settings)
    loop.keep = True
    start = loop.world.now_ms
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, decisions, triggers = (folder / f for f in ("log.jsonl.gz", "decisions.jsonl", "triggers.jsonl"))
        with (
            gzip.open(log, "wb", compresslevel=1) as calls,
            decisions.open("wb") as decided,
            triggers.open("wb") as sent,
        ):
            for at, _ in loop.live(start + days * DAY_MS):
                for line in loop.log:
                    calls.write(line + b"\n")
                for decision in loop.decisions:
                    record = encode_decision(decision) + b"\n"
                    decided.write(record)
                    if decision.arm == "treated":
                        sent.write(record)
                loop.log.clear()
                loop.decisions.clear()
                if not (at - start) % (REPORT_EVERY_DAYS * DAY_MS):
                    say(f"day {(at - start) // DAY_MS} of {days}: {loop.events:,} events")
        seconds = time.perf_counter() - started
        say(f"{loop.events:,} events lived through in {seconds:.0f} s; checking")
        report = checker.check(log, CAMPAIGNS, decisions, triggers)
    for line in report.lines():
        say(line)
    checked = report.checked
    counts = loop.run.counts
    stopped: dict[str, int] = {}
    for key, n in counts.items():
        if key.startswith("suppressed|"):
            reason = key.rsplit("|", 1)[1]
            stopped[reason] = stopped.get(reason, 0) + n
    return {
        "unit": f"one event of the log; closed loop, {customers:,} customers, {days} days, seed {SEED}, benchmarks/checker-campaigns.toml",
        "verdicts": {
            "over a million events nothing violated": {
                "events": checked["calls"],
                "violations": report.violations.total(),
                "holds": checked["calls"] >= LEAST_EVENTS and not report.violations,
            }
        },
        "violations": dict(report.violations),
        "examples": dict(report.examples),
        "engine_seconds": seconds,
        "tables": [
            {
                "title": "What was checked (unit: one check), and how many violations were found in all",
                "rows": [
                    *({"what": what, "checked": n} for what, n in checked.items()),
                    {"what": "**violations**", "checked": report.violations.total()},
                ],
            },
            {
                "title": "What the engine's gates stopped on the way (unit: one campaign at one moment)",
                "rows": [{"gate": reason, "stopped": n} for reason, n in sorted(stopped.items())],
            },
            {
                "title": "Holdouts (unit: one person a campaign decided on)",
                "rows": [
                    {
                        "campaign": campaign,
                        "persons": people,
                        "held out": held,
                        "share": held / people,
                        "configured": share,
                    }
                    for campaign, (held, people, share) in report.holdouts.items()
                ],
            },
        ],
    }
