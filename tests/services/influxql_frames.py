"""What Grafana does between a panel's JSON and what it shows, and between a rule's JSON and its state.

What for: no Grafana can run here. Every panel and every rule is taken out of the generated files, its macros are filled
as Grafana fills them, the query runs against a real InfluxDB, the answer is turned into frames, transformed, and a
rule's reduce and threshold are computed.

How, each by the behaviour that the documentation describes:

- variables: ``${name:format}`` with the formats ``regex``, ``text``, ``raw``; "All" gives its own value, unescaped;
- ``$timeFilter`` -> ``time >= …ms and time <= …ms``; ``$__interval`` from range, points and the panel's least interval;
- frames: one for each series and column, named by the alias (``$tag_x``, ``$col``) or ``measurement.column {tags}``; a
  table is one frame with time, the tags and the columns;
- transformations ``merge``, ``organize``, ``renameByRegex``, ``reduce``, ``groupBy``, in the form used here;
- rules: reduce over the numbers of a series, dropping those that are none (``dropNN``), threshold ``gt`` and ``lt``; no
  series is "no data", an error answer is an error. What comes of many evaluations is told by ``alert_states``.

Limits: only what the generated files use; anything else raises :class:`NotImplementedError`, so that nothing passes
unseen.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

#: Grafana's steps of an interval: below so many milliseconds it is rounded to that.
_STEPS = (
    (1500, 1000), (3500, 2000), (7500, 5000), (12_500, 10_000), (17_500, 15_000), (25_000, 20_000), (45_000, 30_000),
    (90_000, 60_000), (210_000, 120_000), (450_000, 300_000), (750_000, 600_000), (1_050_000, 900_000),
    (1_500_000, 1_200_000), (2_700_000, 1_800_000), (5_400_000, 3_600_000), (9_000_000, 7_200_000),
    (16_200_000, 10_800_000), (32_400_000, 21_600_000), (86_400_000, 43_200_000), (604_800_000, 86_400_000),
)  # fmt: skip
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}

ALL = "$__all"


def duration(text: str) -> int:
    """Milliseconds of a length such as 10m."""
    match = re.fullmatch(r"(\d+)(ms|[smhdw])", text)
    if match is None:
        raise ValueError(f"Grafana would refuse the interval {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def as_text(milliseconds: int) -> str:
    """The length as Grafana writes it into a query."""
    for unit in ("d", "h", "m", "s", "ms"):
        if milliseconds % _UNITS[unit] == 0:
            return f"{milliseconds // _UNITS[unit]}{unit}"
    raise AssertionError


def interval(start: int, end: int, least: str | None, points: int = 1000) -> int:
    """Length of ``$__interval`` in milliseconds."""
    wanted = (end - start) / points
    rounded = next((step for below, step in _STEPS if wanted < below), _UNITS["w"])
    return max(rounded, duration(least) if least else 0)


def escape_regex(text: str) -> str:
    return re.sub(r"[\\^$*+?.()|\[\]{}/]", lambda m: "\\" + m[0], text)


@dataclass
class View:
    """A dashboard as someone looks at it: the range in milliseconds and the choices of the variables.

    A variable that is not chosen has the value that the dashboard opens with.
    """

    dashboard: dict[str, Any]
    start: int
    end: int
    chosen: dict[str, Any] = field(default_factory=dict)
    points: int = 1000

    def value(self, variable: str, form: str) -> str:
        model = next((v for v in self.dashboard["templating"]["list"] if v["name"] == variable), None)
        if model is None:
            raise KeyError(f"the dashboard {self.dashboard['uid']} has no variable {variable}")
        value = self.chosen[variable] if variable in self.chosen else model["current"]["value"]
        if model["type"] == "custom":
            text = next(o["text"] for o in model["options"] if o["value"] == value)
        else:
            text = value if isinstance(value, str) else " + ".join(value)
        if value in (ALL, [ALL]):
            return "All" if form == "text" else model["allValue"]
        if form == "text":
            return text
        if form == "raw":
            return value if isinstance(value, str) else ",".join(value)
        if form == "regex":
            if isinstance(value, str):
                return escape_regex(value)
            escaped = [escape_regex(v) for v in value]
            return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
        raise NotImplementedError(f"the format {form} of ${{{variable}}}")

    def fill(self, query: str, panel: dict[str, Any] | None = None) -> str:
        """The query with every macro and variable filled."""
        panel = panel or {}
        shift = duration(panel["timeShift"]) if panel.get("timeShift") else 0
        start, end = self.start - shift, self.end - shift
        length = interval(start, end, panel.get("interval") or "1m", self.points)
        filled = query.replace("$timeFilter", f"time >= {start}ms and time <= {end}ms")
        filled = filled.replace("$__interval_ms", str(length)).replace("$__interval", as_text(length))
        filled = filled.replace("${__from}", str(start)).replace("${__to}", str(end))
        filled = re.sub(r"\$\{(\w+):(\w+)\}", lambda m: self.value(m[1], m[2]), filled)
        if left := re.search(r"\$(?!/|\))(?:\{?\w+)", filled):
            raise NotImplementedError(f"nothing fills {left[0]} in {query}")
        return filled


@dataclass
class Frame:
    """Columns of equal length; a series has the two columns Time and its name, and labels."""

    columns: dict[str, list[Any]]
    labels: dict[str, str] = field(default_factory=dict)
    name: str = ""
    ref: str = ""

    @property
    def times(self) -> list[int]:
        return self.columns["Time"]

    @property
    def values(self) -> list[Any]:
        """The value column of a series."""
        return self.columns[next(c for c in self.columns if c != "Time")]

    @property
    def present(self) -> list[Any]:
        return [v for v in self.values if v is not None]

    def rows(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*self.columns.values(), strict=True)]


def _named(alias: str, series: dict[str, Any], column: str) -> str:
    tags = series.get("tags") or {}
    if not alias:
        labels = " {" + ", ".join(f"{k}: {v}" for k, v in sorted(tags.items())) + "}" if tags else ""
        return f"{series['name']}.{column}{labels}"
    named = re.sub(r"\$tag_(\w+)", lambda m: tags[m[1]], alias)
    named = named.replace("$col", column).replace("$m", series["name"])
    if "$" in named:
        raise NotImplementedError(f"the alias {alias}")
    return named


def frames(answer: dict[str, Any], target: dict[str, Any]) -> list[Frame]:
    """The frames of a target's answer. An error in the answer is raised."""
    (result,) = answer["results"]
    if "error" in result:
        raise RuntimeError(f"{result['error']}: {target['query']}")
    made: list[Frame] = []
    series = result.get("series", [])
    if target["resultFormat"] == "time_series":
        for one in series:
            times = [row[0] for row in one["values"]]
            for place, column in enumerate(one["columns"][1:], 1):
                values = [row[place] for row in one["values"]]
                made.append(
                    Frame(
                        {"Time": times, column: values},
                        dict(one.get("tags") or {}),
                        _named(target.get("alias", ""), one, column),
                        target["refId"],
                    )
                )
        return made
    if not series:
        return []
    tags = sorted({tag for one in series for tag in one.get("tags") or {}})
    columns = series[0]["columns"][1:]
    table: dict[str, list[Any]] = {name: [] for name in ("Time", *tags, *columns)}
    for one in series:
        for row in one["values"]:
            table["Time"].append(row[0])
            for tag in tags:
                table[tag].append((one.get("tags") or {}).get(tag))
            for column, value in zip(columns, row[1:], strict=True):
                table[column].append(value)
    return [Frame(table, name=series[0]["name"], ref=target["refId"])]


