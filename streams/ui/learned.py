"""What the models are worth over time, from the snapshots in the store and the examples since; no estimator is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from river.drift import ADWIN

from models.errors import SnapshotError
from models.learning.learner import Example
from models.learning.metrics import Metrics
from models.learning.model import Body, ModelSpec, scored
from models.learning.snapshots import unseal
from models.learning.state import fill
from models.targets import TARGETS, targets_of

from ..emitting import decode_example
from ..redis_store import RedisStore

POINTS = 240
STEP = 20
"""Labels between two points at least; twice as many each time the points are thinned out."""
FINE = 40
"""Between two points lies at least such a part of all labels, so that a point rests on enough of them."""
HEAVY = 4 << 20
"""Bytes of a version above which older ones are not fetched for their figures."""


class Point(NamedTuple):
    """Running sums of a target after ``n`` labels; ``at`` is when the last fell due, milliseconds UTC, 0 where unknown."""

    n: int
    loss: float
    null_loss: float
    at: int


class Curve:
    """How a target's sums grew, in at most ``POINTS`` points.

    >>> curve = Curve()
    >>> for n in range(1, 101):
    ...     curve.add(Metrics(n=n, loss=n / 2.0, null_loss=float(n)), n)
    >>> [point.n for point in curve.points], curve.steps()[0]
    ([20, 40, 60, 80, 100], (40, 0.5, 1.0, 40))
    """

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._step = STEP

    def add(self, metrics: Metrics, at: int, always: bool = False) -> None:
        """Note where the sums stand, if that is far enough from the point before."""
        last = self.points[-1].n if self.points else 0
        if metrics.n < last:
            self.points.clear()  # the model was begun anew
            last = 0
        if metrics.n >= last + (1 if always else max(self._step, metrics.n // FINE)):
            self.points.append(Point(metrics.n, metrics.loss, metrics.null_loss, at))
        if len(self.points) > POINTS:
            del self.points[1:-1:2]
            self._step *= 2

    def steps(self) -> list[tuple[int, float, float, int]]:
        """(labels, log loss, log loss of the null, at) of the labels from one point to the next."""
        found = []
        for before, after in zip(self.points, self.points[1:], strict=False):
            n = after.n - before.n
            row = (after.n, (after.loss - before.loss) / n, (after.null_loss - before.null_loss) / n, after.at)
            found.append(row)
        return found


class Worth:
    """One model: figures of its targets, version, drifts."""

    def __init__(self, name: str, spec: ModelSpec) -> None:
        self.name = name
        self.spec = spec
        self.metrics = {target: Metrics() for target in targets_of(name)}
        self.curves = {target: Curve() for target in self.metrics}
        self.version = self.drifts = self.rollbacks = 0
        self.full = False
        self.trouble = ""
        self._alarms: dict[str, Any] = {target: ADWIN() for target in self.metrics}

    def clear(self) -> None:
        """As before the first label."""
        self.metrics = {target: Metrics() for target in self.metrics}
        self._alarms = {target: ADWIN() for target in self.metrics}
        self.version = self.drifts = self.rollbacks = 0

    def restore(self, data: bytes, key: bytes, at: int = 0) -> None:
        """Take over the figures of a snapshot; one that cannot be read is told in ``trouble``."""
        try:
            body = msgspec.msgpack.decode(unseal(data, self.name, key).payload, type=Body)
        except SnapshotError as error:
            self.trouble = str(error)
            return
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.trouble = f"snapshot of {self.name} cannot be read ({error})"
            return
        self.trouble = ""
        self.metrics |= {target: found for target, found in body.metrics.items() if target in self.metrics}
        self._alarms |= {target: fill(ADWIN(), one) for target, one in body.alarms.items() if target in self.metrics}
        self.version, self.drifts, self.rollbacks, self.full = body.version, body.drifts, body.rollbacks, body.full
        for target, metrics in self.metrics.items():
            self.curves[target].add(metrics, at, always=True)

    def score(self, example: Example) -> None:
        """Enter an example as the learner does, without learning it."""
        metrics = self.metrics[example.target]
        self.drifts += scored(metrics, self._alarms[example.target], example.p, example.null, example.label)
        self.version += example.learn
        self.curves[example.target].add(metrics, example.due)


class Learned:
    """All models of an installation.

    Parameters
    ----------
    specs
        As the workers are configured.
    key
        That signs snapshots.
    """

    def __init__(self, specs: Mapping[str, ModelSpec], key: bytes) -> None:
        names = sorted({target.model for target in TARGETS})
        self.models = {name: Worth(name, specs[name]) for name in names}
        self._key = key
        self._first: bytes | None = None
        self._done = 0
        self._begun = False
        self._offsets: dict[str, int] = {}

    async def look(self, store: RedisStore, redis: Redis, partitions: int) -> bool:
        """Look at what was learned since; returns whether there is anything new."""
        if not partitions:
            return False
        inline = await self._inline(store, redis) if partitions == 1 else False
        return await self._versions(store, redis) or inline

    async def _inline(self, store: RedisStore, redis: Redis) -> bool:
        """With one partition: a snapshot now and then, and the examples since, in order."""
        models, log = store.key(0, "models"), store.key(0, "wal")
        async with redis.pipeline(transaction=True) as pipe:
            pipe.lindex(log, 0)
            pipe.llen(log)
            pipe.lrange(log, self._done, -1)
            first, length, new = await pipe.execute()
        if self._begun and first == self._first and length >= self._done:
            if new:
                await asyncio.to_thread(self._score, new)
                self._done = length
            return bool(new)
        async with redis.pipeline(transaction=True) as pipe:
            pipe.get(models)
            pipe.lrange(log, 0, -1)
            snapshot, examples = await pipe.execute()
        if snapshot is None and not examples:
            return False
        self._begun, self._first, self._done = True, examples[0] if examples else None, len(examples)
        await asyncio.to_thread(self._anew, snapshot, examples)
        return True

    def _anew(self, snapshot: bytes | None, examples: list[bytes]) -> None:
        for model in self.models.values():
            model.clear()
        if snapshot is not None:
            for name, data in msgspec.msgpack.decode(snapshot, type=dict[str, bytes]).items():
                if name in self.models:
                    self.models[name].restore(data, self._key)
        self._score(examples)

    def _score(self, examples: Iterable[bytes]) -> None:
        for data in examples:
            example = decode_example(data)
            if example.model in self.models and example.target in self.models[example.model].metrics:
                self.models[example.model].score(example)

    async def _versions(self, store: RedisStore, redis: Redis) -> bool:
        """With several: the versions that the learner keeps, each a unit."""
        changed = False
        for name, model in self.models.items():
            kept: Any = await redis.lrange(store.key("models", f"versions:{name}"), 0, -1)
            versions = [(int(offset), int(size)) for _, offset, size in (one.split(b",") for one in kept)]
            new = [(offset, size) for offset, size in versions if offset > self._offsets.get(name, -1)]
            for index, (offset, size) in enumerate(new):
                if size > HEAVY and index < len(new) - 1:
                    continue
                found = await store.model(name, offset)
                if found is not None:
                    await asyncio.to_thread(model.restore, found.data, self._key)
                self._offsets[name] = offset
                changed = True
        return changed
