"""Segment calls as bytes: message ids, the three clocks, late and repeated arrivals."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from math import exp, log
from typing import Any

import msgspec

from models.simulator.calendar import ZONES
from models.simulator.config import HOUR_MS, MINUTE_MS, ShopConfig
from models.simulator.population import AGENTS, NORMAL, Device
from models.simulator.randomness import derive, uniform

Properties = dict[str, Any]
_ENCODE = msgspec.json.Encoder().encode


class Arrival(msgspec.Struct, frozen=True, order=True):
    """One call as the collector receives it; sorts by arrival."""

    received_ms: int
    message_id: str
    copy: int
    data: bytes


def iso(at_ms: int) -> str:
    """An instant as ISO 8601 in UTC with milliseconds.

    >>> iso(1_756_684_800_123)
    '2025-09-01T00:00:00.123Z'
    """
    seconds, millis = divmod(at_ms, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{_minute(minutes)}{second:02d}.{millis:03d}Z"


@lru_cache(maxsize=65_536)
def _minute(minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M:")


class Writer:
    """Collects the calls of a shop, each with its arrival.

    >>> writer = Writer(ShopConfig(late_share=0.0, duplicate_share=0.0))
    >>> device = Device(ShopConfig(), 5)
    >>> writer.write(1, 0, 1_756_684_800_000, device, 0, "track", "Signed Up", {}, "000001")
    >>> len(writer.arrivals), b'"userId":"000001"' in writer.arrivals[0].data
    (1, True)
    """

    def __init__(self, config: ShopConfig) -> None:
        self._late = config.late_share
        self._repeated = config.duplicate_share
        self.arrivals: list[Arrival] = []

    def write(
        self,
        key: int,
        index: int,
        at_ms: int,
        device: Device,
        zone: int,
        kind: str,
        name: str,
        properties: Properties,
        user_id: str | None,
        context: Properties | None = None,
    ) -> None:
        """Add the `index`-th call of a visit; `properties` are an identify's or a group's traits."""
        word = derive(key, 1_000 + index)
        form, agent = AGENTS[device.agent]
        call: Properties = {"type": kind, "messageId": f"{word:016x}", "anonymousId": device.anonymous_id}
        if user_id is not None:
            call["userId"] = user_id
        if kind == "track":
            call["event"] = name
            call["properties"] = properties
        elif kind == "page":
            call["name"] = name
            call["properties"] = properties
        elif kind == "alias":
            call["previousId"] = device.anonymous_id
        else:
            call["traits"] = properties
            if kind == "group":
                call["groupId"] = name
        call["context"] = {
            "timezone": ZONES[zone][0],
            "userAgent": agent,
            "device": {"type": form},
            "channel": "mobile" if form == "mobile" else "browser",
        } | (context or {})
        sent = at_ms + 20 + int(uniform(word, 1) * 400)
        if uniform(word, 2) < self._late:
            delay = exp(log(20 * MINUTE_MS) + 1.3 * NORMAL.inv_cdf(0.001 + 0.998 * uniform(word, 3)))
            sent = at_ms + int(min(36 * HOUR_MS, max(2 * MINUTE_MS, delay)))
        call["timestamp"] = iso(at_ms + device.skew_ms)
        self._arrive(call, word, 0, sent, device.skew_ms)
        if uniform(word, 4) < self._repeated:
            self._arrive(call, word, 1, sent + 1_000 + int(uniform(word, 5) ** 3 * HOUR_MS), device.skew_ms)

    def _arrive(self, call: Properties, word: int, copy: int, sent: int, skew_ms: int) -> None:
        received = sent + 15 + int(uniform(word, 6 + copy) ** 4 * 1_500)
        call["sentAt"] = iso(sent + skew_ms)
        call["receivedAt"] = iso(received)
        self.arrivals.append(Arrival(received, call["messageId"], copy, _ENCODE(call)))
