"""A simulated shop with known truth and a closed loop: `Shop.advance(until, triggers) -> events` (docs/simulator.md)."""

from __future__ import annotations

from models.simulator.config import Contact, Sent, ShopConfig, SimulationError
from models.simulator.ledger import Record
from models.simulator.shop import Shop

__all__ = ["Contact", "Record", "Sent", "Shop", "ShopConfig", "SimulationError"]
