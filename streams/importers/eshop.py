"""E-shop clothing 2008 (UCI 553): the clicks on products of a Polish shop for maternity clothes, April to August 2008.

Every click becomes a ``ProductViewed`` of the anonymous customer ``a:<session>``. The file has days, the order of the
clicks in a session and nothing finer, no cart and no order. So times are made up: a session starts at a moment of its
day that is derived from its id, such that it ends on that day, and 20 to 40 seconds lie between two clicks. Equal
files give equal times. Product codes are taken as they stand (the clothing models of the original, ``A13``, or the
numbers that stand for them in other copies); country, colour and places on the page are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import NamedTuple

from schemas.base import DAY_MS, SECOND_MS, anonymous_key
from schemas.clickstream import ProductViewed
from schemas.events import AnyEvent
from schemas.money import Money
from streams.files import Progress

from .base import ID_MAX, Import, Source, Summary, amount, counted, table, whole

CURRENCY = "USD"
MAIN_CATEGORIES = {"1": "trousers", "2": "skirts", "3": "blouses", "4": "sale"}
GAP_MIN_MS = 20 * SECOND_MS
GAP_MAX_MS = 40 * SECOND_MS

_COLUMNS = {
    "year": "year",
    "month": "month",
    "day": "day",
    "order": "order",
    "sessionid": "session ID",
    "page1maincategory": "page 1 (main category)",
    "page2clothingmodel": "page 2 (clothing model)",
    "price": "price",
}


def eshop(source: Source, *, progress: Progress | None = None) -> Import:
    """Clicks by time, which is made up.

    Parameters
    ----------
    source
        The file (plain or compressed, ``-`` for standard input), or its lines.
    progress
        Called with the bytes read so far and the size of the file.

    Raises
    ------
    ImportFileError
        While the events are drawn, where the file is not this one or gives no event.

    >>> events, summary = eshop([
    ...     "year;month;day;order;country;session ID;page 1 (main category);page 2 (clothing model);colour;price",
    ...     "2008;4;1;1;29;1;1;A13;1;28",
    ...     "2008;4;1;2;29;1;2;B4;1;52",
    ... ])
    >>> first, second = events
    >>> first.customer, first.product, first.category, second.price
    ('a:1', 'A13', 'trousers', Money(amount=Decimal('52'), currency='USD'))
    >>> 20_000 <= second.occurred_at - first.occurred_at <= 40_000
    True
    """
    summary = Summary("eshop", flags=("times made up: the file has days and the order of clicks only",))
    return Import(counted(_events(source, summary, progress), summary), summary)


class _Click(NamedTuple):
    order: int
    product: str
    category: str
    price: Money


class _Session(NamedTuple):
    day: int
    clicks: list[_Click]


def _events(source: Source, summary: Summary, progress: Progress | None) -> Iterator[AnyEvent]:
    timed: list[tuple[int, str, _Click]] = []
    for session, (day, clicks) in _sessions(source, summary, progress).items():
        clicks.sort(key=itemgetter(0))
        timed.extend(zip(_times(session, day, len(clicks)), [session] * len(clicks), clicks, strict=True))
    timed.sort(key=itemgetter(0, 1))
    for at, session, click in timed:
        yield ProductViewed(
            id=f"es-{session}-{click.order}",
            customer=anonymous_key(session),
            occurred_at=at,
            received_at=at,
            product=click.product,
            category=click.category,
            price=click.price,
        )


def _sessions(source: Source, summary: Summary, progress: Progress | None) -> dict[str, _Session]:
    sessions: dict[str, _Session] = {}
    seen: set[tuple[str, int]] = set()
    prices: dict[str, Money] = {}
    skip = summary.skip
    for line, (year, month, day, order_text, session, category, product, price_text) in table(
        source, _COLUMNS, summary, progress
    ):
        midnight = _midnight(year, month, day)
        if midnight is None:
            skip("date", line, f"{year}-{month}-{day}")
            continue
        order = whole(order_text)
        if order is None or order < 0:
            skip("order", line, order_text)
            continue
        if not session or len(session) > ID_MAX // 2:
            skip("session", line, session)
            continue
        if not product or len(product) > ID_MAX:
            skip("product", line, product)
            continue
        if category not in MAIN_CATEGORIES:
            skip("category", line, category)
            continue
        price = prices.get(price_text)
        if price is None:
            value = amount(price_text)
            if value is None or value < 0:
                skip("price", line, price_text)
                continue
            price = prices[price_text] = Money(value, CURRENCY)
        if (session, order) in seen:
            skip("repeated_click", line, f"{session}, {order}")
            continue
        seen.add((session, order))
        sessions.setdefault(session, _Session(midnight, [])).clicks.append(
            _Click(order, product, MAIN_CATEGORIES[category], price)
        )
    return sessions


def _times(session: str, day: int, clicks: int) -> list[int]:
    """The made-up times of a session's clicks, in milliseconds UTC.

    >>> times = _times("1", DAY_MS, 3)
    >>> times == _times("1", DAY_MS, 3), DAY_MS <= times[0], times[2] < 2 * DAY_MS
    (True, True, True)
    """
    offsets = [0]
    for place in range(1, clicks):
        offsets.append(offsets[-1] + GAP_MIN_MS + _derived(session, place) % (GAP_MAX_MS - GAP_MIN_MS + 1))
    start = day + _derived(session, 0) % max(1, DAY_MS - offsets[-1])
    return [start + offset for offset in offsets]


def _derived(session: str, place: int) -> int:
    return int.from_bytes(blake2b(f"{session}|{place}".encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=1 << 12)
def _midnight(year: str, month: str, day: str) -> int | None:
    try:
        at = int(datetime(int(year), int(month), int(day), tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None
    return at if at >= 0 else None
