"""A known customer's silence: the moments at which it becomes remarkable, and the one timer that waits for them.

The timer is not moved by each event. It is set at the start of a visit to the first moment that could come; when it falls
due and the customer was there meanwhile, it waits on. So a customer costs one timer, and an event nothing.
"""

from __future__ import annotations

from msgspec.structs import replace

from .config import EngineConfig, days_ms
from .draft import Draft, Signal
from .profile.profile import Profile
from .targets import cadence_ms, last_life

TIMER = "silence"


def arm(draft: Draft, config: EngineConfig) -> None:
    """Wait for the next moment, where none is waited for or a nearer one has come into sight."""
    held, churn = draft.due(TIMER), config.churn
    nearest = days_ms(min(churn.cadence_min_days, churn.horizon_days))
    if held and churn.activity == "any" and held <= draft.activity.at + nearest:
        return
    due = _next(draft.view(), config, draft.now)
    if due and (not held or due < held):
        draft.set_timer(TIMER, due)


def fallen(draft: Draft, config: EngineConfig) -> None:
    """The timer fell due: ``gone_quiet`` past the customer's own cadence, ``churned`` past the horizon, or neither yet."""
    profile = draft.view()
    last = last_life(config, profile)
    if not last:
        return
    silence, marks = draft.now - last, draft.marks
    if silence >= days_ms(config.churn.horizon_days):
        if marks.churned_since != last:
            draft.marks = replace(marks, churned_since=last)
            _signal(draft, "churned")
        return
    if 0 < _quiet_ms(profile, config) <= silence and marks.quiet_since != last:
        draft.marks = replace(marks, quiet_since=last)
        _signal(draft, "gone_quiet")
    draft.set_timer(TIMER, _next(draft.view(), config, draft.now))


def _signal(draft: Draft, name: str) -> None:
    draft.count(name)
    draft.signals.append(Signal(name))


def _quiet_ms(profile: Profile, config: EngineConfig) -> int:
    """Silence that is too long for this customer, milliseconds; 0 where that is unknown or not before the horizon."""
    quiet = cadence_ms(config, profile)
    return quiet if quiet < days_ms(config.churn.horizon_days) else 0


def _next(profile: Profile, config: EngineConfig, now: int) -> int:
    """The first moment after ``now``, milliseconds UTC; 0 where there is none. What has passed unnoticed stays so."""
    last = last_life(config, profile)
    if not last:
        return 0
    quiet = _quiet_ms(profile, config)
    if quiet and last + quiet > now and profile.marks.quiet_since != last:
        return last + quiet
    churned = last + days_ms(config.churn.horizon_days)
    return churned if churned > now and profile.marks.churned_since != last else 0
