"""From what happened in a step to the signals that campaigns act on."""

from __future__ import annotations

from . import engagement
from .config import EngineConfig
from .draft import Draft, Signal
from .features import in_honeymoon

DROP_POINTS = 10.0
LEFT = ("browse", "cart", "checkout")


def on_left(draft: Draft, kind: str) -> None:
    """A browse, a cart or a checkout was left: the timer of ``kind`` ran out in silence."""
    if bool(draft.basket.lines) == (kind == "browse"):
        return
    draft.count(f"left|{kind}")
    draft.signals.append(Signal(f"{kind}_left"))


def on_scored(draft: Draft, config: EngineConfig) -> None:
    """The periodic scoring of a known customer: churn risk later on, a drop in the first weeks."""
    profile, now = draft.view(), draft.now
    if in_honeymoon(profile, now, config.churn.honeymoon_days, config.churn.honeymoon_orders):
        fallen = engagement.drop(draft.trend)
        if fallen >= DROP_POINTS:
            draft.signals.append(Signal("honeymoon_drop", {"engagement_drop": fallen}))
    else:
        draft.signals.append(Signal("churn_risk"))


def on_moments(draft: Draft) -> None:
    """What this very event brought about."""
    if "order" in draft.moments:
        draft.signals.append(Signal("ordered"))
    if draft.journey.contact_at and not draft.before.journey.contact_at and "merged" not in draft.moments:
        draft.moments.add("contact")
        draft.signals.append(Signal("contact_left"))


def still_holds(signal: str, draft: Draft, since: int) -> bool:
    """Whether a signal that was deferred at ``since`` (milliseconds UTC) is still true.

    Nobody wants a reminder of a cart that was bought; whoever is back at it will leave it, or not, in his own time.
    """
    if not signal.endswith("_left") or signal == "contact_left":
        return True
    if draft.due("cart") or draft.due("checkout"):
        return False
    if signal == "browse_left":
        return not (draft.due("browse") or draft.basket.lines or draft.orders.last_at > since)
    return bool(draft.basket.lines)
