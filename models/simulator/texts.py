"""What customers write: survey comments and reviews, put together from phrases that suit their score."""

from __future__ import annotations

from random import Random

_GOOD = (
    "Fast delivery, {thing} is lovely.", "Great quality, will order again.", "Friendly service and easy returns.",
    "Exactly as described, {thing} fits well.", "Good value for money.", "Love the {thing}, my friends asked where I got it.",
)  # fmt: skip
_FAIR = (
    "The {thing} is fine, delivery took a while.", "Okay overall, sizes run small.", "Good {thing}, but a bit expensive.",
    "Website is slow at times.", "Nothing special, does the job.",
)  # fmt: skip
_BAD = (
    "Delivery was late and nobody answered my mail.", "The {thing} broke after two days, poor quality.",
    "Refund took far too long.", "Wrong size sent, terrible service.", "Too many e-mails, too expensive.",
    "Disappointed with the {thing}, it looks cheap.",
)  # fmt: skip


def comment(rng: Random, score: int, thing: str) -> str:
    """A comment for a score of 0-10; empty for one in three.

    >>> comment(Random(3), 2, "bag") == comment(Random(3), 2, "bag")
    True
    """
    if rng.random() < 0.33:
        return ""
    phrases = _GOOD if score >= 9 else _FAIR if score >= 7 else _BAD
    return phrases[int(rng.random() * len(phrases))].format(thing=thing)
