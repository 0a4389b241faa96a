"""A trial of a configured model before it runs: what would otherwise be found out in the middle of a stream."""

from __future__ import annotations

from math import isfinite
from random import Random
from typing import Any

from ..encoding import as_mapping
from ..errors import ConfigError, SnapshotError
from ..features import BUCKETS, CATEGORICAL, CLIP, FEATURES
from .model import ModelSpec, OnlineModel
from .registry import Estimator, build

EXAMPLES = 40
TOLERANCE = 1e-6
Example = tuple[dict[str, float], bool]


def examples(count: int = EXAMPLES) -> list[Example]:
    """Vectors as the engine makes them, the extreme ones first, with labels that follow the first feature.

    >>> made = examples()
    >>> len(made), set(made[0][0].values()), made == examples()
    (40, {0.0}, True)
    """
    random = Random(1)
    made: list[Example] = []
    for number in range(count):
        extreme = (0.0, CLIP, -CLIP)[number] if number < 3 else None
        vector = [random.uniform(-CLIP, CLIP) if extreme is None else extreme for _ in FEATURES]
        buckets = [float(random.randrange(BUCKETS)) if extreme is None else 0.0 for _ in CATEGORICAL]
        made.append((as_mapping([*vector, *buckets], number % 5 - 1), vector[0] + random.gauss(0, 1) > 0))
    return made


def trial(name: str, spec: ModelSpec) -> None:
    """Let a model answer and learn, and go on from its snapshot.

    Raises
    ------
    ConfigError
        Where it fails, answers with no probability, changes what it is given, answers otherwise when asked again or
        when built again, or is not the same after a snapshot.

    >>> from .registry import EstimatorSpec
    >>> trial("m", ModelSpec(estimator=EstimatorSpec(name="river.linear_model.LogisticRegression")))
    """
    used = OnlineModel(name, spec, ())._used
    made = [(used(x), label) for x, label in examples()]
    if _answers(name, spec, made) != _answers(name, spec, made):
        remedy = "draw from random.Random(seed), with seed an argument of the class, and walk no set of texts"
        raise ConfigError(name, "two models of this configuration that answer differently", remedy)
    _snapshot(name, spec, made)


def _answers(name: str, spec: ModelSpec, made: list[Example]) -> list[float | None]:
    estimator = build(spec.estimator, name)
    answers = []
    for x, label in made:
        given = dict(x)
        answers.append(_answer(name, estimator, given))
        if _answer(name, estimator, given) != answers[-1]:
            raise ConfigError(name, "an answer that differs when asked again", "let predict_proba_one change nothing")
        try:
            estimator.learn_one(given, label)
        except Exception as error:
            raise ConfigError(
                name, f"learn_one fails ({error!r}) on {_shown(x)}", "mend it, or name features"
            ) from error
        if given != x or list(given) != list(x):
            raise ConfigError(name, "features that the model changed", "let it work on a copy: others read them too")
    return answers


def _answer(name: str, estimator: Estimator, x: dict[str, float]) -> float | None:
    try:
        p: Any = estimator.predict_proba_one(x).get(True)
    except Exception as error:
        found = f"predict_proba_one fails ({error!r}) on {_shown(x)}"
        raise ConfigError(name, found, "mend it, or name features") from error
    if p is None:
        return None
    if not isinstance(p, (int, float)) or not isfinite(p) or not -TOLERANCE <= p <= 1 + TOLERANCE:
        found = f"predict_proba_one gives {p!r} for True on {_shown(x)}"
        raise ConfigError(name, found, "let it give a probability, 0 to 1")
    return float(p)


def _snapshot(name: str, spec: ModelSpec, made: list[Example]) -> None:
    one, other = OnlineModel(name, spec, ("t",)), OnlineModel(name, spec, ("t",))
    half = len(made) // 2
    for x, label in made[:half]:
        one.learn(x, label)
    try:
        other.restore(one.snapshot(b""), b"")
    except SnapshotError as error:
        remedy = "name the classes that it is made of in allow, and let it hold numbers, texts, lists and dictionaries"
        raise ConfigError(name, f"no snapshot ({error})", remedy) from error
    for x, label in made[half:]:
        if one.predict(x) != other.predict(x):
            remedy = "let its state, that of its random numbers too, be attributes of the instance"
            raise ConfigError(name, "a model that is another one after a snapshot", remedy)
        one.learn(x, label)
        other.learn(x, label)


def _shown(x: dict[str, float]) -> str:
    first = ", ".join(f"{name}={value:g}" for name, value in list(x.items())[:2])
    return f"{{{first}, ...}}" if len(x) > 2 else f"{{{first}}}"
