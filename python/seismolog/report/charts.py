"""Charts as HTML and inline SVG: no library, no script needed to see them, and they print.

A chart is a ``<figure>``: a heading, one or more panels that share a time axis, a legend that doubles as the
read-out, and the same numbers as a table for those who cannot or do not want to look at a picture. Lines are
SVG paths in a box that stretches with the page (``preserveAspectRatio="none"``, strokes keep their width),
and every letter is HTML placed by percentage, so that text keeps its size on a phone and on paper.

Colours are CSS classes, so that light, dark and print need no second drawing. Curves differ in dash or form
as well as in colour. The script in ``assets/report.js`` adds a cross-hair over all charts at once; the data it
reads stand in one JSON element per figure.

Limits: time runs along x and a panel has one y axis, on purpose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from seismolog.report.text import bin_name, duration, html, integer, json_for_script, number, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from seismolog.report.curves import Axis, Band, Values

WIDTH = 1000.0
"""Width of a drawing in its own units; the page stretches it."""

FLAG_WIDTH = 0.022
"""Share of the width that the number of a finding takes."""

Form = Literal["line", "dash", "area", "bars"]


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: ``key`` chooses its colour class, ``label`` is HTML, ``name`` the same in plain text."""

    key: str
    name: str
    label: str
    band: Band
    form: Form = "line"
    show_range: bool = True


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing: curves on one y axis from zero, or around it where ``signed``."""

    series: Sequence[Series]
    unit: str
    height: int = 180
    signed: bool = False
    share: bool = False
    """Values are shares of one, written as percentages."""
    show: Callable[[float | None], str] | None = None

    def value(self, value: float | None) -> str:
        """A value of this panel as the read-out and the table write it."""
        if value is None:
            return "–"
        if self.show is not None:
            return self.show(value)
        return percent(value, 0) if self.share else number(value)


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of time that a finding or an incident speaks of, numbered as in its list."""

    start: datetime
    end: datetime
    number: int
    severity: str = "info"
    list: str = "finding"


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its words."""

    id: str
    title: str
    lead: str
    """One or two sentences of HTML that say how to read it and what it shows here."""
    axis: Axis
    panels: Sequence[Panel]
    marks: Sequence[Mark] = field(default_factory=tuple)
    note: str = ""


def figure(chart: Figure) -> str:
    """The whole figure as HTML."""
    plots = "".join(_plot(chart, place) for place in range(len(chart.panels)))
    return (
        f'<figure class="chart" id="{html(chart.id)}" aria-labelledby="{html(chart.id)}-title">'
        f'<figcaption><h3 id="{html(chart.id)}-title">{chart.title}</h3><p>{chart.lead}</p></figcaption>'
        f'<div class="panels" tabindex="0" role="group" aria-roledescription="chart" '
        f'aria-label="{html(_summary(chart))}" aria-describedby="chart-keys">{plots}'
        f"{_time_axis(chart.axis)}</div>"
        f"{f'<p class=note>{chart.note}</p>' if chart.note else ''}"
        f"{_table(chart)}"
        f'<script type="application/json" class="data">{json_for_script(_data(chart))}</script>'
        f"</figure>"
    )


def flags(axis: Axis, marks: Sequence[Mark]) -> str:
    """The numbers of findings above a drawing, each a link to its finding; close ones step aside."""
    placed: list[tuple[float, Mark]] = []
    for mark in sorted(marks, key=lambda m: m.start):
        place = axis.position(mark.start)
        if placed and place < placed[-1][0] + FLAG_WIDTH:
            place = placed[-1][0] + FLAG_WIDTH
        placed.append((min(place, 1.0), mark))
    return "".join(
        f'<a class="flag {m.severity}" href="#{m.list}-{m.number}" style="left:{100 * place:.2f}%" '
        f'aria-label="{m.list.capitalize()} {m.number}">{m.number}</a>'
        for place, m in placed
    )


def strip(axis: Axis, band: Band, title: str) -> str:
    """The record as a seismograph draws it: the curve mirrored about its own zero line. For the masthead."""
    top = band.peak or 1.0
    height = 100.0
    half = height / 2

    def place(values: Values, sign: int) -> list[tuple[float, float] | None]:
        return [
            None if v is None else (x, half - sign * half * 0.98 * max(0.0, v) / top)
            for x, v in zip(_xs(axis), values, strict=True)
        ]

    body = "".join(
        f'<line x1="{1000 * x:.1f}" x2="{1000 * x:.1f}" y1="0" y2="100"/>' for x, _, _ in axis.ticks() if x
    )
    body += '<line x1="0" x2="1000" y1="50" y2="50"/>'
    for key, values in (("high", band.high), ("mean", band.mean)):
        body += f'<path class="{key}" d="{_area(place(values, 1), place(values, -1))}"/>'
    return (
        f'<svg class="strip" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{html(title)}"><title>{html(title)}</title>{body}</svg>'
    )


def small(axis: Axis, band: Band, title: str) -> str:
    """A client's curve, scaled to its own highest bin: shape against shape."""
    top = band.top or 1.0
    height = 40.0
    points = _points(axis, band.mean, lambda v: height - (height - 2) * max(0.0, v) / top)
    base = [None if p is None else (p[0], height) for p in points]
    return (
        f'<svg class="small" viewBox="0 0 1000 40" preserveAspectRatio="none" role="img" aria-label="{html(title)}">'
        f'<title>{html(title)}</title><path class="fill" d="{_area(points, base)}"/>'
        f'<path class="line" d="{_line(points)}"/></svg>'
    )


