"""Six partitions and three workers come to what one partition and one worker come to, for input in order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from models.profile.profile import Profile
from schemas.codec import encode_event
from schemas.events import AnyEvent
from schemas.identity import HandedOver, Linked
from tests.live.cluster import Installation
from tests.live.truth import told
from tests.support import BUSY, stream

Install = Callable[..., Installation]

# No condition on a score, for models learn from other examples in another order; and budgets are kept per partition.
RULES = BUSY.replace("budget_per_day = 0.05\n", "").replace("churn.late >= 0.2", "idle_days >= 2")


def lines() -> Iterator[bytes]:
    """Events in order of time, as a sender writes them. Without links: when a hand-over arrives is a matter of timing."""
    for event in stream(11, 1500):
        if not isinstance(event, (Linked, HandedOver)):
            known: AnyEvent = event  # type: ignore[assignment]  # of the union
            yield encode_event(known)


def known(profile: Profile) -> Profile:
    """A profile without what models said, and without when the score made a lead ready."""
    replace = msgspec.structs.replace
    pendings = tuple(
        replace(pending, targets=tuple(replace(target, p=0.0, null=0.0) for target in pending.targets))
        for pending in profile.pendings
    )
    scores = tuple(replace(s, p=0.0, version=0) for s in profile.scores)
    return replace(profile, pendings=pendings, scores=scores, marks=replace(profile.marks, lead_at=0))


def decided(value: bytes) -> str:
    """A decision or conversion without what models said."""
    found = msgspec.json.decode(value)
    for name in ("scores", "models", "reasons"):
        found.pop(name, None)
    return str(sorted(found.items()))


def run(installation: Installation, workers: int) -> tuple[dict[str, Profile], list[str], set[tuple[str, str, int]]]:
    started = [installation.start() for _ in range(workers)]
    for worker in started:
        installation.started(worker)
    installation.play(lines(), only="clickstream")
    installation.wait()
    decisions = sorted(map(decided, told(installation, "decisions")))
    profiles = {customer: known(profile) for customer, profile in installation.profiles().items()}
    timers = installation.timers()
    for worker in started:
        installation.stop(worker)
    return profiles, decisions, timers


def test_more_partitions_and_workers_change_nothing(install: Install) -> None:
    results = []
    for partitions, workers in ((1, 1), (6, 3)):
        results.append(run(install(partitions, RULES, raw=("clickstream",)), workers))
    (profiles, decisions, timers), (profiles6, decisions6, timers6) = results
    assert sum("treated" in value for value in decisions) > 20
    assert decisions6 == decisions
    assert profiles6 == profiles
    assert timers6 == timers
