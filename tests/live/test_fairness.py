"""A partition with nine tenths of a backlog holds none of the others up."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types

from benchmarks.limits_load import lines
from schemas.base import HOUR_MS
from streams import clients, log_reader
from streams.player import Player
from streams.publishers import partition_of
from tests.live.cluster import PATIENCE_S, Installation, committed_offsets

Install = Callable[..., Installation]

PARTITIONS, RECORDS, SHARE = 4, 5_000, 0.9


def ends(of: Installation, topic: str) -> dict[int, int]:
    """Where the partitions of a topic end."""
    with clients.reader(of.connection) as reader:
        name = of.job.prefix + topic
        tps = [TopicPartition(name, p) for p in reader.partitions_for_topic(name)]
        return {tp.partition: extent.most for tp, extent in log_reader.extents(reader, tps).items()}


def until(of: Installation, done: Callable[[], bool]) -> None:
    """Wait for it."""
    patience = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < patience, of.logs()
        time.sleep(0.02)


def test_a_backlog_of_one_partition_holds_no_other_up(install: Install) -> None:
    of = install(PARTITIONS, raw=("clickstream",))
    names = [f"c{n}" for n in range(400)]
    full = [name for name in names if partition_of(f"u:{name}".encode(), PARTITIONS) == 0]
    others = [name for name in names if name not in full]

    def who(random: Random) -> str:
        return random.choice(full if random.random() < SHARE else others)

    intake = of.start(role="intake")
    of.started(intake)
    with Player(of.connection, prefix=of.job.prefix, only_topic="clickstream", tick_ms=HOUR_MS) as player:
        player.play(lines(RECORDS, who))
    (end,) = ends(of, "clickstream").values()
    source = TopicPartition(of.job.prefix + "clickstream", 0)
    with clients.admin(of.connection) as admin:
        until(of, lambda: committed_offsets(admin, of.job.app).get(source, 0) >= end)
    of.stop(intake)
    log = ends(of, "events")
    assert log[0] > 3 * max(log[p] for p in range(1, PARTITIONS))

    of.start(role="engine")
    until(of, lambda: all(of.position(p) >= log[p] - 2 for p in range(1, PARTITIONS)))  # behind the last is its marker
    assert of.position(0) < log[0] / 2
    until(of, lambda: of.position(0) >= log[0] - 2)
