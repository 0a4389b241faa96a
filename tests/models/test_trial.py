"""A configured model is tried before it runs: what is wrong with it is told with its line and the remedy."""

from __future__ import annotations

import random
from math import nan
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import pytest
from river.base import Classifier

from models.errors import ConfigError
from models.learning.model import ModelSpec, OnlineModel
from models.learning.registry import EstimatorSpec
from models.learning.trial import trial
from models.policy.reading import read
from tests.support import FOREST, OWN, OWN_MODEL


class Base(Classifier):
    """Answers with a half."""

    answer: Any = 0.5

    def predict_proba_one(self, x: dict[Any, Any], **_: Any) -> dict[Any, float]:
        return {True: self.answer}

    def learn_one(self, x: dict[Any, Any], y: Any, **_: Any) -> None:
        """Learn nothing."""


class Nan(Base):
    answer = nan


class Large(Base):
    answer = 1.2


class Text(Base):
    answer = "0.5"


class Predicts(Base):
    def predict_proba_one(self, x: dict[Any, Any], **_: Any) -> dict[Any, float]:
        return {True: 1 / x["no such feature"]}


class Learns(Base):
    def learn_one(self, x: dict[Any, Any], y: Any, **_: Any) -> None:
        raise ZeroDivisionError("of a mean of nothing")


class Changes(Base):
    def learn_one(self, x: dict[Any, Any], y: Any, **_: Any) -> None:
        x["intercept"] = 1.0


class Counts(Base):
    """Answers otherwise each time."""

    def __init__(self) -> None:
        self.asked = 0

    def predict_proba_one(self, x: dict[Any, Any], **_: Any) -> dict[Any, float]:
        self.asked += 1
        return {True: 1 / (1 + self.asked)}


class Draws(Base):
    """Draws from the system's randomness."""

    def __init__(self) -> None:
        self.answer = random.SystemRandom().random()


class Holds(Base):
    """Holds what no pickle can."""

    def __init__(self) -> None:
        self.held: Any = None

    def learn_one(self, x: dict[Any, Any], y: Any, **_: Any) -> None:
        self.held = lambda: x


class Node:
    """A part that is not allowed by name."""


