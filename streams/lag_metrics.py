"""What ``rapport lag`` sees, for Prometheus: it is there when no worker is."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .lag import Look
from .metrics_server import FIRST, Endpoint

PLACE = ("stage", "topic", "partition")


class LagMetrics(Collector):
    """The last look, whoever asks and whenever.

    >>> [family.name for family in LagMetrics().collect()]
    []
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: tuple[Look, float] | None = None

    def see(self, look: Look, at: float) -> None:
        """A new look.

        Parameters
        ----------
        at
            When it was, seconds since 1970.
        """
        with self._lock:
            self._seen = look, at

    def collect(self) -> Iterator[Metric]:
        """All families; none before the first look."""
        with self._lock:
            seen = self._seen
        if seen is None:
            return
        look, at = seen
        yield from _spots(look)
        yield from _triggers(look)
        last = GaugeMetricFamily("rapport_lag_seen_timestamp_seconds", "When broker and store were last looked at")
        last.add_metric([], at)
        yield last


def _spots(look: Look) -> Iterator[Metric]:
    lag = GaugeMetricFamily("rapport_group_lag_records", "Records that the group has not done", labels=PLACE)
    behind = GaugeMetricFamily("rapport_group_behind_seconds", "Event time still to be worked through", labels=PLACE)
    waiting = GaugeMetricFamily("rapport_group_waiting_seconds", "Age of the first undone record", labels=PLACE)
    lost = GaugeMetricFamily("rapport_group_lost_records", "Removed by retention before they were read", labels=PLACE)
    for spot in look.spots:
        place = [spot.stage, spot.topic, str(spot.partition)]
        if spot.unread is not None:
            lag.add_metric(place, spot.unread)
        if spot.behind_ms is not None:
            behind.add_metric(place, spot.behind_ms / 1000)
        if spot.waiting_ms is not None:
            waiting.add_metric(place, spot.waiting_ms / 1000)
        lost.add_metric(place, spot.lost)
    yield from (lag, behind, waiting, lost)


def _triggers(look: Look) -> Iterator[Metric]:
    labels = ("group", "topic")
    unread = GaugeMetricFamily("rapport_triggers_unread", "Triggers that a subscriber has not read", labels=labels)
    expired = GaugeMetricFamily("rapport_triggers_expired_unread", "Those of them past their expiry", labels=labels)
    for one in look.triggers:
        unread.add_metric([one.group, one.topic], one.unread)
        expired.add_metric([one.group, one.topic], one.gone)
    yield from (unread, expired)


def start(metrics: LagMetrics, endpoint: Endpoint) -> str:
    """Serve in a thread of its own; returns the address.

    Raises
    ------
    StreamError
        Where the port cannot be had.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    port = FIRST if endpoint.port is None else endpoint.port
    try:
        server, _ = start_http_server(port, endpoint.host, registry)
    except OSError as error:
        raise endpoint.refused(port, error) from error
    return f"http://{endpoint.host}:{server.server_port}/metrics"
