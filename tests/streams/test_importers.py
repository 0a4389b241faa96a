from __future__ import annotations

import gzip
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest

from schemas.base import DAY_MS
from schemas.clickstream import ProductViewed
from schemas.events import AnyEvent
from schemas.money import Money
from schemas.transactions import OrderCompleted, OrderRefunded
from streams.importers import Import, ImportFileError, Summary, ecom, eshop, online_retail
from streams.importers.ecom import EVENTS

RETAIL = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
ESHOP = (
    "year,month,day,order,country,session_id,page_1__main_category_,page_2__clothing_model_,"
    "colour,location,model_photography,price,price_2,page"
)
ECOM = "user_id,session_id,event,timestamp,platform,acquisition_channel,user_cohort,user_lifecycle"

E = TypeVar("E")


def drawn(imported: Import) -> tuple[list[AnyEvent], Summary]:
    return list(imported.events), imported.summary


def only(kind: type[E], events: list[AnyEvent]) -> E:
    (event,) = events
    assert isinstance(event, kind)
    return event


def retail_line(
    number: str = "536365",
    code: str = "85123A",
    quantity: str = "6",
    when: str = "2010-12-01 08:26",
    price: str = "2.55",
    customer: str = "17850",
) -> str:
    return f'{number},{code},"A ""fine"", old lamp",{quantity},{when},{price},{customer},United Kingdom'


