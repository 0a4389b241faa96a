"""The oracle is calibrated on what then happens, better than any simple rule, and worse than who sees the latent state."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest

from models.simulator import Sent, Shop, ShopConfig, SimulationError
from models.simulator.config import DAY_MS, HOUR_MS
from models.simulator.randomness import Bools, Floats
from models.simulator.truth import Oracle, Point

_HORIZON = 30


def auc(labels: Bools, scores: Floats) -> float:
    """Area under the ROC curve, by ranks with ties averaged."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = int(labels.sum())
    rank_sum = float(ranks[labels].sum())
    return (rank_sum - positive * (positive + 1) / 2) / (positive * (len(labels) - positive))


def calibration_error(labels: Bools, chances: Floats, bins: int = 10) -> float:
    """Expected calibration error over bins of equal size."""
    order = np.argsort(chances)
    return float(
        sum(len(b) * abs(chances[b].mean() - labels[b].mean()) for b in np.array_split(order, bins)) / len(labels)
    )


def chance_error(chances: Floats, bins: int = 10) -> float:
    """The calibration error to be expected of a perfect forecaster, from binomial noise."""
    order = np.argsort(chances)
    spread = [len(b) * np.sqrt((chances[b] * (1 - chances[b])).mean() / len(b)) for b in np.array_split(order, bins)]
    return float(np.sqrt(2 / np.pi) * sum(spread) / len(chances))


def lived(config: ShopConfig, days: int) -> Shop:
    shop = Shop(config, written=False)
    shop.advance(config.start_ms + days * DAY_MS)
    return shop


@pytest.fixture(scope="module")
def shop() -> Shop:
    return lived(ShopConfig(seed=21, customers=8000), 120)


def test_the_oracle_is_calibrated_and_beats_recency_and_frequency(shop: Shop) -> None:
    oracle = Oracle(shop, last_day=121)
    start = shop.config.start_ms
    for day in (45, 75):  # the second one looks across the regime change
        points = oracle.points([start + day * DAY_MS])
        labels = oracle.labels(points, _HORIZON)
        informed, omniscient = oracle.given_history(points, _HORIZON), oracle.given_latent(points, _HORIZON)
        for chances in (informed, omniscient):
            assert calibration_error(labels, chances) < 2.0 * chance_error(chances)
            assert abs(chances.mean() - labels.mean()) < 3 * np.sqrt(0.25 / len(labels))
        recency = np.array([point.at_ms - _last(shop, point) for point in points], dtype=float)
        frequency = np.array([-sum(v <= p.at_ms for v in shop.records[p.customer].visits) for p in points], dtype=float)
        best = max(auc(labels, recency), auc(labels, frequency))
        assert auc(labels, informed) > best + 0.03
        assert auc(labels, omniscient) > auc(labels, informed) + 0.03


def test_the_oracle_is_calibrated_at_any_hour_and_for_newcomers(shop: Shop) -> None:
    oracle = Oracle(shop, last_day=121)
    points = [
        Point(index, record.registered_ms + 3 * DAY_MS + 12_345_678)
        for index, record in enumerate(shop.records)
        if shop.config.start_ms <= record.registered_ms < shop.config.start_ms + 90 * DAY_MS
    ]
    labels, chances = oracle.labels(points, 14), oracle.given_history(points, 14)
    assert len(points) > 3000
    assert calibration_error(labels, chances) < 2.0 * chance_error(chances)


