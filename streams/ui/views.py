"""What pages ask for, as plain values for JSON: read off the board, nothing computed that the board does not hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from models.evaluation.effect import Effect
from models.policy.campaigns import Campaign
from models.profile.journey import STAGES
from schemas.base import DAY_MS, MINUTE_MS
from schemas.decisions import Decision

from ..lag import Spot
from .board import Board
from .seen import Minute, Row

NEAR = 300
"""Looks at the topics that a chart of the last minutes shows, two seconds apart."""
TEN = 10
SPARK_DAYS = 30


def stream(board: Board) -> dict[str, Any]:
    """The page *Stream*."""
    seen, samples = board.seen, list(board.samples)
    latency = sorted(seen.latencies)
    last = samples[-1] if samples else None
    recent = [s.rate for s in samples[-5:] if s.rate is not None]
    minutes = list(seen.minutes)
    now = last.at // MINUTE_MS if last else 0
    in_hour = [minute for minute in minutes if minute.number > now - 60]
    return {
        "rate": sum(recent) / len(recent) if recent else None,
        "behind": last.behind if last else None,
        "time_behind_ms": last.time_behind if last else None,
        "latency_ms": _quantiles(latency),
        "triggers_hour": sum(minute.arms["treated"] for minute in in_hour),
        "letters_hour": sum(minute.letters for minute in in_hour),
        "customers": board.stored.customers,
        "near": [[s.at, s.rate, s.behind, s.time_behind] for s in samples[-NEAR:]],
        "day": _tens(minutes),
        "partitions": [[*_spot(spot), catches_up] for spot, catches_up in board.progress.spots],
        "expired": [
            [one.group, one.topic, one.unread, one.gone, one.expired, one.more] for one in board.progress.expired
        ],
        "expired_count": sum(one.gone for one in board.progress.expired),
        "notes": board.progress.notes,
        "clocks": board.stored.clocks,
        "letters": {
            "count": seen.letter_count,
            "reasons": [
                [reason, tally.count, tally.last, tally.remedy]
                for reason, tally in sorted(seen.reasons.items(), key=lambda item: -item[1].count)
            ],
            "latest": [
                [one.received_at, one.origin, one.reason, one.field, one.found, one.remedy]
                for one in list(seen.letters)[:-9:-1]
            ],
        },
    }


def _spot(spot: Spot) -> list[Any]:
    """Stage, topic, partition, position, end, records unread, event time and time of waiting in milliseconds, records lost."""
    where = (spot.stage, spot.topic, spot.partition, spot.position, spot.end)
    return [*where, spot.unread, spot.behind_ms, spot.waiting_ms, spot.lost]


def _quantiles(ordered: list[int]) -> dict[str, float | None]:
    def at(share: float) -> float | None:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    return {"p50": at(0.5), "p95": at(0.95), "n": len(ordered)}


def _tens(minutes: Iterable[Minute]) -> list[list[float | None]]:
    """Ten minutes a row: begin, events (None where nobody looked), triggers, held out, goals, refused, p50, p95."""
    rows: dict[int, list[Minute]] = defaultdict(list)
    for minute in minutes:
        rows[minute.number // TEN].append(minute)
    found: list[list[float | None]] = []
    for ten, members in sorted(rows.items()):
        looked = [one.events for one in members if one.events is not None]
        arms = sum((one.arms for one in members), Counter[str]())
        latency = _quantiles(sorted(ms for one in members for ms in one.latencies))
        counts = [
            arms["treated"],
            arms["holdout"],
            sum(one.goals for one in members),
            sum(one.letters for one in members),
        ]
        found.append([ten * TEN * MINUTE_MS, sum(looked) if looked else None, *counts, latency["p50"], latency["p95"]])
    return found


def funnel(board: Board) -> dict[str, Any]:
    """The page *Funnel*."""
    found = board.funnel
    if found is None:
        return {"stages": STAGES, "customers": 0, "read": 0, "journeys": 0}
    step, cohorts, entries = found.over_time()
    return {
        "stages": STAGES,
        "customers": found.customers,
        "read": found.read,
        "journeys": found.journeys,
        "reached": found.reached,
        "standing": found.standing,
        "medians_ms": found.medians(),
        "step_days": step,
        "cohorts": [[day * DAY_MS, began, bought] for day, began, bought in cohorts],
        "entries": [[day * DAY_MS, *counts] for day, counts in entries],
    }


def rows(board: Board, after: int) -> dict[str, Any]:
    """Decisions with a higher number, the newest first, in short."""
    seen = board.seen
    return {
        "last": seen.number,
        "campaigns": sorted({*seen.totals, *(campaign.config.id for campaign in board.place.settings.campaigns.all())}),
        "rows": [short(row) for row in seen.after(after)],
    }


def short(row: Row) -> list[Any]:
    """A row of the list: number, id, when decided, campaign, arm, channel, offer or action, customer, first reason."""
    one = row.decision
    reason = one.reasons[0] if one.reasons else None
    words = (reason.text or reason.feature) if reason else one.signal
    what = one.action.offer or one.action.id
    if one.membership:
        what = f"{one.membership} {one.action.id}"
    return [row.number, one.id, one.issued_at, one.campaign, one.arm, one.channel, what, one.customer, words]


def record(row: Row, goal: str) -> dict[str, Any]:
    """A decision record whole, with when it was written."""
    return {"written_at": row.at, "decision": row.decision, "goal": goal}


def models(board: Board) -> list[dict[str, Any]]:
    """The page *Models*: a target each."""
    found = []
    for model in board.learned.models.values():
        for target, metrics in model.metrics.items():
            figures = metrics.figures()
            found.append(
                {
                    "target": target,
                    "model": model.name,
                    "estimator": model.spec.estimator.name,
                    "figures": figures,
                    "answers": "model" if metrics.skilled(model.spec.min_labels) else "rule",
                    "min_labels": model.spec.min_labels,
                    "version": model.version,
                    "drifts": model.drifts,
                    "rollbacks": model.rollbacks,
                    "full": model.full,
                    "trouble": model.trouble,
                    "steps": model.curves[target].steps(),
                    "calibration": metrics.calibration() if figures.n else [],
                }
            )
    return found


def campaigns(board: Board) -> dict[str, Any]:
    """The page *Campaigns*."""
    seen, settings = board.seen, board.place.settings
    known = {campaign.config.id: campaign for campaign in settings.campaigns.all()}
    now = max(board.stored.clock, seen.last_at)
    names = [*known, *sorted(set(seen.totals) - set(known))]
    policy = settings.campaigns.policy
    return {
        "killed": board.stored.killed,
        "killed_in_file": policy.kill,
        "global_holdout": policy.global_holdout,
        "clock": now,
        "full": board.effects.full,
        "campaigns": [_campaign(board, name, known.get(name), now) for name in names],
    }


def _campaign(board: Board, name: str, campaign: Campaign | None, now: int) -> dict[str, Any]:
    seen = board.seen
    totals, days = seen.totals.get(name, Counter()), seen.days.get(name, {})
    config = campaign.config if campaign else None
    effect = board.effects.found.get(name)
    today = now // DAY_MS
    spark = [days.get(day, Counter())["treated"] for day in range(today - SPARK_DAYS + 1, today + 1)]
    return {
        "id": name,
        "in_file": config is not None,
        "mode": config.mode if config else None,
        "signal": config.signal if config else None,
        "topic": config.topic if config else None,
        "goal": f"{config.goal.event} within {config.goal.window}" if config else None,
        "holdout": config.holdout if config else None,
        "channels": sorted({action.channel for action in config.actions}) if config else [],
        "when": list(config.when) if config else [],
        "treated": totals["treated"],
        "held": totals["holdout"],
        "shadow": totals["shadow"],
        "spark": spark,
        "stopped": dict(seen.stopped.get(name, Counter()).most_common(8)),
        "audience": campaign.audience if campaign else False,
        "effect": _effect(effect) if effect is not None and not (campaign and campaign.audience) else None,
    }


def _effect(found: Effect) -> dict[str, Any]:
    return {
        "treated": [found.treated.persons, found.treated.converted],
        "holdout": [found.holdout.persons, found.holdout.converted],
        "difference": found.difference,
        "interval": list(found.interval),
        "verdict": found.verdict,
        "open": found.open,
        "missing": found.missing if found.needed is not None else None,
        "assumed": found.assumed,
    }


def goal_of(board: Board, decision: Decision) -> str:
    """What a campaign wants, in words; empty where it is in no file."""
    for campaign in board.place.settings.campaigns.all():
        if campaign.config.id == decision.campaign:
            return f"{campaign.config.goal.event} within {campaign.config.goal.window}"
    return ""
