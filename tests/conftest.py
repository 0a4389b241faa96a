"""For all tests: hypothesis without a deadline on shared machines and on CI with the same examples, and who meets Kafka."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

os.environ.pop("COLUMNS", None)  # execnet sets it in its processes; a pipe has no width
settings.register_profile("rapport", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "rapport")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests on Apache Kafka run where somebody asked for one."""
    asked = os.environ.get("RAPPORT_REQUIRE_KAFKA") == "1" or os.environ.get("RAPPORT_KAFKA")
    if item.get_closest_marker("kafka") is not None and not asked:
        pytest.skip("needs Apache Kafka: make test-kafka starts one, RAPPORT_KAFKA=host:port names yours")
