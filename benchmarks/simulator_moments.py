"""Moments of the simulator beside those of the real files: `python -m benchmarks.simulator_moments [--what moments|truth|effects]`.

Reads the files of `../shared/data` where they are, and prints a Markdown table. Order moments are taken over 120 days, as the
simulated shop runs 120 days.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import lzma
import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from models.simulator import Sent, Shop, ShopConfig
from models.simulator.config import DAY_MS
from models.simulator.population import RESPONSES
from models.simulator.randomness import Bools, Floats
from models.simulator.truth import Oracle
from models.simulator.uplift import Outcome, potential_outcomes

WINDOW_DAYS = 120
_CLICKS = {"Product List Viewed", "Product Viewed"}
Moments = dict[str, float]


def quantile(values: Iterable[float], share: float) -> float:
    """The order statistic at a share of the sample.

    >>> quantile([3, 1, 2], 0.5)
    2
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def order_moments(orders: dict[str, list[tuple[float, float]]]) -> Moments:
    """Moments of orders by customer, each (day, value)."""
    values = [value for history in orders.values() for _, value in history]
    counts = [len(history) for history in orders.values()]
    gaps = []
    for history in orders.values():
        days = sorted({int(day) for day, _ in history})
        gaps += [later - earlier for earlier, later in pairwise(days)]
    return {
        "order value: sd of log": statistics.pstdev(math.log(value) for value in values),
        "order value: p90 / median": quantile(values, 0.9) / quantile(values, 0.5),
        "order value: p99 / median": quantile(values, 0.99) / quantile(values, 0.5),
        "orders per buyer: mean": statistics.mean(counts),
        "orders per buyer: variance / mean": statistics.pvariance(counts) / statistics.mean(counts),
        "buyers with one order": sum(count == 1 for count in counts) / len(counts),
        "days between orders: median": statistics.median(gaps),
        "days between orders: mean": statistics.mean(gaps),
        "days between orders: sd / mean": statistics.pstdev(gaps) / statistics.mean(gaps),
    }


