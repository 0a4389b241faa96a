"""The engine: one event and one profile in; the next profile, decisions, examples and timers out. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from schemas.base import Event
from schemas.control import ModelPublished, Tick, TimerDue
from schemas.identity import ConsentChanged, ErasureRequested, HandedOver, Linked
from schemas.outcomes import OutcomeReported

from . import engagement
from .config import EngineConfig, days_ms
from .draft import Draft, Step
from .facts import HANDLERS
from .learning.model import OnlineModel
from .policy.campaigns import Campaigns
from .policy.decide import Decider
from .profile.profile import SEEN_MAX, Profile
from .profile.tombstone import is_tombstone, tombstone, unexpired
from .randomness import derived_id, hash64
from .scoring import ALL_GROUPS, IN_VISIT, Scorer
from .signals import TIMERS
from .silence import TIMER as SILENCE


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
        self.erasure_ms = days_ms(config.erasure_days)
        self.signals = self.decider.signals
        self._scoring_ms = days_ms(config.scoring_days)

    def step(self, event: Event, profile: Profile | None, now: int, clock: int | None = None) -> Step:
        """Step one customer over one event.

        Parameters
        ----------
        event
            An event of this customer, or one of its timers that fell due.
        profile
            The customer's profile; None where there is none yet.
        now
            The time of the step, milliseconds UTC; where the customer has come further already, that time stands.
        clock
            Partition time, milliseconds UTC, which tombstones of the erased run out by; ``now`` without it.

        Returns
        -------
        Step
            What follows from the event; nothing of it has been done.
        """
        if profile is not None and profile.erased_at:
            profile = unexpired(profile, now if clock is None else clock, self.erasure_ms)
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
        step = draft.step()
        if draft.erased_at and is_tombstone(step.profile):
            return replace(step, profile=tombstone(step.profile))
        return step

    def _refused(self, draft: Draft, event: Event) -> bool:
        """Whether the event is a repeat, belongs to an erased past, or goes on to the device's user."""
        seen = hash64(event.id)
        if seen in draft.seen:
            draft.count("duplicate")
            return True
        if draft.erased_at and _of_the_erased(draft, event):
            draft.count("after_erasure")
            return True
        draft.seen = (*draft.seen, seen)[-SEEN_MAX:]
        if draft.linked and not isinstance(event, (Linked, HandedOver, ErasureRequested)):
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
        self.decider.leave_audiences(draft)
        if draft.erased_at != draft.before.erased_at:
            return
        self.signals.on_moments(draft)
        if draft.moments:
            self.decider.credit(draft)
            self._score(draft)
        if draft.signals:
            self.decider.decide(draft)

    def _score(self, draft: Draft) -> None:
        if not draft.contact.profiling:
            return
        if draft.moments <= {"stage", "contact"}:
            self.scorer.score(draft, IN_VISIT)
        else:
            self.scorer.score(draft, ALL_GROUPS)
            known = draft.before.customer[0] == "u" or draft.orders.count
            if known and not draft.due("score"):
                draft.set_timer("score", draft.now + self._scoring_ms)
        self.signals.on_visit_scored(draft)

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
        elif kind in TIMERS:
            self.signals.fired(draft, kind)
            if draft.signals and self.decider.listens(draft):
                if draft.contact.profiling:
                    self.scorer.score(draft, ALL_GROUPS if kind == SILENCE else IN_VISIT, sample=False)
                self.decider.decide(draft)
        else:
            self.decider.fired(draft, kind)

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
        self.signals.on_scored(draft)
        self.decider.decide(draft)


def _of_the_erased(draft: Draft, event: Event) -> bool:
    """Whether the event belongs to what was erased."""
    if _withdraws(event) or isinstance(event, HandedOver):  # a hand-over is answered
        return False
    # of whom nothing is known, nobody was contacted since: what a message brought about, it did before
    return event.occurred_at <= draft.erased_at or (isinstance(event, OutcomeReported) and is_tombstone(draft.before))


def _withdraws(event: Event) -> bool:
    """Whether the event withdraws consent: that counts however late it comes, also after an erasure."""
    if isinstance(event, OutcomeReported):
        return event.outcome in ("unsubscribed", "spam")
    return isinstance(event, ConsentChanged) and not event.granted


def _forwarded(event: Event, user: str) -> Event:
    """The same event for the user that the device belongs to."""
    return replace(event, customer=user, id=derived_id(event.id, f">{user}"), via="")
