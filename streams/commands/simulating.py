"""``rapport simulate``: the shop with known truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from models.simulator.truth import Oracle
from streams.files import STDIO

from . import common

TRUTH_DAYS = 30


def simulate(
    out: common.EventsOut = STDIO,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another shop.")] = 1,
    customers: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Customers who can become known; guests come on top.")
    ] = 3000,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days to live through.")] = 120,
    truth: Annotated[
        str | None,
        typer.Option(
            "--truth",
            metavar="FILE",
            help="Also write P(silent for 30 days | history) for each known customer and week (CSV).",
        ),
    ] = None,
) -> None:
    """Write the Segment events of a simulated shop whose truth is known.

    Example: rapport simulate -o shop.jsonl.gz

    Then: rapport replay shop.jsonl.gz -c examples/campaigns.toml --unsorted 1d

    In a pipe: rapport simulate --days 30 | rapport replay - -c examples/campaigns.toml
    """
    if truth == STDIO and out == STDIO:
        raise typer.BadParameter(
            "events and truth cannot both go to standard output: name a file with --out or --truth"
        )
    config = ShopConfig(seed=seed, customers=customers, days=days)
    shop = Shop(config)
    count = 0

    def lived() -> Iterator[bytes]:
        nonlocal count
        for day in range(1, days + 1):
            for line in shop.advance(config.start_ms + day * DAY_MS):
                count += 1
                yield line
            report(day)

    with common.days_lived(days, lambda: count) as report:
        common.written(out, lived())
    place = "standard output" if out == STDIO else out
    common.say(f"{count:,} events of {days} days, seed {seed}, written to {place}", console=common.err)
    if truth is not None:
        with common.err.status("true probabilities: following every history on"):
            points = common.written(truth, _truth(shop, days)) - 1
        common.say(f"{points:,} true probabilities written to {truth}", console=common.err)


def _truth(shop: Shop, days: int) -> Iterator[bytes]:
    config = shop.config
    shop.silence()
    oracle = Oracle(shop, days + TRUTH_DAYS)
    times = [config.start_ms + day * DAY_MS for day in range(7, days + 1, 7)]
    points = oracle.points(times, recent_days=TRUTH_DAYS)
    p = oracle.given_history(points, TRUTH_DAYS)
    yield b"customer,at_ms,horizon_days,p_silent"
    for point, chance in zip(points, p, strict=True):
        user = shop.population.persons[point.customer].user_id
        yield f"u:{user},{point.at_ms},{TRUTH_DAYS},{chance:.6f}".encode()
