"""Bayesian logistic regression, one example at a time."""

from __future__ import annotations

from math import exp, log, pi

from river.base import Classifier


class BayesLogistic(Classifier):
    """Logistic regression whose weights are independent normal beliefs, so that it knows how sure it is.

    Each weight w_i has a mean m_i and a variance v_i. With m = sum m_i x_i and v = sum v_i x_i^2 the answer is

        p = sigmoid(m / sqrt(1 + pi v / 8))                              (MacKay 1992, Neural Computation 4, p. 720-736)

    which stays near 1/2 along directions that it has not seen. A label y in {0, 1} moves the beliefs by

        v_i <- 1 / (1 / v_i + p (1 - p) x_i^2),    m_i <- m_i + v_i (y - p) x_i
                                                   (Spiegelhalter and Lauritzen 1990, Networks 20, p. 579-605)

    Before the next label every v_i grows by the factor 1 / memory, up to its start: the model forgets, and can follow.

    Parameters
    ----------
    prior
        Probability before the first label, 0 to 1.
    variance
        Of each weight at the start, over 0.
    memory
        Share of what was learned that is kept from label to label, 0 to 1; 0.9999 weighs the last 10,000 labels or so.

    >>> model = BayesLogistic(prior=0.2)
    >>> round(model.predict_proba_one({})[True], 9)
    0.2
    >>> for _ in range(50):
    ...     model.learn_one({"quiet": 1.0}, True)
    >>> model.predict_proba_one({"quiet": 1.0})[True] > 0.8
    True
    """

    revision = 1  # of what the attributes mean: Rapport refuses a snapshot of another one

    def __init__(self, prior: float = 0.5, variance: float = 1.0, memory: float = 0.9999) -> None:
        if not (0 < prior < 1 and variance > 0 and 0 < memory <= 1):
            raise ValueError(f"prior {prior}, variance {variance}, memory {memory}: out of range")
        self.prior = prior
        self.variance = variance
        self.memory = memory
        self.means = {"": log(prior / (1 - prior))}  # "" is the intercept, whose x is 1
        self.variances: dict[str, float] = {}

    def predict_proba_one(self, x: dict[str, float]) -> dict[bool, float]:
        m, v = self.means[""], 0.0
        for name, value in x.items():
            m += self.means.get(name, 0.0) * value
            v += self.variances.get(name, self.variance) * value * value
        p = 1 / (1 + exp(-max(-30.0, min(30.0, m / (1 + pi * v / 8) ** 0.5))))
        return {True: p, False: 1 - p}

    def learn_one(self, x: dict[str, float], y: bool) -> None:
        p = self.predict_proba_one(x)[True]
        for name, value in (*x.items(), ("", 1.0)):
            if value:
                grown = min(self.variances.get(name, self.variance) / self.memory, self.variance)
                self.variances[name] = 1 / (1 / grown + p * (1 - p) * value * value)
                self.means[name] = self.means.get(name, 0.0) + self.variances[name] * (y - p) * value
