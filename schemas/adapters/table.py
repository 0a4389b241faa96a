"""Event names to handlers: exact where the sender writes as the Segment Spec does, else by letters and digits only."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..events import AnyEvent
from .draft import Draft

Handler = Callable[[Draft], AnyEvent]
_LONGEST_NAME = 128


def letters(name: str) -> str:
    """The name without case, spaces, underscores, hyphens and dots.

    >>> letters("order_completed") == letters("Order Completed") == letters("orderCompleted")
    True
    """
    return name.translate(_FILL).lower()


_FILL = dict.fromkeys(map(ord, " _-.\t"))


def both_spellings(handlers: Mapping[str, Handler]) -> dict[str, Handler]:
    """The table with every name as it is and by its letters.

    Raises
    ------
    KeyError
        Two names have the same letters but different handlers.
    """
    table = dict(handlers)
    for name, handler in handlers.items():
        if table.setdefault(letters(name), handler) is not handler:
            raise KeyError(name)
    return table


def find(table: Mapping[str, Handler], name: str) -> Handler | None:
    """The handler of an event name; None where the vocabulary has no such name."""
    handler = table.get(name)
    if handler is None and len(name) <= _LONGEST_NAME:
        handler = table.get(letters(name))
    return handler
