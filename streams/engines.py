"""An engine for one partition, wired from settings and what is stored."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog

from models.engine import Engine
from models.learning.learner import Learner

from .adoption import Adoption
from .broker import Broker
from .emitting import Emitter
from .settings import StreamSettings
from .stepping import Stepper
from .store import Store

log = structlog.get_logger(__name__)


class Built(NamedTuple):
    """A stepper, and its learner where learning is inline, else what takes model versions over."""

    stepper: Stepper
    learner: Learner | None
    adoption: Adoption | None


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
    if inline:
        return Built(stepper, learner, None)
    adoption = Adoption(learner.models, settings.key, stepper.versions)
    for name, version in list(stepper.versions.items()):
        kept = await store.model(name, version)
        if kept is None:
            log.warning("model version not kept, the latest is taken", model=name, version=version)
            kept = await store.model(name)
        if kept is not None:
            await asyncio.to_thread(adoption.take, name, kept.offset, kept.data)
    return Built(stepper, None, adoption)
