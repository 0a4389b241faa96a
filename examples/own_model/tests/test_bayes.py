"""Run: PYTHONPATH=examples/own_model python -m pytest examples/own_model"""

from math import exp
from random import Random

import pytest
from own_model import BayesLogistic


def drawn(count: int, weights: dict[str, float], seed: int = 1) -> list[tuple[dict[str, float], bool]]:
    random = Random(seed)
    made = []
    for _ in range(count):
        x = {name: random.gauss(0, 1) for name in weights}
        odds = sum(weights[name] * value for name, value in x.items())
        made.append((x, random.random() < 1 / (1 + exp(-odds))))
    return made


def test_it_finds_the_weights_that_labels_were_drawn_with() -> None:
    true = {"a": 1.5, "b": -0.7, "c": 0.0}
    model = BayesLogistic(memory=1.0)
    for x, label in drawn(20_000, true):
        model.learn_one(x, label)
    for name, weight in true.items():
        assert model.means[name] == pytest.approx(weight, abs=0.1)
        assert model.variances[name] < 0.01


def test_it_is_less_sure_where_it_has_not_been() -> None:
    model = BayesLogistic()
    for x, label in drawn(500, {"a": 2.0}):
        model.learn_one(x, label)
    seen, unseen = model.predict_proba_one({"a": 1.0})[True], model.predict_proba_one({"a": 1.0, "new": 4.0})[True]
    assert 0.5 < unseen < seen


def test_it_follows_a_change_when_it_forgets() -> None:
    quick, slow = BayesLogistic(memory=0.99), BayesLogistic(memory=1.0)
    for model in (quick, slow):
        for x, label in drawn(3000, {"a": 2.0}) + drawn(300, {"a": -2.0}, seed=2):
            model.learn_one(x, label)
    assert quick.means["a"] < slow.means["a"]
    assert quick.means["a"] < 0


@pytest.mark.parametrize("wrong", [{"prior": 0.0}, {"prior": 1.0}, {"variance": 0.0}, {"memory": 1.5}])
def test_what_is_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        BayesLogistic(**wrong)
