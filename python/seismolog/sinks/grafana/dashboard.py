"""A dashboard: rows of panels, the variables, the links between dashboards and the incidents as annotations.

How: :meth:`Dashboard.json` lays the panels out line by line on Grafana's grid of 24 columns, numbers them in order and
writes the result in the form of schema version 37, that of Grafana 9.4, which every later version loads and migrates.

Every dashboard carries all four variables, hidden where it does not use them, so that a link from one to the next keeps
time range, server, client, bin and query type.

Limits: panel numbers follow the order in the file; a link to a single panel breaks when one is put before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seismolog.sinks.grafana.influxql import Select, among, matches, unlike
from seismolog.sinks.grafana.measurements import BINS, OTHER
from seismolog.sinks.grafana.panels import COLORS, DATASOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seismolog.sinks.grafana.panels import Panel, Row

__all__ = [
    "DEFAULT_BIN",
    "INCIDENTS",
    "NOW_DELAY",
    "SCHEMA_VERSION",
    "SPANS",
    "TAG",
    "VARIABLES",
    "Dashboard",
    "uid",
]

Json = dict[str, Any]

#: What Grafana 9.4 writes; later versions migrate it on loading.
SCHEMA_VERSION = 37
#: The tag of all our dashboards, by which they link to one another.
TAG = "seismolog"
#: The bin that a dashboard opens with.
DEFAULT_BIN = "10m"
#: Bins that are still open are left out at the right edge.
NOW_DELAY = "3m"

VARIABLES = ("server", "client", "bin", "query_type")

#: Stretches of time with the bin that suits them: a thousand points or two a curve. Grafana cannot choose a measurement
#: by the time range, so links set both at once.
SPANS = {
    "3 hours": ("3h", "1m"),
    "24 hours": ("24h", "10m"),
    "7 days": ("7d", "10m"),
    "90 days": ("90d", "1h"),
}


def uid(name: str) -> str:
    """UID of the dashboard of that name; stable, so that links and pushes find it again."""
    return f"seismolog-{name}"


def _tag_values(
    key: str, label: str, description: str, query: Select, *, hidden: bool, everything: bool = True
) -> Json:
    """A variable whose values are those of a tag; several may be chosen, and with `everything` all."""
    made: Json = {
        "type": "query",
        "name": key,
        "label": label,
        "description": description,
        "datasource": DATASOURCE,
        # A string and no object: 9.4 knows only this form, later versions accept it.
        "query": str(query),
        "refresh": 1,
        "regex": "",
        "sort": 1,
        "multi": True,
        "includeAll": everything,
        "options": [],
        "hide": 2 if hidden else 0,
        "skipUrlSync": False,
    }
    if everything:
        made["allValue"] = ".*"
        made["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    # Without a current value Grafana takes the first one there is.
    return made


@dataclass(frozen=True)
class _ShowValues(Select):
    """SHOW TAG VALUES, which has no time."""

    def __str__(self) -> str:
        assert isinstance(self.source, str)
        made = f'SHOW TAG VALUES FROM "{self.source}" WITH KEY = "{self.fields}"'
        return made + (" WHERE " + " AND ".join(self.where) if self.where else "")


def _variables(used: Sequence[str], every_client: bool) -> list[Json]:
    # The roll-up by hours has all values and the fewest points.
    hours = BINS["1h"]
    options = [
        {"selected": length == DEFAULT_BIN, "text": length, "value": table} for length, table in BINS.items()
    ]
    return [
        _tag_values(
            "server", "Server", "The host that wrote the lines.",
            _ShowValues("server", hours), hidden="server" not in used,
        ),
        _tag_values(
            "client", "Client", "The address that caused the events. Only clients with a series of their "
            "own.",
            _ShowValues("client", f"client_{hours}", (unlike("client", OTHER),)),
            # The curves of all clients over months would take InfluxDB minutes.
            hidden="client" not in used, everything=every_client,
        ),
        {
            "type": "custom",
            "name": "bin",
            "label": "Bin",
            "description": "Length of the bins: 1m for hours, 10m for days, 1h for months. The links “3 hours” to “90 "
            "days” above set it with the time range.",
            "query": ", ".join(f"{length} : {table}" for length, table in BINS.items()),
            "multi": False,
            "includeAll": False,
            "current": {"selected": True, "text": DEFAULT_BIN, "value": BINS[DEFAULT_BIN]},
            "options": options,
            "hide": 0 if "bin" in used else 2,
            "skipUrlSync": False,
        },
        _tag_values(
            "query_type", "Query type", "DNS query type.",
            _ShowValues("query_type", hours, (unlike("query_type", "none"),)),
            hidden="query_type" not in used,
        ),
    ]  # fmt: skip


#: What an incident shows as an annotation. The end is in milliseconds; 0 (still open) makes a line and no region.
INCIDENTS = Select(
    '"explanation", "subject", "detector", "severity", "end" / 1000000 AS "end_ms"',
    "incident",
)


def _annotation(name: str, color: str, query: Select, *, enable: bool = True) -> Json:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": enable,
        "hide": False,
        "iconColor": color,
        "target": {
            "refId": "Anno",
            "query": str(query),
            "queryType": "tags",
            "fromAnnotations": True,
            "name": name,
            "textColumn": "explanation",
            "titleColumn": "subject",
            "tagsColumn": "detector,severity",
            "timeEndColumn": "end_ms",
            "limit": 100,
            "matchAny": False,
            "tags": [],
            "type": "dashboard",
        },
    }


@dataclass(frozen=True)
class Dashboard:
    """One dashboard.

    Parameters
    ----------
    name
        Short name: of the file, and part of the UID.
    uses
        Variables that are shown.
    period
        The time that it opens with, back from now.
    incidents_of
        Condition on the incidents that are drawn as annotations.
    every_client
        Whether all clients can be chosen at once, and are at first.
    """

    name: str
    title: str
    description: str
    rows: Sequence[Row]
    uses: Sequence[str] = ("server", "bin")
    period: str = "24h"
    incidents_of: tuple[str, ...] = ()
    every_client: bool = False

    @property
    def uid(self) -> str:
        """Its UID."""
        return uid(self.name)

    def _annotations(self) -> list[Json]:
        built_in = {
            "builtIn": 1,
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "enable": True,
            "hide": True,
            "iconColor": "rgba(0, 211, 255, 1)",
            "name": "Annotations & Alerts",
            "type": "dashboard",
            "target": {"limit": 100, "matchAny": False, "tags": [], "type": "dashboard"},
        }
        graded = [
            _annotation(
                title,
                COLORS[color],
                Select(
                    INCIDENTS.fields, INCIDENTS.source, (among("severity", *severities), *self.incidents_of)
                ),
            )
            for title, color, severities in (
                ("Critical incidents", "critical", ("critical",)),
                ("Incidents", "warning", ("notice", "warning")),
            )
        ]
        return [built_in, *graded]

    def _panels(self) -> list[Json]:
        made: list[Json] = []
        y, number = 0, 0

        def place(panels: Sequence[Panel], y: int) -> tuple[list[Json], int]:
            nonlocal number
            placed, x, deepest = [], 0, y
            for panel in panels:
                if x + panel.width > 24:
                    x, y = 0, deepest
                number += 1
                placed.append(panel.json(number, x, y))
                x += panel.width
                deepest = max(deepest, y + panel.height)
            return placed, deepest

        for row in self.rows:
            number += 1
            heading: Json = {
                "id": number,
                "type": "row",
                "title": row.title,
                "collapsed": row.collapsed,
                "gridPos": {"h": 1, "w": 24, "x": 0, "y": y},
                "panels": [],
            }
            panels, end = place(row.panels, y + 1)
            made.append(heading)
            if row.collapsed:
                heading["panels"] = panels
                y += 1
            else:
                made += panels
                y = end
        return made

    def _spans(self) -> list[Json]:
        """Links to this dashboard over other stretches, with the bin that suits them and the same other choices."""
        kept = "&".join(f"${{{v}:queryparam}}" for v in VARIABLES if v != "bin")
        return [
            {
                "type": "link",
                "title": title,
                "tags": [],
                "asDropdown": False,
                "icon": "dashboard",
                "includeVars": False,
                "keepTime": False,
                "targetBlank": False,
                "tooltip": f"The last {title} in bins of {length}",
                "url": f"/d/{self.uid}?from=now-{back}&to=now&var-bin={BINS[length]}&{kept}",
            }
            for title, (back, length) in SPANS.items()
        ]

    def json(self) -> Json:
        """The dashboard as Grafana stores it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "liveNow": False,
            "refresh": "1m",
            "time": {"from": f"now-{self.period}", "to": "now"},
            "timepicker": {"nowDelay": NOW_DELAY},
            "timezone": "",
            "weekStart": "",
            "annotations": {"list": self._annotations()},
            "templating": {"list": _variables(self.uses, self.every_client)},
            "links": [
                {
                    "type": "dashboards",
                    "title": "seismolog",
                    "tags": [TAG],
                    "asDropdown": False,
                    "icon": "external link",
                    "includeVars": True,
                    "keepTime": True,
                    "targetBlank": False,
                    "tooltip": "The other dashboards, with the same time range and the same choices",
                    "url": "",
                },
                *(self._spans() if "bin" in self.uses else ()),
            ],
            "panels": self._panels(),
        }


def client_filter() -> str:
    """Condition that the client of a row is among those chosen."""
    return matches("client", "client")
