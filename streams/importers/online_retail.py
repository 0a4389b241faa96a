"""Online Retail (UCI 352): the invoices of a British gift shop, December 2010 to December 2011.

One invoice is one event. Columns: InvoiceNo, StockCode, Quantity, InvoiceDate, UnitPrice (GBP), CustomerID.

- An invoice number of digits is an ``OrderCompleted`` and one with a ``C`` before them, a cancellation, an
  ``OrderRefunded`` with positive amounts. The file does not say which order a cancellation undoes, so its order is
  the cancellation's own number. ``A`` invoices correct bad debts and are skipped.
- Charges (postage, carriage, discounts, bank charges, ...: ``CHARGES``) count in the total, since the customer pays
  them, and are no items, since nobody can be recommended postage. Gift vouchers, ``PADS`` and the ``DCGS`` codes are
  goods and stay.
- A price of 0 is a free item and stays. In an order a quantity below 1 is a correction of the stock and is skipped,
  and so is an invoice of nobody that costs nothing.
- Codes that differ in case only (``15056BL``, ``15056bl``) are one product, in capitals.
- Times are local British minutes without a zone, taken as UTC: in summer an hour late.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from operator import itemgetter

from schemas.base import anonymous_key, user_key
from schemas.events import AnyEvent
from schemas.money import Item, Money
from schemas.transactions import OrderCompleted, OrderRefunded
from streams.files import Progress

from .base import ID_MAX, Import, Source, Summary, amount, counted, millis, table, whole

CURRENCY = "GBP"
CHARGES = frozenset({"AMAZONFEE", "B", "BANK CHARGES", "C2", "CRUK", "D", "DOT", "M", "POST", "S"})
ITEMS_MAX = 1_000
QUANTITY_MAX = 1_000_000

_COLUMNS = {
    "invoiceno": "InvoiceNo",
    "stockcode": "StockCode",
    "quantity": "Quantity",
    "invoicedate": "InvoiceDate",
    "unitprice": "UnitPrice",
    "customerid": "CustomerID",
}
_REMEDIES = {
    "no_customer": "keep invoices without a customer with --anonymous",
    "time": "write times as 2010-12-01 08:26",
}
_ZERO = Decimal(0)


def online_retail(source: Source, *, anonymous: bool = False, progress: Progress | None = None) -> Import:
    """Orders and refunds by (time, invoice number).

    Parameters
    ----------
    source
        The file (plain or compressed, ``-`` for standard input), or its lines.
    anonymous
        Keep invoices without a customer, each as a customer of its own, ``a:<invoice>``.
    progress
        Called with the bytes read so far and the size of the file.

    Raises
    ------
    ImportFileError
        While the events are drawn, where the file is not this one or gives no event.

    >>> events, summary = online_retail([
    ...     "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
    ...     "536365,85123A,HEART,6,2010-12-01 08:26,2.55,17850,United Kingdom",
    ...     "536365,POST,POSTAGE,1,2010-12-01 08:26,18.00,17850,United Kingdom",
    ...     "536414,22139,,56,2010-12-01 11:52,0,,United Kingdom",
    ... ])
    >>> order, = events
    >>> order.customer, str(order.total.amount), [item.product for item in order.items]
    ('u:17850', '33.30', ['85123A'])
    >>> dict(summary.skipped), dict(summary.notes)
    ({'no_customer': 1}, {'charge lines, in the total and no item': 1})
    """
    summary = Summary(
        "online-retail",
        flags=("local British times taken as UTC", "cancellations name no original order, so each refunds itself"),
    )
    return Import(counted(_events(source, anonymous, summary, progress), summary, _REMEDIES), summary)


class _Invoice:
    __slots__ = ("at", "charges", "customer", "items", "line", "lines", "number", "recased", "total")

    def __init__(self, number: str, at: int, customer: str, line: int) -> None:
        self.number = number
        self.at = at
        self.customer = customer
        self.line = line
        self.lines = 0
        self.charges = 0
        self.recased = 0
        self.total = _ZERO
        self.items: list[Item] = []


def _events(source: Source, anonymous: bool, summary: Summary, progress: Progress | None) -> Iterator[AnyEvent]:
    invoices = _invoices(source, anonymous, summary, progress)
    by_time = sorted(((invoice.at, number) for number, invoice in invoices.items()), key=itemgetter(0, 1))
    for _, number in by_time:
        event = _event(invoices.pop(number), summary)
        if event is not None:
            yield event


def _invoices(source: Source, anonymous: bool, summary: Summary, progress: Progress | None) -> dict[str, _Invoice]:
    invoices: dict[str, _Invoice] = {}
    codes: dict[str, str] = {}
    skip = summary.skip
    for line, (number, code, quantity_text, when, price_text, customer) in table(source, _COLUMNS, summary, progress):
        if not customer and not anonymous:
            skip("no_customer", line, number)
            continue
        if not number or len(number) > ID_MAX - 3 or len(customer) > ID_MAX:
            skip("invoice" if not customer or len(customer) <= ID_MAX else "customer", line, number)
            continue
        refund = number[0] == "C"
        if not refund and not number[0].isdigit():
            skip("adjustment", line, number)
            continue
        product = codes.get(code)
        if product is None:
            product = codes[code] = code.strip().upper()
        if not product or len(product) > ID_MAX:
            skip("product", line, code)
            continue
        quantity = whole(quantity_text)
        if quantity is None or abs(quantity) > QUANTITY_MAX:
            skip("quantity", line, quantity_text)
            continue
        if refund:
            quantity = -quantity
        if quantity <= 0:
            skip("quantity_sign", line, quantity_text)
            continue
        price = amount(price_text)
        if price is None or price < 0:
            skip("price", line, price_text)
            continue
        at = millis(when)
        if at is None:
            skip("time", line, when)
            continue
        # Some copies of the file have been through a table of floats.
        who = user_key(customer.removesuffix(".0")) if customer else anonymous_key(number)
        invoice = invoices.get(number)
        if invoice is None:
            invoice = invoices[number] = _Invoice(number, at, who, line)
        elif invoice.customer != who:
            skip("second_customer", line, customer)
            continue
        invoice.lines += 1
        invoice.total += price * quantity
        if product in CHARGES:
            invoice.charges += 1
            continue
        if code != product:
            invoice.recased += 1
        invoice.items.append(Item(product=product, price=price, quantity=quantity))
    return invoices


def _event(invoice: _Invoice, summary: Summary) -> AnyEvent | None:
    number, at, customer = invoice.number, invoice.at, invoice.customer
    if not invoice.total and customer.startswith("a:"):
        summary.skip("stock_correction", invoice.line, number, lines=invoice.lines)
        return None
    try:
        total = Money(invoice.total, CURRENCY)
    except ValueError:
        summary.skip("total", invoice.line, str(invoice.total), lines=invoice.lines)
        return None
    for note, count in (
        ("charge lines, in the total and no item", invoice.charges),
        ("items with a product code put in capitals", invoice.recased),
        ("free items", sum(not item.price for item in invoice.items)),
        ("orders that cost nothing", int(not invoice.total)),
        (f"items past the first {ITEMS_MAX:,} of an order, in its total only", len(invoice.items) - ITEMS_MAX),
    ):
        if count > 0:
            summary.notes[note] += count
    items = tuple(invoice.items[:ITEMS_MAX])
    event_id = f"or-{number}"
    if number[0] == "C":
        return OrderRefunded(
            id=event_id, customer=customer, occurred_at=at, received_at=at, order=number, total=total, items=items
        )
    return OrderCompleted(
        id=event_id, customer=customer, occurred_at=at, received_at=at, order=number, total=total, items=items
    )
