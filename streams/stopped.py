"""What a run wrote of what it suppressed: found by the moment, by the signal or near it, and said in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from models.policy.durations import duration_text
from schemas.base import HOUR_MS, MINUTE_MS, SECOND_MS
from schemas.decisions import Decision, Suppressed

from .difference import began

SIGNAL_NEAR_MS = 3 * HOUR_MS
"""A timer that was set anew arises as another event; within this it is taken for the same."""
CAPS = ("cap_campaign", "cap_channel", "cap_customer")


class Rows:
    """Suppressions of a customer."""

    def __init__(self, suppressed: Iterable[Suppressed]) -> None:
        self._moments: dict[tuple[str, str], list[Suppressed]] = defaultdict(list)
        self._by_campaign: dict[str, list[Suppressed]] = defaultdict(list)
        for one in suppressed:
            self._moments[one.campaign, one.source].append(one)
            if not one.action:
                self._by_campaign[one.campaign].append(one)

    def of(self, decision: Decision, action: str = "") -> Suppressed | None:
        """What stopped this very decision, or one action of its campaign at that moment."""
        rows = self._moments.get((decision.campaign, decision.source), ())
        return next((one for one in rows if one.action == action), None)

    def last(self, decision: Decision) -> Suppressed | None:
        """What became of the signal that the decision began with, where it was stopped, waited and was stopped again."""
        rows = [one for one in self._by_campaign.get(decision.campaign, ()) if began(one) == began(decision)]
        return max(rows, key=lambda one: one.at, default=None)

    def near(self, decision: Decision) -> Suppressed | None:
        """What stopped the same campaign within a timer's reach of that time: the event may be another one."""
        rows = self._by_campaign.get(decision.campaign, ())
        best = min(rows, key=lambda one: abs(one.at - decision.issued_at), default=None)
        return best if best and abs(best.at - decision.issued_at) <= SIGNAL_NEAR_MS else None


def stopped(row: Suppressed) -> str:
    """What stopped a campaign, in words.

    >>> stopped(Suppressed(customer="u:1", campaign="c", at=0, signal="ordered", source="e", reason="cap_campaign",
    ...     rule="1 in 7d", value=1.0, by=("d",)))
    'cap_campaign: 1 in 7d, used up by 1 contact'
    """
    found = "" if row.value is None else f"{row.value:.4g}"
    if row.reason in CAPS:
        contacts = len(row.by)
        return f"{row.reason}: {row.rule}, used up by {contacts} contact{'' if contacts == 1 else 's'}"
    words = {
        "condition": f"condition {row.rule} not met ({found or 'not scored'})",
        "stale": f"stale: {found} minutes old ({row.rule})",
        "expired": f"expired: {row.rule} was over",
        "killed": "killed: the kill switch was on",
        "consent": f"consent: none for {row.rule}",
        "quiet_hours": f"quiet_hours: {row.rule}{', deferred' if row.until else ', dropped'}",
        "budget": f"budget: {found} of {row.rule} spent",
        "no_gain": f"no_gain: {found}",
        "outranked": f"outranked by {row.rule} (its own {found})",
        "member": "member: already in the audience",
        "moot": f"moot: {span(row.at - began(row))} after {row.signal}, which was no longer true",
    }
    said = words.get(row.reason, f"{row.reason}{': ' + row.rule if row.rule else ''}")
    return f"{said}; another action deferred by quiet hours" if row.until and row.reason != "quiet_hours" else said


def span(ms: int) -> str:
    """A span of time in words a person reads.

    >>> span(3_600_000), span(5_400_001), span(97_140_000)
    ('1h', '90m', '1d 2h 59m')
    """
    if ms < MINUTE_MS:
        return f"{ms / SECOND_MS:.3g}s"
    minutes = ms // MINUTE_MS
    if minutes < 180 or (minutes % 60 == 0 and minutes < 48 * 60) or minutes % (24 * 60) == 0:
        return duration_text(minutes * MINUTE_MS)
    days, rest = divmod(minutes, 24 * 60)
    parts = ((days, "d"), (rest // 60, "h"), (rest % 60, "m"))
    return " ".join(f"{n}{unit}" for n, unit in parts if n)