def _merge(given: list[Frame]) -> list[Frame]:
    """Tables into one: rows that agree in the columns that all have become one row."""
    common = [c for c in given[0].columns if all(c in f.columns for f in given)]
    columns = list(dict.fromkeys(c for f in given for c in f.columns))
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for frame in given:
        for row in frame.rows():
            rows.setdefault(tuple(row[c] for c in common), {}).update(row)
    return [Frame({c: [r.get(c) for r in rows.values()] for c in columns})]


def _organize(frame: Frame, options: dict[str, Any]) -> Frame:
    kept = {c: v for c, v in frame.columns.items() if not options["excludeByName"].get(c)}
    frame.columns = {options["renameByName"].get(c, c): v for c, v in kept.items()}
    return frame


def _group(frame: Frame, fields: dict[str, Any]) -> Frame:
    keys = [c for c, how in fields.items() if how["operation"] == "groupby"]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in frame.rows():
        groups.setdefault(tuple(row[k] for k in keys), []).append(row)
    made: dict[str, list[Any]] = {k: [g[i] for g in groups] for i, k in enumerate(keys)}
    functions = {"sum": sum, "count": len, "max": max}
    for column, how in fields.items():
        for name in how["aggregations"]:
            made[f"{column} ({name})"] = [
                functions[name]([r[column] for r in rows]) for rows in groups.values()
            ]
    return Frame(made)


