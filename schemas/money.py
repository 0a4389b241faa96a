"""Exact money: a decimal amount with its currency, and totals in one reporting currency as integer micros."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated

from msgspec import Meta, Struct

Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}(?!\n)$", description="ISO 4217 code, such as EUR")]

MICROS = 1_000_000
_SMALLEST_EXPONENT = -6
_MILLION = Decimal(MICROS)


def exact(amount: Decimal) -> Decimal:
    """Check that an amount is finite, below 1e12 and has at most 6 decimals.

    Raises ``ValueError`` (which the decoder turns into a ``SchemaError``) naming the bound that was broken.

    >>> exact(Decimal("12.34"))
    Decimal('12.34')
    >>> exact(Decimal("NaN"))
    Traceback (most recent call last):
    ...
    ValueError: an amount must be a finite number
    """
    if not amount.is_finite():
        raise ValueError("an amount must be a finite number")
    if amount and amount.adjusted() >= 12:
        raise ValueError("an amount must be below 1e12 in size")
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < _SMALLEST_EXPONENT:
        raise ValueError("an amount has at most 6 decimals")
    return amount


class Money(Struct, frozen=True, gc=False):
    """An amount in a currency; the amount travels as a decimal string, so nothing is rounded.

    >>> Money(Decimal("12.34"), "GBP").amount + Decimal("0.01")
    Decimal('12.35')
    """

    amount: Decimal
    currency: Currency

    def __post_init__(self) -> None:
        exact(self.amount)


class ExchangeTable(Struct, frozen=True):
    """Configured rates into one reporting currency.

    Parameters
    ----------
    reporting
        The currency of all totals.
    rates
        Reporting units for one unit of the other currency.
    """

    reporting: Currency = "EUR"
    rates: Mapping[str, Decimal] = {}

    def __post_init__(self) -> None:
        for currency, rate in self.rates.items():
            if not rate.is_finite() or rate <= 0:
                raise ValueError(f"the rate of {currency} must be a number over 0")

    def micros(self, money: Money) -> int | None:
        """The amount in reporting micros (1e-6 units), or None where no rate is configured.

        >>> table = ExchangeTable("GBP", {"EUR": Decimal("0.85")})
        >>> table.micros(Money(Decimal("10.00"), "EUR")), table.micros(Money(Decimal("1"), "USD"))
        (8500000, None)
        """
        if money.currency == self.reporting:
            return int(money.amount * _MILLION)
        rate = self.rates.get(money.currency)
        if rate is None:
            return None
        return int((money.amount * rate * _MILLION).to_integral_value(ROUND_HALF_EVEN))


class Item(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A product in a cart or an order.

    Parameters
    ----------
    product
        Product or stock code.
    price
        Price of one unit in the currency of the event that holds the item; None where the sender gave none.
    quantity
        Units, 1 to 1,000,000.
    """

    product: Annotated[str, Meta(min_length=1, max_length=128)]
    category: Annotated[str, Meta(max_length=128)] = ""
    price: Decimal | None = None
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)] = 1

    def __post_init__(self) -> None:
        if self.price is not None:
            exact(self.price)


Items = Annotated[tuple[Item, ...], Meta(max_length=1_000)]
