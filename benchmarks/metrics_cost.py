"""What being scraped costs: one worker on a backlog, with scrapes and without in turn. ``python -m benchmarks.metrics_cost``.

Workload ``metrics-cost-v1``: the first 60,000 Segment records of the simulated shop (seed 1, 3,000 customers, 120 days) under
the shipped campaigns, on the embedded broker and store, played before the worker starts. Windows of two seconds follow each
other, every second one with a scrape each 100 ms, a hundred times as often as the shipped configuration. The figure is
processor time of the worker a record of the log, for other processes of the machine do not change it as they do the rate.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, append, provenance
from benchmarks.speed import records
from streams import embedded, topics
from streams.environment import kafka_from_environment
from streams.player import Player
from streams.ports import free_port
from streams.topic_plan import TopicPlan

WORKLOAD = "metrics-cost-v1"
RECORDS = 60_000
RESULTS = ROOT / "benchmarks" / "results" / "metrics.jsonl"
WINDOW_S = 2.0
SCRAPE_S = 0.1
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def scrape(url: str) -> tuple[float, float]:
    """Records of the log that are done, and how long the scrape took, seconds."""
    started = time.perf_counter()
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    took = time.perf_counter() - started
    of_engine = [line for line in text.splitlines() if line.startswith("rapport_records_total") and "engine" in line]
    return sum(float(line.split()[-1]) for line in of_engine), took


def measured(worker: subprocess.Popen[bytes], url: str) -> dict[str, Any]:
    """Microseconds a record, in windows with scrapes and without, until the backlog is done."""
    spent: dict[bool, list[float]] = {False: [], True: []}
    took: list[float] = []
    done = 0.0
    while True:
        try:
            if scrape(url)[0] > 0:
                break
        except OSError:
            assert worker.poll() is None, "the worker ended"
        time.sleep(0.2)
    scraped = False
    while True:
        before, began = scrape(url)[0], processor_s(worker.pid)
        until = time.monotonic() + WINDOW_S
        while time.monotonic() < until:
            if scraped:
                took.append(scrape(url)[1])
            time.sleep(SCRAPE_S)
        after, ended = scrape(url)[0], processor_s(worker.pid)
        if after - before < 500:
            break
        spent[scraped].append(1e6 * (ended - began) / (after - before))
        done += after - before if scraped else 0
        scraped = not scraped
    medians = {on: statistics.median(windows) for on, windows in spent.items()}
    return {
        "cpu_us_a_record": round(medians[False], 1),
        "cpu_us_a_record_scraped": round(medians[True], 1),
        "ratio": round(medians[True] / medians[False], 3),
        "cpu_ms_a_scrape": round((medians[True] - medians[False]) * done / len(took) / 1e3, 1),
        "windows": {"without": len(spent[False]), "scraped": len(spent[True])},
        "all": {str(on): [round(one, 1) for one in windows] for on, windows in spent.items()},
        "scrape_ms": {"median": round(1e3 * statistics.median(took), 1), "max": round(1e3 * max(took), 1)},
        "scrapes": len(took),
    }


def main() -> None:
    """Run it and append the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--dry", action="store_true", help="append nothing")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, embedded.start(Path(folder)) as servers:
        kafka = kafka_from_environment({}, servers.kafka)
        topics.create(kafka, TopicPlan(partitions=1, raw_partitions=1, clock="event"))
        with Player(kafka) as player:
            player.play(records(given.records))
        port = free_port("metrics")
        command = [sys.executable, "-m", "streams", "worker", "--no-transactions", "--clock", "event"]
        command += ["--kafka", servers.kafka, "--redis", servers.redis, "--metrics-port", str(port)]
        command += ["--campaigns", str(ROOT / "examples" / "campaigns.toml")]
        worker = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            figures = measured(worker, f"http://127.0.0.1:{port}/metrics")
        finally:
            worker.terminate()
            worker.wait(60)
    row = {"workload": WORKLOAD, "records": given.records, **figures, **provenance("python -m benchmarks.metrics_cost")}
    print(json.dumps(row, indent=1))
    if not given.dry:
        append(RESULTS, row)


if __name__ == "__main__":
    main()
