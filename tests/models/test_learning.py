"""Online models: figures against scikit-learn, readiness, drift, any River classifier, and the way back from poison."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from river import optim
from river.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from models.encoding import as_mapping
from models.errors import ConfigError
from models.features import BUCKETS, FEATURES
from models.learning.adagrad import AdaGrad
from models.learning.metrics import Metrics
from models.learning.model import GOOD_EVERY, ModelSpec, OnlineModel
from models.learning.registry import EstimatorSpec, build

LINEAR = EstimatorSpec(name="river.linear_model.LogisticRegression")


def filled(p: Sequence[float], labels: Sequence[bool], null: float = 0.3) -> Metrics:
    metrics = Metrics()
    for one, label in zip(p, labels, strict=True):
        metrics.update(one, null, label)
    return metrics


def sample(seed: int, size: int, sharpness: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictions, and labels that follow them after a shift in log-odds."""
    random = np.random.default_rng(seed)
    logits = random.normal(-1, sharpness, size)
    p = 1 / (1 + np.exp(-logits))
    return p.clip(1e-4, 1 - 1e-4), random.random(size) < 1 / (1 + np.exp(-(logits + shift)))


def equal_mass_ece(p: np.ndarray, labels: np.ndarray, groups: int = 10) -> float:
    order = np.argsort(p, kind="stable")
    return float(
        sum(len(part) / len(p) * abs(p[part].mean() - labels[part].mean()) for part in np.array_split(order, groups))
    )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("sharpness", "shift"), [(0.3, 0.0), (1.5, 0.0), (3.0, 0.5), (1.0, -2.0)])
def test_figures_agree_with_scikit_learn(seed: int, sharpness: float, shift: float) -> None:
    p, labels = sample(seed, 20_000, sharpness, shift)
    figures = filled(p.tolist(), labels.tolist()).figures()
    assert figures.auc == pytest.approx(roc_auc_score(labels, p), abs=0.003)
    assert figures.log_loss == pytest.approx(log_loss(labels, p), rel=1e-9)
    assert figures.null_log_loss == pytest.approx(log_loss(labels, np.full(len(p), 0.3)), rel=1e-9)
    assert figures.ece == pytest.approx(equal_mass_ece(p, labels), abs=0.005)
    top = labels[np.argsort(-p, kind="stable")[: len(p) // 10]]
    assert figures.lift == pytest.approx(top.mean() / labels.mean(), rel=0.03)
    assert (figures.n, figures.base_rate) == (20_000, labels.mean())


def test_figures_of_nothing_and_of_one_class() -> None:
    assert Metrics().figures().auc is None
    ones = filled([0.9] * 5, [True] * 5).figures()
    assert (ones.auc, ones.lift) == (None, 1.0)
    zeros = filled([0.9] * 5, [False] * 5).figures()
    assert (zeros.auc, zeros.lift) == (None, None)
    assert zeros.ece == pytest.approx(0.9)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_figures_are_finite_whatever_was_predicted(scored: list[tuple[float, float, bool]]) -> None:
    metrics = Metrics()
    for p, null, label in scored:
        assert 0 < metrics.update(p, null, label) < 9.3
    held = metrics.figures()
    assert all(isfinite(x) for x in (held.log_loss, held.null_log_loss, held.ece, held.lift or 0.0, held.auc or 0.0))
    assert held.auc is None or 0 <= held.auc <= 1
    assert 0 <= held.ece <= 1
    assert sum(size for _, _, size in metrics.calibration()) == len(scored)


def model(spec: EstimatorSpec = LINEAR, **fields: Any) -> OnlineModel:
    return OnlineModel("m", ModelSpec(estimator=spec, **fields), ("t",))


def test_the_first_answer_is_the_prior() -> None:
    linear = "river.linear_model.LogisticRegression"
    all_names: tuple[str | tuple[str, ...], ...] = (
        linear,
        ("river.preprocessing.StandardScaler", linear),
        "river.naive_bayes.GaussianNB",
    )
    for names in all_names:
        fresh = model(EstimatorSpec(name=names), prior=0.07)
        assert fresh.predict({"a": 1.0}) == pytest.approx(0.07)
        assert fresh.null("t") == pytest.approx(0.07)


def test_a_model_reads_the_features_it_names() -> None:
    x = {"quiet": 1.0, "spent": 2.0, "category=3": 1.0, "channel=5": 1.0, "interval=1": 1.0}
    assert model()._used(x) == x
    assert model(features=("quiet", "idle"))._used(x) == {"quiet": 1.0}
    assert set(model(features=("category", "interval"))._used(x)) == {"category=3", "interval=1"}


def test_weights_to_start_from_are_a_rule() -> None:
    ruled = model(prior=0.5, weights={"quiet": 1.0}, features=("quiet",))
    assert ruled.predict({"quiet": 2.0, "spent": 3.0}) == pytest.approx(1 / (1 + np.exp(-2)))
    with pytest.raises(ConfigError, match="leave them out"):
        model(EstimatorSpec(name="river.naive_bayes.GaussianNB"), weights={"quiet": 1.0})
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"estimator": {"name": "x"}, "weights": {"quiet": nan}}, ModelSpec)


