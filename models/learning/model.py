"""One online model: an estimator with its progressive figures, drift alarm, feature means and way back."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log, nan
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from river.compose import Pipeline
from river.drift import ADWIN

from ..errors import ConfigError, SnapshotError
from . import snapshots
from .metrics import Metrics, clipped
from .registry import Estimator, EstimatorSpec, build, revisions
from .state import NotExplicitError, extract, fill

HASHED = ("category", "channel", "interval")
MEAN_WEIGHT = 1 / 500
MEAN_EVERY = 4
GOOD_EVERY = 500
FULL = 64 << 20
"""Bytes of an estimator from which on it learns no more."""


class ModelSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model in configuration.

    Parameters
    ----------
    estimator
        What learns.
    prior
        Probability assumed before the first label, 0 to 1.
    features
        Names of the features used; empty: all. ``category``, ``channel`` and ``interval`` name the hashed ones.
    weights
        Weights to start from, by feature: before the first label the model then is the rule that they spell.
    min_labels
        Labels before the model may replace the rules; it must also beat the null then.
    """

    estimator: EstimatorSpec
    prior: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    features: tuple[str, ...] = ()
    weights: dict[str, Annotated[float, Meta(ge=-100, le=100)]] = {}
    min_labels: Annotated[int, Meta(ge=1)] = 200


class Body(Struct, frozen=True):
    """What a snapshot of a model holds."""

    spec: bytes
    estimator: bytes
    metrics: dict[str, Metrics]
    version: int
    drifts: int
    rollbacks: int
    means: dict[str, float]
    alarms: dict[str, Any]
    good: bytes | None
    full: bool = False


def scored(metrics: Metrics, alarm: ADWIN, p: float, null: float, label: bool) -> bool:
    """Enter an earlier prediction into figures and drift alarm; whether it rang, and the figures begin anew.

    >>> metrics, alarm = Metrics(), ADWIN()
    >>> scored(metrics, alarm, 0.9, 0.5, True), metrics.n
    (False, 1)
    """
    loss = metrics.update(p, null, label)
    before = alarm.estimation
    alarm.update(loss)
    rang = bool(alarm.drift_detected) and alarm.estimation > before
    if rang:
        metrics.start_over()
    return rang


