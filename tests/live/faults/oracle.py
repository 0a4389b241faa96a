"""What an undisturbed engine makes of the committed log: a fault-free replay, beside the checks that need no engine.

Which triggers should have been sent only the engine can say. So the committed log of each partition is stepped once more,
without broker, store, batches or faults; decisions, triggers, messages between customers, timers and profiles must be the
same. The rules use no scores, so what the models had learned at which moment does not matter. And each kept version of a
model must equal, byte by byte, what a learner has that goes over the committed examples once.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from multiprocessing import get_context

import msgspec

from models.draft import Step
from models.engine import Engine
from models.learning.learner import Learner
from models.partition import Partition
from models.policy.reading import read
from models.profile import profile as profiles
from models.profile.profile import Profile
from schemas.codec import decode_event, encode_conversion, encode_decision, encode_event
from schemas.control import ModelPublished
from streams.emitting import decode_example
from tests.live.faults.checks import Findings, Written

Timer = tuple[str, str, int]
PROCESSES = 4
FEW = 30_000
"""Events for which the start of processes takes longer than it saves."""


@dataclass
class Replayed:
    """What the replay of one or several partitions came to; it can be sent between processes."""

    profiles: dict[str, bytes] = field(default_factory=dict)
    timers: set[Timer] = field(default_factory=set)
    decisions: Counter[str] = field(default_factory=Counter)
    triggers: Counter[tuple[str, str]] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    steps: int = 0

    def add(self, other: Replayed) -> None:
        """Take another partition's in."""
        self.profiles |= other.profiles
        self.timers |= other.timers
        self.decisions += other.decisions
        self.triggers += other.triggers
        self.messages += other.messages
        self.steps += other.steps


def replay(campaigns: str, sources: Sequence[str], log: Sequence[bytes]) -> Replayed:
    """Step over the log of one partition, without anything around the engine."""
    settings = read(campaigns, "campaigns")
    engine = Engine(settings.engine, settings.campaigns, Learner(settings.engine.model_specs()).models)
    partition = Partition(sources=sources)
    held: dict[str, Profile] = {}
    found = Replayed()
    events = (event for event in map(decode_event, log) if not isinstance(event, ModelPublished))
    for event, now in partition.plan(events):
        step = engine.step(event, held.get(event.customer), now, partition.clock)
        held[event.customer] = step.profile
        partition.apply(event.customer, step)
        _note(found, step)
    found.profiles = {customer: profiles.encode(known(profile)) for customer, profile in held.items()}
    found.timers = {(customer, kind, due) for due, customer, kind in partition.timers()}
    return found


def _note(found: Replayed, step: Step) -> None:
    found.steps += 1
    for decision in step.decisions:
        told = decided(encode_decision(decision))
        found.decisions[told] += 1
        if decision.arm == "treated":
            found.triggers[decision.topic, told] += 1
    for conversion in step.conversions:
        found.decisions[decided(encode_conversion(conversion))] += 1
    for message in step.messages:
        found.messages[_message(encode_event(message))] += 1  # type: ignore[arg-type]  # of the union


def decided(value: bytes) -> str:
    """A decision or conversion without what models said."""
    found = msgspec.json.decode(value)
    for name in ("scores", "models", "reasons"):
        found.pop(name, None)
    return str(sorted(found.items()))


def _message(value: bytes) -> str:
    """A message between customers without the profile in it, which holds scores."""
    found = msgspec.json.decode(value)
    found.pop("profile", None)
    return str(sorted(found.items()))


def known(profile: Profile) -> Profile:
    """A profile without what models said, and without when a score made a lead ready."""
    replace = msgspec.structs.replace
    pendings = tuple(
        replace(pending, targets=tuple(replace(target, p=0.0, null=0.0) for target in pending.targets))
        for pending in profile.pendings
    )
    scores = tuple(replace(score, p=0.0, version=0) for score in profile.scores)
    return replace(profile, pendings=pendings, scores=scores, marks=replace(profile.marks, lead_at=0))