def score(held: OnlineModel, count: int, p: float, rate: float, null: float = 0.5, seed: int = 1) -> None:
    random = Random(seed)
    for _ in range(count):
        label = random.random() < rate
        held.score("t", p if label else 1 - p, null, label)


def test_a_model_is_ready_once_it_has_labels_and_beats_the_null() -> None:
    able = model(min_labels=100)
    assert not able.ready("t")
    score(able, 99, 0.8, 0.5)
    assert not able.ready("t")
    score(able, 1, 0.8, 0.5)
    assert able.ready("t")
    unable = model(min_labels=100)
    score(unable, 500, 0.3, 0.5)
    assert not unable.ready("t"), "worse than the null"


def test_drift_takes_the_lead_away_until_it_is_earned_again() -> None:
    held = model(min_labels=100)
    score(held, 1500, 0.9, 0.5)
    assert (held.ready("t"), held.drifts) == (True, 0)
    score(held, 300, 0.2, 0.5, seed=2)
    assert held.drifts > 0
    assert not held.ready("t")
    score(held, 3000, 0.9, 0.5, seed=3)
    assert held.ready("t")


def test_a_loss_that_falls_is_no_alarm() -> None:
    held = model(min_labels=100)
    score(held, 1000, 0.55, 0.5)
    score(held, 1000, 0.95, 0.5)
    assert held.drifts == 0


def poisoned(held: OnlineModel, feature: str) -> None:
    weights = dict(held._estimator._weights.to_dict())  # type: ignore[attr-defined]  # River's own state
    held._estimator._weights.update({**weights, feature: nan})  # type: ignore[attr-defined]


def taught(count: int, held: OnlineModel | None = None) -> OnlineModel:
    held = held or model()
    random = Random(3)
    for _ in range(count):
        x = {"a": random.gauss(0, 1), "b": random.gauss(0, 1)}
        held.learn(x, x["a"] > 0)
    return held


def test_a_poisoned_model_returns_to_its_last_good_state() -> None:
    good = taught(GOOD_EVERY)
    said = good.predict({"a": 1.0, "b": 0.5})
    later = taught(GOOD_EVERY + 100)
    assert later.predict({"a": 1.0, "b": 0.5}) != said
    poisoned(later, "a")
    assert later.predict({"a": 1.0, "b": 0.5}) == later.spec.prior
    assert later.rollbacks == 1
    assert later.predict({"a": 1.0, "b": 0.5}) == said


def test_a_poisoned_model_without_a_good_state_starts_anew() -> None:
    held = taught(10)
    poisoned(held, "a")
    held.predict({"a": 1.0})
    assert held.predict({"a": 1.0}) == pytest.approx(held.spec.prior)
    assert held.rollbacks == 1


def test_poison_that_no_example_touches_never_enters_the_way_back() -> None:
    """A weight of a feature that the 500th example does not have must not be kept as good."""
    held = taught(GOOD_EVERY - 1)
    poisoned(held, "rare")
    taught(1, held)
    assert held.rollbacks == 1
    assert held.predict({"a": 1.0, "rare": 1.0}) == held.predict({"a": 1.0, "rare": 1.0})
    assert held.rollbacks == 1, "it stays healed"


