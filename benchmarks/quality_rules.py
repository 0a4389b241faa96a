"""Over a million events of the closed loop, were consent, quiet hours, caps, holdouts and budgets kept?

The engine and the simulated shop write a log, decisions and triggers; ``checker.py``, which imports neither, reads them.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
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
MUST_BE_FOUND = {
    "consent",
    "quiet hours",
    "campaign cap",
    "channel cap",
    "customer cap",
    "budget",
    "expiry",
    "holdout share",
    "holdout",
}


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
        say("holding the same run to rules it was not given")
        spoiled = stricter(log, decisions, triggers)
    for text in report.lines():
        say(text)
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
            },
            "the checker finds violations of rules that the run was not given": {
                "found": dict(spoiled.violations),
                "holds": spoiled.violations.keys() >= MUST_BE_FOUND,
            },
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
                "title": "The checker can fail: violations found where the same run is held to stricter rules, a tenth of the consents are turned into refusals, and one holdout in fifty is slipped among the triggers",
                "rows": [{"kind": kind, "found": n} for kind, n in sorted(spoiled.violations.items())],
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


def stricter(log: Path, decisions: Path, triggers: Path) -> checker.Report:
    """The same run held to rules that it was not given: each kind of violation must turn up."""
    config = tomllib.loads(CAMPAIGNS.read_text(encoding="utf-8"))
    policy = config["policy"]
    policy["quiet_hours"] = {"start": "19:00", "end": "10:00"}
    for caps in (policy["customer_caps"], *policy["channel_caps"].values(), *(c["caps"] for c in config["campaign"])):
        for cap in caps:
            cap["within"] = f"{3 * int(cap['within'][:-1])}{cap['within'][-1]}"
    for campaign in config["campaign"]:
        campaign["expires_after"] = "1h"
        campaign["holdout"] = 0.6
        if "budget_per_day" in campaign:
            campaign["budget_per_day"] /= 2
    decided = [json.loads(line) for line in checker.json_lines(decisions)]
    slipped = [d for d in decided if d["arm"] == "holdout"][::50]
    sent = [json.loads(line) for line in checker.json_lines(triggers)]
    return checker.Checker(config, decided, [*sent, *slipped]).run(_refused(log))


def _refused(log: Path) -> Iterator[bytes]:
    words = 0
    for line in checker.json_lines(log):
        if b'"Consent Changed"' in line:
            words += 1
            if not words % 10:
                line = line.replace(b'"granted":true', b'"granted":false')
        yield line