def time_axis(axis: Axis) -> str:
    """Tick labels along the bottom, for drawings outside a figure."""
    return _time_axis(axis)


def _summary(chart: Figure) -> str:
    """What a screen reader says of a chart: its curves, their means and peaks."""
    axis = chart.axis
    first, last = axis.local(axis.first), axis.local(axis.last)
    parts = []
    for panel in chart.panels:
        for series in panel.series:
            known = [v for v in series.band.mean if v is not None]
            mean = sum(known) / len(known) if known else None
            parts.append(
                f"{series.name}: mean {panel.value(mean)}, highest {panel.value(max(known, default=None))}"
            )
    return (
        f"Line chart from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}, "
        f"{chart.panels[0].unit}. {'; '.join(parts)}. Arrow keys read the values bin by bin."
    )


def _data(chart: Figure) -> dict[str, object]:
    axis = chart.axis
    return {
        "start": int(axis.start.timestamp()),
        "step": int(axis.step.total_seconds()),
        "count": axis.count,
        "zone": axis.timezone,
        "panels": [
            {
                "share": panel.share,
                "series": [[None if v is None else _short(v) for v in s.band.mean] for s in panel.series],
            }
            for panel in chart.panels
        ],
    }


def _short(value: float) -> float | int:
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded.is_integer() else rounded


