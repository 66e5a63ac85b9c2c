"""Pictures of the dashboards' data, drawn from the checked-in files and the answers of a real InfluxDB.

    .venv/bin/python -m bench.grafana --pictures docs/images

What for: no Grafana can be run where the docs are made. The picture takes panels, places, titles, units, colours,
thresholds and queries from the JSON and draws what the answers hold, so that a reader sees what the dashboards show. It is
no screenshot.

Limits: curves, bars, figures and the first rows of tables; no axis but the highest value, no legend but the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from tests.services.influxql_frames import Frame, View, frames, reduced, transform

WIDTH, UNIT_Y, PAD = 1440, 30, 8
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
#: Dashboard -> days shown and what is chosen.
VIEWS: dict[str, tuple[float, dict[str, Any]]] = {
    "overview": (1, {}),
    "mail": (1, {}),
    "model": (7, {}),
    "clients": (3, {"client": ["192.0.2.20", "198.51.100.4"]}),
    "incidents": (7, {}),
    "pipeline": (1, {}),
}
POINTS = 240


def figure(value: float | None, unit: str) -> str:
    """A value as the panel would write it, about."""
    if value is None:
        return "–"
    if unit == "percentunit":
        return f"{100 * value:.1f} %"
    if unit == "s":
        return f"{value / 60:.3g} min" if value >= 600 else f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB"
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {letter}"
    return f"{value:.3g}"


def color_of(panel: dict[str, Any], name: str, number: int) -> str:
    """The colour of a series: its override's, else the palette's."""
    for override in panel["fieldConfig"]["overrides"]:
        wanted = override["matcher"]["options"]
        hit = re.search(wanted.strip("/"), name) if wanted.startswith("/") else wanted == name
        if hit:
            for entry in override["properties"]:
                if entry["id"] == "color":
                    return str(entry["value"]["fixedColor"])
    return PALETTE[number % len(PALETTE)]


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    color: str = "#222",
    weight: str = "normal",
    end: bool = False,
) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{color}" font-weight="{weight}"{anchor}>'
        f"{escape(text)}</text>"
    )


def _thinned(frame: Frame) -> list[tuple[float, float | None]]:
    """At most so many points, the highest of each stretch."""
    points = list(zip(frame.times, frame.values, strict=True))
    step = max(1, -(-len(points) // POINTS))
    if step == 1:
        return points
    made = []
    for start in range(0, len(points), step):
        part = points[start : start + step]
        values = [v for _, v in part if v is not None]
        made.append((part[0][0], max(values) if values else None))
    return made


def curves(
    panel: dict[str, Any], shown: list[Frame], box: tuple[float, float, float, float], span: tuple[int, int]
) -> list[str]:
    """Lines or bars."""
    x0, y0, width, height = box
    height -= 18  # the names
    custom = panel["fieldConfig"]["defaults"]["custom"]
    stacked = custom["stacking"]["mode"] == "normal"
    series = [(f, _thinned(f)) for f in shown]
    below: dict[float, float] = {}
    raised = []
    for frame, points in series:
        made = []
        for t, v in points:
            base = below.get(t, 0.0) if stacked else 0.0
            if stacked and v is not None:
                below[t] = base + v
            made.append((t, None if v is None else base + v, base))
        raised.append((frame, made))
    values = [v for _, points in raised for _, v, _ in points if v is not None]
    steps = [
        s["value"] for s in panel["fieldConfig"]["defaults"]["thresholds"]["steps"] if s["value"] is not None
    ]
    lines = steps if custom["thresholdsStyle"]["mode"] == "dashed" else []
    high = max([*values, *lines], default=1.0)
    low = min(values, default=0.0)
    low = min(low, panel["fieldConfig"]["defaults"].get("min", low))
    room = (high - low) or 1.0

    def place(t: float, v: float) -> tuple[float, float]:
        return (
            x0 + width * (t - span[0]) / (span[1] - span[0]),
            y0 + height - (height - 6) * (v - low) / room,
        )

    unit = panel["fieldConfig"]["defaults"]["unit"]
    drawn = [f'<rect x="{x0:.0f}" y="{y0:.0f}" width="{width:.0f}" height="{height:.0f}" fill="#fafafa"/>']
    for limit in lines:
        y = place(span[0], limit)[1]
        dashes = 'stroke="#D55E00" stroke-width="1" stroke-dasharray="6 4" fill="none"'
        drawn.append(f'<path d="M{x0:.0f} {y:.1f}h{width:.0f}" {dashes}/>')
    for number, (frame, points) in enumerate(raised):
        color = color_of(panel, frame.name, number)
        if custom["drawStyle"] == "bars":
            for t, v, base in points:
                if v is not None and v != base:
                    x, top = place(t, v)
                    drawn.append(
                        f'<rect x="{x:.1f}" y="{top:.1f}" width="4" height="{place(t, base)[1] - top:.1f}" fill="{color}"/>'
                    )
            continue
        path, pen = [], False
        previous: float | None = None
        for t, v, _ in points:
            if v is None:
                pen = pen and custom["spanNulls"]
                continue
            x, y = place(t, v)
            if pen and custom["lineInterpolation"] == "stepAfter":
                path.append(f"H{x:.1f}V{y:.1f}")
            else:
                path.append(f"{'L' if pen else 'M'}{x:.1f} {y:.1f}")
            pen, previous = True, x
        if previous is not None and len(path) == 1:
            path.append("h2")
        drawn.append(f'<path d="{"".join(path)}" stroke="{color}" stroke-width="1.3" fill="none"/>')
    drawn.append(_text(x0 + 2, y0 + 11, figure(high, unit), size=10, color="#777"))
    x = x0
    for number, (frame, _) in enumerate(raised):
        if x > x0 + width - 60:
            drawn.append(_text(x, y0 + height + 14, "…", size=10))
            break
        color = color_of(panel, frame.name, number)
        drawn.append(f'<rect x="{x:.0f}" y="{y0 + height + 7:.0f}" width="9" height="3" fill="{color}"/>')
        drawn.append(_text(x + 12, y0 + height + 14, frame.name, size=10, color="#444"))
        x += 24 + 5.6 * len(frame.name)
    return drawn


def figures(panel: dict[str, Any], shown: list[Frame], box: tuple[float, float, float, float]) -> list[str]:
    """The numbers of a stat."""
    x0, y0, width, height = box
    calc = panel["options"]["reduceOptions"]["calcs"][0]
    defaults = panel["fieldConfig"]["defaults"]
    drawn = []
    cells = shown or [Frame({"Time": [], "v": []}, name="")]
    for number, frame in enumerate(cells):
        value = reduced(calc, frame.values)
        unit = defaults["unit"]
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"]["options"] == frame.name:
                unit = next((p["value"] for p in override["properties"] if p["id"] == "unit"), unit)
        color = defaults["thresholds"]["steps"][0]["color"]
        for step in defaults["thresholds"]["steps"][1:]:
            if value is not None and value >= step["value"]:
                color = step["color"]
        color = (
            color_of(panel, frame.name, -1)
            if any(o["matcher"]["options"] == frame.name for o in panel["fieldConfig"]["overrides"])
            and unit == defaults["unit"]
            else color
        )
        shown_value = figure(value, unit) if value is not None else defaults.get("noValue", "–")
        x = x0 + width * number / len(cells)
        drawn.append(_text(x, y0 + height / 2 + 6, shown_value, size=22, color=color, weight="bold"))
        drawn.append(_text(x, y0 + height / 2 + 24, frame.name, size=11, color="#555"))
    return drawn


def rows(panel: dict[str, Any], shown: list[Frame], box: tuple[float, float, float, float]) -> list[str]:
    """The first rows of a table."""
    x0, y0, width, height = box
    if not shown:
        return [
            _text(x0, y0 + 20, str(panel["fieldConfig"]["defaults"].get("noValue", "no data")), color="#777")
        ]
    (table,) = shown
    listed = table.rows()
    sort = (panel["options"].get("sortBy") or [{}])[0].get("displayName")
    names, hidden, units = {}, set(), {}
    for override in panel["fieldConfig"]["overrides"]:
        for entry in override["properties"]:
            column = override["matcher"]["options"]
            if entry["id"] == "displayName":
                names[column] = entry["value"]
            elif entry["id"] == "custom.hidden":
                hidden.add(column)
            elif entry["id"] == "unit":
                units[column] = entry["value"]
    columns = [c for c in table.columns if c not in hidden]
    key = next((c for c in columns if names.get(c, c) == sort), None)
    if key is not None:
        listed.sort(key=lambda r: -(r[key] or 0))

    def cell(column: str, value: Any) -> str:
        if value is None:
            return ""
        if column == "Time" or units.get(column) == "dateTimeAsIso":
            return "open" if value == 0 else f"{datetime.fromtimestamp(value / 1000, UTC):%m-%d %H:%M}"
        if isinstance(value, int | float):
            return figure(value, units.get(column, "short"))
        return str(value)

    texts = [[names.get(c, c) for c in columns]] + [[cell(c, r[c]) for c in columns] for r in listed]
    texts = texts[: max(2, int(height // 17))]
    widest = [min(44, max(len(row[i]) for row in texts)) for i in range(len(columns))]
    scale = width / max(1, sum(widest) + 2 * len(widest))
    drawn, x = [], x0
    for i, size in enumerate(widest):
        room = int(max(3, scale * (size + 2) / 6.0))
        for line, row in enumerate(texts):
            text = row[i] if len(row[i]) <= room else row[i][: room - 1] + "…"
            weight = "bold" if line == 0 else "normal"
            drawn.append(_text(x, y0 + 13 + 17 * line, text, size=11, weight=weight))
        x += scale * (size + 2)
    return drawn


def picture(board: dict[str, Any], ask: Callable[[str], dict[str, Any]], end: datetime) -> str:
    """One dashboard as SVG."""
    days, chosen = VIEWS[board["uid"].removeprefix("seismolog-")]
    stop = int(end.timestamp() * 1000)
    view = View(board, stop - int(days * 86_400_000), stop, chosen)
    unit_x = WIDTH / 24
    bottom = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"])
    height = bottom * UNIT_Y + 40
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="Helvetica, Arial, sans-serif">',
        f"<title>{escape(board['title'])}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#eef0f2"/>',
        _text(PAD, 26, f"{board['title']}, {days:g} d", size=18, weight="bold"),
    ]
    for panel in board["panels"]:
        place = panel["gridPos"]
        x, y = place["x"] * unit_x, place["y"] * UNIT_Y + 40
        if panel["type"] == "row":
            drawn.append(_text(x + PAD, y + 20, panel["title"], size=13, weight="bold", color="#444"))
            continue
        width, tall = place["w"] * unit_x, place["h"] * UNIT_Y
        drawn.append(
            f'<rect x="{x + 3:.0f}" y="{y + 3:.0f}" width="{width - 6:.0f}" height="{tall - 6:.0f}" '
            'fill="#fff" rx="3" stroke="#d5d8dc"/>'
        )
        title = panel["title"].replace("${bin:text}", "10m")
        drawn.append(_text(x + 3 + PAD, y + 22, title, size=12, weight="bold"))
        shown: list[Frame] = []
        for target in panel["targets"]:
            shown += frames(ask(view.fill(target["query"], panel)), target)
        shown = transform(shown, panel.get("transformations", []))
        box = (x + 3 + PAD, y + 30, width - 6 - 2 * PAD, tall - 42)
        shift = 7 * 86_400_000 if panel.get("timeShift") else 0
        span = (view.start - shift, view.end - shift)
        if panel["type"] == "timeseries":
            drawn += curves(panel, shown, box, span)
        elif panel["type"] == "stat":
            drawn += figures(panel, shown, box)
        else:
            drawn += rows(panel, shown, box)
    drawn.append("</svg>")
    return "\n".join(drawn) + "\n"


def draw(
    boards: dict[str, dict[str, Any]], ask: Callable[[str], dict[str, Any]], end: datetime, folder: Path
) -> None:
    """A picture of each dashboard: grafana-NAME.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, board in boards.items():
        path = folder / f"grafana-{name}.svg"
        path.write_text(picture(board, ask, end), encoding="utf-8")
        print(path)