def test_surveys_and_refunds_are_taken_in() -> None:
    """With scores that tell much and refunds that hurt, the oracle stays calibrated on those who answered or got one."""
    shop = lived(ShopConfig(seed=4, customers=6000, refund_share=0.5, refund_dropout=0.5, survey_share=1.0), 100)
    oracle = Oracle(shop, last_day=101)
    points = oracle.points([shop.config.start_ms + day * DAY_MS for day in (30, 65)])
    records = shop.records
    asked = [p for p in points if any(at <= p.at_ms for at, _, _ in records[p.customer].scores)]
    repaid = [p for p in points if any(at <= p.at_ms for at, _ in records[p.customer].refunds)]
    waiting = [p for p in points if any(p.at_ms - 6 * DAY_MS < at <= p.at_ms for at, _ in records[p.customer].orders)]
    for some in (asked, repaid, waiting):
        chances = oracle.given_history(some, _HORIZON)
        assert len(some) > 300
        assert calibration_error(oracle.labels(some, _HORIZON), chances) < 2.2 * chance_error(chances)


def test_messages_are_taken_in() -> None:
    config = ShopConfig(seed=8, customers=6000)
    shop = Shop(config, written=False)
    for day in (20, 27, 33):
        shop.advance(config.start_ms + day * DAY_MS)
        known = [p for p in shop.population.persons if p.registered_ms >= 0 and (p.index + day) % 3]
        channel = ("email", "push")[day % 2]
        sent = [Sent(f"{p.index}-{day}", f"u:{p.user_id}", "x", channel, shop.now_ms) for p in known]
        shop.advance(shop.now_ms, sent)
    shop.advance(config.start_ms + 70 * DAY_MS)
    oracle = Oracle(shop, last_day=71)
    points = oracle.points([config.start_ms + 35 * DAY_MS])
    for chances in (oracle.given_history(points, _HORIZON), oracle.given_latent(points, _HORIZON)):
        assert calibration_error(oracle.labels(points, _HORIZON), chances) < 2.0 * chance_error(chances)


def test_labels_can_be_read_off_the_stream() -> None:
    """Activity in the stream, credited as docs/simulator.md says, is the ledger's activity."""
    config = ShopConfig(seed=17, customers=600, days=60, late_share=0, duplicate_share=0)
    shop = Shop(config)
    start = config.start_ms
    calls = [json.loads(line) for line in shop.advance(start + 60 * DAY_MS)]
    owner: dict[str, str] = {}
    for call in calls:
        if "userId" in call and call["context"]["channel"] != "server":
            owner.setdefault(call["anonymousId"], call["userId"])
    seen: dict[str, list[float]] = {}
    for call in calls:
        user = call.get("userId") or owner.get(call["anonymousId"])
        if user is not None and call["context"]["channel"] != "server":
            seen.setdefault(user, []).append(1000 * datetime.fromisoformat(call["receivedAt"]).timestamp())
    oracle = Oracle(shop, last_day=61)
    points = oracle.points([start + 30 * DAY_MS + 5 * HOUR_MS])
    names = [shop.population.persons[point.customer].user_id for point in points]
    streamed = [
        not any(point.at_ms < at <= point.at_ms + 20 * DAY_MS for at in seen[name])
        for point, name in zip(points, names, strict=True)
    ]
    differing = sum(oracle.labels(points, 20) != streamed)
    assert len(points) > 150
    assert differing <= 1  # a visit under way at that instant


def test_more_silence_is_less_likely_for_longer() -> None:
    shop = lived(ShopConfig(customers=200), 40)
    oracle = Oracle(shop, last_day=110)
    points = oracle.points([shop.now_ms])
    chances = [oracle.given_history(points, days) for days in (0, 1, 10, 60)]
    assert np.allclose(chances[0], 1)
    assert all((late <= early + 1e-9).all() for early, late in pairwise(chances))


def test_an_unseen_customer_is_refused() -> None:
    shop = lived(ShopConfig(customers=50), 2)
    unseen = next(i for i, record in enumerate(shop.records) if not record.visits)
    with pytest.raises(SimulationError, match="not seen"):
        Oracle(shop, last_day=40).given_history([Point(unseen, shop.now_ms)], 30)


def _last(shop: Shop, point: Point) -> int:
    record = shop.records[point.customer]
    return max(at for at in record.visits + record.led if at <= point.at_ms)
