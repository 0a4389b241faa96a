"""The whole stream on every broker, and Valkey: exact state and every trigger once, whatever dies when.

A broker without transactions may repeat a trigger with its id: see ``truth.py``.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from models.policy.reading import read
from models.profile.profile import Profile
from schemas.intake import Intake
from streams.run import Run
from tests.live.cluster import Installation
from tests.live.truth import repeats, same_as_truth, shop
from tests.support import BUSY

Install = Callable[..., Installation]

POINTS = ("taken", "stepped", "committed", "sent", "offsets", "transaction", "published")


def test_the_recorded_log_gives_the_streams_bytes(install: Install) -> None:
    installation = install()
    worker = installation.start()
    installation.play(shop())
    installation.wait()
    installation.stop(worker)
    same_as_truth(installation, shop())


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_loses_and_doubles_nothing(install: Install, point: str) -> None:
    installation = install(records=120, session_s=1.5)
    if point == "transaction" and not installation.job.transactions:
        pytest.skip("a broker without transactions")
    installation.play(shop())
    times = (1, 3, 7) if installation.job.transactions else (3,)
    for after in times if point != "taken" else (1,) * len(times):
        worker = installation.start(die_at=point, die_after=after)
        assert worker.wait(60) == -9, installation.logs()
    repeated = point == "sent" and not installation.job.transactions
    if repeated:  # of intake, which always has something to send
        assert installation.start(die_at=point, role="intake").wait(60) == -9, installation.logs()
    installation.start()
    installation.wait()
    same_as_truth(installation, shop())
    if repeated:
        assert repeats(installation, "events")
    if point == "published":  # the store did not hear of it, the broker knows its offset
        assert repeats(installation, "decisions") == 0


def test_workers_that_come_and_go_lose_and_double_nothing(install: Install) -> None:
    """One ends in order, one is halted past its session and woken, and then killed; all while events come."""
    installation = install(records=60, session_s=1.5)
    lines = shop()
    parts = [lines[len(lines) * part // 4 : len(lines) * (part + 1) // 4] for part in range(4)]
    first = installation.start()
    installation.started(first)
    installation.play(parts[0])
    second = installation.start()
    installation.started(second)
    installation.play(parts[1])
    installation.stop(first)
    third = installation.start()
    installation.started(third)
    installation.play(parts[2])
    second.send_signal(signal.SIGSTOP)
    installation.play(parts[3])
    time.sleep(2 * installation.job.session_s)  # what is tested: that the others go on without it
    second.send_signal(signal.SIGCONT)
    time.sleep(1)
    second.kill()
    installation.wait()
    installation.stop(third)
    same_as_truth(installation, lines)


def test_merges_between_partitions_survive_kills(install: Install) -> None:
    """A device's profile and its stragglers reach the user's partition once, whatever dies on the way."""
    installation = install(partitions=3, records=40, session_s=1.5)
    installation.play(shop())
    outcome = "transaction" if installation.job.transactions else "offsets"
    for point, after in (("committed", 9), ("sent", 11), (outcome, 13), ("published", 9)):
        assert installation.start(die_at=point, die_after=after).wait(60) == -9, installation.logs()
    installation.start()
    installation.wait()
    run, intake = Run(read(BUSY, "busy")), Intake()
    run.drain(event for raw in shop() for event in intake.read(raw, None, "x").events)
    found = installation.profiles()
    linked = [customer for customer, profile in run.profiles.items() if profile.linked]
    assert len(linked) > 20
    assert {c: found[c].linked for c in linked} == {c: run.profiles[c].linked for c in linked}
    assert {c: sums(profile) for c, profile in found.items()} == {c: sums(p) for c, p in run.profiles.items()}


def sums(profile: Profile) -> tuple[int, ...]:
    """What does not depend on when a hand-over arrived."""
    return profile.activity.events, profile.orders.count, profile.orders.total_micros