class Grows(Base):
    """Holds parts of a class of its own."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def learn_one(self, x: dict[Any, Any], y: Any, **_: Any) -> None:
        self.nodes.append(Node())


class Forgets(Base):
    """Keeps what it learned where no snapshot looks."""

    seen: ClassVar[WeakKeyDictionary[Forgets, int]] = WeakKeyDictionary()  # the class's, which is what is wrong with it

    def predict_proba_one(self, x: dict[Any, Any], **_: Any) -> dict[Any, float]:
        return {True: 1 / (1 + self.seen.get(self, 0))}

    def learn_one(self, x: dict[Any, Any], y: Any, **_: Any) -> None:
        self.seen[self] = self.seen.get(self, 0) + 1


class Labels(Classifier):
    """Knows labels only."""

    def predict_one(self, x: dict[Any, Any], **_: Any) -> Any:
        return True

    def learn_one(self, x: dict[Any, Any], y: Any, **_: Any) -> None:
        """Learn nothing."""


class Raises(Base):
    def __init__(self, size: int = 0) -> None:
        if not size:
            raise RuntimeError("no size")


WRONG: list[tuple[type, str, str]] = [
    (Nan, "gives nan", "give a probability"),
    (Large, "gives 1.2", "give a probability"),
    (Text, "gives '0.5'", "give a probability"),
    (Predicts, "KeyError", "mend it"),
    (Learns, "of a mean of nothing", "mend it"),
    (Changes, "features that the model changed", "copy"),
    (Counts, "differs when asked again", "change nothing"),
    (Draws, "answer differently", "seed"),
    (Holds, "cannot be pickled", "allow"),
    (Grows, r"test_trial\.Node, which is not allowed", "allow"),
    (Forgets, "another one after a snapshot", "attributes of the instance"),
    (Labels, "class .*Labels", "needs predict_proba_one"),
    (Raises, "without arguments", "no size"),
]


def dotted(kind: type) -> str:
    return f"{__name__}.{kind.__name__}"


def configured(name: str, more: str = "") -> str:
    return f'[engine]\nseed = 1\n[engine.models.churn]\nprior = 0.5\n[engine.models.churn.estimator]\nname = "{name}"\n{more}'


@pytest.mark.parametrize(("kind", "found", "remedy"), WRONG, ids=[kind.__name__ for kind, _, _ in WRONG])
def test_what_is_wrong_with_a_model_is_told(kind: type, found: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=found) as told:
        read(configured(dotted(kind), f'allow = ["{dotted(kind)}"]'), "own.toml")
    assert str(told.value).startswith("own.toml:5: churn: ")
    assert remedy in str(told.value)


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("own.Model", "", r'own.toml:5: churn: class own.Model; .*allow = \["own.Model"\]'),
        ("no_such.Model", 'allow = ["no_such.Model"]', "no package no_such; install .* PYTHONPATH"),
        ("own_model.Nothing", 'allow = ["own_model.Nothing"]', "check its spelling"),
        ("own_model.nowhere.Model", 'allow = ["own_model.nowhere.Model"]', "check its spelling"),
        (OWN_MODEL, f'allow = ["{OWN_MODEL}"]\nparams = {{priors = 0.5}}', "says: TypeError"),
        (OWN_MODEL, f'allow = ["{OWN_MODEL}"]\nparams = {{prior = 2}}', "out of range"),
        ("river.compose.Pipeline", "params = {args = 1}", "write a list"),
    ],
)
def test_what_cannot_be_had_is_told(name: str, more: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read(configured(name, more), "own.toml")


def test_a_module_that_fails_is_told(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_module.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="whose module fails; mend it; it says: ZeroDivisionError"):
        read(configured("failing_module.Model", 'allow = ["failing_module.Model"]'))


@pytest.mark.parametrize("text", [OWN, FOREST], ids=["own", "forest"])
def test_what_is_right_passes(text: str) -> None:
    assert "churn" in read(text).engine.models


def test_allowed_parts_of_a_model_come_back() -> None:
    allow = (dotted(Grows), dotted(Node))
    trial("m", ModelSpec(estimator=EstimatorSpec(name=dotted(Grows), allow=allow)))


PIPELINE = """
name = [
  {class = "river.compose.TransformerUnion", args = [
    {class = "river.preprocessing.StandardScaler"},
    {class = "river.feature_extraction.PolynomialExtender", degree = 2, include_bias = false},
  ]},
  "river.linear_model.LogisticRegression",
]
params = {optimizer = {class = "river.optim.SGD", lr = {class = "river.optim.schedulers.InverseScaling", learning_rate = 0.1}}}
"""


def test_a_pipeline_with_a_union_and_nested_arguments() -> None:
    text = (
        configured("x")
        .replace('name = "x"', PIPELINE)
        .replace("prior = 0.5", 'prior = 0.5\nfeatures = ["quiet", "spent"]')
    )
    held = OnlineModel("churn", read(text).engine.models["churn"], ("t",))
    for n in range(50):
        held.learn({"quiet": n % 5 - 2.0, "spent": n % 3 - 1.0}, n % 5 > 2)
    assert "quiet*spent" in held._estimator._last_step.weights  # type: ignore[attr-defined]  # of the pipeline


def test_a_step_beside_arguments_is_told() -> None:
    text = configured("x", "params = {l2 = 0.1}").replace(
        'name = "x"', 'name = ["river.preprocessing.StandardScaler", {class = "river.naive_bayes.GaussianNB"}]'
    )
    with pytest.raises(ConfigError, match="write a step as a name or as"):
        read(text)


class Moody(Base):
    """Fails on one example, and poisons itself on another."""

    def __init__(self) -> None:
        self.p = 0.5

    def predict_proba_one(self, x: dict[Any, Any], **_: Any) -> dict[Any, float]:
        if x["a"] == 7.0:
            raise KeyError("seven")
        return {True: self.p}

    def learn_one(self, x: dict[Any, Any], y: Any, **_: Any) -> None:
        self.p = nan if x["a"] == 8.0 else 0.9
        if x["a"] == 9.0:
            raise ValueError("nine")


@pytest.mark.parametrize(
    ("value", "why"), [(7.0, "KeyError: 'seven'"), (8.0, "it predicted nan"), (9.0, "ValueError: nine")]
)
def test_a_model_that_fails_goes_back_and_says_why(value: float, why: str) -> None:
    """An event that no model survives must not stop its partition for ever."""
    held = OnlineModel("m", ModelSpec(estimator=EstimatorSpec(name=dotted(Moody), allow=(dotted(Moody),))), ("t",))
    for _ in range(500):
        held.learn({"a": 1.0}, True)
    assert (held.predict({"a": 1.0}), held.rollbacks) == (0.9, 0)
    held.predict({"a": value})
    held.learn({"a": value}, True)
    assert held.predict({"a": 1.0}) == (held.spec.prior if value == 8.0 else 0.9)
    assert held.predict({"a": 1.0}) in (0.5, 0.9)
    assert held.rollbacks >= 1
    assert held.trouble == why
