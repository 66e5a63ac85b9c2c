"""Panels: typed pieces of a dashboard that become the JSON that Grafana 9.4 to 13 load.

What for: the six dashboards say what they show; how Grafana wants it written is said once, here.

How: each class holds what differs between panels of its type and writes the rest with chosen values. Nothing is left to
a default of Grafana's that has changed between versions: null handling, legend, tooltip, reducers are always written.
Colours are the eight of Okabe and Ito, which the colour-blind can tell apart; a quantity has one colour everywhere.

Limits: the panel types used are ``timeseries``, ``stat``, ``table``, ``text`` and ``row``. Only options that exist from
Grafana 9.4 on are written; ``tests/unit/test_grafana_schema.py`` holds them to the published types of 9.4 to 13.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seismolog.sinks.grafana.influxql import Select

__all__ = [
    "COLORS",
    "DATASOURCE",
    "Link",
    "Override",
    "Panel",
    "Row",
    "Stat",
    "Table",
    "Target",
    "Text",
    "Thresholds",
    "TimeSeries",
    "look",
]

Json = dict[str, Any]

#: The data source that every query goes to: type and the UID that the provisioning file gives it.
DATASOURCE: dict[str, str] = {"type": "influxdb", "uid": "seismolog-influxdb"}

#: Okabe and Ito's palette by what it is used for.
COLORS = {
    "observed": "#0072B2",
    "calculated": "#E69F00",
    "residual": "#000000",
    "accepted": "#009E73",
    "sent": "#56B4E9",
    "deferred": "#D55E00",
    "sessions": "#CC79A7",
    "band": "#999999",
    "good": "#009E73",
    "notice": "#56B4E9",
    "warning": "#E69F00",
    "critical": "#D55E00",
    "neutral": "#808080",
}


@dataclass(frozen=True)
class Target:
    """One query of a panel.

    Parameters
    ----------
    query
        The query.
    alias
        Name of a series; ``$tag_server`` and ``$col`` are filled by Grafana.
    table
        Whether the answer is a table and not series.
    """

    query: Select
    alias: str = ""
    table: bool = False

    def json(self, ref: str) -> Json:
        """The target as Grafana stores it: raw InfluxQL."""
        made: Json = {
            "datasource": DATASOURCE,
            "refId": ref,
            "rawQuery": True,
            "query": str(self.query),
            "resultFormat": "table" if self.table else "time_series",
        }
        if self.alias:
            made["alias"] = self.alias
        return made


@dataclass(frozen=True)
class Thresholds:
    """Steps of colour: the base and then (value, colour), and how a chart shows them."""

    steps: tuple[tuple[float, str], ...] = ()
    base: str = "good"
    style: Literal["off", "dashed", "area"] = "off"

    def json(self) -> Json:
        """Steps as Grafana stores them; the first has no value."""
        steps: list[Json] = [{"color": COLORS[self.base], "value": None}]
        steps += [{"color": COLORS[color], "value": value} for value, color in self.steps]
        return {"mode": "absolute", "steps": steps}


@dataclass(frozen=True)
class Link:
    """A link: of a value (data link) or of a panel."""

    title: str
    url: str
    blank: bool = False

    def json(self) -> Json:
        """As Grafana stores it."""
        return {"title": self.title, "url": self.url, "targetBlank": self.blank}


@dataclass(frozen=True)
class Override:
    """Properties of the fields of one name, or of names that match a regular expression (``/…/``)."""

    name: str
    properties: tuple[tuple[str, Any], ...]

    def json(self) -> Json:
        """As Grafana stores it."""
        matcher = "byRegexp" if self.name.startswith("/") else "byName"
        return {
            "matcher": {"id": matcher, "options": self.name},
            "properties": [{"id": key, "value": value} for key, value in self.properties],
        }


def look(name: str, color: str, **custom: Any) -> Override:
    """A fixed colour, and properties of the drawing, for the series of that name."""
    properties: list[tuple[str, Any]] = [("color", {"mode": "fixed", "fixedColor": COLORS[color]})]
    properties += [(f"custom.{key}", value) for key, value in custom.items()]
    return Override(name, tuple(properties))


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What every panel has.

    Parameters
    ----------
    title, description
        Both are required: no panel is left without an explanation.
    targets
        The queries, named A, B, … in this order.
    unit
        Unit of the values, by Grafana's name for it.
    width, height
        In units of the grid: 24 make a line, 8 high is usual.
    interval
        The least length of ``$__interval``: the bin of what is shown.
    time_shift
        Shows what was so long before, such as ``7d``.
    """

    title: str
    description: str
    targets: Sequence[Target] = ()
    unit: str = "short"
    decimals: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    no_value: str | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    overrides: Sequence[Override] = ()
    links: Sequence[Link] = ()
    data_links: Sequence[Link] = ()
    transformations: Sequence[Json] = ()
    width: int = 12
    height: int = 8
    interval: str | None = None
    time_shift: str | None = None

    kind = ""

    def options(self) -> Json:
        """Options of the panel's type."""
        raise NotImplementedError

    def custom(self) -> Json:
        """The part of the fields' configuration that belongs to the panel's type."""
        return {}

    def color(self) -> Json:
        """How values or series are coloured."""
        return {"mode": "thresholds"}

    def json(self, number: int, x: int, y: int) -> Json:
        """The panel with its number and place."""
        defaults: Json = {"unit": self.unit, "color": self.color(), "thresholds": self.thresholds.json()}
        defaults["mappings"] = []
        for key, value in (
            ("decimals", self.decimals),
            ("min", self.minimum),
            ("max", self.maximum),
            ("noValue", self.no_value),
        ):
            if value is not None:
                defaults[key] = value
        if self.data_links:
            defaults["links"] = [link.json() for link in self.data_links]
        if custom := self.custom():
            defaults["custom"] = custom
        made: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "datasource": DATASOURCE,
            "targets": [t.json(chr(ord("A") + i)) for i, t in enumerate(self.targets)],
            "fieldConfig": {"defaults": defaults, "overrides": [o.json() for o in self.overrides]},
            "options": self.options(),
            "transparent": False,
        }
        if self.links:
            made["links"] = [link.json() for link in self.links]
        if self.transformations:
            made["transformations"] = list(self.transformations)
        if self.interval:
            made["interval"] = self.interval
        if self.time_shift:
            made["timeShift"] = self.time_shift
        return made


