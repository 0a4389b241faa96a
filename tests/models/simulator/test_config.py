"""A shop that cannot be is refused, with the remedy."""

from __future__ import annotations

import msgspec
import pytest

from models.simulator import ShopConfig, SimulationError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"late_share": 1.5}, "late_share is 1.5"),
        ({"customers": 0}, "customers is 0"),
        ({"start_ms": 1}, "midnight UTC"),
        ({"dropout_rates": (0.1, 0.2)}, "three values"),
        ({"dropout_weights": (0.5, 0.5, 0.5)}, "add up to 1.5"),
        ({"campaign_strength": (("x", 3.0),)}, "campaign_strength of x is 3.0"),
        ({"visit_rate_median": 0.0}, "above 0"),
    ],
)
def test_impossible_shops_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        msgspec.convert(msgspec.to_builtins(ShopConfig()) | changes, ShopConfig)


def test_strength_is_one_unless_told_otherwise() -> None:
    config = ShopConfig(campaign_strength=(("placebo", 0.0),))
    assert config.strength("placebo") == 0
    assert config.strength("other") == 1
