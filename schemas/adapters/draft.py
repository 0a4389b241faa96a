"""The properties of a call on their way to a canonical event: typed look-ups that drop and note what cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ..base import Id
from ..errors import SchemaError
from ..limits import IntakeOptions, kind
from ..money import Item, Money
from .values import ID_MAX, as_amount, as_id, as_label, as_text, as_whole

PRODUCT = ("product_id", "sku", "name", "productId", "item_id", "item_name")
_MOST_ITEMS = 1_000
_MOST_UNITS = 1_000_000


class Draft:
    """A call, read as far as its head, and what its handler takes from its properties.

    Parameters
    ----------
    head
        The fields that all canonical events share.
    properties
        The call's ``properties`` or ``traits``.
    context
        The call's ``context``.
    options
        The intake's.
    notes
        Repairs are appended here.
    path
        Where ``properties`` lies in the record, for errors.
    """

    __slots__ = ("context", "head", "notes", "options", "path", "properties")

    def __init__(
        self,
        head: dict[str, Any],
        properties: Mapping[str, Any],
        context: Mapping[str, Any],
        options: IntakeOptions,
        notes: list[str],
        path: str = "$.properties",
    ) -> None:
        self.head = head
        self.properties = properties
        self.context = context
        self.options = options
        self.notes = notes
        self.path = path

    def id(self, *names: str) -> str:
        """The first of these properties that is an id.

        Raises
        ------
        SchemaError
            None of them is there, or the one that is has control characters or is too long.
        """
        properties = self.properties
        for name in names:
            value = properties.get(name)
            if value is not None:
                text = as_id(value)
                if text is not None:
                    # The usual id passes without the call, which costs more than the test.
                    if len(text) <= ID_MAX and text.isprintable():
                        return text
                    return checked_id(text, f"{self.path}.{name}")
        value = next((properties[name] for name in names if properties.get(name) is not None), None)
        found = "nothing" if value is None else kind(value)
        raise SchemaError("missing", f"{self.path}.{names[0]}", found, f"send {' or '.join(names[:3])} as text")

    def product(self) -> str:
        """The product's id: product_id, else sku, else name."""
        return self.id(*PRODUCT)

    def label(self, *names: str) -> str:
        """The first of these properties that is a short name; empty where none is."""
        properties = self.properties
        for name in names:
            value = properties.get(name)
            if value is not None:
                text = as_label(value, self.notes)
                if text is not None:
                    return text
                if value != "":
                    self.drop(name)
        return ""

    def text(self, *names: str) -> str:
        """The first of these properties that is a text; empty where none is."""
        properties = self.properties
        for name in names:
            value = properties.get(name)
            if value is not None:
                text = as_text(value, self.notes)
                if text is not None:
                    return text
                self.drop(name)
        return ""

    def whole(self, name: str, least: int, most: int, default: int) -> int:
        """A whole number within bounds, or the default."""
        value = self.properties.get(name)
        if value is None:
            return default
        number = as_whole(value, least, most)
        if number is None:
            self.drop(name)
            return default
        return number

    def currency(self) -> str:
        """The ISO code sent, else the configured one, else empty."""
        value = self.properties.get("currency")
        if value is not None:
            if type(value) is str and len(value) == 3 and value.isascii() and value.isalpha():
                return value if value.isupper() else value.upper()
            self.drop("currency")
        return self.options.currency

    def amount(self, name: str) -> Decimal | None:
        """An amount of at least 0; None where it is missing or unusable."""
        value = self.properties.get(name)
        if value is None:
            return None
        amount = as_amount(value, self.notes)
        if amount is None or (amount.is_signed() and amount):
            self.drop(name)
            return None
        return amount

    def money(self, *names: str) -> Money | None:
        """The first of these properties that is an amount; None, and noted, where the currency is unknown."""
        for name in names:
            amount = self.amount(name)
            if amount is not None:
                currency = self.currency()
                if currency:
                    return Money(amount, currency)
                self.notes.append("no_currency")
                return None
        return None

    def items(self) -> tuple[Item, ...]:
        """The products of a cart or an order; those that cannot be read are dropped and noted."""
        products = self.properties.get("products")
        if products is None:
            return ()
        if type(products) is not list:
            self.drop("products")
            return ()
        if len(products) > _MOST_ITEMS:
            self.notes.append("cut_products")
        items = []
        for product in products[:_MOST_ITEMS]:
            item = self.item(product)
            if item is None:
                self.drop("product")
            else:
                items.append(item)
        return tuple(items)

    def item(self, product: object) -> Item | None:
        """One product of a list, or None."""
        if type(product) is not dict:
            return None
        entry = Draft(self.head, product, self.context, self.options, self.notes)
        try:
            identity = entry.product()
        except SchemaError:
            return None
        return Item(
            product=identity,
            category=entry.label("category"),
            price=entry.amount("price"),
            quantity=entry.whole("quantity", 1, _MOST_UNITS, 1),
        )

    def drop(self, name: str) -> None:
        """Note that a property was unusable."""
        self.notes.append("dropped_" + name)


def checked_id(text: Id, field: str, limit: int = ID_MAX) -> str:
    """The id, if it is printable and not too long.

    Raises
    ------
    SchemaError
        Otherwise: an id that is cut or cleaned would be another one's.

    >>> checked_id("A-7", "$.userId")
    'A-7'
    """
    if len(text) > limit:
        raise SchemaError(
            "range", field, f"text of {len(text)} characters", f"send an id of at most {limit} characters"
        )
    if not text.isprintable():
        raise SchemaError("identity", field, f"control characters in {kind(text)}", "send printable characters only")
    return text