def _plot(chart: Figure, place: int) -> str:
    panel = chart.panels[place]
    low, high, clipped = _domain(panel)
    ticks = list(_nice_ticks(low, high, 4 if panel.signed else max(3, panel.height // 42)))
    height = float(panel.height)

    def y(value: float) -> float:
        return height * (1 - (value - low) / (high - low))

    grid = "".join(
        f'<line class="{"zero" if t == 0 else "grid"}" x1="0" x2="1000" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        for t in ticks
    )
    days = "".join(
        f'<line class="day" x1="{1000 * x:.1f}" x2="{1000 * x:.1f}" y1="0" y2="{height:.0f}"/>'
        for x, _, day in chart.axis.ticks()
        if day and x > 0
    )
    marks = "".join(
        f'<rect class="mark {m.severity}" x="{1000 * chart.axis.position(m.start):.1f}" y="0" height="{height:.0f}" '
        f'width="{max(2.0, 1000 * (chart.axis.position(m.end) - chart.axis.position(m.start))):.1f}"/>'
        for m in chart.marks
    )
    curves = "".join(_curve(chart.axis, s, y, height) for s in panel.series)
    names = ", ".join(s.name for s in panel.series)
    labels = "".join(
        f'<span style="top:{100 * y(t) / height:.2f}%">{_tick(t, panel)}</span>'
        for t in ticks
        if t or panel.signed
    )
    numbers = flags(chart.axis, chart.marks) if place == 0 else ""
    over = ""
    if clipped:
        over = f'<p class="over">highest minute: {panel.value(clipped)}, above the drawing</p>'
    return (
        f'<div class="panel">{_legend(panel)}'
        f'<div class="plot" style="height:{panel.height}px"><div class="y" aria-hidden="true">{labels}</div>'
        f'<svg viewBox="0 0 1000 {panel.height}" preserveAspectRatio="none" role="img" aria-label="{html(names)}">'
        f"<title>{html(names)}, {html(panel.unit)}</title>{marks}{grid}{days}{curves}</svg>{numbers}"
        f'<div class="hair" aria-hidden="true"></div></div>{over}</div>'
    )


def _legend(panel: Panel) -> str:
    items = "".join(
        f'<li class="k-{s.key}"><svg class="swatch {s.form}" viewBox="0 0 28 10" aria-hidden="true">'
        f"{_swatch(s.form)}</svg>"
        f'<span class="name">{s.label}</span> <output class="value" data-series="{place}"></output></li>'
        for place, s in enumerate(panel.series)
    )
    return f'<ul class="legend">{items}<li class="unit">{html(panel.unit)}</li></ul>'


def _swatch(form: Form) -> str:
    if form == "bars":
        return '<rect class="bar" x="2" y="2" width="5" height="8"/><rect class="bar" x="11" y="5" width="5" height="5"/>'
    if form == "area":
        return (
            '<path class="fill" d="M0 10V6L10 2L18 5L28 3V10Z"/><path class="line" d="M0 6L10 2L18 5L28 3"/>'
        )
    return f'<path class="{"dash" if form == "dash" else "line"}" d="M0 5H28"/>'


def _curve(axis: Axis, series: Series, y: Callable[[float], float], height: float) -> str:
    points = _points(axis, series.band.mean, y)
    body = ""
    if series.form == "bars":
        zero = y(0.0)
        width = max(0.6, 0.8 * WIDTH / axis.count)
        bars = "".join(
            f"M{p[0] - width / 2:.1f} {zero:.1f}V{p[1]:.1f}h{width:.1f}V{zero:.1f}Z"
            for p in points
            if p is not None
        )
        return f'<path class="bar k-{series.key}" d="{bars}"/>'
    if series.form == "area":
        base = [None if p is None else (p[0], min(height, y(0.0))) for p in points]
        body += f'<path class="fill k-{series.key}" d="{_area(points, base)}"/>'
    if series.show_range and series.band.high != series.band.mean:
        upper, lower = _points(axis, series.band.high, y), _points(axis, series.band.low, y)
        body += f'<path class="range k-{series.key}" d="{_area(upper, lower)}"/>'
    line = "dash" if series.form == "dash" else "line"
    return f'{body}<path class="{line} k-{series.key}" d="{_line(points)}"/>'


def _xs(axis: Axis) -> list[float]:
    return [WIDTH * (place + 0.5) / axis.count for place in range(axis.count)]


def _points(axis: Axis, values: Values, y: Callable[[float], float]) -> list[tuple[float, float] | None]:
    return [None if v is None else (x, y(v)) for x, v in zip(_xs(axis), values, strict=True)]


def _pieces(points: Sequence[tuple[float, float] | None]) -> Iterator[list[tuple[float, float]]]:
    piece: list[tuple[float, float]] = []
    for point in points:
        if point is None:
            if piece:
                yield piece
            piece = []
        else:
            piece.append(point)
    if piece:
        yield piece


def _line(points: Sequence[tuple[float, float] | None]) -> str:
    path = []
    for piece in _pieces(points):
        if len(piece) == 1:  # a lone bin between gaps would have no length and be invisible
            x, y = piece[0]
            path.append(f"M{x - 1:.1f} {y:.1f}h2")
            continue
        path.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in piece))
    return "".join(path)


def _area(upper: Sequence[tuple[float, float] | None], lower: Sequence[tuple[float, float] | None]) -> str:
    path = []
    for top, bottom in zip(_pieces(upper), _pieces(lower), strict=True):
        outline = top + bottom[::-1]
        path.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in outline) + "Z")
    return "".join(path)


