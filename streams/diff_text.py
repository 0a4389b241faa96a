"""The differences of two runs as a person reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from .difference import BUDGET, DEVICE, LEARNING, Difference
from .diffing import Diff

SHARED = {
    LEARNING: "the models learned from what others were sent",
    BUDGET: "others spent the budget",
    DEVICE: "a device that became this customer was sent something else",
}
KINDS = {"gone": "only in A", "new": "only in B", "moved": "moved", "changed": "changed"}


def of_customer(found: list[Difference]) -> Iterator[str]:
    """The differences of one customer: a line to head them, and two for each."""
    yield f"{found[0].customer}: {many(len(found), 'difference')}"
    named = {one.id: one for one in found}
    for one in found:
        yield f"  {moment(one.at)}  {one.campaign}  {KINDS[one.kind]} ({_what(one)}): {one.why}"
        if one.follows in SHARED:
            yield f"  {'':16}  follows from elsewhere: {SHARED[one.follows]}"
        elif one.follows:
            cause = named[one.follows]
            yield f"  {'':16}  follows {cause.campaign} of {moment(cause.at)}"


def _what(one: Difference) -> str:
    arms = [arm for arm in dict.fromkeys((one.arm_a, one.arm_b)) if arm]
    return ", ".join(part for part in (one.membership, " -> ".join(arms)) if part)


def totals(diff: Diff) -> list[list[str]]:
    """The table of totals: campaign, kind, reason, how many, and how many of them follow from an earlier difference."""
    rows: dict[tuple[str, str, str], list[int]] = {}
    for (campaign, kind, reason, follows), count in diff.totals.items():
        row = rows.setdefault((campaign, kind, reason), [0, 0])
        row[0] += count
        row[1] += count * follows
    order = {kind: number for number, kind in enumerate(KINDS)}
    return [
        [campaign, KINDS[kind], reason, f"{count:,}", f"{following:,}"]
        for (campaign, kind, reason), (count, following) in sorted(
            rows.items(), key=lambda item: (item[0][0], order[item[0][1]], -item[1][0], item[0][2])
        )
    ]


def in_a_line(diff: Diff) -> str:
    """What it came to, in a sentence."""
    a, b = diff.decisions
    if not diff.customers:
        return f"no decision differs: {many(a, 'decision')} in each"
    count = sum(diff.totals.values())
    kinds: Counter[str] = Counter()
    for (_, kind, _, _), n in diff.totals.items():
        kinds[KINDS[kind]] += n
    parts = ", ".join(f"{kinds[name]:,} {name}" for name in KINDS.values() if kinds[name])
    return (
        f"{many(count, 'difference')} of {many(diff.customers, 'customer')} ({parts}), {diff.triggers:,} of them of triggers; "
        f"{a:,} decisions in A, {b:,} in B"
    )


def goals(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """Goals reached by campaign and arm, where the two runs' metrics differ in them."""
    one, other = _counts(a.get("converted", {})), _counts(b.get("converted", {}))
    for key in sorted({*one, *other}):
        if one.get(key, 0) != other.get(key, 0):
            yield f"goals reached, {key[0]} {key[1]}: {one.get(key, 0):,} -> {other.get(key, 0):,}"


def _counts(nested: Mapping[str, Mapping[str, int]]) -> dict[tuple[str, str], int]:
    return {(campaign, arm): n for campaign, arms in nested.items() for arm, n in arms.items()}


def moment(ms: int) -> str:
    """A time as people write it, in UTC.

    >>> moment(0)
    '1970-01-01 00:00'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def many(n: int, what: str) -> str:
    """A count and what it counts.

    >>> many(1, "customer"), many(2, "customer")
    ('1 customer', '2 customers')
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def table(rows: Iterable[list[str]], heads: list[str]) -> Iterator[str]:
    """A table in columns as wide as they must be; numbers, from the fourth on, to the right."""
    whole = [heads, *rows]
    widths = [max(len(row[column]) for row in whole) for column in range(len(heads))]
    for row in whole:
        cells = (
            cell.rjust(width) if column > 2 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
