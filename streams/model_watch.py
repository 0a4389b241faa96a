"""Models that fail or outgrow their bound, told to the log of a worker."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from models.learning.model import OnlineModel

log = structlog.get_logger(__name__)


class ModelWatch:
    """Tells, once each, that a model went back to a good state, and that it is full.

    Parameters
    ----------
    models
        By name, as they are now: what lies in the past is not told.
    """

    def __init__(self, models: Mapping[str, OnlineModel]) -> None:
        self._models = models
        self._seen = {name: (model.rollbacks, model.full) for name, model in models.items()}

    def look(self) -> None:
        """Called now and then."""
        for name, model in self._models.items():
            rollbacks, full = self._seen[name]
            if model.rollbacks > rollbacks:
                log.warning("a model failed and went back", model=name, times=model.rollbacks, because=model.trouble)
            if model.full and not full:
                log.warning("a model is full and learns no more", model=name, remedy="bound it: n_models, max_depth")
            self._seen[name] = (model.rollbacks, model.full)
