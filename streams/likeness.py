"""Ids that are like one that is not known, to name them in an error."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

SHOWN = 5
COMPARED_MAX = 50_000
"""Ids compared by their letters; among more, only the prefix, the case and the ending are tried."""


def like(asked: str, known: Collection[str]) -> list[str]:
    """At most five known ids, the likeliest first: the same with ``u:`` or ``a:``, in another case, or nearly so spelt.

    >>> like("7", ["u:7", "u:70", "a:7"])
    ['u:7', 'a:7', 'u:70']
    >>> like("u:Anna", ["u:anna", "u:Annah"])
    ['u:anna', 'u:Annah']
    """
    bare = asked[2:] if asked[:2] in ("u:", "a:") else asked
    found = [one for one in (f"u:{bare}", f"a:{bare}") if one in known and one != asked]
    found += sorted(one for one in known if one[2:].casefold() == bare.casefold() and one not in found)
    if len(found) < SHOWN and len(known) <= COMPARED_MAX:
        found += [
            one
            for one in get_close_matches(asked if asked != bare else f"u:{bare}", known, SHOWN + len(found), 0.75)
            if one not in found
        ]
    elif len(found) < SHOWN:
        found += sorted(one for one in known if bare and one.endswith(bare) and one not in found)[:SHOWN]
    return found[:SHOWN]