def test_poison_in_the_way_back_is_left_behind() -> None:
    held = taught(GOOD_EVERY)
    poisoned(held, "a")
    held._good = held.estimator_bytes()[1]
    held.predict({"a": 1.0})
    assert held.predict({"a": 1.0}) == pytest.approx(held.spec.prior)
    assert held.rollbacks == 1


@pytest.mark.parametrize("rate", [1e3, 1e150, 1e308])
def test_no_learning_rate_makes_answers_other_than_finite(rate: float) -> None:
    spec = EstimatorSpec(name=str(LINEAR.name), params={"optimizer": {"class": "river.optim.SGD", "lr": rate}})
    held = model(spec)
    random = Random(1)
    for n in range(700):
        x = {name: random.choice((-4.0, 4.0, 0.0)) for name in "abcd"}
        assert 0 < held.predict(x) < 1
        held.learn(x, n % 2 == 0)


vectors = st.lists(
    st.tuples(st.lists(st.floats(-4, 4, width=32), min_size=3, max_size=3), st.booleans()), min_size=1, max_size=60
)


@hypothesis_settings(deadline=None, max_examples=25)
@given(vectors, st.floats(1e-3, 1.0))
def test_our_adagrad_is_rivers_to_the_bit(examples: list[tuple[list[float], bool]], rate: float) -> None:
    ours, theirs = LogisticRegression(AdaGrad(rate)), LogisticRegression(optim.AdaGrad(rate))
    for values, label in examples:
        x = dict(zip("abc", values, strict=True))
        assert ours.predict_proba_one(x) == theirs.predict_proba_one(x)
        ours.learn_one(x, label)
        theirs.learn_one(x, label)
    assert ours.weights == theirs.weights


@pytest.mark.parametrize("buckets", [(0.0, 0.0), (1.0, 31.0), (31.0, 0.0)])
@pytest.mark.parametrize("interval", [-1, 0, 3])
def test_encoding_has_a_bounded_vocabulary(buckets: tuple[float, float], interval: int) -> None:
    x = as_mapping([0.25] * len(FEATURES) + list(buckets), interval)
    assert set(FEATURES) <= set(x)
    assert len(x) == len(FEATURES) + sum(1 for bucket in buckets if bucket) + (interval >= 0)
    assert all(int(name.partition("=")[2]) < BUCKETS for name in x if "=" in name)


CLASSIFIERS: list[tuple[Any, dict[str, Any]]] = [
    ("river.linear_model.LogisticRegression", {"optimizer": {"class": "river.optim.Adam", "lr": 0.05}}),
    ("river.linear_model.PAClassifier", {"mode": 2}),
    ("river.linear_model.ALMAClassifier", {}),
    ("river.linear_model.Perceptron", {}),
    ("river.linear_model.SoftmaxRegression", {}),
    ("river.linear_model.AdPredictor", {}),
    ("river.naive_bayes.GaussianNB", {}),
    ("river.neighbors.KNNClassifier", {"n_neighbors": 5}),
    ("river.tree.HoeffdingTreeClassifier", {"grace_period": 10}),
    ("river.tree.HoeffdingAdaptiveTreeClassifier", {"grace_period": 10}),
    ("river.tree.SGTClassifier", {"grace_period": 10}),
    ("river.forest.ARFClassifier", {"n_models": 3, "grace_period": 10}),
    ("river.forest.AMFClassifier", {"n_estimators": 3}),
    ("river.facto.FMClassifier", {}),
    ("river.dummy.PriorClassifier", {}),
    ("river.ensemble.ADWINBaggingClassifier", {"model": {"class": "river.linear_model.LogisticRegression"}}),
    ("river.ensemble.LeveragingBaggingClassifier", {"model": {"class": "river.tree.HoeffdingTreeClassifier"}}),
    ("river.ensemble.SRPClassifier", {"n_models": 2}),
    (
        "river.ensemble.StackingClassifier",
        {
            "models": [{"class": "river.linear_model.LogisticRegression"}, {"class": "river.naive_bayes.GaussianNB"}],
            "meta_classifier": {"class": "river.linear_model.LogisticRegression"},
        },
    ),
    (("river.preprocessing.StandardScaler", "river.linear_model.LogisticRegression"), {"l2": 0.01}),
    (
        (
            "river.preprocessing.MinMaxScaler",
            "river.preprocessing.StandardScaler",
            "river.tree.HoeffdingTreeClassifier",
        ),
        {},
    ),
    (
        (
            {
                "class": "river.compose.TransformerUnion",
                "args": [
                    {"class": "river.preprocessing.StandardScaler"},
                    {"class": "river.feature_extraction.PolynomialExtender"},
                ],
            },
            "river.linear_model.LogisticRegression",
        ),
        {},
    ),
    (("river.feature_extraction.PolynomialExtender", "river.linear_model.LogisticRegression"), {}),
]


