"""What is made of the rounds of ``benchmarks/throughput.py``: rates, ratios within a round, goals. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

Figures = Mapping[str, Any]
Round = Mapping[str, Figures]
"""What each peer of a part did in one round; one that was skipped is not in it."""


def rotated(peers: Sequence[T], number: int) -> list[T]:
    """The order of peers in a round: each comes first, and last, equally often.

    >>> rotated("abc", 0), rotated("abc", 4)
    (['a', 'b', 'c'], ['b', 'c', 'a'])
    """
    start = number % len(peers) if peers else 0
    return [*peers[start:], *peers[:start]]


@dataclass(frozen=True)
class Spread:
    """The median of several rounds, the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value.

        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(median=2.0, least=1.0, most=3.0)
        """
        return cls(statistics.median(values), min(values), max(values))


def rate(figures: Figures) -> float:
    """Records a second."""
    return float(figures["records"]) / float(figures["seconds"])


def ratio(one: str, other: str) -> Callable[[Round], float | None]:
    """How many times as fast one peer is as another, in the same round; None where one of them did not run."""

    def within(held: Round) -> float | None:
        return rate(held[one]) / rate(held[other]) if one in held and other in held else None

    return within


def beyond(one: str, engine: str) -> Callable[[Round], float | None]:
    """Processor microseconds a record beyond what the engine alone takes for as many steps, in the same round.

    On a backlog in several raw topics Rapport can have fewer steps than the engine on one list in order of time: timers wait
    for the topic that is behind, and events move some of them meanwhile.
    """

    def within(held: Round) -> float | None:
        if one not in held or engine not in held:
            return None
        cost, alone = (1e6 * held[name]["cpu_s"] / held[name]["records"] for name in (one, engine))
        steps, own = (held[name]["steps"] / held[name]["records"] for name in (one, engine))
        return float(cost - alone - (steps - own) * held[engine]["us_a_step"])

    return within


def figure(peer: str, name: str) -> Callable[[Round], float | None]:
    """A figure that a peer tells itself."""

    def within(held: Round) -> float | None:
        return float(held[peer][name]) if peer in held else None

    return within


@dataclass(frozen=True)
class Goal:
    """A goal: of which part, what is compared in each round, and what the median must reach.

    Parameters
    ----------
    least, most
        Bounds; the one that is None does not bind, and without both it is only shown.
    further
        The moonshot or stretch, in the same direction.
    unit
        ``x`` for a ratio.
    """

    name: str
    part: str
    within: Callable[[Round], float | None]
    least: float | None = None
    most: float | None = None
    further: float | None = None
    unit: str = "x"

    def judged(self, rounds: Sequence[Round]) -> dict[str, Any]:
        """The goal with the median of its rounds, the least and the most; ``met`` is None where it was not measured."""
        values = [value for held in rounds if (value := self.within(held)) is not None]
        bound = self.least if self.least is not None else self.most
        found: dict[str, Any] = {"what": self.name, "unit": self.unit, "goal": bound, "further": self.further}
        if not values:
            return {**found, "met": None}
        spread = Spread.of(values)
        met = None
        if bound is not None:
            met = spread.median >= bound if self.least is not None else spread.median <= bound
        by_round = [round(value, 3) for value in values]
        return {
            **found,
            "median": spread.median,
            "least": spread.least,
            "most": spread.most,
            "rounds": by_round,
            "met": met,
        }


GOALS = (
    Goal("decode: Faust with the batching transport / stock Faust agent", "decode", ratio("rapport", "faust"), 20.0),
    Goal("decode: the same / stock Faust with a buffer for all", "decode", ratio("rapport", "faust buffered")),
    Goal("decode: the same / stock Faust take(500)", "decode", ratio("rapport", "faust take")),
    Goal("decode: the same / Quix Streams", "decode", ratio("rapport", "quix"), 2.0),
    Goal("pipeline / stock Faust agent with a table", "pipeline", ratio("rapport", "faust"), 5.0),
    Goal("pipeline / the same with a buffer for all", "pipeline", ratio("rapport", "faust buffered")),
    Goal("pipeline / Quix Streams with its state store", "pipeline", ratio("rapport", "quix"), 1.0, further=1.3),
    Goal("pipeline / the same, messages from a second topic", "pipeline", ratio("rapport", "quix aligned")),
    Goal("pipeline / the bare limit", "pipeline", ratio("rapport", "limit"), 0.45, further=0.6),
    Goal("pipeline / home-made script", "pipeline", ratio("rapport", "home-made")),
    Goal("engine step, shop", "pipeline", figure("engine", "us_a_step"), most=60.0, further=30.0, unit="us a step"),
    Goal("engine step, Zipf 1.1", "zipf", figure("engine", "us_a_step"), most=60.0, further=30.0, unit="us a step"),
    Goal("cost beyond the engine step, Zipf 1.1", "zipf", beyond("rapport", "engine"), most=60.0, unit="us a record"),
    Goal("two workers / one worker", "workers", ratio("two workers", "one worker"), 1.6),
)


def summary(rounds: Sequence[Round]) -> dict[str, dict[str, Any]]:
    """Each peer of a part: its rate with least and most, and the medians of its other figures."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for held in rounds for name in held):
        ran = [held[name] for held in rounds if name in held]
        spread = Spread.of([rate(one) for one in ran])
        medians = {key: statistics.median(one[key] for one in ran) for key in ran[0] if key != "seconds"}
        found[name] = {
            "rounds": len(ran),
            "records_per_s": {"median": round(spread.median), "least": round(spread.least), "most": round(spread.most)},
            "steps_per_s": round(statistics.median(one.get("steps", 0) / one["seconds"] for one in ran)),
            "cpu_s_per_1000": round(statistics.median(1000 * one["cpu_s"] / one["records"] for one in ran), 4),
            **{key: round(value, 3) for key, value in medians.items()},
        }
    return found