def transform(given: list[Frame], steps: list[dict[str, Any]]) -> list[Frame]:
    """The frames after the panel's transformations."""
    for step in steps:
        options = step["options"]
        match step["id"]:
            case "merge":
                given = _merge(given) if given else given
            case "organize":
                given = [_organize(f, options) for f in given]
            case "renameByRegex":
                by = re.sub(r"\$(\d)", r"\\\1", options["renamePattern"])
                for frame in given:
                    frame.name = re.sub(options["regex"], by, frame.name)
            case "reduce" if options["mode"] == "seriesToRows" and options["reducers"] == ["sum"]:
                given = [Frame({"Field": [f.name for f in given], "Total": [sum(f.present) for f in given]})]
            case "groupBy":
                given = [_group(f, options["fields"]) for f in given]
            case other:
                raise NotImplementedError(f"the transformation {other}: {options}")
    return given


def reduced(calc: str, values: list[Any]) -> float | None:
    """One number of a series: Grafana's calculations of a stat, and of a rule's reduce."""
    numbers = [v for v in values if v is not None and not math.isnan(v)]
    if not numbers:
        return None
    match calc:
        case "last" | "lastNotNull":
            return numbers[-1]
        case "mean":
            return sum(numbers) / len(numbers)
        case "sum":
            return sum(numbers)
        case "min":
            return min(numbers)
        case "max":
            return max(numbers)
        case _:
            raise NotImplementedError(f"the calculation {calc}")


@dataclass
class Verdict:
    """What a rule says: its state, and the value of each series by its labels."""

    state: str
    values: dict[tuple[tuple[str, str], ...], float]
    firing: list[dict[str, str]]


@dataclass
class Outcome:
    """One evaluation: the value of each series by its labels and whether the condition holds for it, or an error."""

    values: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)
    holds: dict[tuple[tuple[str, str], ...], bool] = field(default_factory=dict)
    error: str | None = None

    @property
    def no_data(self) -> bool:
        """Whether the query gave nothing to judge."""
        return self.error is None and not self.values


def evaluate(rule: dict[str, Any], run: Any) -> Outcome:
    """Query, reduce and threshold of a rule, once.

    `run` is called with the query and gives InfluxDB's answer.
    """
    nodes = {n["refId"]: n for n in rule["data"]}
    condition = nodes[rule["condition"]]["model"]
    reduce = nodes[condition["expression"]]["model"]
    source = nodes[reduce["expression"]]["model"]
    assert (condition["type"], reduce["type"]) == ("threshold", "reduce")
    assert reduce["settings"] == {"mode": "dropNN"}
    try:
        given = frames(run(source["query"]), source)
    except RuntimeError as error:
        return Outcome(error=str(error))
    values = {
        tuple(sorted(f.labels.items())): value
        for f in given
        if (value := reduced(reduce["reducer"], f.values)) is not None
    }
    (one,) = condition["conditions"]
    (limit,) = one["evaluator"]["params"]
    met = {"gt": lambda v: v > limit, "lt": lambda v: v < limit}[one["evaluator"]["type"]]
    return Outcome(values, {labels: met(value) for labels, value in values.items()})


def judge(rule: dict[str, Any], run: Any) -> Verdict:
    """The state of a rule as if its ``for`` had passed: Firing, Normal, or what it chose for no data and errors."""
    found = evaluate(rule, run)
    if found.error is not None:
        return Verdict({"Error": "Error", "OK": "Normal", "Alerting": "Firing"}[rule["execErrState"]], {}, [])
    if found.no_data:
        states = {"OK": "Normal", "NoData": "NoData", "Alerting": "Firing"}
        return Verdict(states[rule["noDataState"]], {}, [])
    firing = [dict(labels) for labels, holds in found.holds.items() if holds]
    return Verdict("Firing" if firing else "Normal", found.values, firing)
