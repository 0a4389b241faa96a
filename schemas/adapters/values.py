"""From loosely typed JSON values to ids, labels, texts and amounts: None where a value cannot be used."""

from __future__ import annotations

from decimal import Decimal

ID_MAX = 128
NAME_MAX = 128
TEXT_MAX = 4096
SCALAR_MAX = 256
_NUMBER_MAX = 40
_LARGEST_INTEGER = 2**63
_MICRO = Decimal("0.000001")
_MOST = Decimal(10) ** 12
_LEAST = -_MOST
_CONTROL = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(127, 160)], " ")


def as_id(value: object) -> str | None:
    """The text of an id. Whole numbers are accepted, ``17850.0`` too: spreadsheets and data frames write ids so.

    >>> as_id(" A7 "), as_id(17850), as_id(Decimal("17850.0")), as_id(True), as_id("")
    ('A7', '17850', '17850', None, None)
    """
    kind = type(value)
    if kind is str:
        return value.strip() or None  # type: ignore[attr-defined]  # the exact type was compared
    if kind is int:
        return str(value)
    if isinstance(value, Decimal | float) and -_LARGEST_INTEGER < value < _LARGEST_INTEGER and value == int(value):
        return str(int(value))
    return None


def as_label(value: object, notes: list[str]) -> str | None:
    """A short name: cut to 128 characters, without control characters; both are noted.

    >>> as_label("Home\\x1b[31m", notes := []), notes
    ('Home [31m', ['cleaned_text'])
    """
    text = as_id(value)
    if text is None:
        return None
    if len(text) > NAME_MAX:
        notes.append("cut_text")
        text = text[:NAME_MAX]
    if not text.isprintable():
        notes.append("cleaned_text")
        text = "".join(character if character.isprintable() else " " for character in text)
    return text


def as_text(value: object, notes: list[str], limit: int = TEXT_MAX) -> str | None:
    """A free text: cut to ``limit`` characters; control characters other than tab and line ends become spaces.

    >>> as_text("two\\nlines", []), as_text(["no text"], [])
    ('two\\nlines', None)
    """
    if type(value) is not str:
        return None
    if len(value) > limit:
        notes.append("cut_text")
        value = value[:limit]
    if not value.isprintable() and (clean := value.translate(_CONTROL)) != value:
        notes.append("cleaned_text")
        return clean
    return value


def as_amount(value: object, notes: list[str]) -> Decimal | None:
    """An exact amount below 1e12 in size; more than 6 decimals are rounded, and that is noted.

    >>> as_amount("12.34", []), as_amount(Decimal("59.980000000000004"), []), as_amount(Decimal("1E+999"), [])
    (Decimal('12.34'), Decimal('59.980000'), None)
    """
    if type(value) is Decimal:
        amount = value
    elif type(value) is int:
        amount = Decimal(value)
    elif type(value) is str or type(value) is float:
        text = str(value).strip()
        if len(text) > _NUMBER_MAX:
            return None
        try:
            amount = Decimal(text)
        except ArithmeticError:
            return None
    else:
        return None
    if amount.is_nan() or not _LEAST < amount < _MOST:
        return None
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -6:
        notes.append("rounded_amount")
        return amount.quantize(_MICRO)
    return amount


def as_whole(value: object, least: int, most: int) -> int | None:
    """A whole number between two bounds, also from a text or from ``2.0``.

    >>> as_whole("2", 1, 9), as_whole(Decimal("2.0"), 1, 9), as_whole(-3, 1, 9), as_whole(Decimal("NaN"), 1, 9)
    (2, 2, None, None)
    """
    if type(value) is not int:
        amount = as_amount(value, [])
        if amount is None or amount != int(amount):
            return None
        value = int(amount)
    return value if least <= value <= most else None


def as_flag(value: object) -> bool | None:
    """A yes or no that leaves no doubt.

    >>> as_flag(True), as_flag("granted"), as_flag("no"), as_flag("perhaps")
    (True, True, False, None)
    """
    if type(value) is bool:
        return value
    if type(value) is int:
        return {0: False, 1: True}.get(value)
    if type(value) is str:
        return _FLAGS.get(value.strip().lower())
    return None


_FLAGS = {
    **dict.fromkeys(("true", "yes", "1", "granted", "given", "subscribed", "opted_in", "opt_in"), True),
    **dict.fromkeys(
        ("false", "no", "0", "denied", "withdrawn", "revoked", "unsubscribed", "opted_out", "opt_out"), False
    ),
}


def as_scalar(value: object, notes: list[str]) -> str | int | float | bool | None:
    """A property's value, a text cut to 256 characters; None where it is nested, missing or not finite.

    >>> as_scalar(Decimal("1.5"), []), as_scalar(Decimal("1E+999"), []), as_scalar({}, [])
    (1.5, None, None)
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return as_text(value, notes, SCALAR_MAX)
    if isinstance(value, int):
        return value if -_LARGEST_INTEGER <= value < _LARGEST_INTEGER else None
    if isinstance(value, Decimal | float):
        number = float(value)
        return number if number - number == 0 else None
    return None