def click_moments(sessions: Sequence[Sequence[tuple[str, str]]]) -> Moments:
    """Moments of clicks, each (category, product or empty)."""
    lengths = [len(session) for session in sessions]
    products = Counter(product for session in sessions for _, product in session if product)
    ranked = sorted(products.values(), reverse=True)
    pairs = [a[0] == b[0] for session in sessions for a, b in pairwise(session)]
    return {
        "clicks per session: mean": statistics.mean(lengths),
        "clicks per session: median": statistics.median(lengths),
        "clicks per session: p90": quantile(lengths, 0.9),
        "clicks per session: p99": quantile(lengths, 0.99),
        "sessions of one click": sum(length == 1 for length in lengths) / len(lengths),
        "next click in the same category": sum(pairs) / len(pairs),
        "categories per session": statistics.mean(len({category for category, _ in session}) for session in sessions),
        "views of the top tenth of products": sum(ranked[: len(ranked) // 10]) / sum(ranked),
    }


def online_retail(folder: Path) -> Moments:
    """The wholesaler: every 120-day window that starts with a month, averaged."""
    invoices: dict[str, list[object]] = {}
    with lzma.open(folder / "online_retail/online_retail.csv.xz", "rt") as lines:
        for row in csv.DictReader(lines):
            if row["CustomerID"]:
                entry = invoices.setdefault(row["InvoiceNo"], [row["CustomerID"], row["InvoiceDate"], 0.0])
                entry[2] = float(str(entry[2])) + int(row["Quantity"]) * float(row["UnitPrice"])
    returned = sum(number.startswith("C") for number in invoices)
    first = datetime.fromisoformat("2010-12-01T00:00")
    dated = [
        (str(who), (datetime.fromisoformat(str(when)) - first).total_seconds() / 86_400, float(str(value)))
        for number, (who, when, value) in invoices.items()
        if not number.startswith("C") and float(str(value)) > 0
    ]
    windows = []
    for start in range(0, 241, 60):
        orders: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for who, day, value in dated:
            if start <= day < start + WINDOW_DAYS:
                orders[who].append((day, value))
        windows.append(order_moments(orders))
    moments = {name: statistics.mean(window[name] for window in windows) for name in windows[0]}
    return moments | {"reversals / orders": returned / len(dated)}


def cdnow(folder: Path) -> Moments:
    """The record shop: each customer's first 120 days."""
    orders: dict[str, list[tuple[float, float]]] = defaultdict(list)
    first: dict[str, datetime] = {}
    with gzip.open(folder / "cdnow/CDNOW_sample.txt.gz", "rt") as lines:
        for line in lines:
            _, who, date, _, value = line.split()
            day = datetime.fromisoformat(f"{date[:4]}-{date[4:6]}-{date[6:]}")
            age = (day - first.setdefault(who, day)).days
            if age < WINDOW_DAYS and float(value) > 0:
                orders[who].append((float(age), float(value)))
    return order_moments(orders)


def clothing(folder: Path) -> Moments:
    """The clothing shop of 2008."""
    sessions: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with gzip.open(folder / "eshop_clothing_2008/eshop_clothing_2008.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            category = row["page_1__main_category_"]
            sessions[row["session_id"]].append((category, category + "-" + row["page_2__clothing_model_"]))
    return click_moments(list(sessions.values()))


def simulated(config: ShopConfig) -> Moments:
    """The simulated shop, from its events alone; a session ends after 30 minutes of silence."""
    shop = Shop(config)
    began = time.perf_counter()
    lines = shop.advance(config.start_ms + WINDOW_DAYS * DAY_MS)
    seconds = time.perf_counter() - began
    ids: set[str] = set()
    calls = []
    for line in lines:
        call = json.loads(line)
        if call["messageId"] not in ids:
            ids.add(call["messageId"])
            at = (datetime.fromisoformat(call["timestamp"]) - datetime.fromisoformat(call["sentAt"])).total_seconds()
            calls.append((datetime.fromisoformat(call["receivedAt"]).timestamp() + at, call))
    calls.sort(key=lambda pair: pair[0])
    orders: dict[str, list[tuple[float, float]]] = defaultdict(list)
    last: dict[str, float] = {}
    current: dict[str, list[tuple[float, dict[str, object]]]] = {}
    sessions: list[list[tuple[float, dict[str, object]]]] = []
    for at, call in calls:
        name = call.get("event")
        if name == "Order Completed" and call.get("userId"):
            orders[call["userId"]].append((at / 86_400, call["properties"]["total"]))
        if name in ("Order Refunded", "Order Cancelled", "Subscription Cancelled"):
            continue
        who = call["anonymousId"]
        if at - last.get(who, -1e9) > 1800:
            current[who] = []
            sessions.append(current[who])
        last[who] = at
        current[who].append((at, call))
    human = [session for session in sessions if not _inhuman(session)]
    clicks = []
    for session in human:
        found = [
            (str(call["properties"]["category"]), str(call["properties"].get("product_id", "")))  # type: ignore[index, attr-defined]  # properties are open JSON
            for _, call in session
            if call.get("event") in _CLICKS
        ]
        if found:
            clicks.append(found)
    names = Counter(str(call.get("event", call["type"])) for _, call in calls)
    placed = names["Order Completed"]
    return (
        order_moments(orders)
        | {"reversals / orders": (names["Order Refunded"] + names["Order Cancelled"]) / placed}
        | click_moments(clicks)
        | {
            "events": len(lines),
            "events per second": len(lines) / seconds,
            "visits": len(human),
            "visits without a user id": sum(all("userId" not in c for _, c in s) for s in human) / len(human),
            "orders / visits": placed / len(human),
            "users seen": len({call["userId"] for _, call in calls if call.get("userId")}),
            "events of bots": sum(len(s) for s in sessions if _inhuman(s)) / len(calls),
            "events a minute late or more": sum(_delay(call) > 60 for _, call in calls) / len(calls),
            "events repeated": len(lines) / len(calls) - 1,
        }
    )


def _inhuman(session: Sequence[tuple[float, object]]) -> bool:
    return len(session) >= 25 and session[-1][0] - session[0][0] < 1.5 * len(session)


def _delay(call: dict[str, object]) -> float:
    sent, made = datetime.fromisoformat(str(call["sentAt"])), datetime.fromisoformat(str(call["timestamp"]))
    return (sent - made).total_seconds()


def truth(seed: int, customers: int) -> None:
    """Print how well a customer's silence can be foretold at all, in the default shop, and what simple rules reach."""
    config = ShopConfig(seed=seed, customers=customers)
    shop = Shop(config, written=False)
    shop.advance(config.start_ms + WINDOW_DAYS * DAY_MS)
    oracle = Oracle(shop, last_day=WINDOW_DAYS + 1)
    print("| seed | horizon, days | points | silent | oracle AUC | its ECE | latent AUC | recency | frequency |")
    print("|---|---|---|---|---|---|---|---|---|")
    for horizon in (14, 30):
        times = [config.start_ms + day * DAY_MS for day in range(10, WINDOW_DAYS - horizon + 1, 5)]
        points = oracle.points(times, recent_days=30)
        labels = oracle.labels(points, horizon)
        best, latent = oracle.given_history(points, horizon), oracle.given_latent(points, horizon)
        histories = [(at_ms, [v for v in shop.records[who].visits if v <= at_ms]) for who, at_ms in points]
        recency = np.array([float(at_ms - max(seen, default=0)) for at_ms, seen in histories])
        frequency = np.array([-float(len(seen)) for _, seen in histories])
        figures = (
            labels.mean(),
            _auc(labels, best),
            _ece(labels, best),
            *(_auc(labels, s) for s in (latent, recency, frequency)),
        )
        print(f"| {seed} | {horizon} | {len(points)} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")


def effects(seed: int, customers: int) -> None:
    """Print what one e-mail to every known customer on day 40 does within 30 days, by response type."""
    config = ShopConfig(seed=seed, customers=customers)
    shop = Shop(config, written=False)
    shop.advance(config.start_ms + 40 * DAY_MS)
    known = [person for person in shop.population.persons if person.registered_ms >= 0]
    sent = [Sent(f"t{person.index}", f"u:{person.user_id}", "any", "email", shop.now_ms) for person in known]
    twins = potential_outcomes(config, sent, 30 * DAY_MS)
    print("| response type | customers | " + " | ".join(Outcome._fields) + " |")
    print("|---|---|" + "---|" * len(Outcome._fields))
    for response, name in enumerate((*RESPONSES, "all")):
        some = [twin.effect for twin in twins if twin.response == response or name == "all"]
        cells = (f"{statistics.mean(effect[field] for effect in some):+.3f}" for field in range(len(Outcome._fields)))
        print(f"| {name} | {len(some)} | " + " | ".join(cells) + " |")


def _auc(labels: Bools, scores: Floats) -> float:
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = int(labels.sum())
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))


def _ece(labels: Bools, chances: Floats) -> float:
    bins = np.array_split(np.argsort(chances), 10)
    return float(sum(len(b) * abs(chances[b].mean() - labels[b].mean()) for b in bins) / len(labels))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--customers", type=int, default=ShopConfig().customers)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--what", choices=("moments", "truth", "effects"), default="moments")
    arguments = parser.parse_args()
    if arguments.what != "moments":
        (truth if arguments.what == "truth" else effects)(arguments.seed, arguments.customers)
        return
    columns: dict[str, Moments] = {}
    for name, read, file in (
        ("online_retail", online_retail, "online_retail/online_retail.csv.xz"),
        ("cdnow", cdnow, "cdnow/CDNOW_sample.txt.gz"),
        ("eshop_clothing_2008", clothing, "eshop_clothing_2008/eshop_clothing_2008.csv.gz"),
    ):
        if (arguments.data / file).exists():
            columns[name] = read(arguments.data)
        else:
            print(f"{arguments.data / file} is not here: its column is left out")
    columns["simulator"] = simulated(ShopConfig(seed=arguments.seed, customers=arguments.customers))
    print("| moment | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for moment in dict.fromkeys(name for column in columns.values() for name in column):
        cells = (f"{column[moment]:,.3g}" if moment in column and column[moment] < 1000 else
                 f"{column[moment]:,.0f}" if moment in column else "" for column in columns.values())  # fmt: skip
        print(f"| {moment} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
