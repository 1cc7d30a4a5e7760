"""Counts of requests as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infra.requests.records import RequestStatus
from infra.service.desk import Counts

STATUSES: tuple[str, ...] = get_args(RequestStatus)


class _Requests(Collector):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        by_status = GaugeMetricFamily("revs_requests", "Deletion requests by status.", labels=["status"])
        for status in STATUSES:
            by_status.add_metric([status], self._counts.by_status.get(status, 0))
        yield by_status
        late = "Unanswered requests of which a day has passed by which something had to be done."
        yield GaugeMetricFamily("revs_requests_overdue", late, self._counts.overdue)
        soon = "Unanswered requests that are due soon (REVS_AT_RISK_DAYS)."
        yield GaugeMetricFamily("revs_requests_at_risk", soon, self._counts.at_risk)


def exposition(counts: Counts) -> tuple[bytes, str]:
    """Return the metrics as text, and its media type."""
    registry = CollectorRegistry()
    registry.register(_Requests(counts))
    return generate_latest(registry), CONTENT_TYPE_LATEST
