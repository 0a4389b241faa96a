"""Takes each safeguard out and runs the tests that must notice: ``make mutations``.

A safeguard whose loss no test notices is not held by any, so it fails the run; so do tests that fail with nothing taken out.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from typing import NamedTuple

from benchmarks.machine import ROOT, append, provenance, say
from tests.live.faults.kinds import FAULTS
from tests.live.faults.mutations import WITHOUT
from tests.live.faults.run import RESULTS
from tests.live.kafka import KafkaServer

assert "mutation" not in FAULTS
PROTOCOL = ("tests/streams/test_protocol.py",)
LIVE = "tests/live/faults/test_safeguards.py"
HOW: dict[str, tuple[str, ...]] = {
    "fence": ("tests/streams/test_store.py",),
    "sequence": PROTOCOL,
    "outbox": PROTOCOL,
    "publish filter": PROTOCOL,
    "dedupe": ("tests/laws/test_replay.py", "-k", "repeat or order_counts"),
    "awaited acknowledgement": (LIVE, "-m", "kafka"),
    "awaited publish": PROTOCOL,
    "transaction": ("tests/live/test_stream.py", "-m", "kafka", "-k", "kill and sent"),
    "read_committed": (LIVE, "-m", "kafka"),
}
LIMIT_S = 400.0


class Outcome(NamedTuple):
    """Whether the tests passed, and the first that did not."""

    passed: bool
    first: str


def run(without: str, arguments: tuple[str, ...], kafka: str) -> Outcome:
    """Run tests without a safeguard; an empty name takes nothing out."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.live.faults.mutations", "-x", "-q", "--no-header"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TEST_WITHOUT": without, "RAPPORT_KAFKA": kafka, "COLUMNS": "200"}
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    failed = re.search(r"^FAILED (?:\S*/)?(\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) or (done.returncode == 1 and failed is None):
        raise AssertionError(f"pytest ended with {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    why = re.search(r"^E +(.+)", done.stdout, re.MULTILINE)
    return Outcome(done.returncode == 0, f"`{failed[1]}`: {why[1][:100] if why else ''}" if failed else "")


def main() -> int:
    """Take them out one by one; the exit code says whether each was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="safeguards, with commas between")
    parser.add_argument("--dry", action="store_true", help="do not append the results")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(WITHOUT)
    failed = 0
    with KafkaServer() as server:
        for arguments in dict.fromkeys(HOW[name] for name in names):
            outcome = run("", arguments, server.bootstrap)
            if not outcome.passed:
                say(f"FAILED with nothing taken out: {outcome.first}")
                return 1
        for name in names:
            outcome = run(name, HOW[name], server.bootstrap)
            failed += outcome.passed
            say(f"{'FAILED, nothing notices' if outcome.passed else 'ok'}: without {name}: {outcome.first}")
            if not options.dry:
                how = " ".join(HOW[name])
                found = "**nothing**" if outcome.passed else outcome.first.replace("|", "\\|")
                line = {"fault": "mutation", "without": name, "how": f"`{how}`", "found": found}
                command = f"python -m tests.live.faults.safeguards --only '{name}'"
                append(RESULTS, {**provenance(command), **line})
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
