"""What an undisturbed engine makes of the committed log: a fault-free replay, beside the checks that need no engine.

Which triggers should have been sent only the engine can say. So the committed log of each partition is stepped once more,
without broker, store, batches or faults; decisions, triggers, messages between customers, timers and profiles must be the
same. The rules use no scores, so what the models had learned at which moment does not matter. And each kept version of a
model must equal, byte by byte, what a learner has that goes over the committed examples once.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

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


class Replay:
    """The fault-free replay of the log of all partitions."""

    def __init__(self, campaigns: str, sources: Iterable[str]) -> None:
        self._settings = read(campaigns, "campaigns")
        self._sources = tuple(sources)
        self.profiles: dict[str, Profile] = {}
        self.timers: set[Timer] = set()
        self.decisions: Counter[str] = Counter()
        self.triggers: Counter[tuple[str, str]] = Counter()
        self.messages: Counter[str] = Counter()
        self.steps = 0

    def run(self, log: Iterable[bytes]) -> None:
        """Step over the log of one partition."""
        settings = self._settings
        engine = Engine(settings.engine, settings.campaigns, Learner(settings.engine.model_specs()).models)
        partition = Partition(sources=self._sources)
        events = (event for event in map(decode_event, log) if not isinstance(event, ModelPublished))
        for event, now in partition.plan(events):
            step = engine.step(event, self.profiles.get(event.customer), now, partition.clock)
            self.steps += 1
            self.profiles[event.customer] = step.profile
            partition.apply(event.customer, step)
            self._note(step)
        self.timers |= {(customer, kind, due) for due, customer, kind in partition.timers()}

    def _note(self, step: Step) -> None:
        for decision in step.decisions:
            told = decided(encode_decision(decision))
            self.decisions[told] += 1
            if decision.arm == "treated":
                self.triggers[decision.topic, told] += 1
        for conversion in step.conversions:
            self.decisions[decided(encode_conversion(conversion))] += 1
        for message in step.messages:
            self.messages[_message(encode_event(message))] += 1  # type: ignore[arg-type]  # of the union


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
    replay: Replay,
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
    for partition in sorted(by_partition):
        replay.run(by_partition.pop(partition))
    findings.differ("message", messages, replay.messages)
    findings.differ("decision", Counter(decided(record.value) for record in outputs["decisions"]), replay.decisions)
    found = Counter(
        (topic, decided(record.value))
        for topic, records in outputs.items()
        if topic != "decisions"
        for record in records
    )
    findings.differ("trigger", found, replay.triggers)
    for customer in sorted(stored.keys() | replay.profiles.keys()):
        data, true = stored.get(customer), replay.profiles.get(customer)
        have = known(profiles.decode(data)) if data is not None else None
        if have is None or true is None or have != known(true):
            findings.add("state differs", f"{customer}: {_differing(have, true and known(true))}")
    for customer, kind, due in sorted(timers ^ replay.timers):
        findings.add(
            "timer differs", f"{kind} of {customer} at {due}, {'set' if (customer, kind, due) in timers else 'missing'}"
        )
    findings.counts["steps"] = replay.steps


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
