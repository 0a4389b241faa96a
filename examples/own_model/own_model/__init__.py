"""A model of one's own for Rapport; docs/models.md walks through it."""

from .bayes import BayesLogistic

__all__ = ["BayesLogistic"]
