"""River estimators by dotted name: any classifier under ``river.``, or one that the configuration allows."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any, Protocol

from msgspec import Struct

from ..errors import ConfigError

Params = Mapping[str, Any]
OWN = frozenset({"models.learning.adagrad.AdaGrad"})
SEED = 1


class Estimator(Protocol):
    """What a binary classifier of River offers."""

    def learn_one(self, x: dict[str, float], y: bool, /) -> None:
        """Learn one example."""

    def predict_proba_one(self, x: dict[str, float], /) -> dict[bool, float]:
        """Probabilities by label; a label that was never seen may be missing."""
        ...


class EstimatorSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An estimator in configuration.

    Parameters
    ----------
    name
        Dotted name of a class; several, in order, make a pipeline.
    params
        Arguments of the (last) class. A table with ``class`` is built first: ``{class = "river.optim.SGD", lr = 0.05}``.
        A ``seed`` that is left out is 1, never the system's randomness.
    allow
        Dotted names outside ``river.`` that may be loaded.
    """

    name: str | tuple[str, ...]
    params: Params = {}
    allow: tuple[str, ...] = ()


def build(spec: EstimatorSpec, where: str = "estimator") -> Estimator:
    """A fresh estimator.

    Raises
    ------
    ConfigError
        Where the name is not allowed, is not there, is no classifier, or refuses its arguments.

    >>> build(EstimatorSpec(name="river.linear_model.LogisticRegression")).predict_proba_one({"a": 1.0})[True]
    0.5
    >>> pipeline = build(EstimatorSpec(name=("river.preprocessing.StandardScaler", "river.naive_bayes.GaussianNB")))
    >>> pipeline.learn_one({"a": 1.0}, True)
    >>> build(EstimatorSpec(name="os.system"))
    Traceback (most recent call last):
    ...
    models.errors.ConfigError: estimator: class os.system; use a name under river., or add it to allow = [...]
    """
    names = (spec.name,) if isinstance(spec.name, str) else spec.name
    if not names:
        raise ConfigError(where, "no class", "give a dotted name such as river.linear_model.LogisticRegression")
    steps = [_make(name, spec.params if name == names[-1] else {}, spec.allow, where) for name in names]
    model: Any = steps[0]
    for step in steps[1:]:
        model = model | step
    final = steps[-1]  # a pipeline itself offers everything, whatever its last step can do
    if not callable(getattr(final, "learn_one", None)) or not callable(getattr(final, "predict_proba_one", None)):
        raise ConfigError(where, f"class {names[-1]}", "use a binary classifier: it needs predict_proba_one")
    built: Estimator = model
    return built


def _make(name: str, params: Params, allow: tuple[str, ...], where: str) -> Any:
    if not (name.startswith("river.") or name in OWN or name in allow):
        raise ConfigError(where, f"class {name}", "use a name under river., or add it to allow = [...]")
    module, _, attribute = name.rpartition(".")
    try:
        cls = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(where, f"class {name}", f"check its spelling ({error})") from error
    if not isinstance(cls, type):
        raise ConfigError(where, f"{name}, which is no class", "give the dotted name of a class")
    arguments = {key: _argument(value, allow, where) for key, value in params.items()}
    if "seed" not in arguments and _seeded(cls):
        arguments["seed"] = SEED
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(where, f"arguments {sorted(arguments)}", f"{name} says: {error}") from error


def _argument(value: Any, allow: tuple[str, ...], where: str) -> Any:
    if isinstance(value, Mapping) and "class" in value:
        return _make(value["class"], {k: v for k, v in value.items() if k != "class"}, allow, where)
    if isinstance(value, (list, tuple)):
        return [_argument(one, allow, where) for one in value]
    return value


def _seeded(cls: type) -> bool:
    """Whether the class would draw from the system's randomness if it were not given a seed."""
    try:
        seed = signature(cls).parameters.get("seed")
    except ValueError:
        return False
    return seed is not None and seed.default is None
