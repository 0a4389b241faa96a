"""Whom a changed cap touches, found without the engine: moments of a run without caps, cut down by each configuration's.

    rapport replay shop.jsonl.gz -c uncapped.toml -o uncapped
    python -m benchmarks.caps shop.jsonl.gz uncapped/decisions.jsonl old.toml new.toml

A customer is touched where the two configurations let different decisions through. Each decision of the run without caps and
budgets names all that could have been chosen at its moment; of these the best is taken that neither cap nor budget stops.
What a device was sent counts for its user from the call on that links them, which is why the events are read.

It shares no code with the engine or with ``rapport diff``: JSON and TOML are read as they stand. It holds where contacts
decide about nothing but caps and budgets: models must not take ``contacts_30d``, and no cap may stop an audience, or who
is in it would be another matter. ``python -m benchmarks.cap_changes`` makes such runs and compares.
"""

from __future__ import annotations

import gzip
import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
REMEMBERED = 48  # contacts that a profile keeps; past them the caps of long windows cannot be told
ROUNDING = 1e-9

Links = Mapping[str, list[tuple[int, str]]]
Choice = tuple[str, str, str]
"""The event that led to a decision, its campaign and its action."""


class Contact(NamedTuple):
    at: int
    campaign: str
    channel: str
    shadow: bool


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


class Caps:
    """The caps and budgets of a configuration, and what has gone out under them.

    >>> mail = {"source": "e", "customer": "u:1", "campaign": "c", "arm": "treated", "action": {"id": "m"},
    ...     "eligible": [{"campaign": "c", "action": "m"}]}
    >>> caps = Caps({"campaign": [{"id": "c", "caps": [{"most": 1, "within": "1s"}], "topic": "nudges",
    ...     "actions": [{"id": "m", "channel": "email"}]}]}, {})
    >>> [caps.choose({**mail, "issued_at": at}) for at in (0, 999, 1000)]
    [('e', 'c', 'm'), None, ('e', 'c', 'm')]
    """

    def __init__(self, configuration: Mapping[str, Any], linked: Links) -> None:
        policy = configuration.get("policy", {})
        self._customer, self._channels = policy.get("customer_caps", ()), policy.get("channel_caps", {})
        self._campaigns = {campaign["id"]: campaign for campaign in configuration.get("campaign", ())}
        self._actions = {
            (name, action["id"]): action for name, campaign in self._campaigns.items() for action in campaign["actions"]
        }
        self._audiences = {name for name, campaign in self._campaigns.items() if campaign["topic"] == "segments"}
        for name in self._audiences:
            channels = {action["channel"] for action in self._campaigns[name]["actions"]}
            if self._campaigns[name].get("caps") or channels & {*self._channels}:
                raise SystemExit(f"{name}: a cap on an audience; who is in it then is not told here: leave the cap out")
        self._linked = linked
        self._sent: dict[str, list[Contact]] = defaultdict(list)
        self._spent: dict[str, tuple[int, float]] = {}

    def choose(self, decision: Mapping[str, Any]) -> Choice | None:
        """What is chosen at the moment of a decision of the run without caps; None where all of it is capped."""
        customer, now, shadow = decision["customer"], decision["issued_at"], decision["arm"] == "shadow"
        devices = (device for at, device in self._linked.get(customer, ()) if at <= now)
        log = [c for one in (customer, *devices) for c in self._sent.get(one, ()) if c.shadow == shadow]
        for option in decision["eligible"]:
            campaign, action = option["campaign"], self._actions[option["campaign"], option["action"]]
            if not self._capped(campaign, action["channel"], log, now) and self._affordable(campaign, action, now):
                self._sent[customer].append(Contact(now, campaign, action["channel"], shadow))
                if len(log) >= REMEMBERED:
                    raise SystemExit(f"{customer}: more than {REMEMBERED} contacts; take a shorter history")
                if not shadow:
                    self._spend(campaign, action, now)
                return decision["source"], campaign, action["id"]
        return None

    def _capped(self, campaign: str, channel: str, log: list[Contact], now: int) -> bool:
        return (
            _full(self._campaigns[campaign].get("caps", ()), (c.at for c in log if c.campaign == campaign), now)
            or _full(self._channels.get(channel, ()), (c.at for c in log if c.channel == channel), now)
            or (
                campaign not in self._audiences
                and _full(self._customer, (c.at for c in log if c.campaign not in self._audiences), now)
            )
        )

    def _affordable(self, campaign: str, action: Mapping[str, Any], now: int) -> bool:
        budget = self._campaigns[campaign].get("budget_per_day")
        return budget is None or self._spent_on(campaign, now) + action.get("cost", 0.0) <= budget + ROUNDING

    def _spend(self, campaign: str, action: Mapping[str, Any], now: int) -> None:
        spent = self._spent_on(campaign, now) + action.get("cost", 0.0)
        self._spent[campaign] = (now // UNITS["d"], spent)

    def _spent_on(self, campaign: str, now: int) -> float:
        day, spent = self._spent.get(campaign, (0, 0.0))
        return spent if day == now // UNITS["d"] else 0.0


def _full(caps: Iterable[Mapping[str, Any]], times: Iterator[int], now: int) -> bool:
    listed = list(times)
    return any(sum(at > now - milliseconds(cap["within"]) for at in listed) >= cap["most"] for cap in caps)


def touched(
    decisions: Iterable[Mapping[str, Any]], old: Mapping[str, Any], new: Mapping[str, Any], linked: Links
) -> dict[str, tuple[set[Choice], set[Choice]]]:
    """Customer -> what only the old caps let through, and what only the new ones do; decisions in their order."""
    before, after = Caps(old, linked), Caps(new, linked)
    found: dict[str, tuple[set[Choice], set[Choice]]] = defaultdict(lambda: (set(), set()))
    for decision in decisions:
        one, other = before.choose(decision), after.choose(decision)
        if one != other:
            only_old, only_new = found[decision["customer"]]
            if one is not None:
                only_old.add(one)
            if other is not None:
                only_new.add(other)
    return dict(found)


def read(path: Path) -> list[Mapping[str, Any]]:
    """The decisions of a replay in which something was chosen: no conversions, and nobody who left an audience."""
    records = map(json.loads, path.read_text().splitlines())
    return [one for one in records if one.get("kind") != "conversion" and one.get("membership") != "left"]


def calls_of(path: str) -> Links:
    """The links of an event file, plain or packed by gzip."""
    with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as calls:
        return links(calls)


def main(events: str, decisions: str, old: str, new: str) -> None:
    """Print the customers, one a line."""
    before, after = (tomllib.loads(Path(name).read_text()) for name in (old, new))
    for customer in sorted(touched(read(Path(decisions)), before, after, calls_of(events))):
        print(customer)


if __name__ == "__main__":
    main(*sys.argv[1:])
