r"""``explain`` and ``plan`` printed: one line of output for each line of log, or one object.

Text from logs is made visible in the text form; in JSON it stands as it is, under JSON's own escapes, with bytes
that are no UTF-8 as ``\udcXX`` surrogates.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from seismolog.report.analysis import KIND_LABELS
from seismolog.report.text import integer, number, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from seismolog.pipeline import PlannedLoad
    from seismolog.report.analysis import UnmatchedShape

__all__ = ["explain_object", "write_lines", "write_plan", "write_shapes"]

_FIELDS = ("line", "dialect", "kind", "server", "client", "time", "count", "reason")


def explain_object(item: Mapping[str, Any]) -> dict[str, Any]:
    """One explained line as the stable JSON object."""
    fields = {name: item.get(name) for name in _FIELDS}
    if isinstance(fields["time"], datetime):
        fields["time"] = fields["time"].astimezone(UTC).isoformat().replace("+00:00", "Z")
    if item.get("file") is not None:
        fields["file"] = item["file"]
    return fields


def write_lines(items: Iterable[Mapping[str, Any]], format: str) -> None:  # noqa: A002
    """Explained lines to standard output, each as soon as it is there."""
    write = sys.stdout.write
    if format == "json":
        for item in items:
            write(json.dumps(explain_object(item)) + "\n")
        return
    file: object = None
    for item in items:
        if item.get("file") is not None and item["file"] != file:
            file = item["file"]
            write(f"== {visible(file)}\n")
        write(_sentence(explain_object(item), item.get("text")) + "\n")


def _sentence(item: Mapping[str, Any], text: object) -> str:
    dialect = visible(item["dialect"] or "-")
    if item["kind"] is None:
        verdict = f"-  ({visible(item['reason'] or 'nothing counted')})"
    else:
        count = item["count"]
        times = f" ×{count}" if count not in (None, 1) else ""
        parts = [visible(item["kind"]) + times, f"server {visible(item['server'] or '-')}"]
        parts.append(f"client {visible(item['client'] or '-')}")
        if item["time"]:
            parts.append(visible(item["time"]))
        verdict = "  ".join(parts)
    sentence = f"{item['line'] or '-':>7}  {dialect:<10}  {verdict}"
    if text is not None:
        sentence += f"\n         {visible(text, 400)}"
    return sentence


def write_shapes(shapes: Iterable[UnmatchedShape], format: str) -> None:  # noqa: A002
    """Unmatched lines by shape, the most frequent first."""
    ordered = sorted(shapes, key=lambda shape: (-shape.count, shape.shape))
    if format == "json":
        for shape in ordered:
            fields = {
                "shape": shape.shape,
                "count": shape.count,
                "example": shape.example,
                "file": shape.path,
                "line": shape.line,
            }
            print(json.dumps(fields))
        return
    if not ordered:
        print("Every line was understood.")
        return
    total = sum(shape.count for shape in ordered)
    print(f"{integer(total)} lines that no dialect knows, in {integer(len(ordered))} shapes")
    for shape in ordered:
        print(f"\n{integer(shape.count):>9}  {visible(shape.shape, 200) or '(empty line)'}")
        print(f"{'':9}  {visible(shape.path)}:{shape.line}: {visible(shape.example, 300)}")


def write_plan(plan: PlannedLoad, format: str) -> None:  # noqa: A002
    """The answer of ``seismolog plan``."""
    if format == "json":
        fields = {
            "queries": plan.queries,
            "low": plan.low,
            "high": plan.high,
            "peak": dict(zip(("queries", "low", "high"), plan.peak, strict=True)) if plan.peak else None,
            "peak_start": plan.peak_start,
            "source": plan.source,
            "terms": plan.terms,
            "notes": list(plan.sentences),
        }
        print(json.dumps(fields))
        return
    for kind, term in plan.terms.items():
        label = KIND_LABELS.get(kind, kind)
        print(
            f"{number(term['count'])} {label} × {number(term['coefficient'])} = {number(term['queries'])} queries"
        )
    for sentence in plan.sentences:
        print(visible(sentence))
    print(f"By {visible(plan.source)}.")