def _domain(panel: Panel) -> tuple[float, float, float | None]:
    """The y range, and the highest value where it is left out because it would flatten everything else."""
    mean_top = max((s.band.top for s in panel.series), default=0.0)
    ranged = [s.band for s in panel.series if s.show_range and s.form != "bars"]
    peak = max((b.peak for b in ranged), default=0.0)
    clipped = None
    if peak > 2.5 * mean_top > 0:
        clipped, peak = peak, 2.5 * mean_top
    top = max(mean_top, peak)
    if panel.signed:
        floor = min((s.band.floor for s in panel.series), default=0.0)
        if panel.share:
            return max(-1.0, min(0.0, floor * 1.05)), min(1.0, max(top * 1.05, 0.1)), clipped
        reach = max(top, -floor, 1e-9) * 1.05
        return -reach, reach, clipped
    return 0.0, (top or 1.0) * 1.04, clipped


def _nice_ticks(low: float, high: float, about: int) -> Iterator[float]:
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    place = math.ceil(low / step - 1e-9)
    while place * step <= high * (1 + 1e-9):
        yield place * step if place else 0.0
        place += 1


def _tick(value: float, panel: Panel) -> str:
    if panel.share:
        return f"{round(100 * value)}\u202f%".replace("-", "−")
    if abs(value) >= 1000 or value.is_integer():
        return integer(value).replace("-", "−")
    return f"{value:g}".replace("-", "−")


def _time_axis(axis: Axis) -> str:
    labels = "".join(
        f'<span class="{"new-day" if day else ""}{" odd" if place % 2 else ""}" style="left:{100 * x:.2f}%">{label}</span>'
        for place, (x, label, day) in enumerate(axis.ticks())
        if x < 0.985
    )
    return f'<div class="x" aria-hidden="true">{labels}</div>'


def _table(chart: Figure) -> str:
    """The curves as a table of at most 48 rows; each row the mean of the bins it covers."""
    axis = chart.axis
    per_row = max(1, -(-axis.count // 48))
    head = "".join(
        f'<th scope="col">{s.label}<small>{html(panel.unit)}</small></th>'
        for panel in chart.panels
        for s in panel.series
    )
    rows = ""
    for low in range(0, axis.count, per_row):
        cells = ""
        for panel in chart.panels:
            for series in panel.series:
                known = [v for v in series.band.mean[low : low + per_row] if v is not None]
                cells += f"<td>{panel.value(sum(known) / len(known) if known else None)}</td>"
        moment = axis.local(axis.start + low * axis.step)
        rows += f'<tr><th scope="row">{moment:%Y-%m-%d %H:%M}</th>{cells}</tr>'
    length = per_row * axis.step
    return (
        f'<details class="numbers"><summary>The same as a table</summary><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Table of {html(chart.id)}"><table><caption>Means of {duration(length)} '
        f"({html(axis.timezone)})</caption>"
        f'<thead><tr><th scope="col">from</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def step_words(axis: Axis) -> str:
    """How the curves were thinned, in a sentence part: ``means of 10 min, band = lowest to highest minute``."""
    return f"{bin_name(axis.step)} bins"
