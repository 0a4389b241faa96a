"""Estimators by dotted name: any classifier under ``river.``, or one that the configuration allows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from inspect import signature
from typing import Any, Protocol

from msgspec import Struct
from river.base import Classifier

from ..errors import ConfigError

Params = Mapping[str, Any]
Step = str | dict[str, Any]
OWN = frozenset({"models.learning.adagrad.AdaGrad"})
SEED = 1
NEEDED = ("learn_one", "predict_proba_one")
POSITIONAL = "args"


class Estimator(Protocol):
    """What a binary classifier of River offers; all that a class of your own must provide."""

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
        Dotted name of a class; several, in order, make a pipeline. A step of a pipeline may be a table with ``class``.
    params
        Arguments of the (last) class. A table with ``class`` is built first: ``{class = "river.optim.SGD", lr = 0.05}``;
        its ``args`` are given by position: ``{class = "river.compose.TransformerUnion", args = [...]}``.
        A ``seed`` that is left out is 1, never the system's randomness.
    allow
        Dotted names outside ``river.`` that may be loaded, from the configuration and from snapshots. Their packages
        are imported as Python finds them: installed beside Rapport, or in a folder of ``PYTHONPATH``.
    """

    name: str | tuple[Step, ...]
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
    models.errors.ConfigError: estimator: class os.system; use a name under river., or add it: allow = ["os.system"]
    """
    names = (spec.name,) if isinstance(spec.name, str) else spec.name
    if not names:
        raise ConfigError(where, "no class", "give a dotted name such as river.linear_model.LogisticRegression")
    steps = [_step(one, spec.params if at == len(names) else {}, spec.allow, where) for at, one in enumerate(names, 1)]
    model: Any = steps[0]
    for step in steps[1:]:
        model = model | step
    final = steps[-1]  # a pipeline itself offers everything, whatever its last step can do
    lacking = [name for name in NEEDED if not callable(getattr(final, name, None))]
    if getattr(type(final), "predict_proba_one", None) is Classifier.predict_proba_one:
        lacking.append("predict_proba_one")  # River's base class raises: there are classifiers that know labels only
    if lacking:
        raise ConfigError(
            where, f"class {_dotted(final)}", f"use a binary classifier: it needs {' and '.join(lacking)}"
        )
    built: Estimator = model
    return built


def _step(step: Step, params: Params, allow: tuple[str, ...], where: str) -> Any:
    if isinstance(step, str):
        return _make(step, params, allow, where)
    if params or "class" not in step:
        found = "params beside a table" if params else f"a step {step}"
        raise ConfigError(where, found, 'write a step as a name or as {class = "...", ...} with its arguments in it')
    return _argument(step, allow, where)


def _make(name: str, params: Params, allow: tuple[str, ...], where: str) -> Any:
    cls = _found(name, allow, where)
    if not isinstance(cls, type):
        raise ConfigError(where, f"{name}, which is no class", "give the dotted name of a class")
    arguments = {key: _argument(value, allow, where) for key, value in params.items()}
    positional = arguments.pop(POSITIONAL, [])
    if not isinstance(positional, list):
        raise ConfigError(where, f"{POSITIONAL} = {positional!r} of {name}", "write a list")
    if "seed" not in arguments and _seeded(cls):
        arguments["seed"] = SEED
    try:
        return cls(*positional, **arguments)
    except Exception as error:  # a constructor of any package may raise anything
        if arguments or positional:
            raise ConfigError(where, f"arguments {sorted(arguments)}", f"{name} says: {error!r}") from error
        raise ConfigError(where, f"class {name} without arguments", f"it says: {error!r}") from error


def _found(name: str, allow: tuple[str, ...], where: str) -> Any:
    """What a dotted name stands for; its module is imported."""
    if not (name.startswith("river.") or name in OWN or name in allow):
        raise ConfigError(where, f"class {name}", f'use a name under river., or add it: allow = ["{name}"]')
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if package and error.name == package:
            remedy = f"install its package beside Rapport, or put the folder that holds {package} on PYTHONPATH"
            raise ConfigError(where, f"class {name}, and no package {package}", remedy) from error
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            remedy = f"install {error.name.partition('.')[0]}, which {package} needs, beside Rapport"
            raise ConfigError(where, f"class {name}, and no package {error.name}", remedy) from error
        raise ConfigError(where, f"class {name}", f"check its spelling ({error})") from error
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(where, f"class {name}", f"check its spelling ({error})") from error
    except Exception as error:  # a module that is imported runs, and may raise anything
        raise ConfigError(where, f"class {name}, whose module fails", f"mend it; it says: {error!r}") from error


def _argument(value: Any, allow: tuple[str, ...], where: str) -> Any:
    if isinstance(value, Mapping) and "class" in value:
        if not isinstance(value["class"], str):
            raise ConfigError(where, f"class = {value['class']!r}", "write a dotted name in quotes")
        return _make(value["class"], {k: v for k, v in value.items() if k != "class"}, allow, where)
    if isinstance(value, (list, tuple)):
        return [_argument(one, allow, where) for one in value]
    return value


def own(allow: tuple[str, ...]) -> Iterator[tuple[str, type]]:
    """The classes that ``allow`` names, as far as they are imported, each under the name of its definition.

    A package often offers a class under a shorter name than that of the module that defines it, and a pickle names
    the latter.
    """
    for name in allow:
        module, _, attribute = name.rpartition(".")
        cls = getattr(sys.modules.get(module), attribute, None)
        if isinstance(cls, type):
            yield f"{cls.__module__}.{cls.__qualname__}", cls


def revisions(allow: tuple[str, ...]) -> dict[str, Any]:
    """The ``revision`` of each allowed class that has one: its state is not read by code of another revision."""
    found = {name: getattr(cls, "revision", None) for name, cls in own(allow)}
    return {name: revision for name, revision in sorted(found.items()) if isinstance(revision, (int, str))}


def _dotted(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _seeded(cls: type) -> bool:
    """Whether the class would draw from the system's randomness if it were not given a seed."""
    try:
        seed = signature(cls).parameters.get("seed")
    except ValueError:
        return False
    return seed is not None and seed.default is None
