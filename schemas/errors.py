"""The error that every unreadable input ends in: what field, what was found, what to do about it."""

from __future__ import annotations

FOUND_MAX = 80


class SchemaError(Exception):
    """An input that cannot become a canonical event.

    Parameters
    ----------
    reason
        Short machine-readable cause, one of ``REASONS``; dead letters are counted by it.
    field
        Path of the offending field, such as ``$.products[2].price``; ``$`` for the whole record.
    found
        What was there instead, cut to 80 printable characters.
    remedy
        What the sender should write or change.

    >>> print(SchemaError("type", "$.total", '"abc"', "send a decimal number"))
    $.total: found "abc"; send a decimal number
    """

    def __init__(self, reason: str, field: str, found: str, remedy: str) -> None:
        self.reason = reason
        self.field = field
        self.found = printable(found)
        self.remedy = remedy
        super().__init__(f"{field}: found {self.found}; {remedy}")


REASONS = (
    "too_large",
    "too_deep",
    "too_many_keys",
    "duplicate_key",
    "not_json",
    "encoding",
    "type",
    "missing",
    "range",
    "identity",
    "unknown_type",
    "time",
)


def printable(text: str, limit: int = FOUND_MAX) -> str:
    """Cut ``text`` to ``limit`` characters and escape what could forge a log line or a terminal code.

    >>> printable("a\\nb\\x1b[31m")
    'a\\\\nb\\\\x1b[31m'
    """
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return cut if cut.isprintable() else ascii(cut)[1:-1]
