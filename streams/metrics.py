"""A worker's numbers for Prometheus, gathered when it asks. Every metric is in ``docs/metrics.md``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from aiokafka import TopicPartition
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from models.learning.metrics import Figures
from models.learning.model import OnlineModel
from models.profile.journey import STAGES as FUNNEL
from schemas.errors import REASONS

from .agents.learner import LearnerPartition
from .app import App, Role
from .checkpoint import EnginePartition
from .lanes import Lane
from .settings import StreamSettings
from .tallies import Buckets
from .topic_plan import EVENTS, LEARNING
from .watchdog import LaneWatch

STEPS = {
    "intake: decode": "decode",
    "intake: publish": "transaction",
    "publish, waited for": "wait_for_transaction",
}
"""Stages as they are timed, and their names as labels where those differ."""
SPECIAL = ("duplicate", "late", "after_erasure", "forwarded", "merged", "erased", "repeat", "model_missing")
"""What of an event is counted besides; a closed list, so that labels are bounded."""
PLACE = ("stage", "topic", "partition")


class WorkerMetrics(Collector):
    """Reads a worker's tallies and lanes.

    Parameters
    ----------
    app
        With its lanes.
    watch
        The watchdog of the lanes.
    """

    def __init__(self, app: App, settings: StreamSettings, role: Role, watch: LaneWatch) -> None:
        self._app = app
        self._settings = settings
        self._role = role
        self._watch = watch
        self._figures: dict[tuple[str, str], tuple[int, Figures]] = {}

    def describe(self) -> Iterable[Metric]:
        """None: it would need lanes."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families."""
        info = InfoMetricFamily("rapport_worker", "The worker")
        told = {"app": self._settings.app, "role": self._role, "clock": self._settings.clock}
        info.add_metric([], {**told, "version": version("rapport")})
        yield info
        yield from self._lanes()
        yield from self._work()
        yield from self._times()
        yield from self._decisions()
        yield from self._profiles()
        yield from self._models()

    def _stage(self, topic: str) -> str:
        return {self._settings.topic(EVENTS): "engine", self._settings.topic(LEARNING): "learner"}.get(topic, "intake")

    def _place(self, tp: TopicPartition) -> list[str]:
        return [self._stage(tp.topic), tp.topic, str(tp.partition)]

    def _lanes(self) -> Iterator[Metric]:
        opened = GaugeMetricFamily("rapport_lane_open", "Whether the partition is worked on", labels=PLACE)
        lag = GaugeMetricFamily(
            "rapport_lag_records", "Records between what is done and the last fetch's end", labels=PLACE
        )
        stalled = GaugeMetricFamily(
            "rapport_lane_stalled_seconds", "Without a sign of life, though work is there", labels=PLACE
        )
        clock = GaugeMetricFamily(
            "rapport_partition_time_seconds", "The time the log has come to", labels=["partition"]
        )
        for lane in self._app.lanes:
            place = self._place(lane.tp)
            opened.add_metric(place, float(lane.open))
            stable, _ = self._app.polled(lane.tp)
            if lane.open and stable >= 0:
                lag.add_metric(place, float(max(0, stable - lane.processed)))
            stalled.add_metric(place, self._watch.stalled_s(lane))
            if (engine := _engine(lane)) is not None and (at := engine.stepper.partition.clock):
                clock.add_metric([str(lane.tp.partition)], at / 1000)
        yield opened
        yield lag
        yield stalled
        yield clock
        partitions = GaugeMetricFamily(
            "rapport_partitions", "Partitions of a topic that workers share", labels=["stage", "topic"]
        )
        for topic in sorted({*map(self._settings.topic, (*self._settings.raw, EVENTS))}):
            if count := self._app.partitions_of(topic):
                partitions.add_metric([self._stage(topic), topic], float(count))
        yield partitions
        limit = GaugeMetricFamily("rapport_watchdog_limit_seconds", "So long stalled, and the worker ends itself")
        limit.add_metric([], self._watch.stall_s)
        yield limit
        delay = GaugeMetricFamily("rapport_loop_delay_seconds", "How much too late the event loop woke last")
        delay.add_metric([], self._app.tallies.loop_delay_s)
        yield delay
        killed = GaugeMetricFamily("rapport_kill_switch", "Whether no trigger may go out")
        killed.add_metric([], float(self._app.tallies.killed))
        yield killed

    def _work(self) -> Iterator[Metric]:
        tallies = self._app.tallies
        records = CounterMetricFamily("rapport_records", "Records that are done", labels=PLACE)
        for tp, count in tallies.records.items():
            records.add_metric(self._place(tp), count)
        yield records
        opens = CounterMetricFamily("rapport_lane_opens", "How often a partition was taken over", labels=PLACE)
        for tp, count in tallies.opened.items():
            opens.add_metric(self._place(tp), count)
        yield opens
        outputs = CounterMetricFamily("rapport_outputs", "Records that were published", labels=["topic"])
        for topic, count in tallies.outputs.items():
            outputs.add_metric([topic], count)
        yield outputs
        batches = HistogramMetricFamily("rapport_batch_records", "Records a batch", labels=["stage"])
        for stage, buckets in tallies.batches.items():
            _histogram(batches, [stage], buckets)
        yield batches

    def _times(self) -> Iterator[Metric]:
        tallies = self._app.tallies
        steps = HistogramMetricFamily(
            "rapport_step_seconds", "What a stage does with a batch", labels=["stage", "step"]
        )
        for stage, timings in tallies.timings.items():
            for step, buckets in timings.items():
                _histogram(steps, [stage, STEPS.get(step, step)], buckets)
        yield steps
        for name, text, buckets in (
            ("rapport_trigger_latency_seconds", "From arrival to the trigger's publication", tallies.latency),
            ("rapport_log_latency_seconds", "From the log to the publication of what followed", tallies.log_latency),
        ):
            latency = HistogramMetricFamily(name, text)
            _histogram(latency, [], buckets)
            yield latency

    def _decisions(self) -> Iterator[Metric]:
        tallies = self._app.tallies
        named = {
            "decided": CounterMetricFamily(
                "rapport_decisions", "Decisions; treated: triggers", labels=["campaign", "arm"]
            ),
            "suppressed": CounterMetricFamily(
                "rapport_suppressed", "Candidates held back", labels=["campaign", "reason"]
            ),
            "converted": CounterMetricFamily("rapport_conversions", "Goals reached", labels=["campaign", "arm"]),
        }
        for what, count in list(tallies.counts.items()):
            kind, *labels = what.split("|")
            if kind in named and len(labels) == 2:
                named[kind].add_metric(labels, count)
        yield from named.values()
        dead = CounterMetricFamily("rapport_dead_letters", "Records that were refused", labels=["reason"])
        for reason in REASONS:
            dead.add_metric([reason], tallies.intake[f"dead|{reason}"] + tallies.counts[f"dead|{reason}"])
        yield dead
        events = CounterMetricFamily("rapport_events", "Events that were not simply stepped", labels=["kind"])
        for kind in SPECIAL:
            events.add_metric([kind], tallies.counts[kind])
        yield events
        funnel = CounterMetricFamily("rapport_funnel_entered", "Customers that entered a stage", labels=["stage"])
        for number, stage in enumerate(FUNNEL):
            funnel.add_metric([stage], tallies.counts[f"stage|{number}"])
        yield funnel

    def _profiles(self) -> Iterator[Metric]:
        tallies = self._app.tallies
        asked = CounterMetricFamily("rapport_profile_lookups", "Records whose customer's profile was looked for")
        asked.add_metric([], tallies.asked)
        yield asked
        missed = CounterMetricFamily("rapport_profile_misses", "Customers whose profile was not in memory")
        missed.add_metric([], tallies.missed)
        yield missed
        cached = GaugeMetricFamily("rapport_profiles_cached", "Profiles in memory")
        cached.add_metric([], sum(len(e.stepper.cache) for lane in self._app.lanes if (e := _engine(lane)) is not None))
        yield cached

    def _models(self) -> Iterator[Metric]:
        by_target = {
            name: GaugeMetricFamily(f"rapport_model_{name}", text, labels=["model", "target"])
            for name, text in (
                ("labels", "Predictions whose label is known"),
                ("base_rate", "Share of positive labels"),
                ("log_loss", "Mean log loss, nats"),
                ("null_log_loss", "Mean log loss of the rate without features, nats"),
                ("auc", "Area under the ROC curve"),
                ("ece", "Expected calibration error"),
                ("ready", "Whether the model answers, not the rules"),
            )
        }
        of_model = {
            "learned": GaugeMetricFamily("rapport_model_learned", "Version: examples learned", labels=["model"]),
            "full": GaugeMetricFamily("rapport_model_full", "Whether it is too large to learn on", labels=["model"]),
            "drifts": CounterMetricFamily("rapport_model_drifts", "Drift alarms", labels=["model"]),
            "rollbacks": CounterMetricFamily("rapport_model_rollbacks", "Returns to a good state", labels=["model"]),
        }
        adopted = GaugeMetricFamily("rapport_model_adopted_offset", "Version in use", labels=["model", "partition"])
        models: dict[str, OnlineModel] = {}
        for lane in self._app.lanes:
            if lane.open and isinstance(lane.work, LearnerPartition):
                models = {**lane.work.models, **models}
            if (engine := _engine(lane)) is not None:
                models |= engine.models  # learned inline: the learner has nothing to do then
                for name, offset in engine.stepper.versions.items():
                    adopted.add_metric([name, str(lane.tp.partition)], offset)
        for name, model in models.items():
            self._model(name, model, by_target, of_model)
        yield from by_target.values()
        yield from of_model.values()
        yield adopted
        changed = GaugeMetricFamily(
            "rapport_model_changed_timestamp_seconds", "When this worker stored or took a version", labels=["model"]
        )
        for name, at in self._app.tallies.changed.items():
            changed.add_metric([name], at)
        yield changed

    def _model(
        self,
        name: str,
        model: OnlineModel,
        by_target: Mapping[str, GaugeMetricFamily],
        of_model: Mapping[str, Any],
    ) -> None:
        of_model["learned"].add_metric([name], model.version)
        of_model["full"].add_metric([name], float(model.full))
        of_model["drifts"].add_metric([name], model.drifts)
        of_model["rollbacks"].add_metric([name], model.rollbacks)
        for target in model.metrics:
            found = self._figures_of(name, target, model)
            values = {
                "labels": found.n,
                "base_rate": found.base_rate if found.n else None,
                "log_loss": found.log_loss if found.n else None,
                "null_log_loss": found.null_log_loss if found.n else None,
                "auc": found.auc,
                "ece": found.ece if found.n else None,
                "ready": float(model.ready(target)),
            }
            for figure, value in values.items():
                if value is not None:
                    by_target[figure].add_metric([name, target], value)

    def _figures_of(self, name: str, target: str, model: OnlineModel) -> Figures:
        """Figures are read off bins, which is done anew only where labels have come."""
        n = model.metrics[target].n
        known = self._figures.get((name, target))
        if known is None or known[0] != n:
            known = self._figures[name, target] = (n, model.metrics[target].figures())
        return known[1]


def _engine(lane: Lane) -> EnginePartition | None:
    """The engine of an open lane of the log."""
    return lane.work if lane.open and isinstance(lane.work, EnginePartition) else None


def _histogram(family: HistogramMetricFamily, labels: list[str], buckets: Buckets) -> None:
    family.add_metric(labels, buckets.cumulative(), buckets.sum)
