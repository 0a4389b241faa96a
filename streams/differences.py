"""How the decisions about one customer differ between two runs, and why: pure, from records to differences."""

from __future__ import annotations

from . import diff_reasons
from .diff_causes import Found, followed
from .diff_reasons import Fields
from .difference import Difference, Kind, Sides, Told
from .matching import NEAR_MS, TOLERANCE, Pair, fields, matched
from .stopped import Rows


def differences(
    a: Told, b: Told, sides: Sides, tolerance: float = TOLERANCE, near_ms: int = NEAR_MS
) -> list[Difference]:
    """All differences of one customer, in order of time.

    Parameters
    ----------
    tolerance
        Numbers differ where they are further apart than this; those over 1, than this share of the larger.
    near_ms
        How far a decision may have moved, milliseconds.

    >>> from .difference import Side
    >>> differences(Told([], []), Told([], []), (Side("A"), Side("B")))
    []
    """
    told = (Rows(a.suppressed), Rows(b.suppressed))
    found: list[Found] = []
    for pair in matched(a.decisions, b.decisions, near_ms):
        unlike = fields(pair.a, pair.b, tolerance) if pair.a and pair.b else {}
        if unlike or pair.a is None or pair.b is None or pair.a.id != pair.b.id:
            found.append(_difference(pair, unlike, told, sides))
    found.sort(key=lambda one: (one.difference.at, one.difference.campaign, one.difference.id))
    return followed(found, sides)


def _difference(pair: Pair, unlike: Fields, told: tuple[Rows, Rows], sides: Sides) -> Found:
    a, b = pair
    kind: Kind
    if a and b:
        kind = "changed" if a.issued_at == b.issued_at else "moved"
        # the timer that a stay ends by names the arm, so a leaving of another arm is another event
        same = a.id == b.id or (a.membership == "left" and kind == "changed" and bool(unlike))
        why = diff_reasons.changed(pair, unlike, told, sides) if same else diff_reasons.moved(pair, told, sides)
    elif a:
        kind, why = "gone", diff_reasons.missing(a, told[1], sides, sides[1])
    else:
        assert b is not None
        kind, why = "new", diff_reasons.missing(b, told[0], sides, sides[0])
    one = a or b
    assert one is not None
    difference = Difference(
        kind=kind,
        customer=one.customer,
        campaign=one.campaign,
        id=one.id,
        id_b=b.id if a and b and a.id != b.id else "",
        at=one.issued_at,
        arm_a=a.arm if a else "",
        arm_b=b.arm if b else "",
        membership=one.membership,
        reason=why.reason,
        why=why.words,
        fields=unlike,
    )
    return Found(difference, why.row)