class OnlineModel:
    """An estimator that is scored before it learns.

    Parameters
    ----------
    name
        The model's name, such as ``churn.late``.
    spec
        Its configuration.
    targets
        The targets whose predictions it makes: each has its own figures.

    ``rollbacks`` counts how often the estimator failed or answered with no number and went back to its last good state,
    ``trouble`` says why the last time. ``full`` is true once it has outgrown ``FULL``: it answers and is scored as before.

    >>> spec = ModelSpec(estimator=EstimatorSpec(name="river.linear_model.LogisticRegression"), prior=0.5)
    >>> model = OnlineModel("m", spec, ("t",))
    >>> model.predict({"a": 1.0})
    0.5
    >>> model.learn({"a": 1.0}, True)
    >>> model.version, model.predict({"a": 1.0}) > 0.5
    (1, True)
    """

    def __init__(self, name: str, spec: ModelSpec, targets: Sequence[str]) -> None:
        self.name = name
        self.spec = spec
        self.metrics = {target: Metrics() for target in targets}
        self.version = 0
        self.drifts = 0
        self.rollbacks = 0
        self.full = False
        self.trouble = ""
        self._means: dict[str, float] = {}
        self._features = spec.features
        self._hashed = tuple(f"{name}=" for name in spec.features if name in HASHED)
        self._estimator = self._fresh()
        self._alarms = {target: ADWIN() for target in targets}
        self._good: bytes | None = None

    def _fresh(self) -> Estimator:
        estimator = build(self.spec.estimator, self.name)
        final = _final(estimator)
        prior = clipped(self.spec.prior)
        if hasattr(final, "intercept_init"):
            fill(final, {"object": {"intercept": log(prior / (1 - prior))}})
        if self.spec.weights:
            if not hasattr(final, "_weights"):
                raise ConfigError(self.name, "weights to start from", "leave them out: only linear models have weights")
            fill(final, {"object": {"_weights": {"vector": dict(self.spec.weights)}}})
        return estimator

    def predict(self, x: dict[str, float]) -> float:
        """P(label) within [1e-4, 1 - 1e-4]; the prior where the estimator has no answer yet."""
        x = self._used(x)
        p = self._answer(x)
        if not isfinite(p):
            self._roll_back(x)
            return clipped(self.spec.prior)
        return clipped(p)

    def _answer(self, x: dict[str, float]) -> float:
        """What the estimator says; nan where it fails, for an event that no model survives would stop its partition."""
        try:
            p = float(self._estimator.predict_proba_one(x).get(True, self.spec.prior if not self.version else 0.0))
        except Exception as error:  # noqa: BLE001  # an estimator of any package may raise anything; it is told, and undone
            self._failed(error)
            return nan
        if not isfinite(p):
            self.trouble = f"it predicted {p}"
        return p

    def _failed(self, error: Exception) -> None:
        self.trouble = f"{type(error).__name__}: {error}"

    def score(self, target: str, p: float, null: float, label: bool) -> None:
        """Enter an earlier prediction of ``target`` into the figures and the drift alarm."""
        self.drifts += scored(self.metrics[target], self._alarms[target], p, null, label)

    def learn(self, x: dict[str, float], label: bool) -> None:
        """Learn one example whose time has come."""
        x = self._used(x)
        failed = not self.full and not self._learned(x, label)
        self.version += 1
        if failed:
            self._roll_back(x)  # what was learned by half is given up
        if self.version % MEAN_EVERY == 1:
            self._move_means(x)
        if self.version % GOOD_EVERY == 0:
            self._keep_or_roll_back(x)

    def _learned(self, x: dict[str, float], label: bool) -> bool:
        try:
            self._estimator.learn_one(x, label)
        except Exception as error:  # noqa: BLE001  # as of _answer
            self._failed(error)
            return False
        return True

    def _move_means(self, x: dict[str, float]) -> None:
        means = self._means
        weight = max(MEAN_WEIGHT, MEAN_EVERY / (self.version + MEAN_EVERY - 1))
        for feature, value in x.items():
            mean = means.get(feature, 0.0)
            means[feature] = mean + weight * (value - mean)

    def _used(self, x: dict[str, float]) -> dict[str, float]:
        """The features that this model reads."""
        if not self._features:
            return x
        used = {name: x[name] for name in self._features if name in x}
        if self._hashed:
            used.update((name, value) for name, value in x.items() if name.startswith(self._hashed))
        return used

    def _keep_or_roll_back(self, x: dict[str, float]) -> None:
        if not self._sound(x):
            self._roll_back(x)
        elif not self.full:
            kept = self._state() or (snapshots.dump(self._estimator) if _due(self.version // GOOD_EVERY) else None)
            if kept is not None:
                self._good, self.full = kept, len(kept) > FULL

    def _sound(self, x: dict[str, float]) -> bool:
        """Whether the answer and all weights are finite, those that this ``x`` does not touch included."""
        weights = getattr(_final(self._estimator), "weights", None)
        return isfinite(self._answer(x)) and (not isinstance(weights, dict) or all(map(isfinite, weights.values())))

    def _roll_back(self, x: dict[str, float]) -> None:
        """Return to the last good estimator, or to a fresh one."""
        self.rollbacks += 1
        if self._good is not None:
            self._estimator = self._estimator_from(self._good)
            if self._sound(x):
                return
            self._good = None
        self._estimator, self.full = self._fresh(), False

    def ready(self, target: str) -> bool:
        """Whether the model has earned to replace the rules for ``target``: labels, skill, and no drift unhealed."""
        return self.metrics[target].skilled(self.spec.min_labels)

    def null(self, target: str) -> float:
        """The rate without features, as known now."""
        return self.metrics[target].rate(self.spec.prior)

    def drivers(self, x: dict[str, float], most: int = 3) -> list[tuple[str, float]]:
        """The features that move this prediction most from that of the mean customer, in log-odds, strongest first.

        Exact for linear models (weight times difference from the mean); for others the effect of setting one
        feature to its mean.
        """
        x = self._used(x)
        weights = getattr(self._estimator, "weights", None)
        if isinstance(weights, dict):
            effects = [(f, weights.get(f, 0.0) * (v - self._means.get(f, 0.0))) for f, v in x.items()]
        else:
            here = _logit(self.predict(x))
            effects = [(f, here - _logit(self.predict({**x, f: self._means.get(f, 0.0)}))) for f in x]
        effects.sort(key=lambda effect: (-abs(effect[1]), effect[0]))
        return effects[:most]

    def _state(self) -> bytes | None:
        """The explicit state; None where there is none."""
        try:
            return msgspec.msgpack.encode(extract(self._estimator, self._fresh()))
        except NotExplicitError:
            return None

    def estimator_bytes(self) -> tuple[str, bytes]:
        """What a snapshot holds of the estimator: ``state`` (numbers alone) or ``pickle``, and the bytes."""
        state = self._state()
        return ("state", state) if state is not None else ("pickle", snapshots.dump(self._estimator))

    def _estimator_from(self, data: bytes) -> Estimator:
        if data[:1] == b"\x80":  # msgpack state is a one-entry map (0x81); a pickle starts with its protocol mark
            loaded: Estimator = snapshots.load(data, self.spec.estimator.allow)
            if type(loaded) is not type(self._estimator):
                raise SnapshotError(f"snapshot of {self.name} holds a {type(loaded).__qualname__}; bootstrap again")
            return loaded
        try:
            state = msgspec.msgpack.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SnapshotError(f"state of {self.name} cannot be read ({error}); bootstrap again") from error
        filled: Estimator = fill(self._fresh(), state)
        return filled

    def snapshot(self, key: bytes) -> bytes:
        """Estimator, optimiser, figures, drift alarm and way back as one signed unit."""
        kind, estimator = self.estimator_bytes()
        body = Body(
            spec=self._spec_bytes(),
            estimator=estimator,
            metrics=self.metrics,
            version=self.version,
            drifts=self.drifts,
            rollbacks=self.rollbacks,
            means=self._means,
            alarms={target: extract(alarm, ADWIN()) for target, alarm in self._alarms.items()},
            good=self._good,
            full=self.full,
        )
        return snapshots.seal(self.name, self.version, kind, msgspec.msgpack.encode(body), key)

    def _spec_bytes(self) -> bytes:
        """What an estimator's state depends on."""
        code = revisions(self.spec.estimator.allow)
        return msgspec.json.encode((self.spec.estimator, self.spec.features, *([code] if code else [])), order="sorted")

    def restore(self, data: bytes, key: bytes) -> None:
        """Take over a snapshot of the same model and configuration.

        Raises
        ------
        SnapshotError
            Where the snapshot is not this model's, not whole, or not signed with ``key``.
        """
        sealed = snapshots.unseal(data, self.name, key)
        try:
            body = msgspec.msgpack.decode(sealed.payload, type=Body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SnapshotError(f"snapshot of {self.name} cannot be read ({error}); bootstrap again") from error
        if set(body.metrics) != set(self.metrics):
            raise SnapshotError(f"snapshot of {self.name} has targets {sorted(body.metrics)}; configuration changed")
        if body.spec != self._spec_bytes():
            raise SnapshotError(
                f"snapshot of {self.name} is of {body.spec.decode(errors='replace')}, the configuration says "
                f"{self._spec_bytes().decode()}; set it back, or bootstrap again"
            )
        estimator = self._estimator_from(body.estimator)
        self._alarms = {target: fill(ADWIN(), alarm) for target, alarm in body.alarms.items()}
        self._estimator = estimator
        self.metrics = body.metrics
        self.version = body.version
        self.drifts = body.drifts
        self.rollbacks = body.rollbacks
        self._means = body.means
        self._good = body.good
        self.full = body.full


def _due(step: int) -> bool:
    """Whether a pickled way back is kept: 1, 2, 3, 5, 8, 12, 18, 27 ... times ``GOOD_EVERY`` examples.

    Pickling a forest takes as long as a hundred examples; in such steps it costs no more than its growth.

    >>> [step for step in range(1, 30) if _due(step)]
    [1, 2, 3, 5, 8, 12, 18, 27]
    """
    due = 1
    while due < step:
        due += (due + 1) // 2
    return due == step


def _final(estimator: Estimator) -> Any:
    """The last step of a pipeline; anything else as it is."""
    return next(reversed(estimator.steps.values())) if isinstance(estimator, Pipeline) else estimator


def _logit(p: float) -> float:
    return log(p / (1 - p))
