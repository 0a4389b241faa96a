"""The learner: one writer for each model, learning labelled examples in order."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from ..encoding import as_mapping
from ..errors import SnapshotError
from ..profile.pending import unpack
from ..targets import TARGETS, targets_of
from .model import ModelSpec, OnlineModel


class Example(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A prediction whose time has come, with its label.

    Parameters
    ----------
    target, model
        What was predicted, and by which model.
    customer
        Whose it was: figures are resampled by customer.
    predicted_at, due
        Milliseconds UTC; ``due`` is ``predicted_at`` plus the horizon frozen then.
    features
        The features used, as ``pack`` made them.
    interval
        Hazard interval, -1 where there is none.
    p, null
        What the model and the null said then.
    label
        What became true.
    learn
        False where the interval was not reached (the customer had bought before): scored, not learned.
    """

    target: str
    model: str
    customer: str
    predicted_at: int
    due: int
    features: bytes
    interval: int
    p: float
    null: float
    label: bool
    learn: bool = True


class Learner:
    """All models of a run.

    >>> from models.config import EngineConfig
    >>> learner = Learner(EngineConfig().model_specs())
    >>> learner.models["engagement"].version
    0
    """

    def __init__(self, specs: Mapping[str, ModelSpec]) -> None:
        known = {target.model for target in TARGETS}
        self.models = {name: OnlineModel(name, specs[name], targets_of(name)) for name in sorted(known)}

    def learn(self, example: Example) -> None:
        """Score the prediction first, then learn from its label."""
        model = self.models[example.model]
        model.score(example.target, example.p, example.null, example.label)
        if example.learn:
            # what is learned for a hazard interval is whether the event fell into it, given that it was reached
            model.learn(as_mapping(unpack(example.features), example.interval), example.label)

    def snapshot(self, key: bytes = b"") -> bytes:
        """All models as one value; each is signed on its own."""
        return msgspec.msgpack.encode({name: model.snapshot(key) for name, model in self.models.items()})

    def restore(self, data: bytes, key: bytes = b"") -> None:
        """Take over what ``snapshot`` wrote; raises ``SnapshotError`` where it does not fit."""
        try:
            held = msgspec.msgpack.decode(data, type=dict[str, bytes])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SnapshotError(f"{len(data)} bytes that are no snapshot of the learner ({error})") from error
        if set(held) != set(self.models):
            raise SnapshotError(f"snapshot holds models {sorted(held)}, the configuration {sorted(self.models)}")
        fresh = {name: OnlineModel(name, model.spec, tuple(model.metrics)) for name, model in self.models.items()}
        for name, model in fresh.items():
            model.restore(held[name], key)
        self.models.update(fresh)  # all or none
