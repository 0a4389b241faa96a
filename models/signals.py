"""From what happened in a step to the signals that campaigns act on, and whether one that had to wait is still true."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.base import DAY_MS

from . import engagement, readiness, silence
from .config import EngineConfig, minutes_ms
from .draft import Draft, Signal
from .features import in_honeymoon
from .profile import orders, viewed
from .targets import last_life

DROP_POINTS = 10.0
LEFT = ("browse", "cart", "checkout")
JOIN = "join"
TIMERS = frozenset({*LEFT, JOIN, silence.TIMER})
NEWCOMER_MS = 2 * DAY_MS
ITEMS_MAX = 10
LOOKED_AT_MS = DAY_MS


class Signals:
    """What happened, in the words that campaigns listen to.

    Parameters
    ----------
    config
        The engine's configuration.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._join_ms = minutes_ms(config.funnel.join_minutes)
        self._silence_ms = {
            "browse": minutes_ms(config.funnel.browse_left_minutes),
            "cart": minutes_ms(config.funnel.cart_left_minutes),
            "checkout": minutes_ms(config.funnel.checkout_left_minutes),
        }

    def on_moments(self, draft: Draft) -> None:
        """What this very event brought about; what only signals are made of is taken off the moments."""
        moments = draft.moments
        if not moments:
            return
        if "order" in moments:
            readiness.taken(draft)
            if orders.stands(draft.orders, draft.now):
                draft.signals.append(Signal("ordered"))
        if draft.journey.contact_at and not draft.before.journey.contact_at and "merged" not in moments:
            moments.add("contact")
            draft.signals.append(Signal("contact_left"))
        if "joined" in moments:
            moments.discard("joined")
            if not draft.marks.joined_at and not draft.due(JOIN):
                draft.set_timer(JOIN, draft.now + self._join_ms)
        if "lead_taken" in moments:
            moments.discard("lead_taken")
            readiness.taken(draft)
        if "request" in moments:
            moments.discard("request")
            readiness.asked(draft)

    def on_visit_scored(self, draft: Draft) -> None:
        """Scores of a moment are there: a lead may be ready, and silence be waited for."""
        readiness.scored(draft, self.config)
        if "visit" in draft.moments or "order" in draft.moments or "merged" in draft.moments:
            self.wait_for_silence(draft)

    def on_scored(self, draft: Draft) -> None:
        """The periodic scoring of a known customer: churn risk later on, a drop in the first weeks."""
        profile, now, churn = draft.view(), draft.now, self.config.churn
        if in_honeymoon(profile, now, churn.honeymoon_days, churn.honeymoon_orders):
            fallen = engagement.drop(draft.trend)
            if fallen >= DROP_POINTS:
                draft.signals.append(Signal("honeymoon_drop", {"engagement_drop": fallen}))
        else:
            draft.signals.append(Signal("churn_risk"))
        readiness.scored(draft, self.config)
        self.wait_for_silence(draft)

    def wait_for_silence(self, draft: Draft) -> None:
        """Wait for the silence of a known customer."""
        if draft.before.customer[0] == "u" or draft.orders.count:
            silence.arm(draft, self.config)

    def fired(self, draft: Draft, kind: str) -> None:
        """One of ``TIMERS`` fell due."""
        if kind == silence.TIMER:
            silence.fallen(draft, self.config)
        elif kind == JOIN:
            self._joined(draft)
        elif self._here(draft, kind):
            self._wait_on(draft, kind)
        else:
            self._left(draft, kind)

    def still_true(self, draft: Draft, signal: str, since: int) -> bool:
        """Whether what ``signal`` told at ``since`` (milliseconds UTC) is still so.

        Nobody wants a reminder of a cart that was bought, or to be missed while there. Whoever is back on the site will
        leave it, or not, in his own time: that silence is waited for anew.
        """
        kind = signal.removesuffix("_left")
        if kind in LEFT:
            if self._here(draft, kind):
                self._wait_on(draft, kind)
                return False
            return self._still_left(draft, kind, since)
        if signal in ("gone_quiet", "churned"):
            return last_life(self.config, draft.view()) <= since
        if signal in ("churn_risk", "honeymoon_drop"):
            return draft.session.started_at <= since and draft.orders.last_at <= since
        if signal == "ordered":
            return orders.stands(draft.orders, since)
        if signal == "lead_ready":
            return draft.marks.lead_at == since
        if signal == "joined":
            return draft.marks.joined_at == since
        return True

    def _still_left(self, draft: Draft, kind: str, since: int) -> bool:
        if draft.marks.left_at > since or draft.due("cart") or draft.due("checkout"):
            return False
        if kind == "browse":
            return not (draft.due("browse") or draft.basket.lines or draft.orders.last_at > since)
        return bool(draft.basket.lines)

    def _here(self, draft: Draft, kind: str) -> bool:
        """Whether the customer did anything else within the silence that the timer of ``kind`` stands for."""
        return draft.now - draft.activity.at < self._silence_ms[kind]

    def _wait_on(self, draft: Draft, kind: str) -> None:
        draft.set_timer(kind, draft.activity.at + self._silence_ms[kind])

    def _left(self, draft: Draft, kind: str) -> None:
        """A browse, a cart or a checkout was left: one of them for one silence, the first that waited for less."""
        if bool(draft.basket.lines) == (kind == "browse") or draft.marks.left_at > draft.activity.at:
            return
        draft.marks = replace(draft.marks, left_at=draft.now)
        draft.count(f"left|{kind}")
        draft.signals.append(Signal(f"{kind}_left"))

    def _joined(self, draft: Draft) -> None:
        """Somebody signed up or left contact details a moment ago; who bought or was known before is no newcomer."""
        newest = draft.now - self._join_ms - NEWCOMER_MS
        if draft.marks.joined_at or 0 < draft.journey.contact_at < newest or 0 < draft.orders.first_at < newest:
            return
        draft.marks = replace(draft.marks, joined_at=draft.now)
        draft.count("joined")
        draft.signals.append(Signal("joined"))


def items_of(draft: Draft, signal: str) -> tuple[str, ...]:
    """The products that a signal is about, the latest first, at most 10: those looked at last, or those in the cart."""
    if signal == "browse_left" and draft.views:
        looked = viewed.since(draft.views, draft.views[-1].at - LOOKED_AT_MS)
        return tuple(one.product for one in looked)
    if signal in ("cart_left", "checkout_left"):
        return tuple(line.product for line in reversed(draft.basket.lines[-ITEMS_MAX:]))
    return ()
