"""The six dashboards, one file each; each has ``build() -> Dashboard``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seismolog.sinks.grafana.dashboards import clients, incidents, mail, model, overview, pipeline

if TYPE_CHECKING:
    from seismolog.sinks.grafana.dashboard import Dashboard

__all__ = ["dashboards"]


def dashboards() -> list[Dashboard]:
    """All of them, in the order in which an administrator reads them."""
    return [part.build() for part in (overview, mail, model, clients, incidents, pipeline)]
