"""Scores: predict for every target the customer belongs to, keep what must be learned later, read labels when due."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from schemas.base import DAY_MS
from schemas.control import TimerDue

from . import churn, engagement, funnel
from .config import EngineConfig, days_ms
from .draft import Draft
from .encoding import as_mapping
from .features import vector
from .learning.learner import Example
from .learning.model import OnlineModel
from .profile.pending import PENDING_MAX, Pending, Target, next_due, pack
from .profile.profile import Profile, Score
from .randomness import uniform
from .targets import BUYS, BY_NAME, TARGETS, TargetSpec

RULE = -1
NEVER = -(1 << 60)
OWN_HORIZON_SAMPLES = 6
ALL_GROUPS = frozenset(target.group for target in TARGETS)
IN_VISIT = frozenset({"buys", "contact"})


class Scorer:
    """Scores customers with the models as they stand.

    Parameters
    ----------
    config
        The engine's configuration.
    models
        By name; they may learn between two calls.
    """

    def __init__(self, config: EngineConfig, models: Mapping[str, OnlineModel]) -> None:
        self.config = config
        self.models = models
        self._periods = {
            "churn": days_ms(config.scoring_days),
            "cadence": days_ms(config.scoring_days),
            "engagement": days_ms(config.engagement.sampling_days),
            "contact": days_ms(config.funnel.sampling_days),
            "buys": days_ms(config.funnel.sampling_days),
        }

    def features(self, profile: Profile, now: int) -> list[float]:
        """The feature vector under this configuration."""
        return vector(profile, now, self.config.churn.horizon_days, self.config.typical_order)

    def score(self, draft: Draft, groups: frozenset[str] = ALL_GROUPS, sample: bool = True) -> None:
        """Predict all targets of ``groups`` that apply now; pend those whose sampling period is over.

        Without ``sample`` none is pended: what is learned must not depend on which campaigns are running.
        """
        profile, now = draft.view(), draft.now
        shared = self.features(profile, now)
        x = as_mapping(shared)
        scores = {score.name: score for score in draft.scores}
        sampled = dict(draft.sampled)
        drawn = self._drawn(draft, groups) if sample else frozenset()
        pended: list[Target] = []
        bought = self._bought(x) if "buys" in groups else ()
        for target in TARGETS:
            if target.group not in groups:
                continue
            horizon = target.horizon(self.config, profile, now)
            if not horizon:
                scores.pop(target.name, None)
                continue
            model = self.models[target.model]
            fresh = target.group in drawn and now - sampled.get(target.group, NEVER) >= self._period(target, horizon)
            if target.own_horizon:
                own = vector(profile, now, horizon / DAY_MS, self.config.typical_order)
                p = model.predict(as_mapping(own))
                if fresh:
                    self._pend(draft, own, [Target(target.name, now + horizon, p, model.null(target.name))])
            else:
                p = bought[target.interval] if target.interval >= 0 else model.predict(x)
                if fresh:
                    pended.append(Target(target.name, now + horizon, p, model.null(target.name)))
            if model.ready(target.name):
                scores[target.name] = Score(target.name, p, now, model.version)
            else:
                scores[target.name] = Score(target.name, self.rule(target, profile, now), now, RULE)
        draft.scores = tuple(scores.values())
        if pended:
            self._pend(draft, shared, pended)

    def _drawn(self, draft: Draft, groups: frozenset[str]) -> frozenset[str]:
        """The groups that may be sampled at this moment.

        Predictions within a visit are drawn: were the first moment of each period taken, it would nearly always be the
        start of a visit, and no model would ever learn from a cart.
        """
        if isinstance(draft.event, TimerDue):
            return groups
        if (
            uniform(self.config.seed, f"{draft.before.customer}|{draft.now}", "sample")
            < self.config.funnel.sampling_share
        ):
            return groups
        return groups - IN_VISIT

    def _period(self, target: TargetSpec, horizon: int) -> int:
        """Milliseconds between two predictions of a customer that wait for their label at the same time."""
        least = self._periods[target.group]
        return max(least, horizon // OWN_HORIZON_SAMPLES) if target.own_horizon else least

    def _pend(self, draft: Draft, features: list[float], targets: list[Target]) -> None:
        """Keep predictions of one moment until their labels fall due; they share the features."""
        if len(draft.pendings) >= PENDING_MAX:
            draft.count("pending_full")
            return
        targets.sort(key=lambda target: (target.due, target.name))
        draft.pendings = (*draft.pendings, Pending(draft.now, pack(features), tuple(targets)))
        draft.sampled = tuple((dict(draft.sampled) | {BY_NAME[t.name].group: draft.now for t in targets}).items())
        draft.set_timer("label", next_due(draft.pendings))

    def _bought(self, x: dict[str, float]) -> list[float]:
        model = self.models["buys"]
        hazards = []
        for interval in range(len(BUYS)):
            key = f"interval={interval}"
            x[key] = 1.0
            hazards.append(model.predict(x))
            del x[key]
        return funnel.cumulative(hazards)

    def rule(self, target: TargetSpec, profile: Profile, now: int) -> float:
        """What answers until the model has earned its place."""
        if target.group in ("churn", "cadence"):
            return churn.rule(profile, now, target.horizon(self.config, profile, now) / DAY_MS)
        if target.group == "engagement":
            return engagement.rule(profile, now, self.config.engagement.horizon_days)
        if target.interval >= 0:
            return funnel.rule(profile.journey.stage, target.interval)
        return self.models[target.model].null(target.name)

    def mature(self, draft: Draft) -> None:
        """Read the labels that are due now; each becomes an example, whatever its class."""
        profile = draft.before  # a label timer changes no fact
        kept: list[Pending] = []
        for pending in draft.pendings:
            if pending.targets[0].due > draft.now:
                kept.append(pending)
                continue
            left = []
            bought = pending.bought
            for target in pending.targets:
                if target.due > draft.now:
                    left.append(target)
                    continue
                spec = BY_NAME[target.name]
                label = spec.label(self.config, profile, pending.predicted_at)
                draft.examples.append(
                    Example(
                        target=target.name,
                        model=spec.model,
                        customer=profile.customer,
                        predicted_at=pending.predicted_at,
                        due=target.due,
                        features=pending.features,
                        interval=spec.interval,
                        p=target.p,
                        null=target.null,
                        label=label,
                        learn=spec.interval < 0 or not bought,
                    )
                )
                if spec.interval >= 0 and label:
                    bought = True
            if left:
                kept.append(replace(pending, targets=tuple(left), bought=bought))
        draft.pendings = tuple(kept)
        draft.set_timer("label", next_due(kept))
