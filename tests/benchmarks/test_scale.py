"""What the benchmarks of latency and scale count with."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from benchmarks import sizing
from benchmarks.latency import percentile, spread
from benchmarks.latency_load import Run, customer, made
from benchmarks.scale_state import VISIT, Visits, drawer
from benchmarks.sizing import Assumed, Measured, NotMeasuredError, bottlenecks, measured, needed

ONE = Measured(2_000.0, 2_500.0, 10_000.0, 2_400.0, 0.01, 0.02, 1.0, ())


def test_a_trigger_that_never_came_is_the_slowest_and_is_not_hidden() -> None:
    latencies = [float(ms) for ms in range(1, 100)] + [math.inf]
    assert percentile(latencies, 0.5) == 50.0
    assert spread(latencies)["p99"] == 99.0
    assert spread(latencies)["max"] is None
    assert spread([*latencies, math.inf])["p99"] is None


def test_records_carry_the_time_at_which_they_are_due_and_probes_have_customers_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    old = {"type": "page", "userId": "7", "timestamp": "2025-09-01T00:00:00.000Z", "messageId": "m"}
    file.write_text("\n".join(json.dumps({**old, "messageId": f"m{n}"}) for n in range(10)) + "\n")
    run = Run("", "x-", file, 2, 6, 3, 10.0, "a", 1_000.0)
    played = list(made(run))
    assert [key for _, key, _ in played] == [
        b"7",
        b"7",
        customer("a", 2).encode(),
        b"7",
        b"7",
        customer("a", 5).encode(),
    ]
    assert played[2][0] == "x-transactions"
    values = [json.loads(value) for _, _, value in played]
    assert [value["messageId"] for value in values if value["type"] == "page"] == ["m2", "m3", "m4", "m5"]
    assert len({value["timestamp"] for value in values}) == 6
    assert run.due(5) == 1_000.5


def test_a_visit_has_as_many_records_whoever_comes() -> None:
    visits, random = Visits(drawer(1_000_000, "uniform"), 1), Random(1)
    counts = Counter(visits(random) for _ in range(100 * VISIT))
    assert set(counts.values()) == {VISIT}


def test_zipf_draws_the_first_most_often_and_uniform_does_not() -> None:
    random = Random(1)
    draws = [drawer(1_000, law) for law in ("zipf", "uniform")]
    zipf, uniform = (Counter(draw(random) for draw in [one] * 5_000) for one in draws)
    assert zipf.most_common(1)[0][0] == 0
    assert uniform[0] < zipf[0] / 10


def test_what_is_needed_grows_with_the_rate_and_with_the_customers() -> None:
    few, many = needed(1_000, 1_000_000, ONE), needed(100_000, 1_000_000, ONE)
    assert many.workers == 80
    assert few.workers == 1
    assert many.partitions == 100
    huge = needed(1_000, 100_000_000, ONE)
    assert huge.shards == huge.shards_by_memory == huge.partitions == 13
    assert needed(1_000, 100_000_000, ONE, Assumed(shard_gb=64.0)).shards == 7


def test_the_bottleneck_is_what_carries_least() -> None:
    assert [rate for _, rate in bottlenecks(ONE)] == [2_000.0, 2_500.0, 10_000.0]


def test_tables_are_of_full_size_lines_alone(tmp_path: Path) -> None:
    with pytest.raises(NotMeasuredError, match="--only customers-v1"):
        measured(tmp_path)
    stage = {"load": 20.0, "commit": 30.0, "steps_a_record": 2.0}
    whence = {"command": "c", "commit": "d", "machine": "m"}
    lines = [
        {"scenario": "customers-v1", "us_a_step": {"10": {"zipf": stage}, "1000000": {"zipf": stage}}},
        {
            "scenario": "partitions-v1",
            "by_partitions": {"1": {"records_per_s": 2_000.0}, "6": {"records_per_s": 2_500.0}},
            "of_one_more": {"rss_mb": 1.0, "idle_worker_s_a_second": 0.01, "idle_broker_s_a_second": 0.02},
        },
        {"scenario": "history-v1", "store": {"used_memory_a_customer": 2_400.0}},
    ]
    file = tmp_path / "scale.jsonl"
    file.write_text("\n".join(json.dumps({**line, **whence, "scale": 0.1}) for line in lines))
    with pytest.raises(NotMeasuredError):
        measured(tmp_path)
    file.write_text("\n".join(json.dumps({**line, **whence, "scale": 1.0}) for line in lines))
    found = measured(tmp_path)
    assert found._replace(from_=()) == ONE
    assert "| 100,000 | 100,000,000 |" in "\n".join(sizing.tables(found, Assumed()))
