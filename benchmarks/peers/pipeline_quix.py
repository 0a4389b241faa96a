"""The engine in Quix Streams: profiles in its state store (RocksDB, changelog topic on), at least once, its defaults.

Its state belongs to a message's key, so the key is the customer, and the engine steps one customer at a time: **a timer
fires when that customer's next event comes**, at its own due time, and those of a customer who never comes back never do.
So it has fewer steps and triggers than the others. What a step has for another customer goes to the input topic again
under that customer's key; with an option of 1, to a second topic that it reads as well, in one dataframe with the first.
The first is faster, but behind a backlog those events come last of all, and late; the second aligns both topics by time,
and waits for that. The run ends once those events are done, too. Learning is inline, and the models are kept
nowhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from quixstreams import Application, State
from quixstreams.models import Serializer

from benchmarks.peers.meter import Meter, Task
from models.draft import Step
from models.engine import Engine
from models.learning.learner import Learner
from models.profile.profile import Profile, decode, encode
from schemas.base import Event
from schemas.codec import decode_event, encode_decision, encode_event
from schemas.control import timer_due
from schemas.intake import Intake
from streams.commands.examples import example_settings
from streams.memory import settle

PROFILE, OURS = "profile", ("ours", b"1")

Headers = list[tuple[str, bytes]] | None


class Out(NamedTuple):
    """A record to produce: a trigger, or an event for another customer."""

    trigger: bool
    key: bytes
    value: bytes


class Value(Serializer):  # type: ignore[misc]  # Quix Streams is not there when types are checked
    """The bytes of what is produced."""

    def __call__(self, value: Out, *args: Any, **kwargs: Any) -> bytes:
        """As they are."""
        return value.value


class Pipeline:
    """The engine over one message."""

    def __init__(self, meter: Meter) -> None:
        settings = example_settings()
        self.learner = Learner(settings.engine.model_specs())
        self.engine = Engine(settings.engine, settings.campaigns, self.learner.models)
        self.steps = self.triggers = self.waiting = 0
        self._intake = Intake()
        self._meter = meter
        self._clock = 0

    def read(self, value: bytes, key: bytes, timestamp: int, headers: Headers) -> list[Event]:
        """The events of a raw record, or the one that a step of another customer had for this one."""
        self._meter.received()
        if headers and OURS in headers:
            self.waiting -= 1
            return [decode_event(value)]
        self._meter.done += 1
        return list(self._intake.read(value, None, f"bench:{self._meter.done}").events)

    def step(self, events: list[Event], key: bytes, timestamp: int, headers: Headers, state: State) -> list[Out]:
        """Step the key's customer over its due timers and its events; other customers' events are passed on."""
        customer, outs = key.decode(), list[Out]()
        data = state.get_bytes(PROFILE)
        profile = None if data is None else decode(data)
        for event in events:
            if event.customer != customer:
                outs.append(passed_on(event))
                continue
            self._clock = max(self._clock, event.occurred_at)
            while profile is not None and (due := earliest(profile, self._clock)):
                profile = self._done(self.engine.step(timer_due(customer, *due), profile, due[1]), outs)
            profile = self._done(self.engine.step(event, profile, self._clock), outs)
        if profile is not None:
            state.set_bytes(PROFILE, encode(profile))
        self.waiting += sum(not out.trigger for out in outs)
        return outs

    def _done(self, step: Step, outs: list[Out]) -> Profile:
        self.steps += 1
        for example in step.examples:
            self.learner.learn(example)
        for decision in step.triggers:
            outs.append(Out(True, decision.customer.encode(), encode_decision(decision)))
            self.triggers += 1
        outs += map(passed_on, step.messages)
        return step.profile

    def ended(self, topic: str, partition: int, offset: int) -> None:
        """After each message, what it led to produced: end the process where it was the last."""
        if self._meter.done >= self._meter.count and not self.waiting:
            self._meter.end(steps=self.steps, triggers=self.triggers)


def passed_on(event: Event) -> Out:
    """An event for another customer."""
    return Out(False, event.customer.encode(), encode_event(event))  # type: ignore[arg-type]  # of the union


def earliest(profile: Profile, until: int) -> tuple[str, int] | None:
    """The kind and time of the timer that is due first, by ``until`` (milliseconds UTC)."""
    due = min(((at, kind) for kind, at in profile.timers if at <= until), default=None)
    return None if due is None else (due[1], due[0])


def main() -> None:
    """Run until all records are done."""
    task = Task.told()
    pipeline = Pipeline(Meter(task.count))
    settle()
    app = Application(
        task.broker,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        state_dir=task.folder,
        loglevel="WARNING",
        on_message_processed=pipeline.ended,
    )
    kinds: dict[str, Any] = {
        "key_deserializer": "bytes",
        "value_deserializer": "bytes",
        "key_serializer": "bytes",
        "value_serializer": Value(),
    }
    source, triggers = app.topic(task.topic, **kinds), app.topic(task.triggers, **kinds)
    frame = app.dataframe(source).apply(pipeline.read, metadata=True)
    messages = source
    if task.option:
        messages = app.topic(f"{task.group}-messages", **kinds)
        frame = frame.concat(app.dataframe(messages).apply(pipeline.read, metadata=True))
    frame = frame.apply(pipeline.step, stateful=True, metadata=True, expand=True)
    frame = frame.set_headers(lambda value, *_: [] if value.trigger else [OURS])
    frame.to_topic(lambda value, *_: triggers if value.trigger else messages, key=lambda value: value.key)
    app.run()


if __name__ == "__main__":
    main()
