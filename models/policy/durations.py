"""Durations as people write them: 90m, 36h, 7d."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

_UNITS = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
PATTERN = r"^[0-9]{1,6}(s|m|h|d)(?!\n)$"
Duration = Annotated[str, Meta(pattern=PATTERN, description="A number and s, m, h or d: 90m, 36h, 7d")]


def duration_ms(text: str) -> int:
    """A duration in milliseconds; raises ``ValueError`` where it is none.

    >>> duration_ms("90m"), duration_ms("7d")
    (5400000, 604800000)
    """
    if not re.match(PATTERN, text):
        raise ValueError(f"{text!r} is no duration: write a number and s, m, h or d, such as 90m or 7d")
    return int(text[:-1]) * _UNITS[text[-1]]


def duration_text(ms: int) -> str:
    """A duration as people write it, in the largest unit that leaves no rest; below a second, nothing is left.

    >>> duration_text(604_800_000), duration_text(5_400_000)
    ('7d', '90m')
    """
    unit = next((name for name in "dhm" if ms and not ms % _UNITS[name]), "s")
    return f"{ms // _UNITS[unit]}{unit}"
