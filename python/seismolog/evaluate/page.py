"""The summary as a terminal table, as the table of docs/evaluation.md, and as an HTML page with curves.

Curves are recall against strength, a small drawing a row; style is that of the report. A share is written with its interval
and its trials, so that nobody takes three of three for certain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from seismolog.evaluate import intervals
from seismolog.evaluate.summary import PRIMARY, STUDY, Count, Row, Summary
from seismolog.report.text import html, visible

__all__ = ["markdown", "page", "text", "write_docs"]

BEGIN, END = "<!-- evaluation: begin -->", "<!-- evaluation: end -->"
_GOALS = {True: {1.0: 0.98, 0.25: 0.8}, False: {1.0: 0.95, 0.25: 0.7}}
_DATED = 0.98
_LOOKALIKES = 0.05


def _share(count: Count | None) -> str:
    """``0.97 (0.91–0.99, 60)``; – without trials."""
    if count is None or not count.trials:
        return "–"
    low, high = count.interval
    return f"{count.share:.2f} ({low:.2f}–{high:.2f}, {count.trials})"


def _minutes(values: Sequence[float]) -> str:
    if not values:
        return "–"
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:.0f} / {ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]:.0f}"


def _strengths(summary: Summary) -> list[float]:
    return sorted({s for row in summary.rows.values() for s in row.recall}, reverse=True)


def _ordered(summary: Summary) -> list[Row]:
    """Incidents of the study first, in its order."""
    return [summary.rows[n] for n in STUDY if n in summary.rows] + [
        row for name, row in sorted(summary.rows.items()) if name not in STUDY
    ]


def _line(row: Row, strengths: Sequence[float]) -> list[str]:
    return [
        row.name + (f" ({STUDY[row.name]})" if row.name in STUDY else ""),
        *(_share(row.recall.get(s)) for s in strengths),
        _share(row.any.get(1.0)),
        _share(row.dated),
        _minutes(row.delays),
        _share(row.lookalike),
    ]


def _head(strengths: Sequence[float]) -> list[str]:
    return [
        "row",
        *(f"recall at {s:g}" for s in strengths),
        "by any detector",
        "dated within 2 bins",
        "delay, min (median / 90 %)",
        "look-alike fires",
    ]


def _clean_lines(summary: Summary) -> list[str]:
    clean = summary.clean
    told = []
    for label, events in (
        ("all detectors", clean.incidents),
        ("those of the 2003 incidents", summary.study),
        ("the successors alone", summary.successors),
    ):
        low, high = intervals.rate(events, clean.days)
        told.append(
            f"False incidents a clean day, {label}: {events / max(clean.days, 1):.2f} "
            f"({low:.2f}–{high:.2f}, {clean.days} days)"
        )
    for strength, count in sorted(summary.precision.items(), reverse=True):
        told.append(f"Precision on days with incidents of strength {strength:g}: {_share(count)}")
    return told


def _missed(row: Row, strengths: Sequence[float]) -> list[bool]:
    """For each figure of a line whether it misses its goal."""
    goals = _GOALS[row.name in STUDY]
    recall = [s in goals and s in row.recall and (row.recall[s].share or 0.0) < goals[s] for s in strengths]
    dated = row.name in STUDY and row.dated.trials > 0 and (row.dated.share or 0) < _DATED
    lookalike = row.lookalike.trials > 0 and (row.lookalike.share or 0) > _LOOKALIKES
    return [*recall, False, dated, False, lookalike]


def text(summary: Summary) -> str:
    """For a terminal."""
    strengths = _strengths(summary)
    lines = [_head(strengths), *(_line(row, strengths) for row in _ordered(summary))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    table = "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    worst = "".join(
        f"\n  {visible(start)}  seed {seed}: {visible(told)}"
        for seed, start, told in summary.clean.examples[:20]
    )
    shown = f"\nFalse incidents of clean days (the first 20):{worst}" if worst else ""
    return table + "\n\n" + "\n".join(_clean_lines(summary)) + shown + "\n"


def markdown(summary: Summary) -> str:
    """For docs/evaluation.md."""
    strengths = _strengths(summary)
    head = _head(strengths)
    body = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in _ordered(summary):
        name, *cells = _line(row, strengths)
        marked = (c + " *" if miss else c for c, miss in zip(cells, _missed(row, strengths), strict=True))
        body.append("| " + " | ".join((name, *marked)) + " |")
    by = ", ".join(f"{name} {count}" for name, count in summary.clean.by_detector.most_common())
    notes = ["A figure with * misses its goal.", "", *(f"- {line}." for line in _clean_lines(summary))]
    if by:
        notes.append(f"- Of the false incidents these detectors had part in: {by}.")
    queries = sorted(summary.queries)
    if queries:
        notes.append(
            f"- {summary.worlds} worlds; a median of {queries[len(queries) // 2] / 1e6:.1f} million look-ups a day."
        )
    return "\n".join([*body, "", *notes])


def write_docs(path: Path, summary: Summary) -> None:
    """Put the table between its marks in the document.

    Raises
    ------
    ValueError
        The document has no marks.
    """
    content = path.read_text(encoding="utf-8")
    if BEGIN not in content or END not in content:
        raise ValueError(f"{path}: no {BEGIN} … {END}")
    made = re.sub(
        re.escape(BEGIN) + r".*?" + re.escape(END),
        lambda _: f"{BEGIN}\n{markdown(summary)}\n{END}",
        content,
        flags=re.DOTALL,
    )
    path.write_text(made, encoding="utf-8")


_STYLE = """
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1.2rem}
.curves figure{margin:0}.curves svg{width:100%;height:auto;overflow:visible}
.curves figcaption{font-weight:600}.curves text{font-size:11px;fill:currentColor}
.curves .band{fill:currentColor;opacity:.14}.curves .mean{fill:none;stroke:currentColor;stroke-width:2}
.curves .goal{stroke:currentColor;stroke-dasharray:3 3;opacity:.5}.curves .axis{stroke:currentColor;opacity:.3}
td.miss{font-weight:700}td.miss::after{content:" *"}
"""


def page(summary: Summary) -> str:
    """One HTML file without anything from outside."""
    strengths = _strengths(summary)
    style = (files("seismolog.report") / "assets" / "report.css").read_text(encoding="utf-8") + _STYLE
    head = "".join(f'<th scope="col">{html(h)}</th>' for h in _head(strengths))
    body = "".join(_html_row(row, strengths) for row in _ordered(summary))
    examples = "".join(
        f"<li>seed {seed}, {html(start)}: {html(told, 400)}</li>"
        for seed, start, told in summary.clean.examples[:60]
    )
    notes = "".join(f"<li>{html(line)}</li>" for line in _clean_lines(summary))
    curves = "".join(_curve(row) for row in _ordered(summary) if row.recall)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>seismolog: evaluation</title><style>{style}</style></head><body><main>"
        f"<h1>Detectors on {summary.worlds} simulated worlds</h1>"
        "<p>Shares with their 95 % intervals (Clopper and Pearson) and the number of instances. "
        "A figure with * misses its goal.</p>"
        f"<ul>{notes}</ul>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<h2>Recall against strength</h2><div class="curves">{curves}</div>'
        f"<h2>False incidents of clean days</h2><ul>{examples or '<li>none</li>'}</ul>"
        "</main></body></html>"
    )


def _html_row(row: Row, strengths: Sequence[float]) -> str:
    cells = _line(row, strengths)
    missed = _missed(row, strengths)
    return (
        "<tr>"
        + f'<th scope="row">{html(cells[0])}</th>'
        + "".join(
            f"<td{' class=miss' if miss else ''}>{html(cell)}</td>"
            for cell, miss in zip(cells[1:], missed, strict=True)
        )
        + "</tr>"
    )


def _curve(row: Row) -> str:
    """Recall (upwards) against strength (to the right, each twice the one before or as they come)."""
    points = sorted(row.recall.items())
    width, height, left = 220, 110, 26

    def x(i: int) -> float:
        return left + (width - left - 12) * (i + 0.5) / len(points)

    def y(share: float) -> float:
        return 8 + (height - 30) * (1 - share)

    low = [(x(i), y(c.interval[0])) for i, (_, c) in enumerate(points)]
    high = [(x(i), y(c.interval[1])) for i, (_, c) in enumerate(points)]
    mean = [(x(i), y(c.share or 0.0)) for i, (_, c) in enumerate(points)]
    band = " ".join(f"{a:.1f},{b:.1f}" for a, b in high + low[::-1])
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in mean)
    goals = _GOALS[row.name in STUDY]
    marks = "".join(
        f'<line class="goal" x1="{x(i) - 16:.1f}" x2="{x(i) + 16:.1f}" y1="{y(goals[s]):.1f}" y2="{y(goals[s]):.1f}"/>'
        for i, (s, _) in enumerate(points)
        if s in goals
    )
    ticks = "".join(
        f'<text x="{x(i):.1f}" y="{height - 6}" text-anchor="middle">{s:g}</text>'
        for i, (s, _) in enumerate(points)
    )
    axis = "".join(
        f'<line class="axis" x1="{left}" x2="{width}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        f'<text x="{left - 4}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
        for v in (0, 0.5, 1)
    )
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="currentColor"/>' for a, b in mean)
    told = "; ".join(f"{s:g}: {_share(c)}" for s, c in points)
    note = ", ".join(PRIMARY.get(row.name, (row.name,)))
    return (
        f"<figure><figcaption>{html(row.name)}</figcaption>"
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html(told)}"><title>{html(told)}</title>'
        f'{axis}<polygon class="band" points="{band}"/>{marks}<polyline class="mean" points="{line}"/>{dots}{ticks}</svg>'
        f"<small>{html(note)}</small></figure>"
    )
