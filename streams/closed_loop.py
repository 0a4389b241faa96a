"""The simulated shop and the engine in a loop: events in, triggers out, and what the triggers bring about in again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.policy.reading import Settings
from models.simulator.config import ShopConfig
from models.simulator.shop import Shop
from schemas.base import HOUR_MS
from schemas.decisions import Conversion, Decision
from schemas.intake import Intake

from .run import Run


@dataclass
class Loop:
    """A shop, an engine, and the way between them.

    Parameters
    ----------
    shop
        The shop's known truth.
    settings
        Engine settings and campaigns.
    step_ms
        The shop lives on for so long before the engine's triggers reach it, milliseconds.
    """

    shop: ShopConfig
    settings: Settings
    step_ms: int = HOUR_MS
    events: int = 0
    refused: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.run = Run(self.settings, on_decision=self._decided, on_conversion=self._converted)
        self.world = Shop(self.shop)
        self.intake = Intake()
        self._sent: list[Decision] = []
        self.log: list[bytes] = []
        self.decisions: list[Decision] = []
        self.conversions: list[Conversion] = []
        self.keep = False

    def _decided(self, decision: Decision) -> None:
        if decision.arm == "treated" and not decision.membership:  # an audience is no message
            self._sent.append(decision)
        if self.keep:
            self.decisions.append(decision)

    def _converted(self, conversion: Conversion) -> None:
        if self.keep:
            self.conversions.append(conversion)

    def live(self, until_ms: int) -> Iterator[tuple[int, list[Decision]]]:
        """Let time go on up to ``until_ms`` (UTC); after each step yields the time and the triggers just issued."""
        while self.world.now_ms < until_ms:
            at = min(until_ms, self.world.now_ms + self.step_ms)
            outgoing, self._sent = self._sent, []
            for raw in self.world.advance(at, outgoing):
                self.events += 1
                result = self.intake.read(raw, None, f"shop:{self.events}")
                self.refused += result.dead is not None
                self.notes.update(result.notes)
                if self.keep:
                    self.log.append(raw)
                self.run.drain(result.events)
            yield at, list(self._sent)
