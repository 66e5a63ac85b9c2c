"""Incidents of the store as annotations of Grafana: one each, found again by its id.

What for: our own dashboards draw the incidents from InfluxDB. Written as annotations of the organisation they can be drawn
into every other dashboard too (a query of the source “Grafana” with the tag ``seismolog``).

How: an annotation carries the tags ``seismolog``, ``detector:…``, ``severity:…`` and ``seismolog-id:…``. What Grafana has of
the time range is fetched by the tag; what is missing is added, what differs (an incident that ended, a new sentence) is
updated, what the store no longer has is deleted, and what is as it should be is left alone.

Limits: Grafana cuts a list of annotations at a number; the range is halved until every list is whole. Addresses stand in the
text: whoever may read Grafana reads them, unless `pseudonym` writes others in their place.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from seismolog.sinks.grafana.api import Grafana
    from seismolog.sinks.grafana.push import Pushed

__all__ = ["LIMIT", "Annotation", "annotations_of", "push_annotations"]

#: Annotations that are asked for at once.
LIMIT = 1000
_TAG = "seismolog"
_ID = "seismolog-id:"

Json = dict[str, Any]


@dataclass(frozen=True)
class Annotation:
    """One incident. Times in milliseconds; `end` is None while it is open."""

    id: str
    start: int
    end: int | None
    text: str
    tags: tuple[str, ...]


def _word(text: str) -> str:
    """A word for a tag: nothing that a URL or a list of tags would take for a sign."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:80] or "none"


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def annotations_of(
    incidents: pl.DataFrame, pseudonym: Callable[[str, list[str]], str] | None = None
) -> list[Annotation]:
    """Rows of the table ``incident`` as annotations; those that are suppressed are left out.

    Parameters
    ----------
    incidents
        Rows of the table.
    pseudonym
        Gives the sentence with other names in place of the subjects.
    """
    made = []
    for row in incidents.iter_rows(named=True):
        if row.get("suppressed") is not None:
            continue
        subjects = list(row["subjects"] or ())
        text = row["explanation"] or ""
        if pseudonym is not None:
            text = pseudonym(text, subjects)
        end = row["end"]
        made.append(
            Annotation(
                id=row["id"],
                start=_ms(row["start"]),
                end=None if end is None else _ms(end),
                # Grafana shows the text as HTML, and it quotes a log.
                text=html.escape(text[:2000]),
                tags=(
                    _TAG,
                    f"detector:{_word(row['detector'] or 'unknown')}",
                    f"severity:{_word(row['severity'] or 'notice')}",
                    f"{_ID}{_word(row['id'])}",
                ),
            )
        )
    return made


def _of_range(grafana: Grafana, low: int, high: int) -> Iterable[Json]:
    """Our annotations that Grafana has between two times in milliseconds."""
    found = grafana.call(
        "read the annotations",
        grafana.api.annotations.get_annotation,
        time_from=low,
        time_to=high,
        ann_type="annotation",
        tags=[_TAG],
        limit=LIMIT,
    )
    if len(found) < LIMIT or high - low <= 1:
        return list(found)
    middle = (low + high) // 2
    return [*_of_range(grafana, low, middle), *_of_range(grafana, middle + 1, high)]


def push_annotations(
    grafana: Grafana,
    wanted: Iterable[Annotation],
    pushed: Pushed,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> None:
    """Make Grafana's annotations of a time range those that are wanted.

    Parameters
    ----------
    wanted
        The incidents.
    since, until
        The range; without them that of the incidents. Only what begins in it is deleted.
    """
    wanted = list(wanted)
    starts = [a.start for a in wanted]
    now = datetime.now(UTC) + timedelta(days=1)
    low = _ms(since) if since else min(starts, default=_ms(now))
    high = _ms(until) if until else max([*(a.end or a.start for a in wanted), *starts], default=_ms(now))
    api = grafana.api.annotations
    there: dict[str, list[Json]] = {}
    # From a millisecond on, since the client leaves out a time of 0.
    for one in {a["id"]: a for a in _of_range(grafana, max(low, 1), high + 1)}.values():
        key = next((t for t in one.get("tags") or () if t.startswith(_ID)), None)
        if key is not None:
            there.setdefault(key, []).append(one)
    for annotation in wanted:
        key = annotation.tags[-1]
        found = there.pop(key, [])
        body = {
            "time_from": annotation.start,
            # Grafana takes an annotation without an end for a moment.
            "time_to": annotation.end or annotation.start,
            "tags": list(annotation.tags),
            "text": annotation.text,
        }
        if not found:
            grafana.call("add an annotation", api.add_annotation, **body)
            pushed.add("created", f"annotation {annotation.id}")
            continue
        first, *twice = sorted(found, key=lambda a: int(a["id"]))
        same = (
            first.get("time") == body["time_from"]
            and (first.get("timeEnd") or first.get("time")) == body["time_to"]
            and first.get("text") == body["text"]
            and sorted(first.get("tags") or ()) == sorted(annotation.tags)
        )
        if same:
            pushed.same += 1
        else:
            grafana.call("update an annotation", api.update_annotation, first["id"], **body)
            pushed.add("updated", f"annotation {annotation.id}")
        for extra in twice:
            grafana.call("delete an annotation", api.delete_annotations_by_id, extra["id"])
            pushed.add("deleted", f"annotation {annotation.id} (twice)")
    for key, left in there.items():
        for one in left:
            if low <= int(one.get("time", 0)) <= high:
                grafana.call("delete an annotation", api.delete_annotations_by_id, one["id"])
                pushed.add("deleted", f"annotation {key.removeprefix(_ID)}")
