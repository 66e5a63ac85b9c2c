"""Whether a running Grafana has what a push would bring, and reaches InfluxDB. Nothing is changed.

Limits: what the token may not read is told as it is: a service account with the role Viewer cannot read data sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seismolog.errors import ServiceError
from seismolog.sinks.grafana.panels import DATASOURCE
from seismolog.sinks.grafana.push import Pushed, push_dashboards, push_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from seismolog.sinks.grafana.api import Grafana
    from seismolog.sinks.grafana.provisioning import Place

__all__ = ["OLDEST", "Found", "check"]

#: The oldest version that the dashboards are made for.
OLDEST = (9, 4)


@dataclass
class Found:
    """What was looked at, and what is wrong."""

    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class _Dry:
    """Stands in place of a Grafana: reads what is there and changes nothing."""

    def __init__(self, grafana: Grafana) -> None:
        self._grafana = grafana
        self.api = grafana.api

    def find(self, what: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Reading is allowed."""
        return self._grafana.find(what, function, *arguments, **options)

    def call(self, what: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Only reading is allowed."""
        if what.startswith("read "):
            return self._grafana.call(what, function, *arguments, **options)
        return None


def check(grafana: Grafana, place: Place) -> Found:
    """Look at version, data source, dashboards and rules.

    Raises
    ------
    ServiceError
        Grafana cannot be reached.
    """
    found = Found()
    health = grafana.call("read its health", grafana.api.health.check)
    version = str(health.get("version") or "")
    found.lines.append(f"Grafana {version or 'of a hidden version'}, database {health.get('database')}")
    numbers = tuple(int(n) for n in version.split("-")[0].split(".")[:2] if n.isdigit())
    if len(numbers) == 2 and numbers < OLDEST:
        found.faults.append(f"version {version}: the dashboards are made for 9.4 and later")
    _datasource(grafana, found)
    pushed = Pushed()
    # It has the two functions that a push uses.
    dry: Any = _Dry(grafana)
    for what, step in (("dashboards", push_dashboards), ("alert rules", push_rules)):
        before = pushed.same
        try:
            step(dry, place, pushed)
        except ServiceError as error:
            found.faults.append(f"{what}: {error.message}")
            continue
        found.lines.append(f"{what}: {pushed.same - before} as they should be")
    names = {"created": "missing", "updated": "differs", "deleted": "no longer used"}
    found.faults += [f"{name}: {names[what]}; run `seismolog grafana push`" for what, name in pushed.done]
    return found


def _datasource(grafana: Grafana, found: Found) -> None:
    api = grafana.api.datasource
    try:
        source = grafana.find("read the data source", api.get_datasource_by_uid, DATASOURCE["uid"])
        if source is None:
            found.faults.append("the data source is missing: run `seismolog grafana setup`, or provision it")
            return
        health = grafana.call("read the health of the data source", api.health, DATASOURCE["uid"])
    except ServiceError as error:
        found.faults.append(f"the data source: {error.message}")
        return
    said = str(health.get("message") or "")[:200]
    if health.get("status") == "OK":
        found.lines.append(f"data source: {said}")
    else:
        found.faults.append(f"the data source does not reach InfluxDB: {said}")
