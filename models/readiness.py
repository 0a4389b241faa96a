"""A lead's readiness: given to sales once as it rises past one threshold, and again only after it fell below another.

Two thresholds, as in a thermostat: a score that trembles about one of them would send the same lead at every scoring.
And a rest: one who asked for details while the score was low is not asked for again the next day.
"""

from __future__ import annotations

from msgspec.structs import replace

from .config import EngineConfig, days_ms
from .draft import Draft, Signal
from .profile.journey import INTENT

RULE = -1


def asked(draft: Draft) -> None:
    """Details were asked for, or a lead was generated: ready, whatever the score says."""
    if _reachable(draft):
        _give(draft)


def taken(draft: Draft) -> None:
    """An order was placed, or sales have the lead: nothing is given until it has rested, and fallen, and risen again."""
    draft.marks = replace(draft.marks, lead_at=draft.now)


def scored(draft: Draft, config: EngineConfig) -> None:
    """A new score: ready when it reaches ``leads.ready``, no longer so below ``leads.again``.

    Until the model is in use a rule answers: whoever has started to buy is ready.
    """
    if not _reachable(draft):
        return
    for score in draft.scores:
        if score.name == config.leads.score:
            break
    else:
        return
    ready = score.p if score.version != RULE else float(draft.journey.stage == INTENT)
    if ready >= config.leads.ready:
        _give(draft)
    elif ready < config.leads.again and 0 < draft.marks.lead_at <= draft.now - days_ms(config.leads.rest_days):
        draft.marks = replace(draft.marks, lead_at=0)


def _reachable(draft: Draft) -> bool:
    return bool(draft.journey.contact_at or draft.contact.email or draft.contact.phone)


def _give(draft: Draft) -> None:
    if draft.marks.lead_at:
        return
    taken(draft)
    draft.count("lead_ready")
    draft.signals.append(Signal("lead_ready"))
