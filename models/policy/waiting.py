"""Candidates that wait: for the end of quiet hours, or as long as their campaign wants to wait after its signal.

A timer stands for each, ``defer:CAMPAIGN@STARTED``; when it falls due the candidate is judged anew, if it is still true.
"""

from __future__ import annotations

from ..draft import Draft, Signal
from ..signals import Signals
from .campaigns import Campaign

DEFER = "defer:"
SINCE = "deferred_from"


def returning(signal: Signal) -> bool:
    """Whether the signal comes back from a wait."""
    return SINCE in signal.facts


def started(signal: Signal, now: int) -> int:
    """When the signal was first given, milliseconds UTC."""
    return int(signal.facts.get(SINCE, now))


def defer(draft: Draft, signals: Signals, signal: Signal, campaign: Campaign, until: int) -> None:
    """Come back at ``until`` (milliseconds UTC); a campaign waits for one thing at a time, the first that is still true."""
    name, since = campaign.config.id, started(signal, draft.now)
    head = f"{DEFER}{name}"
    for kind in draft.kinds(head):
        if signals.still_true(draft, campaign.config.signal, int(kind[len(head) + 1 :])):
            return
        draft.set_timer(kind, 0)
    draft.set_timer(f"{head}@{since}", until)


def resumed(kind: str) -> tuple[str, Signal]:
    """The campaign and the signal of a wait that is over.

    >>> resumed("defer:cart@5")
    ('cart', Signal(name='defer:cart', facts={'deferred_from': 5.0}))
    """
    head, _, since = kind.rpartition("@")
    return head[len(DEFER) :], Signal(head, {SINCE: float(since)})
