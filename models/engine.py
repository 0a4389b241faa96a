"""The engine: one event and one profile in; the next profile, decisions, examples and timers out. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from schemas.base import Event
from schemas.control import ModelPublished, Tick, TimerDue
from schemas.identity import ConsentChanged, HandedOver, Linked
from schemas.outcomes import OutcomeReported

from . import engagement, signals
from .config import EngineConfig, days_ms, minutes_ms
from .draft import Draft, Signal, Step
from .facts import HANDLERS
from .learning.model import OnlineModel
from .policy.campaigns import Campaigns
from .policy.decide import DEFER, Decider
from .profile.profile import SEEN_MAX, Profile
from .randomness import derived_id, hash64
from .scoring import ALL_GROUPS, IN_VISIT, Scorer
from .signals import LEFT


class Engine:
    """Updates, scores and decides, one event at a time.

    The only state of its own is what campaigns have spent (``ledger``); models are read, never taught, here.

    Parameters
    ----------
    config
        The engine's configuration.
    campaigns
        Checked campaigns.
    models
        The models to score with, by name; shared with the learner where learning is inline.

    >>> from schemas.clickstream import PageViewed
    >>> from models.learning.learner import Learner
    >>> config = EngineConfig()
    >>> engine = Engine(config, Campaigns(), Learner(config.model_specs()).models)
    >>> event = PageViewed(id="1", customer="u:7", occurred_at=0, received_at=0)
    >>> engine.step(event, None, 0).profile.session.number
    1
    """

    def __init__(self, config: EngineConfig, campaigns: Campaigns, models: Mapping[str, OnlineModel]) -> None:
        self.config = config
        self.scorer = Scorer(config, models)
        self.decider = Decider(config, campaigns, models)
        self._scoring_ms = days_ms(config.scoring_days)
        self._silence_ms = {
            "browse": minutes_ms(config.funnel.browse_left_minutes),
            "cart": minutes_ms(config.funnel.cart_left_minutes),
            "checkout": minutes_ms(config.funnel.checkout_left_minutes),
        }

    def step(self, event: Event, profile: Profile | None, now: int) -> Step:
        """Step one customer over one event.

        Parameters
        ----------
        event
            An event of this customer, or one of its timers that fell due.
        profile
            The customer's profile; None where there is none yet.
        now
            The time of the step, milliseconds UTC; where the customer has come further already, that time stands.

        Returns
        -------
        Step
            What follows from the event; nothing of it has been done.
        """
        if profile is None:
            profile = Profile(event.customer, clock=now)
        elif now < profile.clock:
            now = profile.clock
        draft = Draft(profile, event, now)
        if isinstance(event, TimerDue):
            self._fire(draft, event)
        elif isinstance(event, (Tick, ModelPublished)):
            pass
        elif not self._refused(draft, event):
            self._observe(draft, event)
        return draft.step()

    def _refused(self, draft: Draft, event: Event) -> bool:
        """Whether the event is a repeat, belongs to an erased past, or goes on to the device's user."""
        seen = hash64(event.id)
        if seen in draft.seen:
            draft.count("duplicate")
            return True
        if draft.erased_at and event.occurred_at <= draft.erased_at and not _withdraws(event):
            draft.count("after_erasure")
            return True
        draft.seen = (*draft.seen, seen)[-SEEN_MAX:]
        if draft.linked and not isinstance(event, (Linked, HandedOver)):
            draft.messages.append(_forwarded(event, draft.linked))
            draft.count("forwarded")
            return True
        if event.occurred_at < draft.before.activity.at:
            draft.late += 1
            draft.count("late")
        return False

    def _observe(self, draft: Draft, event: Event) -> None:
        handler = HANDLERS.get(type(event))
        if handler is None:
            draft.count(f"unhandled|{type(event).__name__}")
            return
        handler(draft, event, self.config)
        if draft.erased_at != draft.before.erased_at:
            return
        signals.on_moments(draft)
        if draft.moments:
            self.decider.credit(draft)
            self._score(draft)
            self.decider.decide(draft)

    def _score(self, draft: Draft) -> None:
        if not draft.contact.profiling:
            return
        if draft.moments <= {"stage", "contact"}:
            self.scorer.score(draft, IN_VISIT)
            return
        self.scorer.score(draft, ALL_GROUPS)
        known = draft.before.customer[0] == "u" or draft.orders.count
        if known and not draft.due("score"):
            draft.set_timer("score", draft.now + self._scoring_ms)

    def _fire(self, draft: Draft, event: TimerDue) -> None:
        """A timer fell due; one that was moved or taken away since does nothing."""
        kind = event.kind
        if draft.due(kind) != event.due:
            draft.count("timer_void")
            return
        draft.set_timer(kind, 0)
        if kind == "label":
            self.scorer.mature(draft)
        elif kind == "score":
            self._periodic(draft)
        elif kind in LEFT and self._still_here(draft, kind):
            draft.set_timer(kind, draft.activity.at + self._silence_ms[kind])
        elif kind in LEFT:
            signals.on_left(draft, kind)
            if draft.signals and self.decider.listens(draft):
                if draft.contact.profiling:
                    self.scorer.score(draft, IN_VISIT, sample=False)
                self.decider.decide(draft)
        elif kind.startswith(DEFER):
            campaign, _, started = kind.rpartition("@")
            left = self.decider.signal_of(campaign[len(DEFER) :]).removesuffix("_left")
            if left in LEFT and self._still_here(draft, left):
                # back on the site at the end of quiet hours: leaving, if it happens, starts anew
                draft.set_timer(left, draft.activity.at + self._silence_ms[left])
                self.decider.moot(draft, campaign[len(DEFER) :])
                return
            draft.signals.append(Signal(campaign, {"deferred_from": float(started)}))
            self.decider.decide(draft)

    def _still_here(self, draft: Draft, kind: str) -> bool:
        """Whether the customer did anything else within the silence that the timer of ``kind`` stands for."""
        return draft.now - draft.activity.at < self._silence_ms[kind]

    def _periodic(self, draft: Draft) -> None:
        """Score a known customer, and go on doing so until it has been silent for a churn horizon."""
        if not draft.contact.profiling:
            return
        score = engagement.points(draft.view(), draft.now).total
        draft.trend = engagement.noted(draft.trend, draft.now, score)
        self.scorer.score(draft, ALL_GROUPS)
        last = max(draft.activity.at, draft.orders.last_at)
        if draft.now - last <= days_ms(self.config.churn.horizon_days):
            draft.set_timer("score", draft.now + self._scoring_ms)
        signals.on_scored(draft, self.config)
        self.decider.decide(draft)


def _withdraws(event: Event) -> bool:
    """Whether the event withdraws consent: that counts however late it comes, also after an erasure."""
    if isinstance(event, OutcomeReported):
        return event.outcome in ("unsubscribed", "spam")
    return isinstance(event, ConsentChanged) and not event.granted


def _forwarded(event: Event, user: str) -> Event:
    """The same event for the user that the device belongs to."""
    return replace(event, customer=user, id=derived_id(event.id, f">{user}"), via="")
