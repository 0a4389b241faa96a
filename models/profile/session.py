"""The visit in progress: events closer than half an hour belong together."""

from __future__ import annotations

from msgspec import Struct

from schemas.base import MINUTE_MS

TIMEOUT_MS = 30 * MINUTE_MS


class Session(Struct, frozen=True, array_like=True, gc=False):
    """The latest visit.

    Parameters
    ----------
    started_at, last_at
        Milliseconds UTC.
    number
        Visits so far, this one included.
    events, views
        Events, and product views among them, in this visit.
    """

    started_at: int = 0
    last_at: int = 0
    number: int = 0
    events: int = 0
    views: int = 0


def observe(session: Session, at: int, view: bool) -> Session:
    """Put one event into the visit in progress, or start another.

    >>> observe(observe(Session(), 0, True), TIMEOUT_MS + 1, False).number
    2
    """
    if not session.number or at - session.last_at > TIMEOUT_MS:
        return Session(at, at, session.number + 1, 1, int(view))
    if at < session.started_at - TIMEOUT_MS:  # it comes late, from an earlier visit
        return session
    return Session(
        min(session.started_at, at),
        max(session.last_at, at),
        session.number,
        session.events + 1,
        session.views + view,
    )


def merge(a: Session, b: Session) -> Session:
    """The later visit, with the visits of both counted."""
    later = a if a.last_at >= b.last_at else b
    return Session(later.started_at, later.last_at, a.number + b.number, later.events, later.views)