class TestOnlineRetail:
    def test_an_invoice_is_an_order_with_its_exact_total(self) -> None:
        lines = [RETAIL, retail_line(), retail_line(code="71053", quantity="3", price="0.1", when="2010-12-01 08:27")]
        events, summary = drawn(online_retail(lines))
        order = only(OrderCompleted, events)
        assert (order.id, order.order, order.customer) == ("or-536365", "536365", "u:17850")
        assert order.total == Money(Decimal("15.60"), "GBP")
        assert [(item.product, item.price, item.quantity) for item in order.items] == [
            ("85123A", Decimal("2.55"), 6),
            ("71053", Decimal("0.1"), 3),
        ]
        assert order.occurred_at == order.received_at == summary.start == 1_291_191_960_000
        assert (summary.lines, summary.customers, summary.skipped) == (2, 1, {})

    def test_a_cancellation_is_a_refund_of_itself_in_positive_amounts(self) -> None:
        events, _ = drawn(online_retail([RETAIL, retail_line(number="C1", quantity="-2")]))
        refund = only(OrderRefunded, events)
        assert (refund.id, refund.order, refund.total) == ("or-C1", "C1", Money(Decimal("5.10"), "GBP"))
        assert refund.items[0].quantity == 2

    def test_charges_are_in_the_total_and_no_items(self) -> None:
        lines = [
            RETAIL,
            retail_line(quantity="1"),
            retail_line(code="POST", quantity="1", price="18"),
            retail_line(code="m"),
        ]
        events, summary = drawn(online_retail(lines))
        order = only(OrderCompleted, events)
        assert order.total.amount == Decimal("35.85")
        assert [item.product for item in order.items] == ["85123A"]
        assert summary.notes["charge lines, in the total and no item"] == 2

    def test_codes_that_differ_in_case_are_one_product(self) -> None:
        events, summary = drawn(online_retail([RETAIL, retail_line(), retail_line(code="85123a")]))
        assert {item.product for item in only(OrderCompleted, events).items} == {"85123A"}
        assert summary.notes["items with a product code put in capitals"] == 1

    def test_order_is_by_time_then_invoice_and_invoices_may_be_interleaved(self) -> None:
        lines = [
            RETAIL,
            retail_line(number="3", when="2011-01-02 00:00"),
            retail_line(number="2", when="2011-01-01 00:00"),
            retail_line(number="3", when="2010-01-01 00:00"),
            retail_line(number="1", when="2011-01-01 00:00"),
        ]
        events, _ = drawn(online_retail(lines))
        assert [event.id for event in events] == ["or-1", "or-2", "or-3"]

    def test_without_a_customer_a_line_is_skipped_or_its_invoice_is_one_customer(self) -> None:
        lines = [RETAIL, retail_line(), retail_line(number="7", customer=""), retail_line(number="7", customer="")]
        events, summary = drawn(online_retail(lines))
        assert len(events) == 1
        assert summary.skipped == {"no_customer": 2}
        assert summary.first["no_customer"].line == 3
        events, summary = drawn(online_retail(lines, anonymous=True))
        assert [event.customer for event in events] == ["u:17850", "a:7"]
        assert not summary.skipped

    @pytest.mark.parametrize(
        ("reason", "line"),
        [
            ("fields", "536365,85123A,6"),
            ("fields", '536365,85123A,"an open quote,6,2010-12-01 08:26,2.55,17850,United Kingdom'),
            ("fields", "\x00\x01\ufffd"),
            ("empty_line", ""),
            ("invoice", retail_line(number="")),
            ("invoice", retail_line(number="1" * 200)),
            ("customer", retail_line(customer="1" * 200)),
            ("adjustment", retail_line(number="A563185")),
            ("product", retail_line(code=" ")),
            ("quantity", retail_line(quantity="six")),
            ("quantity", retail_line(quantity="6.5")),
            ("quantity", retail_line(quantity="1000001")),
            ("quantity_sign", retail_line(quantity="-6")),
            ("quantity_sign", retail_line(quantity="0")),
            ("quantity_sign", retail_line(number="C1", quantity="6")),
            ("price", retail_line(price="")),
            ("price", retail_line(price="NaN")),
            ("price", retail_line(price="-11062.06")),
            ("price", retail_line(price="1e400")),
            ("price", retail_line(price="0.0000001")),
            ("time", retail_line(when="12/1/2010 8:26")),
            ("time", retail_line(when="1969-12-31 23:59")),
            ("total", retail_line(number="9", price="999999999999", quantity="1000000")),
            ("second_customer", retail_line(customer="17851")),
        ],
    )
    def test_a_bad_line_is_counted_and_the_rest_stays(self, reason: str, line: str) -> None:
        events, summary = drawn(online_retail([RETAIL, retail_line(), line, retail_line(number="8")]))
        assert [event.id for event in events] == ["or-536365", "or-8"]
        assert summary.skipped == {reason: 1}
        assert summary.first[reason].line == 3
        assert summary.lines == 3

    def test_an_invoice_of_nobody_that_costs_nothing_corrects_the_stock(self) -> None:
        free = retail_line(number="5", price="0", customer="")
        events, summary = drawn(online_retail([RETAIL, retail_line(price="0.0"), free, free], anonymous=True))
        assert only(OrderCompleted, events).total.amount == 0
        assert summary.skipped == {"stock_correction": 2}
        assert summary.notes == {"free items": 1, "orders that cost nothing": 1}

    def test_items_past_the_cap_are_in_the_total_only(self) -> None:
        lines = [RETAIL, *(retail_line(code=f"{code}", price="1", quantity="1") for code in range(1_003))]
        events, summary = drawn(online_retail(lines))
        order = only(OrderCompleted, events)
        assert len(order.items) == 1_000
        assert order.total.amount == 1_003
        assert [count for note, count in summary.notes.items() if "past the first 1,000" in note] == [3]

    @pytest.mark.parametrize(
        ("line", "remedy"),
        [(retail_line(customer=""), "--anonymous"), (retail_line(when="12/1/2010 8:26"), "2010-12-01 08:26")],
    )
    def test_where_every_line_is_skipped_the_remedy_is_named(self, line: str, remedy: str) -> None:
        with pytest.raises(ImportFileError, match=remedy):
            list(online_retail([RETAIL, line, line]).events)

    def test_customer_numbers_of_copies_through_floats_are_the_same(self) -> None:
        events, _ = drawn(online_retail([RETAIL, retail_line(customer="17850.0"), retail_line()]))
        assert only(OrderCompleted, events).customer == "u:17850"


