"""From signals to decisions: candidates, gates, ranking, one winner, holdout, and the record of all of it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from schemas.control import TimerDue
from schemas.decisions import Action, Arm, Conversion, Decision, Reason, Suppressed
from schemas.decisions import Candidate as Option

from ..config import EngineConfig
from ..draft import Draft, Signal
from ..explain import reasons_for
from ..learning.model import OnlineModel
from ..profile.contact import Contacted, contacted, converted
from ..profile.profile import Profile
from ..randomness import stable_id
from ..signals import LEFT, still_holds
from . import conditions, gates
from .campaigns import Campaign, Campaigns
from .gates import Candidate
from .ledger import Ledger

GOAL_MOMENTS = {"order": "order", "visit": "visit", "contact": "contact"}
DEFER = "defer:"
KEY_OF_ARM: Mapping[Arm, str] = {"treated": "t", "holdout": "h", "shadow": "s"}
ARM_OF_KEY: Mapping[str, Arm] = {key: arm for arm, key in KEY_OF_ARM.items()}


class Considered(Struct, frozen=True):
    """The candidates of one moment: those that passed, best first, and why the others did not."""

    passed: tuple[Candidate, ...]
    suppressed: Mapping[str, str]


class Decider:
    """Decides about customers with the campaigns as they stand.

    Parameters
    ----------
    config
        The engine's configuration.
    campaigns
        Checked campaigns.
    models
        For the reasons and versions in the record.

    Attributes
    ----------
    killed
        Whether all triggers are stopped: as the campaigns say, until whoever runs the engine sets it.
    """

    def __init__(self, config: EngineConfig, campaigns: Campaigns, models: Mapping[str, OnlineModel]) -> None:
        self.config = config
        self.campaigns = campaigns
        self.models = models
        self.ledger = Ledger()
        self.killed = campaigns.policy.kill
        self._by_id = {c.config.id: c for c in campaigns.all()}

    def listens(self, draft: Draft) -> bool:
        """Whether any campaign acts on a signal of this step."""
        return any(self._of(draft, signal) for signal in draft.signals)

    def decide(self, draft: Draft) -> None:
        """Act on the signals of this step: at most one live winner, and one shadow decision."""
        if not draft.signals:
            return
        profile = draft.view()
        pairs = [
            (signal, campaign)
            for signal in draft.signals
            for campaign in self._of(draft, signal)
            if campaign.config.mode != "off" and self._holds(draft, campaign, profile, signal)
        ]
        for mode in ("live", "shadow"):
            chosen = [(signal, campaign) for signal, campaign in pairs if campaign.config.mode == mode]
            if chosen:
                self._choose(draft, profile, chosen)

    def _of(self, draft: Draft, signal: Signal) -> tuple[Campaign, ...]:
        """The campaigns on a signal; a deferred campaign comes back alone."""
        if signal.name.startswith(DEFER):
            campaign = self._by_id.get(signal.name[len(DEFER) :])
            if campaign is None:
                return ()
            if not still_holds(campaign.config.signal, draft, int(signal.facts["deferred_from"])):
                self.moot(draft, campaign.config.id)
                return ()
            return (campaign,)
        return self.campaigns.by_signal.get(signal.name, ())

    def _holds(self, draft: Draft, campaign: Campaign, profile: Profile, signal: Signal) -> bool:
        for condition in campaign.conditions:
            value = conditions.value(condition.fact, profile, draft.now, signal.facts)
            if value is None or not condition.holds(value):
                found = None if value is None else round(value, 4)
                suppress(draft, campaign, gates.Verdict("condition", 0, str(condition), found))
                return False
        return True

    def _choose(self, draft: Draft, profile: Profile, pairs: list[tuple[Signal, Campaign]]) -> None:
        considered = self._consider(draft, profile, pairs)
        for campaign, reason in considered.suppressed.items():
            draft.count(f"suppressed|{campaign}|{reason}")
        if not considered.passed:
            return
        best = considered.passed[0]
        outranked = dict.fromkeys(
            (c.campaign.config.id for c in considered.passed if c.campaign is not best.campaign), "outranked"
        )
        for campaign in outranked:
            draft.count(f"suppressed|{campaign}|outranked")
            self._outranked(draft, profile, campaign, considered.passed)
        signal = next(s for s, campaign in pairs if campaign is best.campaign)
        self._record(draft, profile, signal, best, considered, {**considered.suppressed, **outranked})

    def _consider(self, draft: Draft, profile: Profile, pairs: list[tuple[Signal, Campaign]]) -> Considered:
        passed: list[Candidate] = []
        suppressed: dict[str, str] = {}
        for signal, campaign in pairs:
            verdicts: list[tuple[str, gates.Verdict]] = []
            for candidate in self._candidates(draft, profile, signal, campaign):
                verdict = gates.judge(
                    candidate, profile.contact, self.campaigns, self.ledger, draft.now, killed=self.killed
                )
                if not verdict.reason and campaign.config.value is not None and candidate.gain < 0:
                    verdict = gates.Verdict("no_gain", 0, "gain >= 0", round(candidate.gain, 6))
                if verdict.reason:
                    verdicts.append((candidate.action.id, verdict))
                else:
                    passed.append(candidate)
            if len(verdicts) == len(campaign.config.actions):
                first = verdicts[0][1]
                suppressed[campaign.config.id] = first.reason
                until = min((v.until for _, v in verdicts if v.until), default=0)
                if until:
                    self._defer(draft, signal, campaign, until)
                suppress(draft, campaign, first, until)
            else:
                for action, verdict in verdicts:
                    suppress(draft, campaign, verdict, 0, action)
        passed.sort(key=lambda c: (-c.gain, c.campaign.config.id, c.action.id))
        return Considered(tuple(passed), suppressed)

    def _outranked(self, draft: Draft, profile: Profile, campaign: str, passed: tuple[Candidate, ...]) -> None:
        best = passed[0]
        gain = next(c.gain for c in passed if c.campaign.config.id == campaign)
        winner = stable_id(profile.customer, best.campaign.config.id, draft.event.id)
        rule = f"{best.campaign.config.id}, gain {best.gain:.6g}"
        suppress(draft, self._by_id[campaign], gates.Verdict("outranked", 0, rule, round(gain, 6), (winner,)))

    def _candidates(self, draft: Draft, profile: Profile, signal: Signal, campaign: Campaign) -> list[Candidate]:
        config = campaign.config
        if isinstance(config.value, str):
            worth = conditions.value(config.value, profile, draft.now, signal.facts) or 0.0
        else:
            worth = config.value or 0.0
        started = int(signal.facts.get("deferred_from", draft.now))
        return [
            Candidate(
                campaign=campaign,
                action=action,
                # one deferred by quiet hours was fresh when it was deferred; only its expiry counts then
                occurred_at=draft.event.occurred_at if started == draft.now else draft.now,
                delay_ms=_delay_ms(draft) if started == draft.now else 0,
                expires_at=started + campaign.expires_ms,
                effect=action.prior_effect,
                value=worth,
                gain=action.prior_effect * worth - action.cost,
            )
            for action in config.actions
        ]

    def moot(self, draft: Draft, campaign: str) -> None:
        """Note that what a campaign was deferred for is no longer true."""
        draft.count(f"suppressed|{campaign}|moot")
        if campaign in self._by_id:
            suppress(draft, self._by_id[campaign], gates.Verdict("moot"))

    def signal_of(self, campaign: str) -> str:
        """The signal that a campaign listens to; empty where there is no such campaign any more."""
        found = self._by_id.get(campaign)
        return found.config.signal if found else ""

    def _defer(self, draft: Draft, signal: Signal, campaign: Campaign, until: int) -> None:
        """Come back at the end of the quiet hours; the moment it started travels in the kind of the timer."""
        started = int(signal.facts.get("deferred_from", draft.now))
        for kind in self._deferred(draft, campaign.config.id):
            draft.set_timer(kind, 0)
        draft.set_timer(f"{DEFER}{campaign.config.id}@{started}", until)

    @staticmethod
    def _deferred(draft: Draft, campaign: str) -> list[str]:
        timers = draft.timers if draft.timers is not None else dict(draft.before.timers)
        return [kind for kind in timers if kind.startswith(f"{DEFER}{campaign}@")]

    def _record(
        self,
        draft: Draft,
        profile: Profile,
        signal: Signal,
        best: Candidate,
        considered: Considered,
        suppressed: Mapping[str, str],
    ) -> None:
        campaign, action, now = best.campaign, best.action, draft.now
        config = campaign.config
        arm: Arm = "treated"
        if config.mode == "shadow":
            arm = "shadow"
        elif gates.held_out(self.config.seed, profile.customer, campaign, self.campaigns.policy):
            arm = "holdout"
        decision = Decision(
            id=stable_id(profile.customer, config.id, draft.event.id),
            customer=profile.customer,
            campaign=config.id,
            topic=config.topic,
            action=Action(
                id=action.id, channel=action.channel, offer=action.offer, creative=action.creative, cost=action.cost
            ),
            arm=arm,
            issued_at=now,
            expires_at=best.expires_at,
            source=draft.event.id,
            signal=config.signal,
            effect=best.effect,
            gain=round(best.gain, 6),
            scores={score.name: round(score.p, 6) for score in profile.scores},
            reasons=self._reasons(profile, campaign, signal, now),
            eligible=tuple(
                Option(campaign=c.campaign.config.id, action=c.action.id, gain=round(c.gain, 6))
                for c in considered.passed
            ),
            suppressed=suppressed,
            models={score.name: score.version for score in profile.scores},
            flag="mixed_history" if profile.mixed else "",
        )
        draft.decisions.append(decision)
        draft.contact = contacted(
            draft.contact,
            Contacted(decision.id, config.id, action.channel, now, now + campaign.window_ms, KEY_OF_ARM[arm]),
        )
        if arm != "shadow":
            self.ledger.spend(config.id, now, action.cost)
        draft.count(f"decided|{config.id}|{arm}")

    def _reasons(self, profile: Profile, campaign: Campaign, signal: Signal, now: int) -> tuple[Reason, ...]:
        held = [
            Reason(feature=fact, value=round(value, 4), text=f"{fact} is {round(value, 2):g}")
            for fact, value in signal.facts.items()
            if fact in conditions.FACTS
        ]
        for c in campaign.conditions:
            value = round(conditions.value(c.fact, profile, now, signal.facts) or 0.0, 4)
            text = f"{c.fact} is {round(value, 2):g} ({c.comparison} {c.number:g})"
            held.append(Reason(feature=c.fact, value=value, text=text))
        return tuple(held) + reasons_for(self.config, self.models, profile, now, [c.fact for c in campaign.conditions])

    def credit(self, draft: Draft) -> None:
        """Credit goals reached in this step to the contacts whose attribution window is open, either arm."""
        if not draft.contact.log or not draft.moments:
            return
        reached_at = min(draft.event.occurred_at, draft.now)
        reached = frozenset(
            contact.decision
            for contact in draft.contact.log
            if contact.until >= reached_at > contact.at and self._goal(contact) in draft.moments
        )
        if not reached:
            return
        value = (draft.orders.total_micros - draft.before.orders.total_micros) / 1e6
        for contact in draft.contact.log:
            if contact.decision in reached:
                draft.conversions.append(
                    Conversion(
                        decision=contact.decision,
                        customer=draft.before.customer,
                        campaign=contact.campaign,
                        arm=ARM_OF_KEY[contact.arm],
                        goal=self._goal(contact),
                        occurred_at=draft.now,
                        value=round(value, 6) if "order" in draft.moments else 0.0,
                    )
                )
                draft.count(f"converted|{contact.campaign}|{ARM_OF_KEY[contact.arm]}")
        draft.contact = converted(draft.contact, reached)

    def _goal(self, contact: Contacted) -> str:
        campaign = self._by_id.get(contact.campaign)
        return GOAL_MOMENTS[campaign.config.goal.event] if campaign else ""


def suppress(draft: Draft, campaign: Campaign, verdict: gates.Verdict, until: int = 0, action: str = "") -> None:
    """Write down what stopped a campaign, or one of its actions, in this step; ``until`` in milliseconds UTC."""
    draft.suppressed += (
        Suppressed(
            customer=draft.before.customer,
            campaign=campaign.config.id,
            at=draft.now,
            signal=campaign.config.signal,
            source=draft.event.id,
            reason=verdict.reason,
            action=action,
            rule=verdict.rule,
            value=verdict.value,
            by=verdict.by,
            until=until,
        ),
    )


def _delay_ms(draft: Draft) -> int:
    """How late what the signal rests on reached us: this event, or the activity that a timer of silence waited after."""
    event = draft.event
    if isinstance(event, TimerDue):
        return draft.delay_ms if event.kind in LEFT else 0
    return max(0, event.received_at - event.occurred_at)
