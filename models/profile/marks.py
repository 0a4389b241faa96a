"""Which signals a customer has given already, so that each is given once for what it tells of."""

from __future__ import annotations

from msgspec import Struct


class Marks(Struct, frozen=True, array_like=True, gc=False):
    """When signals were given; 0 where they were not. All in milliseconds UTC.

    Parameters
    ----------
    left_at
        When a browse, a cart or a checkout was left last: an earlier leaving is superseded.
    joined_at
        When ``joined`` was given: once a person.
    quiet_since, churned_since
        The last sign of life before the silence that ``gone_quiet`` and ``churned`` were given for.
    lead_at
        When ``lead_ready`` was given, the customer ordered, or sales took the lead over; 0 once the lead has rested and
        readiness has fallen again.
    """

    left_at: int = 0
    joined_at: int = 0
    quiet_since: int = 0
    churned_since: int = 0
    lead_at: int = 0


NONE = Marks()


def merge(a: Marks, b: Marks) -> Marks:
    """The marks of one person seen as two: what either has given, the person has given.

    >>> merge(Marks(joined_at=5), Marks(left_at=7))
    Marks(left_at=7, joined_at=5, quiet_since=0, churned_since=0, lead_at=0)
    """
    return Marks(
        max(a.left_at, b.left_at),
        max(a.joined_at, b.joined_at),
        max(a.quiet_since, b.quiet_since),
        max(a.churned_since, b.churned_since),
        max(a.lead_at, b.lead_at),
    )