@dataclass(frozen=True, kw_only=True)
class TimeSeries(Panel):
    """Curves over time.

    Parameters
    ----------
    draw
        Line, bars or points.
    stacked
        Whether the curves are added up.
    span
        Null handling of the drawing: False leaves a gap where a value is missing, True joins the values beside it.
    """

    kind = "timeseries"

    draw: Literal["line", "bars", "points"] = "line"
    step: bool = False
    stacked: bool = False
    span: bool = False
    fill_opacity: int = 0
    label: str = ""
    legend: tuple[str, ...] = ("mean", "max", "lastNotNull")

    def options(self) -> Json:
        """Legend below as a table with figures; the tooltip shows every curve."""
        return {
            "legend": {
                "showLegend": True,
                "displayMode": "table" if self.legend else "list",
                "placement": "bottom",
                "calcs": list(self.legend),
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }

    def color(self) -> Json:
        """Colours by series."""
        return {"mode": "palette-classic"}

    def custom(self) -> Json:
        """How it is drawn."""
        bars = self.draw == "bars"
        return {
            "drawStyle": self.draw,
            "lineInterpolation": "stepAfter" if self.step else "linear",
            "lineWidth": 1,
            "fillOpacity": 80 if bars else self.fill_opacity,
            "gradientMode": "none",
            "showPoints": "always" if self.draw == "points" else "never",
            "pointSize": 5,
            "spanNulls": self.span,
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            "axisPlacement": "auto",
            "axisLabel": self.label,
            "scaleDistribution": {"type": "linear"},
            "thresholdsStyle": {"mode": self.thresholds.style},
            "hideFrom": {"legend": False, "tooltip": False, "viz": False},
        }


@dataclass(frozen=True, kw_only=True)
class Stat(Panel):
    """Figures, each with its curve where `graph`.

    Parameters
    ----------
    calc
        Which value of a series is shown: ``lastNotNull``, ``sum``, ``mean``, ``max`` …
    background
        Whether the background is coloured and not the figure.
    """

    kind = "stat"

    calc: str = "lastNotNull"
    graph: bool = False
    background: bool = False
    width: int = 6
    height: int = 4

    def options(self) -> Json:
        """Figures with their names."""
        return {
            "reduceOptions": {"calcs": [self.calc], "fields": "", "values": False},
            "orientation": "auto",
            "textMode": "value_and_name",
            "colorMode": "background" if self.background else "value",
            "graphMode": "area" if self.graph else "none",
            "justifyMode": "auto",
        }


@dataclass(frozen=True, kw_only=True)
class Table(Panel):
    """Rows.

    Parameters
    ----------
    sort
        Column that the rows are sorted by, descending.
    """

    kind = "table"

    sort: str | None = None
    width: int = 24

    def options(self) -> Json:
        """A header and the first frame."""
        made: Json = {"showHeader": True, "frameIndex": 0}
        if self.sort:
            made["sortBy"] = [{"displayName": self.sort, "desc": True}]
        return made

    def custom(self) -> Json:
        """Columns as wide as they need."""
        return {"align": "auto", "inspect": True, "cellOptions": {"type": "auto"}}


@dataclass(frozen=True, kw_only=True)
class Text(Panel):
    """A note in Markdown."""

    kind = "text"

    content: str = ""
    width: int = 24

    def options(self) -> Json:
        """The note."""
        return {"mode": "markdown", "content": self.content}

    def json(self, number: int, x: int, y: int) -> Json:
        """A text asks no data source and has no fields."""
        made = super().json(number, x, y)
        del made["datasource"], made["targets"]
        return made | {"fieldConfig": {"defaults": {}, "overrides": []}}


@dataclass(frozen=True)
class Row:
    """A heading that starts a new line; what follows belongs to it."""

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False
