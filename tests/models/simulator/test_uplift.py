"""Potential outcomes: who is moved, who is driven away, and that twin worlds differ by the message alone."""

from __future__ import annotations

import numpy as np
import pytest

from models.simulator import Sent, Shop, ShopConfig, SimulationError
from models.simulator.config import DAY_MS
from models.simulator.population import LOST_CAUSE, PERSUADABLE, SLEEPING_DOG, SURE_THING
from models.simulator.uplift import Twin, expected_effects, potential_outcomes

_WINDOW = 30 * DAY_MS


def everybody(shop: Shop, campaign: str = "x") -> list[Sent]:
    return [
        Sent(f"t{i}", f"u:{shop.population.persons[i].user_id}", campaign, "email", shop.now_ms)
        for i, record in enumerate(shop.records)
        if record.registered_ms >= 0
    ]


def mean(twins: list[Twin], response: int, field: str) -> float:
    return float(np.mean([getattr(twin.effect, field) for twin in twins if twin.response == response]))


def test_effects_differ_by_response_type() -> None:
    config = ShopConfig(seed=6, customers=4000)
    shop = Shop(config, written=False)
    shop.advance(config.start_ms + 30 * DAY_MS)
    twins = potential_outcomes(config, everybody(shop), _WINDOW)
    assert mean(twins, PERSUADABLE, "bought") > 0.03
    assert mean(twins, PERSUADABLE, "silent") < -0.03
    assert mean(twins, SURE_THING, "bought") == 0
    assert abs(mean(twins, LOST_CAUSE, "bought")) < 0.01
    assert mean(twins, SLEEPING_DOG, "left") > 0.08
    assert mean(twins, SLEEPING_DOG, "bought") < -0.02


def test_a_placebo_has_no_effect_on_anyone() -> None:
    config = ShopConfig(customers=300, campaign_strength=(("placebo", 0.0),))
    shop = Shop(config, written=False)
    shop.advance(config.start_ms + 30 * DAY_MS)
    twins = potential_outcomes(config, everybody(shop, "placebo"), _WINDOW)
    assert twins
    assert all(twin.treated == twin.control for twin in twins)


def test_twin_worlds_repeat_a_closed_loop() -> None:
    """What `Shop.sent` recorded gives back, as the treated world, the very run it came from."""
    config = ShopConfig(customers=300)
    shop = Shop(config)
    shop.advance(config.start_ms + 30 * DAY_MS)
    early = everybody(shop)
    shop.advance(shop.now_ms + DAY_MS, [message._replace(issued_at=message.issued_at - 5_000) for message in early])
    shop.advance(shop.now_ms + _WINDOW)
    again = Shop(config, written=False)
    again.advance(shop.now_ms, shop.sent)
    assert again.records == shop.records
    assert len(potential_outcomes(config, shop.sent, _WINDOW)) == len(early)


def test_expected_effects_leave_the_shop_alone_and_agree_with_its_own_future() -> None:
    config = ShopConfig(customers=400)
    shop, other = Shop(config), Shop(config)
    half = config.start_ms + 30 * DAY_MS
    assert shop.advance(half) == other.advance(half)
    twins, effects = expected_effects(shop, everybody(shop), _WINDOW, futures=4)
    assert effects.shape == (4, len(twins), 7)
    assert np.allclose(effects.mean(0)[:, 0], [twin.effect.silent for twin in twins])
    assert len({tuple(row) for row in effects[:, :, 1]}) == 4
    assert shop.advance(half + 5 * DAY_MS) == other.advance(half + 5 * DAY_MS)


def test_two_contacts_of_one_customer_are_refused() -> None:
    twice = [Sent(name, "u:000001", "x", "email", ShopConfig().start_ms) for name in ("a", "b")]
    with pytest.raises(SimulationError, match="same customer"):
        potential_outcomes(ShopConfig(customers=10), twice, DAY_MS)
