"""What no signal may do, held against the log: miss one who is there, welcome twice, follow up a cancelled order.

Of the standard library only, as the checker must not share a mistake with the engine. Each law is a bound that follows
from the log and ``campaigns.toml`` alone; where the engine estimates (a customer's cadence), the bound is the loosest
that any estimate must keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from .checker_log import DAY_MS, Json, Person, duration_ms

MINUTE_MS = 60_000
CHURN = {"horizon_days": 30.0, "cadence_factor": 3.0, "cadence_min_days": 7.0, "activity": "any"}
FUNNEL = {"browse_left_minutes": 120.0, "cart_left_minutes": 60.0, "checkout_left_minutes": 30.0}
NEWCOMER_MS = 3 * DAY_MS
REST_DAYS = 30.0


class Laws:
    """The laws of signals under one configuration.

    Parameters
    ----------
    engine
        The table ``[engine]`` of ``campaigns.toml``, parsed.
    """

    def __init__(self, engine: Json) -> None:
        self._churn: Json = CHURN | engine.get("churn", {})
        self._funnel: Json = FUNNEL | engine.get("funnel", {})
        self._rest_ms = round(engine.get("leads", {}).get("rest_days", REST_DAYS) * DAY_MS)

    def broken(self, decision: Json, campaign: Json, person: Person) -> Iterator[tuple[str, str]]:
        """The laws that a decision breaks, given what the log says of its person so far: kind, and what was found."""
        signal, at = campaign.get("signal", ""), decision["issued_at"]
        since = _since(decision)
        delay = duration_ms(campaign["delay"]) if "delay" in campaign else 0
        if at < since + delay:
            yield "delay", f"{at - since} ms after its signal"
        if signal in ("churned", "gone_quiet"):
            yield from self._silent(signal, at, delay, person)
        elif signal in ("cart_left", "checkout_left", "browse_left"):
            silence = at - person.active_ms
            if silence < self._funnel[f"{signal}_minutes"] * MINUTE_MS:
                yield "left while there", f"{silence} ms after the last activity"
            if any(since < placed <= at for placed in person.orders.values()):
                yield "left but bought", "an order since"
        elif signal == "ordered":
            yield from _ordered(since, person)
        elif signal == "joined":
            yield from _joined(decision, since, person)
        elif signal == "lead_ready":
            if any(since - self._rest_ms < placed <= at for placed in person.orders.values()):
                yield "lead of a buyer", "an order within the rest"
            if any(of == decision["campaign"] and since - self._rest_ms < when < at for of, when in person.given):
                yield "lead twice", "given within the rest"
        unknown = set(decision["action"].get("items", ())) - person.products
        if unknown:
            yield "items", f"{sorted(unknown)} were never looked at"

    def _silent(self, signal: str, at: int, delay: int, person: Person) -> Iterator[tuple[str, str]]:
        orders_only = self._churn["activity"] == "orders"
        last = max(person.orders.values(), default=0) if orders_only else person.active_ms
        silence = (at - last - delay) / DAY_MS
        if signal == "churned":
            if silence < self._churn["horizon_days"]:
                yield "missed while there", f"{silence:.2f} days of silence"
            return
        # An average of gaps, weighted in whatever way, is never below the least of them.
        gaps = [float(b - a) for a, b in pairwise(sorted(person.days))]
        gaps += [(b - a) / DAY_MS for a, b in pairwise(sorted(person.orders.values()))]
        least = max(self._churn["cadence_min_days"], self._churn["cadence_factor"] * min(gaps, default=0))
        if silence < least:
            yield "quiet within cadence", f"{silence:.2f} days of silence, {least:.2f} at least"


def _since(decision: Json) -> int:
    """When the signal of a decision was given: one that had to wait has it in the name of its timer."""
    kind = decision["source"].removeprefix(decision["customer"] + "|")
    if kind.startswith("defer:"):
        return int(kind.partition("@")[2].partition("|")[0])
    return int(decision["issued_at"])


def _ordered(since: int, person: Person) -> Iterator[tuple[str, str]]:
    placed = [(at, order) for order, at in person.orders.items() if at <= since]
    if not placed:
        yield "no order", "none was placed before"
    elif max(placed)[1] in person.reversed:
        yield "order cancelled", f"{max(placed)[1]} was refunded or cancelled"


def _joined(decision: Json, since: int, person: Person) -> Iterator[tuple[str, str]]:
    at = decision["issued_at"]
    if any(campaign == decision["campaign"] for campaign, _ in person.given):
        yield "welcomed twice", "a welcome before"
    if min(person.orders.values(), default=at) < since - NEWCOMER_MS:
        yield "no newcomer", "an order long before"
    if not any(since - NEWCOMER_MS <= joining <= at for joining in person.joinings):
        yield "no newcomer", "no sign-up and no form"


class Memberships:
    """Who is in which audience, as the decisions tell: entering and leaving alternate, and no buyer stays.

    >>> held = Memberships()
    >>> entry = {"customer": "u:1", "campaign": "ads", "arm": "treated", "membership": "left", "issued_at": 5}
    >>> list(held.broken(entry))
    [('membership', 'left without being in')]
    """

    def __init__(self) -> None:
        self._in: dict[tuple[str, str], Json] = {}

    def broken(self, decision: Json) -> Iterator[tuple[str, str]]:
        """What is wrong with an entering or a leaving."""
        key = (decision["customer"], decision["campaign"])
        held = self._in.pop(key, None)
        if decision["membership"] == "entered":
            self._in[key] = decision
            if held is not None:
                yield "membership", "entered twice"
        elif held is None:
            yield "membership", "left without being in"
        elif held["arm"] != decision["arm"]:
            yield "membership", f"entered as {held['arm']}, left as {decision['arm']}"

    def bought(self, customer: str, campaigns: dict[str, Json], at: int) -> Iterator[str]:
        """The audiences that a customer should have left with an order that was taken in before ``at``."""
        for (who, name), entry in self._in.items():
            if who == customer and campaigns[name].get("signal") != "ordered" and entry["issued_at"] < at:
                yield name
