"""Arms of decisions, and the letters that stand for them in profiles and kinds of timers."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.decisions import Arm

KEY_OF_ARM: Mapping[Arm, str] = {"treated": "t", "holdout": "h", "shadow": "s"}
ARM_OF_KEY: Mapping[str, Arm] = {key: arm for arm, key in KEY_OF_ARM.items()}
