"""Hypothesis for all tests: no deadline on shared machines, and on CI the same examples at each run."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("rapport", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "rapport")
