"""Times as senders write them, and where an event lies in time once clocks are corrected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from ..errors import SchemaError
from ..limits import IntakeOptions

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLI = timedelta(milliseconds=1)
_LATEST = 253_402_300_799_999
_LONGEST = 40
# 1e11 seconds is the year 5138 and 1e11 milliseconds is 1973; 1e14 milliseconds is 5138 and microseconds 1973.
_MILLIS_FROM = 100_000_000_000
_MICROS_FROM = 100_000_000_000_000


def millis(value: object, zone: tzinfo, notes: list[str]) -> int | None:
    """Milliseconds UTC of an RFC 3339 text or of a number of seconds, milliseconds or microseconds since 1970.

    Parameters
    ----------
    value
        What the sender wrote.
    zone
        The zone of a text without an offset.
    notes
        ``naive_time`` is appended where that was needed.

    Returns
    -------
    int or None
        None where the value is no time between 1970 and 9999.

    >>> millis("2024-05-01T12:00:00.5+02:00", UTC, []), millis(1714557600, UTC, []), millis("soon", UTC, [])
    (1714557600500, 1714557600000, None)
    """
    if type(value) is str:
        if len(value) > _LONGEST:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return _other(value, zone, notes)
        if value.isdigit() and len(value) >= 10:
            return _number(int(value))
        if moment.tzinfo is None:
            notes.append("naive_time")
            moment = moment.replace(tzinfo=zone)
        result = (moment - _EPOCH) // _MILLI
        return result if 0 <= result <= _LATEST else None
    if type(value) is int or type(value) is Decimal or type(value) is float:
        return _number(value)
    return None


def _other(value: str, zone: tzinfo, notes: list[str]) -> int | None:
    if value.isdecimal():
        return _number(int(value))
    # A leap second is the second after it for every clock but UTC; RFC 3339 allows lower-case letters too.
    text = value.strip().upper().replace(":60", ":59")
    return millis(text, zone, notes) if text != value else None


def _number(value: int | float | Decimal) -> int | None:
    if not 0 <= value <= _LATEST * 1_000:
        return None
    if value < _MILLIS_FROM:
        return int(value * 1_000)
    return int(value) if value < _MICROS_FROM else int(value) // 1_000


def settle(
    occurred: int | None,
    received: int | None,
    arrival: int | None,
    field: str,
    options: IntakeOptions,
    notes: list[str],
) -> tuple[int, int]:
    """Choose ``occurred_at`` and ``received_at``, and hold an event from the future to its arrival.

    Parameters
    ----------
    occurred, received
        What the record says, skew corrected; None where it says nothing usable. Milliseconds UTC.
    arrival
        The broker's timestamp, milliseconds UTC; it stands above ``received``.
    field
        Path of the time, for the error.

    Raises
    ------
    SchemaError
        Neither record nor broker gave a time; or too far ahead, where the options say to refuse that.

    >>> settle(None, None, 7, "$.timestamp", IntakeOptions(), [])
    (7, 7)
    """
    if arrival is not None:
        received = arrival
    if occurred is None:
        if received is None:
            remedy = "send an RFC 3339 time with its offset, such as 2026-05-01T10:00:00Z"
            raise SchemaError("time", field, "no readable time", remedy)
        notes.append("arrival_time")
        return received, received
    if received is None:
        return occurred, occurred
    if occurred > received + options.max_ahead_ms:
        if options.reject_ahead:
            ahead = timedelta(milliseconds=occurred - received)
            raise SchemaError("time", field, f"{ahead} after its arrival", "set the sender's clock")
        notes.append("clamped_time")
        return received, received
    return occurred, received


def when(
    record: dict[str, Any], arrival: int | None, zone: tzinfo, options: IntakeOptions, notes: list[str]
) -> tuple[int, int]:
    """``occurred_at`` and ``received_at`` of a Segment call.

    A ``timestamp`` beside an ``originalTimestamp`` has been corrected by Segment already; otherwise it is moved by
    receivedAt - sentAt, the wrong part of the sender's clock (https://segment.com/docs/connections/spec/common/#timestamps).
    """
    get = record.get
    own = get("receivedAt")
    received = None if own is None else _time(own, zone, notes)
    value = get("timestamp")
    original = get("originalTimestamp")
    occurred = None if value is None else _time(value, zone, notes)
    if occurred is None or original is None:
        if occurred is None and original is not None:
            occurred = _time(original, zone, notes)
        sent = get("sentAt")
        if sent is not None and occurred is not None:
            occurred = _corrected(occurred, _time(sent, zone, notes), received, arrival, options, notes)
    return settle(occurred, received, arrival, "$.timestamp", options, notes)


def _time(value: object, zone: tzinfo, notes: list[str]) -> int | None:
    result = millis(value, zone, notes)
    if result is None:
        notes.append("unreadable_time")
    return result


def _corrected(
    occurred: int, sent: int | None, received: int | None, arrival: int | None, options: IntakeOptions, notes: list[str]
) -> int:
    if sent is None:
        return occurred
    if received is not None:
        skew = received - sent
    elif arrival is not None:
        skew = arrival - sent
        if not -options.max_skew_ms <= skew <= options.max_skew_ms:
            notes.append("skew_ignored")
            return occurred
    else:
        return occurred
    moved = occurred + skew
    return moved if 0 <= moved <= _LATEST else occurred