def check_replay(
    findings: Findings,
    campaigns: str,
    sources: Sequence[str],
    log: Iterable[Written],
    outputs: Mapping[str, Iterable[Written]],
    stored: Mapping[str, bytes],
    timers: set[Timer],
) -> None:
    """Outputs and state are what the replay of the log comes to (invariant 2).

    Parameters
    ----------
    log
        Without repeats, partition by partition.
    outputs
        ``decisions`` and the topics of triggers, without repeats.
    stored
        Profiles by customer, as the store holds them.
    """
    by_partition: dict[int, list[bytes]] = defaultdict(list)
    messages: Counter[str] = Counter()
    for record in log:
        by_partition[record.partition].append(record.value)
        if b'"via"' not in record.value and b'"type":"model_published"' not in record.value:
            messages[_message(record.value)] += 1
    true = Replayed()
    jobs = (replay, repeat(campaigns), repeat(sources), by_partition.values())
    if sum(map(len, by_partition.values())) < FEW:
        for replayed in map(*jobs):
            true.add(replayed)
    else:
        with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
            for replayed in pool.map(*jobs):
                true.add(replayed)
    findings.differ("message", messages, true.messages)
    findings.differ("decision", Counter(decided(record.value) for record in outputs["decisions"]), true.decisions)
    found = Counter(
        (topic, decided(record.value))
        for topic, records in outputs.items()
        if topic != "decisions"
        for record in records
    )
    findings.differ("trigger", found, true.triggers)
    for customer in sorted(stored.keys() | true.profiles.keys()):
        one = known(profiles.decode(stored[customer])) if customer in stored else None
        other = profiles.decode(true.profiles[customer]) if customer in true.profiles else None
        if one is None or other is None or one != other:
            findings.add("state differs", f"{customer}: {_differing(one, other)}")
    for customer, kind, due in sorted(timers ^ true.timers):
        which = "set" if (customer, kind, due) in timers else "missing"
        findings.add("timer differs", f"{kind} of {customer} at {due}, {which}")
    findings.counts["steps"] = true.steps


def _differing(one: Profile | None, other: Profile | None) -> object:
    if one is None or other is None:
        return "missing" if one is None else "not in the replay"
    return {
        name: (getattr(one, name), getattr(other, name))
        for name in Profile.__struct_fields__
        if getattr(one, name) != getattr(other, name)
    }


def check_models(
    findings: Findings, campaigns: str, examples: Iterable[Written], kept: Mapping[str, Mapping[int, bytes]]
) -> None:
    """Each kept version of a model equals an uninterrupted run over the committed examples (invariant 4).

    Parameters
    ----------
    kept
        By model and offset, the snapshot that the store holds.
    """
    truth = Learner(read(campaigns, "campaigns").engine.model_specs())
    compared = 0
    last: dict[str, int] = {}
    for record in examples:
        example = decode_example(record.value)
        truth.learn(example)
        last[example.model] = record.offset + 1
        data = kept.get(example.model, {}).get(record.offset + 1)
        if data is not None:
            compared += 1
            if data != truth.models[example.model].snapshot(b"key"):
                findings.add("model differs", f"{example.model} at {record.offset + 1}")
    for name, end in last.items():
        if max(kept.get(name, {0: b""})) != end:
            findings.add("examples not learned", f"{name} up to {max(kept.get(name, {0: b''}))}, the topic has {end}")
    if compared != sum(map(len, kept.values())):
        findings.add("versions of no example", f"{sum(map(len, kept.values()))} kept, {compared} of them in the topic")
    findings.counts["model versions"] = compared


def model_names(campaigns: str) -> list[str]:
    """The models that are learned."""
    return list(Learner(read(campaigns, "campaigns").engine.model_specs()).models)


@functools.cache
def rules(text: str) -> str:
    """A campaigns file without budgets, which are kept per partition, and without conditions on a score."""
    return text.replace("budget_per_day = 0.05\n", "").replace("churn.late >= 0.2", "idle_days >= 2")
