"""Checks a finished run from the outside: was any consent, quiet hour, cap, holdout, budget, expiry or signal violated?

Neither it nor ``checker_log.py`` and ``checker_signals.py`` import anything of the engine. From the Segment event log it works out anew, in the order of arrival, who consented
to what and in which zone everybody lives; from ``campaigns.toml`` what is allowed; and holds each decision to both.

    python -m benchmarks.checker --log log.jsonl.gz --campaigns campaigns.toml --decisions decisions.jsonl --triggers triggers.jsonl

What it takes for granted, on purpose stricter than the engine where the two could differ:

- consent is a word that was said: ``Consent Changed {granted: true}``. The trait ``marketing_consent: false``
  withdraws e-mail, ``true`` grants nothing. A call that arrives twice counts once, however far apart.
- a device belongs to the first user that an identify or alias call names with it; what it said and what it was sent
  before counts as that user's.
- a decision by a timer falls before the first call that takes the clock (the latest time in the log so far) to its
  time or beyond; one by a call falls right after that call.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

from .checker_log import DAY_MS, Json, People, Person, duration_ms, occurred_ms, quiet
from .checker_signals import Laws, Memberships

DEFAULT_EXPIRY = "24h"
HOLDOUT_Z = 4.0
EXAMPLES_KEPT = 5


@dataclass
class Report:
    """What was checked, how often, and what was violated."""

    checked: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    holdouts: dict[str, tuple[int, int, float]] = field(default_factory=dict)

    def violated(self, kind: str, what: str) -> None:
        """Count a violation; the first few are kept word for word."""
        self.violations[kind] += 1
        if len(self.examples[kind]) < EXAMPLES_KEPT:
            self.examples[kind].append(what)

    def lines(self) -> list[str]:
        """The report in words."""
        text = ["checked: " + ", ".join(f"{n:,} {what}" for what, n in self.checked.items())]
        text += [
            f"held out of {campaign}: {held} of {people} persons, {held / people:.3f}, configured {share:.3f}"
            for campaign, (held, people, share) in self.holdouts.items()
        ]
        for kind, n in self.violations.most_common():
            text.append(f"VIOLATED {kind}: {n:,}")
            text += [f"  {example}" for example in self.examples[kind]]
        return [*text, "no violation found" if not self.violations else f"{self.violations.total():,} violations"]


class Checker:
    """Holds decisions to a log and a configuration.

    Parameters
    ----------
    config
        ``campaigns.toml``, parsed.
    decisions, triggers
        As the engine wrote them, in order; records of other kinds (conversions) are passed over.
    """

    def __init__(self, config: Json, decisions: Iterable[Json], triggers: Iterable[Json]) -> None:
        self.report = Report()
        self._policy: Json = config.get("policy", {})
        self._campaigns: dict[str, Json] = {c["id"]: c for c in config.get("campaign", [])}
        self._decisions = [d for d in decisions if d.get("kind") != "conversion"]
        self._triggers = {t["id"] for t in self._outputs(list(triggers))}
        self._people = People()
        self._laws = Laws(config.get("engine", {}))
        self._memberships = Memberships()
        self._by_call: dict[str, list[Json]] = defaultdict(list)
        self._seen: set[str] = set()
        self._clock = 0
        self._spent: dict[tuple[str, int], float] = defaultdict(float)
        self._mentioned: Counter[str] = Counter()

    def _outputs(self, triggers: list[Json]) -> list[Json]:
        """Ids unique, arms as the mode says, triggers exactly the treated decisions, one winner a moment."""
        report = self.report
        ids: set[str] = set()
        moments: set[tuple[str, str, bool]] = set()
        treated: dict[str, Json] = {}
        for decision in self._decisions:
            name = f"{decision['id']} of {decision['customer']}, {decision['campaign']}"
            report.checked["decisions"] += 1
            if decision["id"] in ids:
                report.violated("unique id", name)
            ids.add(decision["id"])
            if decision["arm"] == "treated":
                treated[decision["id"]] = decision
            campaign = self._campaigns.get(decision["campaign"], {"mode": "unknown"})
            arms = {"live": {"treated", "holdout"}, "shadow": {"shadow"}}.get(campaign.get("mode", "shadow"), set())
            if decision["arm"] not in arms:
                report.violated("mode", f"{name}: {decision['arm']} in mode {campaign.get('mode', 'shadow')}")
            moment = (decision["customer"], decision["source"], decision["arm"] == "shadow")
            if decision.get("membership"):
                continue  # being in an audience is no message: each is decided for itself
            if moment in moments:
                report.violated("one winner", f"{name}: another decision for event {decision['source']}")
            moments.add(moment)
        sent: set[str] = set()
        for trigger in triggers:
            report.checked["triggers"] += 1
            if trigger["id"] in sent:
                report.violated("unique id", f"trigger {trigger['id']} twice")
            sent.add(trigger["id"])
            if trigger.get("arm") != "treated" or treated.get(trigger["id"]) != trigger:
                report.violated("holdout", f"trigger {trigger['id']} is no treated decision ({trigger.get('arm')})")
        for missing in sorted(treated.keys() - sent):
            report.violated("trigger lost", missing)
        return triggers

    def run(self, log: Iterable[bytes]) -> Report:
        """Go through the log once, with the decisions at their places."""
        waiting = iter(self._placed())
        pending = next(waiting, None)
        for line in log:
            call: Json = json.loads(line)
            self.report.checked["calls"] += 1
            at = occurred_ms(call)
            while pending is not None and pending["issued_at"] <= at and at > self._clock:
                self._judge(pending)
                pending = next(waiting, None)
            self._clock = max(self._clock, at)
            self._take(call)
            for decision in self._by_call.pop(call["messageId"], ()):
                if decision["issued_at"] != self._clock:
                    found = f"{decision['id']} issued at {decision['issued_at']}, not {self._clock}"
                    self.report.violated("clock", found)
                self._judge(decision)
            if call.get("event") == "Order Completed":
                self._bought(call)
        while pending is not None:
            self._judge(pending)
            pending = next(waiting, None)
        for decisions in self._by_call.values():
            for decision in decisions:
                self.report.violated("source", f"{decision['id']}: no call {decision['source']} in the log")
        self._finish()
        return self.report

    def _placed(self) -> list[Json]:
        """Decisions by timers, in order; those by calls go to ``_by_call``. A timer's source is customer|kind|due."""
        timers = []
        for decision in self._decisions:
            if decision["source"].startswith(decision["customer"] + "|"):
                timers.append(decision)
            else:
                # Events made of a call carry its id and a suffix: #link, >hand-over, >u:7.
                self._by_call[decision["source"].partition("#")[0].partition(">")[0]].append(decision)
        return timers

    def _take(self, call: Json) -> None:
        """Take in what a call says of people, once; and see that it speaks of no message that was never sent."""
        told: Json = call.get("properties") or {}
        trigger = told.get("trigger_id")
        if trigger:
            self._mentioned["calls about triggers"] += 1
            if trigger not in self._triggers:
                self.report.violated("holdout", f"call {call['messageId']} tells of {trigger}, which is no trigger")
        if call["messageId"] in self._seen:
            return
        self._seen.add(call["messageId"])
        self.report.checked["words on consent"] += self._people.take(call)
        self._people.live(call, min(occurred_ms(call), self._clock))

    def _bought(self, call: Json) -> None:
        """Whoever has just bought is in no audience that an order ends."""
        customer = self._people.owner(call)
        self.report.checked["orders"] += 1
        for name in self._memberships.bought(customer, self._campaigns, self._clock):
            self.report.violated("membership", f"{customer} ordered at {self._clock} and is still in {name}")

    def _judge(self, decision: Json) -> None:
        """Hold one decision to consent, quiet hours, caps, expiry and budget as of this point of the log."""
        campaign = self._campaigns.get(decision["campaign"])
        if campaign is None:
            return
        report, checked = self.report, self.report.checked
        at, action = decision["issued_at"], decision["action"]
        name = f"{decision['id']} of {decision['customer']}, {decision['campaign']} at {at}"
        person = self._people.of(decision["customer"])
        shadow, audience = decision["arm"] == "shadow", bool(decision.get("membership"))
        if audience:
            checked["memberships"] += 1
            for kind, found in self._memberships.broken(decision):
                report.violated(kind, f"{name}: {found}")
            if decision["membership"] == "left":
                return
        checked["signals"] += 1
        for kind, found in self._laws.broken(decision, campaign, person):
            report.violated(kind, f"{name}: {found}")
        person.given.append((decision["campaign"], at))
        checked["consents"] += 1
        default = self._policy.get("channel_consent", {}).get(action["channel"], self._policy.get("consent", "deny"))
        if not person.consents(action["channel"], default == "allow"):
            report.violated("consent", f"{name}: {action['channel']} with {person.said}")
        hours = self._policy.get("quiet_hours")
        if hours and campaign.get("quiet_hours", True) and not audience:
            checked["quiet hours"] += 1
            zone = person.zone or self._policy.get("timezone", "UTC")
            if quiet(at, zone, self._policy.get("timezone", "UTC"), hours["start"], hours["end"]):
                report.violated("quiet hours", f"{name}: in {zone}")
        person.contacts.append((at, decision["campaign"], action["channel"], shadow))
        self._caps(person, campaign, decision, name)
        checked["expiries"] += 1
        if not at < decision["expires_at"] <= at + duration_ms(campaign.get("expires_after", DEFAULT_EXPIRY)):
            report.violated("expiry", f"{name}: expires at {decision['expires_at']}")
        configured = next((a for a in campaign["actions"] if a["id"] == action["id"]), None)
        if configured is None or configured["channel"] != action["channel"]:
            report.violated("action", f"{name}: {action['id']} by {action['channel']}")
            return
        if shadow:
            return
        day = (decision["campaign"], at // DAY_MS)
        self._spent[day] += configured.get("cost", 0.0)
        if "budget_per_day" in campaign:
            checked["budgets"] += 1
            if self._spent[day] > campaign["budget_per_day"] + 1e-6:
                report.violated("budget", f"{name}: {self._spent[day]:.2f} spent")
        arm = person.arms.setdefault(decision["campaign"], decision["arm"])
        checked["arms"] += 1
        if arm != decision["arm"] and not decision.get("flag"):
            report.violated("holdout", f"{name}: {decision['arm']}, was {arm} before")

    def _caps(self, person: Person, campaign: Json, decision: Json, name: str) -> None:
        at, channel, shadow = decision["issued_at"], decision["action"]["channel"], decision["arm"] == "shadow"
        of_channel = self._policy.get("channel_caps", {}).get(channel, [])
        for scope, caps in (
            ("campaign", campaign.get("caps", [])),
            ("channel", of_channel),
            ("customer", [] if decision.get("membership") else self._policy.get("customer_caps", [])),
        ):
            for cap in caps:
                self.report.checked["cap windows"] += 1
                since = at - duration_ms(cap["within"])
                found = sum(
                    when > since
                    and is_shadow == shadow
                    and (scope != "campaign" or of == decision["campaign"])
                    and (scope != "channel" or by == channel)
                    and (scope != "customer" or self._campaigns[of].get("topic") != "segments")
                    for when, of, by, is_shadow in person.contacts
                )
                if found > cap["most"]:
                    self.report.violated(
                        f"{scope} cap", f"{name}: {found} within {cap['within']}, allowed {cap['most']}"
                    )

    def _finish(self) -> None:
        """Each campaign's share of persons held out is what was configured, as far as chance allows."""
        report = self.report
        everywhere = self._policy.get("global_holdout", 0.0)
        for name, campaign in self._campaigns.items():
            arms = Counter(person.arms[name] for person in self._people.known.values() if name in person.arms)
            people, share = arms.total(), 1 - (1 - everywhere) * (1 - campaign.get("holdout", 0.1))
            if not people:
                continue
            report.holdouts[name] = (arms["holdout"], people, share)
            noise = HOLDOUT_Z * sqrt(people * share * (1 - share))
            if abs(arms["holdout"] - people * share) > noise + 1:
                report.violated(
                    "holdout share", f"{name}: {arms['holdout']} of {people} persons, configured {share:.3f}"
                )
        report.checked.update(self._mentioned)
        report.checked["persons"] = len(self._people.known)


def json_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, plain or gzip."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield from file


def check(log: Path, campaigns: Path, decisions: Path, triggers: Path) -> Report:
    """Check the files of a run."""
    config: Mapping[str, Any] = tomllib.loads(campaigns.read_text(encoding="utf-8"))
    decided, sent = ([json.loads(line) for line in json_lines(path)] for path in (decisions, triggers))
    return Checker(dict(config), decided, sent).run(json_lines(log))


def main() -> int:
    """The command line; exits with 1 where anything was violated."""
    parser = argparse.ArgumentParser(description="Check a run against its log and its campaigns.")
    for name in ("log", "campaigns", "decisions", "triggers"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    report = check(**vars(parser.parse_args()))
    print(*report.lines(), sep="\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
