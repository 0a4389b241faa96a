"""From signals to decisions: candidates, gates, ranking, one winner, holdout, and the record of all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from schemas.control import TimerDue
from schemas.decisions import Action, Arm, Conversion, Decision, Reason
from schemas.decisions import Candidate as Option

from ..config import EngineConfig
from ..draft import Draft, Signal
from ..explain import reasons_for
from ..learning.model import OnlineModel
from ..profile.contact import Contacted, contacted, converted
from ..profile.profile import MEMBERSHIP, Profile
from ..randomness import stable_id
from ..signals import LEFT, Signals, items_of
from . import audiences, conditions, gates, waiting
from .arms import ARM_OF_KEY, KEY_OF_ARM
from .campaigns import Campaign, Campaigns
from .gates import Candidate
from .ledger import Ledger
from .suppression import CONDITION, suppress

GOAL_MOMENTS = {"order": "order", "visit": "visit", "contact": "contact"}
Pair = tuple[Signal, Campaign]


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
    signals
        What happened, and whether it is still true.
    killed
        Whether all triggers are stopped: as the campaigns say, until whoever runs the engine sets it.
    read_at
        When what is being stepped is processed, milliseconds UTC; 0 where that is not to count. Whoever runs the engine
        on live events sets it: what waited in a backlog longer than a campaign's ``max_age`` is stale.
    """

    def __init__(self, config: EngineConfig, campaigns: Campaigns, models: Mapping[str, OnlineModel]) -> None:
        self.config = config
        self.campaigns = campaigns
        self.models = models
        self.signals = Signals(config)
        self.ledger = Ledger()
        self.killed = campaigns.policy.kill
        self.read_at = 0
        self._by_id = {c.config.id: c for c in campaigns.all()}

    def listens(self, draft: Draft) -> bool:
        """Whether any campaign acts on a signal of this step."""
        return any(signal.name in self.campaigns.by_signal for signal in draft.signals)

    def decide(self, draft: Draft) -> None:
        """Act on the signals of this step: at most one live winner, one shadow decision, and each audience for itself."""
        pairs = []
        for signal in draft.signals:
            for campaign in self.campaigns.by_signal.get(signal.name, ()):
                if campaign.config.mode == "off":
                    continue
                if campaign.delay_ms:
                    self._wait(draft, signal, campaign)
                else:
                    pairs.append((signal, campaign))
        self._act(draft, pairs)

    def fired(self, draft: Draft, kind: str) -> None:
        """A timer of the policy fell due: a wait is over, or a stay in an audience."""
        if kind.startswith(MEMBERSHIP):
            self._leave(draft, kind, "over")
        elif kind.startswith(waiting.DEFER):
            name, signal = waiting.resumed(kind)
            campaign = self._by_id.get(name)
            if campaign is None or campaign.config.mode == "off":
                return
            if not self.signals.still_true(draft, campaign.config.signal, waiting.started(signal, draft.now)):
                suppress(draft, campaign, gates.Verdict("moot"))
                return
            draft.signals.append(signal)
            self._act(draft, [(signal, campaign)])

    def leave_audiences(self, draft: Draft) -> None:
        """End the memberships that this step puts an end to, whether or not anything may be sent."""
        if not self.campaigns.audiences:
            return
        for kind in audiences.kinds(draft):
            campaign = self._by_id.get(_audience(kind))
            why = audiences.why_left(draft, campaign, self.campaigns) if campaign is not None else ""
            if why:
                self._leave(draft, kind, why)

    def _leave(self, draft: Draft, kind: str, why: str) -> None:
        campaign = self._by_id.get(_audience(kind))
        if campaign is None:
            return
        if self.killed and why != "erased":
            draft.set_timer(kind, draft.now + audiences.RETRY_MS)
            suppress(draft, campaign, gates.Verdict("killed"))
            return
        draft.set_timer(kind, 0)
        draft.decisions.append(audiences.leaving(draft, campaign, kind[-1], why))
        draft.count("audience_left")

    def _wait(self, draft: Draft, signal: Signal, campaign: Campaign) -> None:
        """Wait as long as the campaign wants to; what reached us later than that, and its age, is history."""
        late = max(_delay_ms(draft), draft.now - draft.event.occurred_at)
        if late - campaign.delay_ms > campaign.max_age_ms:
            suppress(draft, campaign, gates.stale(campaign, late - campaign.delay_ms))
            return
        waiting.defer(draft, self.signals, signal, campaign, draft.now + campaign.delay_ms)

    def _act(self, draft: Draft, pairs: list[Pair]) -> None:
        if not pairs:
            return
        profile = draft.view()
        pairs = [pair for pair in pairs if self._holds(draft, pair[1], profile, pair[0])]
        for chosen in _rounds(pairs):
            campaign = chosen[0][1]
            if campaign.audience and audiences.member(draft, campaign):
                audiences.stay(draft, campaign)
                suppress(draft, campaign, gates.Verdict("member"))
            else:
                self._choose(draft, profile, chosen)

    def _holds(self, draft: Draft, campaign: Campaign, profile: Profile, signal: Signal) -> bool:
        for condition in campaign.conditions:
            value = conditions.value(condition.fact, profile, draft.now, signal.facts)
            if value is None or not condition.holds(value):
                found = None if value is None else round(value, 4)
                suppress(draft, campaign, gates.Verdict(CONDITION, 0, str(condition), found))
                return False
        return True

    def _choose(self, draft: Draft, profile: Profile, pairs: list[tuple[Signal, Campaign]]) -> None:
        considered = self._consider(draft, profile, pairs)
        if not considered.passed:
            return
        best = considered.passed[0]
        outranked = dict.fromkeys(
            (c.campaign.config.id for c in considered.passed if c.campaign is not best.campaign), "outranked"
        )
        for campaign in outranked:
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
                    waiting.defer(draft, self.signals, signal, campaign, until)
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
        fresh = waiting.returning(signal)  # when it began to wait it was; only its expiry counts then
        delay_ms = 0 if fresh else _delay_ms(draft)
        if self.read_at:
            delay_ms = max(delay_ms, self.read_at - draft.now)
        return [
            Candidate(
                campaign=campaign,
                action=action,
                occurred_at=draft.now if fresh else draft.event.occurred_at,
                delay_ms=delay_ms,
                expires_at=waiting.started(signal, draft.now) + campaign.delay_ms + campaign.expires_ms,
                effect=action.prior_effect,
                value=worth,
                gain=action.prior_effect * worth - action.cost,
            )
            for action in config.actions
        ]

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
                id=action.id,
                channel=action.channel,
                offer=action.offer,
                creative=action.creative,
                cost=action.cost,
                items=items_of(draft, config.signal),
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
            flag=self._flag(profile),
            membership="entered" if campaign.audience else "",
            until=now + campaign.window_ms,
            holdout=config.holdout,
            global_holdout=self.campaigns.policy.global_holdout,
        )
        if campaign.audience:
            audiences.entered(draft, campaign, decision)
        draft.decisions.append(decision)
        draft.contact = contacted(
            draft.contact,
            Contacted(decision.id, config.id, action.channel, now, decision.until, KEY_OF_ARM[arm]),
        )
        if arm != "shadow":
            self.ledger.spend(config.id, now, action.cost)
        draft.count(f"decided|{config.id}|{arm}")

    def _flag(self, profile: Profile) -> str:
        """Why a decision about this person says nothing about its campaign's effect; empty where it does."""
        if profile.mixed:
            return "mixed_history"
        policy = self.campaigns.policy
        return "global_holdout" if gates.held_out_of_all(self.config.seed, profile.customer, policy) else ""

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


def _rounds(pairs: list[Pair]) -> Iterator[list[Pair]]:
    """Those that compete: live messages, shadows, and each audience alone, for being in one is no message."""
    for mode in ("live", "shadow"):
        chosen = [pair for pair in pairs if pair[1].config.mode == mode and not pair[1].audience]
        if chosen:
            yield chosen
    yield from ([pair] for pair in pairs if pair[1].audience)


def _audience(kind: str) -> str:
    return kind[len(MEMBERSHIP) :].rpartition("@")[0]


def _delay_ms(draft: Draft) -> int:
    """How late what the signal rests on reached us: this event, or the activity that a timer waited after.

    A visit left is judged by all of that delay; what rests on days, by how much of it the wait has not outlasted.
    """
    event = draft.event
    if not isinstance(event, TimerDue):
        return max(0, event.received_at - event.occurred_at)
    return draft.delay_ms if event.kind in LEFT else max(0, draft.activity.at + draft.delay_ms - draft.now)
