"""An engine for one partition, wired from settings and what is stored."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from models.engine import Engine
from models.learning.learner import Learner

from .broker import Broker
from .emitting import Emitter
from .settings import StreamSettings
from .stepping import State, Stepper
from .store import Store


class Built(NamedTuple):
    """A stepper, and its learner where learning is inline."""

    stepper: Stepper
    learner: Learner | None


async def sources(settings: StreamSettings, broker: Broker) -> list[str]:
    """The ways into the log: every partition of every raw topic, such as ``clickstream/0``."""
    return [
        f"{topic}/{partition}"
        for topic in settings.raw
        for partition in range(await broker.partitions(settings.topic(topic)))
    ]


async def build(settings: StreamSettings, store: Store, broker: Broker, partition: int, state: bytes) -> Built:
    """The engine of a partition at its stored state, the model versions that it had adopted included."""
    inline = settings.inline(await broker.partitions(settings.topic("events")))
    learner = Learner(settings.engine.engine.model_specs())
    engine = Engine(settings.engine.engine, settings.engine.campaigns, learner.models)

    def emitter() -> Emitter:
        return Emitter(settings.prefix, f"rapport/{settings.app}", examples=not inline)

    stepper = Stepper(
        engine,
        learner if inline else None,
        await sources(settings, broker),
        emitter,
        settings.limits,
        settings.clock,
    )
    stepper.restore(state)
    if not inline:
        adopted = msgspec.msgpack.decode(state, type=State).models if state else {}
        for name, version in adopted.items():
            snapshot = await store.model(name, version) or await store.model(name)
            if snapshot is not None and name in learner.models:
                await asyncio.to_thread(learner.models[name].restore, snapshot.data, settings.key)
    return Built(stepper, learner if inline else None)