def click(order: int = 1, session: str = "1", day: str = "1", category: str = "1", price: str = "28") -> str:
    return f"2008,4,{day},{order},29,{session},{category},13,1,5,1,{price},2,1"


class TestEshop:
    def test_a_click_is_a_product_view_of_an_anonymous_session(self) -> None:
        events, summary = drawn(eshop([ESHOP, click(category="2")]))
        view = only(ProductViewed, events)
        assert (view.id, view.customer, view.product, view.category) == ("es-1-1", "a:1", "13", "skirts")
        assert view.price == Money(Decimal(28), "USD")
        assert view.occurred_at // DAY_MS == 13_970
        assert any("made up" in flag for flag in summary.flags)

    def test_clicks_are_20_to_40_seconds_apart_in_click_order_whatever_the_order_of_lines(self) -> None:
        lines = [click(order, session) for session in "123" for order in range(1, 90)]
        events, _ = drawn(eshop([ESHOP, *lines]))
        again, _ = drawn(eshop([ESHOP, *reversed(lines)]))
        assert events == again
        assert [event.occurred_at for event in events] == sorted(event.occurred_at for event in events)
        for session in "123":
            own = [event for event in events if event.customer == f"a:{session}"]
            assert [event.id for event in own] == [f"es-{session}-{order}" for order in range(1, 90)]
            gaps = [later.occurred_at - sooner.occurred_at for sooner, later in pairwise(own)]
            assert min(gaps) >= 20_000
            assert max(gaps) <= 40_000
            assert len(set(gaps)) > 80
            assert {event.occurred_at // DAY_MS for event in own} == {13_970}

    def test_sessions_are_spread_over_the_day(self) -> None:
        events, _ = drawn(eshop([ESHOP, *(click(session=str(number)) for number in range(2_400))]))
        hours = [event.occurred_at % DAY_MS * 24 // DAY_MS for event in events]
        assert min(hours.count(hour) for hour in range(24)) > 60

    @pytest.mark.parametrize(
        ("reason", "line"),
        [
            ("date", click(day="32")),
            ("date", click(day="x")),
            ("order", click().replace(",1,29,", ",x,29,")),
            ("session", click(session="")),
            ("product", click().replace(",13,", ",,")),
            ("category", click(category="9")),
            ("price", click(price="free")),
            ("price", click(price="-1")),
            ("repeated_click", click()),
            ("fields", "2008;4;1;1;29;1;1;A13;1;5;1;28;2;1"),
        ],
    )
    def test_a_bad_line_is_counted_and_the_rest_stays(self, reason: str, line: str) -> None:
        events, summary = drawn(eshop([ESHOP, click(), line]))
        assert len(events) == 1
        assert summary.skipped == {reason: 1}


class TestEcom:
    def test_every_name_becomes_its_event(self) -> None:
        lines = [f"user_0000,sess_1,{name},2024-03-13 10:00:00,desktop,email,2024-01,returning" for name in EVENTS]
        events, summary = drawn(ecom([ECOM, *lines]))
        assert [event.id for event in events] == [f"ec-sess_1-{place}" for place in range(1, len(EVENTS) + 1)]
        assert {event.customer for event in events} == {"u:user_0000"}
        assert summary.events == {
            "page_viewed": 5,
            "promotion_viewed": 1,
            "product_list_viewed": 2,
            "products_searched": 1,
            "product_viewed": 1,
            "wishlist_changed": 1,
            "cart_changed": 1,
            "cart_viewed": 1,
            "checkout_started": 1,
            "checkout_advanced": 1,
            "order_completed": 1,
            "custom": 3,
        }

    def test_a_second_purchase_of_a_session_is_another_order(self) -> None:
        line = "user_0000,sess_1,purchase,2024-03-13 10:00:00,desktop,email,2024-01,returning"
        events, _ = drawn(ecom([ECOM, line, line]))
        assert [event.order for event in events if isinstance(event, OrderCompleted)] == ["sess_1", "sess_1-2"]

    @pytest.mark.parametrize(
        ("reason", "line"),
        [
            ("user", ",sess_1,home,2024-03-13 10:00:00,desktop,email,2024-01,new"),
            ("session", "user_1,,home,2024-03-13 10:00:00,desktop,email,2024-01,new"),
            ("event", "user_1,sess_1,teleport,2024-03-13 10:00:00,desktop,email,2024-01,new"),
            ("timestamp", "user_1,sess_1,home,yesterday,desktop,email,2024-01,new"),
        ],
    )
    def test_a_bad_line_is_counted_and_the_rest_stays(self, reason: str, line: str) -> None:
        good = "user_0000,sess_1,home,2024-03-13 10:00:00,desktop,email,2024-01,new"
        events, summary = drawn(ecom([ECOM, line, good]))
        assert len(events) == 1
        assert summary.skipped == {reason: 1}
        assert summary.text()[-1].startswith(f"  skipped, {reason}: 1 lines, the first is line 2 (")


Importer = Callable[[list[str] | Path], Import]


@pytest.mark.parametrize(
    ("importer", "header", "column"),
    [(online_retail, RETAIL, "StockCode"), (eshop, ESHOP, "price"), (ecom, ECOM, "timestamp")],
    ids=["online_retail", "eshop", "ecom"],
)
class TestWrongFiles:
    def failure(self, importer: Importer, source: list[str] | Path) -> ImportFileError:
        with pytest.raises(ImportFileError) as caught:
            list(importer(source).events)
        return caught.value

    def test_nothing_at_all(self, importer: Importer, header: str, column: str) -> None:
        error = self.failure(importer, [])
        assert (error.line, error.found) == (1, "nothing")
        assert column in error.remedy

    def test_an_empty_first_line(self, importer: Importer, header: str, column: str) -> None:
        assert self.failure(importer, ["", header]).found == "an empty line"

    def test_a_header_alone(self, importer: Importer, header: str, column: str) -> None:
        assert self.failure(importer, [header]).found == "a header and no line below it"

    def test_a_missing_column_is_named(self, importer: Importer, header: str, column: str) -> None:
        error = self.failure(importer, [header.replace(column + ",", "nonsense,"), "1"])
        assert error.line == 1
        assert error.remedy.startswith(f"its header lacks {column}: give the ")

    @pytest.mark.parametrize("line", ["<!doctype html>", '{"event": "home"}', "\x00\ufffd\x07", '"open', ","])
    def test_another_format(self, importer: Importer, header: str, column: str, line: str) -> None:
        error = self.failure(importer, [line] * 3)
        assert error.line == 1
        assert str(error).isprintable()

    def test_no_line_that_becomes_an_event(self, importer: Importer, header: str, column: str) -> None:
        error = self.failure(importer, [header, "x", "y"])
        assert error.line == 2
        assert error.found == "'x'"
        assert "2 of 2 were skipped for 'fields'" in error.remedy

    def test_a_truncated_archive(self, importer: Importer, header: str, column: str, tmp_path: Path) -> None:
        path = tmp_path / "cut.csv.gz"
        path.write_bytes(gzip.compress("\n".join([header, *map(str, range(9_999))]).encode())[:-2_000])
        error = self.failure(importer, path)
        assert "truncated" in error.found
        assert error.file == str(path)

    def test_a_missing_file(self, importer: Importer, header: str, column: str, tmp_path: Path) -> None:
        assert self.failure(importer, tmp_path / "none.csv").found == "no such file"

    def test_columns_in_another_order_with_another_separator(
        self, importer: Importer, header: str, column: str
    ) -> None:
        names = header.replace("_", " ").upper().split(",")
        error = self.failure(importer, [";".join(reversed(names)), ";".join("x" for _ in names)])
        assert "fields" not in error.remedy
