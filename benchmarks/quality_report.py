"""Where the results go: JSON lines with commit and machine, and the tables of ``docs/quality.md``."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.machine import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "quality.jsonl"
DOCS = ROOT / "docs" / "quality.md"
START, END = "<!-- figures: python -m benchmarks.quality --docs -->", "<!-- end of figures -->"


class SkippedError(Exception):
    """A scenario cannot run here; the message says why."""


def data(*names: str) -> Path:
    """A file of the shared data; raises ``SkippedError`` where it is absent."""
    folder = Path(os.environ.get("RAPPORT_DATA", ROOT.parent / "shared" / "data"))
    path = folder.joinpath(*names)
    if not path.is_file():
        raise SkippedError(f"{path} is absent: set RAPPORT_DATA to the folder of the data sets")
    return path


def clean(value: Any) -> Any:
    """The same with floats to six digits, and None for what is not a number."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [clean(one) for one in value]
    return value


def append(record: dict[str, Any]) -> None:
    """Add one scenario's result to the file."""
    machine.append(RESULTS, clean(record))


def latest() -> dict[str, dict[str, Any]]:
    """The last record of each scenario."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.is_file() else []
    return {record["scenario"]: record for record in map(json.loads, lines)}


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as a Markdown table.

    >>> print(table([{"what": "ours", "AUC": 0.75}]))
    | what | AUC |
    |---|---|
    | ours | .750 |
    """
    if not rows:
        return "(none)"
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(shown(row.get(head)) for head in heads) + " |" for row in rows]
    return "\n".join(lines)


def shown(value: Any) -> str:
    """A value as the tables show it: whole numbers with commas, shares with three decimals and no leading zero.

    >>> shown(12345), shown(0.0714), shown(-0.5), shown(None), shown([0.1, 0.0, 0.2])
    ('12,345', '.071', '-.500', '', '.100 [.000, .200]')
    """
    if value is None or value != value:
        return ""
    if isinstance(value, list):
        return f"{shown(value[0])} [{shown(value[1])}, {shown(value[2])}]"
    if isinstance(value, float):
        text = f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
        return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def document() -> str:
    """All tables of the latest results, each with the command, commit and machine that gave it."""
    parts = []
    for name, record in latest().items():
        head = f"### {name}\n\n`{record['command']}`, commit {record['commit']}, {record['machine']}, Python {record['python']}, River {record['river']}, {record['seconds']:.0f} s."
        tables = [f"{one['title']}\n\n{table(one['rows'])}" for one in record["tables"]]
        parts.append("\n\n".join([head, *tables]))
    return "\n\n".join(parts)


def write_document() -> None:
    """Put the tables between the marks of ``docs/quality.md``."""
    text = DOCS.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{START}\n\n{document()}\n\n{END}{after}", encoding="utf-8")
