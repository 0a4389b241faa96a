"""What a step costs by the number of customers, of products, and of campaigns."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.limits_load import campaigns, lines
from benchmarks.machine import say
from benchmarks.scale_state import State, drawer, grown
from models.policy.reading import read
from schemas.intake import Intake
from streams.embedded import Valkey
from streams.memory import settle
from streams.run import Run

LAWS = ("zipf", "uniform")
CUSTOMERS = (10_000, 100_000, 1_000_000)
PRODUCTS = (1_000, 10_000, 100_000)
CAMPAIGNS = (10, 100, 500)
BATCHES = 10
WARM = 5


def medians(batches: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over batches; a stage that a batch did without took it nothing."""
    names = {name: None for batch in batches for name in batch}
    return {name: round(statistics.median(batch.get(name, 0.0) for batch in batches), 3) for name in names}


def ratios(found: Mapping[int, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """The largest size over the smallest, by law and figure."""
    least, most = min(found), max(found)
    return {
        law: {name: round(found[most][law][name] / found[least][law][name], 3) for name in ("step", "processor", "all")}
        for law in found[least]
        if law in LAWS
    }


async def _steps(states: Mapping[int, State], laws: Sequence[str], rounds: int, batches: int) -> dict[str, Any]:
    taken: dict[int, dict[str, list[dict[str, float]]]] = {size: {law: [] for law in laws} for size in states}
    for size, state in states.items():
        await state.fill()
        say(f"{size}: {state.filled}")
    settle()
    for law in laws:
        for state in states.values():
            await state.measured(law, WARM)
        for number in range(rounds):
            for size, state in states.items():
                made = await state.measured(law, batches)
                taken[size][law] += made
                middle = medians(made)
                say(f"round {number + 1}, {law}, {size}: step {middle['step']} us, all {middle['all']} us a step")
    filled = {size: state.filled for size, state in states.items()}
    for state in states.values():
        await state.close()
    found = {size: {law: medians(made) for law, made in by_law.items()} for size, by_law in taken.items()}
    return {
        "batches": rounds * batches,
        "us_a_step": {str(size): figures for size, figures in found.items()},
        "stored": {str(size): figures for size, figures in filled.items()},
        "largest_over_smallest": ratios(found),
    }


def by_customers(folder: Path, rounds: int, scale: float) -> dict[str, Any]:
    """A state of each size in one Valkey, batches of each size in turn."""
    run, patterns = grown()
    with Valkey(folder / "valkey") as valkey:
        sizes = [max(500, round(size * scale)) for size in CUSTOMERS]
        states = {size: State(valkey.url, size, run, patterns) for size in sizes}
        return asyncio.run(_steps(states, LAWS, rounds, BATCHES))


def by_products(folder: Path, rounds: int, scale: float) -> dict[str, Any]:
    """The same with 10,000 customers, and records of each number of products in turn."""
    run, patterns = grown()
    with Valkey(folder / "valkey") as valkey:
        customers = max(500, round(CUSTOMERS[0] * scale))
        states = {many: State(valkey.url, customers, run, patterns, many) for many in PRODUCTS}
        return asyncio.run(_steps(states, LAWS[:1], rounds, BATCHES))


def by_campaigns(folder: Path, rounds: int, scale: float) -> dict[str, Any]:
    """Live campaigns over eight signals, in process: processor time of an event's steps, decode and store apart."""
    count = max(1_000, round(10_000 * scale))
    draw, intake = drawer(500, "zipf"), Intake()
    made = lines(count, lambda random: f"c{draw(random)}")
    events = [event for n, raw in enumerate(made) for event in intake.read(raw, None, f"x:{n}").events]
    rules = {number: read(campaigns(number)) for number in CAMPAIGNS}
    taken: dict[int, list[float]] = {number: [] for number in CAMPAIGNS}
    signals = {}
    settle()
    for round_ in range(rounds):
        for number, settings in rules.items():
            decisions = 0

            def decided(_: object) -> None:
                nonlocal decisions
                decisions += 1

            run = Run(settings, on_decision=decided)
            began = time.process_time()
            run.drain(events)
            taken[number].append(1e6 * (time.process_time() - began) / run.steps)
            signals[number] = {"steps": run.steps, "decisions": decisions}
            say(f"round {round_ + 1}, {number} campaigns: {taken[number][-1]:.1f} us a step")
    found = {number: statistics.median(times) for number, times in taken.items()}
    return {
        "records": count,
        "us_a_step": {str(number): round(us, 1) for number, us in found.items()},
        "of_a_run": {str(number): one for number, one in signals.items()},
        "us_a_step_a_campaign": round((found[CAMPAIGNS[-1]] - found[CAMPAIGNS[0]]) / (CAMPAIGNS[-1] - CAMPAIGNS[0]), 4),
        "largest_over_smallest": round(found[CAMPAIGNS[-1]] / found[CAMPAIGNS[0]], 2),
    }