def draws(seed: int, count: int) -> list[tuple[dict[str, float], bool]]:
    random = Random(seed)
    drawn = []
    for _ in range(count):
        x = {name: random.random() for name in "abcd"}
        drawn.append((x, x["a"] + x["b"] > 1))
    return drawn


@pytest.mark.parametrize(("names", "params"), CLASSIFIERS, ids=[str(names)[-45:] for names, _ in CLASSIFIERS])
def test_any_river_classifier_learns_and_goes_on_from_its_snapshot(names: Any, params: dict[str, Any]) -> None:
    spec = EstimatorSpec(name=names, params=params)
    one, same = model(spec), model(spec)
    for x, label in draws(1, 120):
        assert one.predict(x) == same.predict(x), "two of one configuration are one"
        one.learn(x, label)
        same.learn(x, label)
    again = model(spec)
    again.restore(one.snapshot(b"k"), b"k")
    for x, label in draws(2, 60):
        assert again.predict(x) == one.predict(x)
        one.learn(x, label)
        again.learn(x, label)
    fresh = model(spec)
    assert any(one.predict(x) != fresh.predict(x) for x, _ in draws(3, 20)), "it has learned"


@pytest.mark.parametrize(
    ("names", "params", "remedy"),
    [
        ("os.system", {}, "use a name under river"),
        ("riverside.Model", {}, "use a name under river"),
        ("builtins.eval", {}, "use a name under river"),
        ("models.learning.registry.import_module", {}, "use a name under river"),
        ("river.linear_model.LogisticRegresion", {}, "check its spelling"),
        ("river.nowhere.Model", {}, "check its spelling"),
        ("river.", {}, "check its spelling"),
        ("river.base.base.inspect.os.system", {}, "check its spelling"),
        ("river.stream.iter_csv", {}, "dotted name of a class"),
        ("river.linear_model.LinearRegression", {}, "binary classifier"),
        ("river.preprocessing.StandardScaler", {}, "binary classifier"),
        (("river.preprocessing.StandardScaler", "river.linear_model.LinearRegression"), {}, "binary classifier"),
        (("river.linear_model.LogisticRegression", "river.preprocessing.StandardScaler"), {}, "binary classifier"),
        ((), {}, "dotted name"),
        ("river.linear_model.LogisticRegression", {"l3": 1}, "says"),
        ("river.linear_model.LogisticRegression", {"optimizer": {"class": "os.system"}}, "use a name under river"),
        ("river.linear_model.LogisticRegression", {"optimizer": {"class": "river.optim.SDG"}}, "check its spelling"),
        ("river.naive_bayes.GaussianNB", {"optimizer": 1}, "says"),
        ("river.base.Classifier", {}, "says"),
    ],
)
def test_what_cannot_be_built_is_told_with_the_remedy(names: Any, params: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        build(EstimatorSpec(name=names, params=params))


def test_other_packages_are_allowed_by_name_only() -> None:
    name = "collections.Counter"
    with pytest.raises(ConfigError, match="allow"):
        build(EstimatorSpec(name=name))
    with pytest.raises(ConfigError, match="binary classifier"):
        build(EstimatorSpec(name=name, allow=(name,)))


def test_reasons_of_a_linear_model_add_up() -> None:
    held = taught(300)
    x = {"a": 2.0, "b": -1.0}
    drivers = dict(held.drivers(x))
    weights = LogisticRegression.weights.fget(held._estimator)  # type: ignore[attr-defined]
    assert drivers["a"] == pytest.approx(weights["a"] * (2.0 - held._means["a"]))
    assert next(iter(drivers)) == "a", "the label follows a alone"
