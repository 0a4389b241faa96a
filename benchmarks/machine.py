"""What every measurement needs: what a figure was measured on, a line of progress, a place for the result."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def provenance(command: str) -> dict[str, Any]:
    """Commit (with a mark where the tree differs from it), machine and versions, for a result line."""
    return {
        "command": command,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short=12", "HEAD")
        + ("+changes" if _git("status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results", ":!docs") else ""),
        "machine": f"{_cpu()}, {_cores()} cores",
        "python": platform.python_version(),
        "river": version("river"),
        "msgspec": version("msgspec"),
    }


def say(text: str) -> None:
    """Progress, to standard error."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def append(file: Path, result: Mapping[str, Any]) -> None:
    """Add a result to a file of results, one a line."""
    with file.open("a") as lines:
        lines.write(json.dumps(result) + "\n")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
