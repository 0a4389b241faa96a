"""Whom a changed cap touches, found without the engine: decisions of a run without caps, cut down by each configuration's.

    rapport replay shop.jsonl.gz -c uncapped.toml -o uncapped
    python -m benchmarks.caps shop.jsonl.gz uncapped/decisions.jsonl old.toml new.toml

A customer is touched where the two configurations let different decisions through; what a device was sent counts for its
user from the call on that links them, which is why the events are read. It shares no code with the engine or
with ``rapport diff``: JSON and TOML are read as they stand. It holds for campaigns whose signals never meet in one moment,
without budgets, for nothing but caps may make one decision depend on another.
"""

from __future__ import annotations

import gzip
import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Contact = tuple[int, str, str]
"""When, of which campaign, on which channel."""
Links = Mapping[str, list[tuple[int, str]]]


def milliseconds(text: str) -> int:
    """A duration such as ``7d``.

    >>> milliseconds("2h")
    7200000
    """
    return int(text[:-1]) * UNITS[text[-1]]


def links(calls: Iterable[str]) -> Links:
    """User -> when (milliseconds UTC) which device turned out to be theirs, by Segment's identify and alias calls.

    >>> links(['{"type":"identify","userId":"7","anonymousId":"d","timestamp":"1970-01-01T00:00:01Z"}'])
    {'u:7': [(1000, 'a:d')]}
    """
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    seen = set()
    for call in map(json.loads, calls):
        device = call.get("previousId") or call.get("anonymousId")
        if call["type"] in ("identify", "alias") and device and call.get("userId") and device not in seen:
            seen.add(device)
            at = datetime.fromisoformat(call["timestamp"]).timestamp()
            found[f"u:{call['userId']}"].append((round(at * 1000), f"a:{device}"))
    return dict(found)


def allowed(
    decisions: Iterable[Mapping[str, Any]], configuration: Mapping[str, Any], linked: Links
) -> dict[str, set[str]]:
    """Customer -> ids of the decisions that the caps let through, taking the decisions in their order.

    >>> decisions = [{"id": "1", "customer": "u:1", "campaign": "c", "issued_at": 0, "action": {"channel": "email"}},
    ...     {"id": "2", "customer": "u:1", "campaign": "c", "issued_at": 5, "action": {"channel": "email"}}]
    >>> allowed(decisions, {"campaign": [{"id": "c", "caps": [{"most": 1, "within": "1s"}]}]}, {})
    {'u:1': {'1'}}
    """
    policy = configuration.get("policy", {})
    campaigns = {campaign["id"]: campaign.get("caps", ()) for campaign in configuration.get("campaign", ())}
    sent: dict[str, list[Contact]] = defaultdict(list)
    let_through: dict[str, set[str]] = defaultdict(set)
    for decision in decisions:
        customer, campaign, now = decision["customer"], decision["campaign"], decision["issued_at"]
        channel = decision["action"]["channel"]
        devices = (device for at, device in linked.get(customer, ()) if at <= now)
        log = [contact for one in (customer, *devices) for contact in sent.get(one, ())]
        capped = (
            _full(campaigns.get(campaign, ()), [at for at, of, _ in log if of == campaign], now)
            or _full(policy.get("channel_caps", {}).get(channel, ()), [at for at, _, on in log if on == channel], now)
            or _full(policy.get("customer_caps", ()), [at for at, _, _ in log], now)
        )
        if not capped:
            sent[customer].append((now, campaign, channel))
            let_through[customer].add(decision["id"])
    return dict(let_through)


def _full(caps: Iterable[Mapping[str, Any]], times: list[int], now: int) -> bool:
    return any(sum(at > now - milliseconds(cap["within"]) for at in times) >= cap["most"] for cap in caps)


def touched(
    decisions: list[Mapping[str, Any]], old: Mapping[str, Any], new: Mapping[str, Any], linked: Links
) -> dict[str, tuple[set[str], set[str]]]:
    """Customer -> the decisions that only the old caps let through, and those that only the new ones do."""
    before, after = allowed(decisions, old, linked), allowed(decisions, new, linked)
    found = {}
    for customer in {*before, *after}:
        one, other = before.get(customer, set()), after.get(customer, set())
        if one != other:
            found[customer] = (one - other, other - one)
    return found


def read(path: Path) -> list[Mapping[str, Any]]:
    """The decisions of a replay, conversions left out."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in records if record.get("kind") != "conversion"]


def main(events: str, decisions: str, old: str, new: str) -> None:
    """Print the customers, one a line."""
    before, after = (tomllib.loads(Path(name).read_text()) for name in (old, new))
    with gzip.open(events, "rt") if events.endswith(".gz") else open(events) as calls:
        found = touched(read(Path(decisions)), before, after, links(calls))
    for customer in sorted(found):
        print(customer)


if __name__ == "__main__":
    main(*sys.argv[1:])
