"""Models, fits and incidents: tables that are written whole, compared with what was sent, and the difference sent.

A model's series is sent by day (a day that has not changed is not sent again), a fit and an incident each as what it is.
The ledger remembers every point by its key, with a digest and which of its fields had values. What is gone from the
store is deleted from the target, at its exact time and with its tags, and so is a point before it is written again
without a value that it had (an efficiency that cannot be computed any more): InfluxDB would keep the old one. Where the
target cannot delete (InfluxDB 1.8 and 3 have no such call), numbers become 0 and an incident that is gone is closed,
with a word that says so.

An incident also watches its clients: from a day before it began until an hour after it ended they have series of their
own, and hours that were sent without them are sent again.

Limits: the tables are read whole: some thousands of incidents, a row of a model for each of its bins.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from seismolog.sinks.influxdb.ledger import Ledger
from seismolog.sinks.influxdb.measurements import INCIDENT, MODEL, MODEL_FIT, Measurement, render

if TYPE_CHECKING:
    from seismolog.privacy import Pseudonymizer
    from seismolog.sinks.influxdb.writer import Writer
    from seismolog.store import Store

__all__ = ["Findings", "fit_points", "incident_points"]

log = logging.getLogger(__name__)

#: How long before its start, and after its end, an incident's clients have series of their own.
BEFORE, AFTER = timedelta(hours=24), timedelta(hours=1)
#: Characters of a text in a field; InfluxDB takes 64 KiB.
_LONGEST = 60_000
_TABLES = ("model_series", "model_fit", "incident")
_GONE = "no longer in the store"


@dataclass
class _Difference:
    """What is to be sent, and what is to go."""

    measurement: Measurement
    points: list[pl.DataFrame] = field(default_factory=list)
    new: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    #: Keys that the store has no more.
    dropped: list[str] = field(default_factory=list)
    #: What is deleted before anything is sent.
    gone: list[_Gone] = field(default_factory=list)


@dataclass(frozen=True)
class _Gone:
    """Points of a moment that are to be deleted."""

    #: In the measurement's precision.
    at: int
    #: Those that they share.
    tags: dict[str, str]
    #: Values of the tag `term` that there are with these; where the target cannot delete, each becomes 0.
    terms: tuple[str | None, ...] = (None,)


class Findings:
    """Keeps models, fits and incidents of one target as the store has them.

    Parameters
    ----------
    store, ledger, writer
        From where, what was sent, to where.
    pseudonyms
        What is written in place of addresses, None for the addresses themselves.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        writer: Writer,
        *,
        pseudonyms: Pseudonymizer | None = None,
        batch: int = 10_000,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._writer = writer
        self._pseudonyms = pseudonyms
        self._batch = batch
        self._versions: dict[str, int] = {}
        self.points = 0

    def sync(self, since: datetime | None = None, until: datetime | None = None) -> int:
        """Send what has changed since the last time; returns the number of points.

        Parameters
        ----------
        since, until
            Only of this time (what was sent before and lies outside stays).
        """
        before = self.points
        for name in _TABLES:
            files = self._store.tables[name]
            files.open()
            if self._versions.get(name) == files.version and since is None and until is None:
                continue
            if name == "model_fit":
                frame = _of_windows(self._store.read(name).collect(), since, until)
            else:
                frame = self._store.read(name, since, until).collect()
            self._send(self._difference(name, frame, since, until))
            self._versions[name] = files.version
        return self.points - before

    def _difference(
        self, name: str, frame: pl.DataFrame, since: datetime | None, until: datetime | None
    ) -> _Difference:
        if name == "model_series":
            return self._models(frame, since, until)
        if name == "model_fit":
            return self._keyed(MODEL_FIT, fit_points(frame), "model", since, until)
        incidents = incident_points(frame, self._pseudonyms)
        self._watch(frame.filter(pl.col("suppressed").is_null()) if "suppressed" in frame.columns else frame)
        return self._keyed(INCIDENT, incidents, "id", since, until)

    def _models(self, frame: pl.DataFrame, since: datetime | None, until: datetime | None) -> _Difference:
        found = _Difference(MODEL)
        sent = self._ledger.findings(MODEL.name)
        frame = frame.sort("model", "bin_start").with_columns(pl.col("bin_start").dt.date().alias("_day"))
        seen = set()
        for (model, day), rows in frame.partition_by("model", "_day", as_dict=True).items():
            key = f"{model}|{day}"
            seen.add(key)
            points = rows.drop("_day")
            digest = _digest(points.select(MODEL.time, *MODEL.tags, *MODEL.fields))
            times = points["bin_start"].dt.epoch("s").to_list()
            old = sent.get(key)
            if old is not None and old[1] == digest:
                continue
            # Bins without a value, by field: few fields have any.
            null = {n: [t for t, v in zip(times, points[n], strict=True) if v is None] for n in MODEL.fields}
            known: dict[str, Any] = {"model": model, "times": times}
            known["null"] = {n: bins for n, bins in null.items() if bins}
            found.points.append(points)
            found.new[key] = (times[0], digest, json.dumps(known))
            if old is not None:
                before = json.loads(old[2])
                there = set(before["times"])
                gone = there - set(times)
                for name, bins in known["null"].items():
                    gone |= set(bins) & (there - set(before.get("null", {}).get(name, ())))
                found.gone += [_Gone(t, {"model": str(model)}) for t in sorted(gone)]
        for key, (at, _, text) in sent.items():
            day = key.rpartition("|")[2]
            outside = (since is not None and day < str(since.date())) or (
                until is not None and day > str(until.date())
            )
            if key not in seen and not outside and _within(at, 1, since, until):
                known = json.loads(text)
                found.dropped.append(key)
                found.gone += [_Gone(t, {"model": known["model"]}) for t in known["times"]]
        return found

    def _keyed(
        self,
        measurement: Measurement,
        points: pl.DataFrame,
        key: str,
        since: datetime | None,
        until: datetime | None,
    ) -> _Difference:
        found = _Difference(measurement)
        sent = self._ledger.findings(measurement.name)
        unit = 1_000_000_000 if measurement.precision == "ns" else 1
        seen = set()
        for rows in points.partition_by(key, measurement.time):
            first = rows.row(0, named=True)
            at = int(rows[measurement.time].dt.epoch(measurement.precision)[0])
            tags = {t: str(first[t]) for t in measurement.tags if t != "term"}
            terms = rows["term"].to_list() if "term" in rows.columns else [None]
            name = f"{first[key]}|{at}"
            seen.add(name)
            digest = _digest(rows)
            old = sent.get(name)
            if old is not None and old[1] == digest:
                continue
            # The fields of each point that have a value.
            values = [sorted(n for n in measurement.fields if row[n] is not None) for row in rows.to_dicts()]
            known = {"tags": tags, "terms": terms, "values": values}
            found.points.append(rows)
            found.new[name] = (at, digest, json.dumps(known, sort_keys=True))
            if old is not None and _lost(before := json.loads(old[2]), known):
                found.gone.append(_Gone(at, before["tags"], tuple(before["terms"])))
        for name, (at, _, text) in sent.items():
            if name not in seen and _within(at, unit, since, until):
                known = json.loads(text)
                found.dropped.append(name)
                found.gone.append(_Gone(at, known["tags"], tuple(known["terms"])))
        return found

    def _send(self, found: _Difference) -> None:
        if not found.new and not found.dropped:
            return
        name = found.measurement.name
        for points in found.gone:
            self._erase(found.measurement, points)
        with self._ledger.step():
            # Without a digest: should we die before they are sent, they count as changed.
            self._ledger.set_findings(name, {k: (at, "", tags) for k, (at, _, tags) in found.new.items()})
        if found.points:
            frame = pl.concat(found.points)
            texts = render(frame, found.measurement, self._batch)
            self._writer.write(texts, found.measurement.precision)
            self.points += frame.height
        with self._ledger.step():
            self._ledger.set_findings(name, found.new)
            self._ledger.drop_findings(name, found.dropped)

    # -- what is gone

    def _erase(self, measurement: Measurement, gone: _Gone) -> None:
        """Take points of a moment out of the target."""
        nanos = gone.at * (1 if measurement.precision == "ns" else 1_000_000_000)
        # All terms of a fit at once: the empty one is no tag, which a deletion has no word for.
        if self._writer.erase(measurement.name, nanos, nanos, gone.tags):
            return
        for term in gone.terms:
            self._blank(measurement, gone.at, gone.tags | ({} if term is None else {"term": term}))

    def _blank(self, measurement: Measurement, at: int, tags: Mapping[str, str]) -> None:
        when = pl.from_epoch(pl.Series(measurement.time, [at]), measurement.precision)
        fields: dict[str, Any] = dict.fromkeys(
            (n for n, t in measurement.fields.items() if t != pl.String()), 0
        )
        if measurement is INCIDENT:
            fields = {"open": 0, "explanation": _GONE}
        frame = pl.DataFrame([when.dt.replace_time_zone("UTC")]).with_columns(
            *(pl.lit(tags.get(t, "")).alias(t) for t in measurement.tags),
            *(pl.lit(v).alias(n) for n, v in fields.items()),
        )
        self._writer.write(render(frame, measurement, 1), measurement.precision)

    # -- clients under an incident

    def _watch(self, incidents: pl.DataFrame) -> None:
        known = self._ledger.watches()
        again: set[datetime] = set()
        new: dict[tuple[str, str], tuple[int, int | None]] = {}
        for row in incidents.iter_rows(named=True):
            since = int((row["start"] - BEFORE).timestamp())
            until = None if row["end"] is None else int((row["end"] + AFTER).timestamp())
            for client in row["subjects"] or ():
                key = (row["id"], client)
                if not _is_address(client) or known.get(key) == (since, until):
                    continue
                new[key] = (since, until)
                if key not in known:
                    last = None if until is None else datetime.fromtimestamp(until, UTC)
                    again |= set(self._ledger.known_hours(datetime.fromtimestamp(since, UTC), last))
        if not new:
            return
        with self._ledger.step():
            for (incident, client), (since, until) in new.items():
                self._ledger.set_watch(incident, client, since, until)
            self._ledger.add_todo(again)


def _of_windows(fits: pl.DataFrame, since: datetime | None, until: datetime | None) -> pl.DataFrame:
    """Fits by the end of their window (without one, when they were made); of two of one model and end the newer."""
    end = pl.coalesce("window_end", "fitted_at") if "window_end" in fits.columns else pl.col("fitted_at")
    ended = fits.with_columns(window_end=end).sort("fitted_at")
    ended = ended.unique(["model", "window_end"], keep="last", maintain_order=True)
    if since is not None:
        ended = ended.filter(pl.col("window_end") >= since)
    return ended if until is None else ended.filter(pl.col("window_end") < until)


def fit_points(fits: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``model_fit`` (with ``window_end``) as points: one a term, one without a term for what is of the whole fit."""
    rows: list[dict[str, Any]] = []
    for fit in fits.iter_rows(named=True):
        head = {"window_end": fit["window_end"], "model": fit["model"]}
        whole = ("r_squared", "dispersion", "domains_not_received", "observations", "left_out")
        rows.append({**head, "term": "", **{n: fit[n] for n in whole}})
        for term, numbers in json.loads(fit["coefficients"] or "{}").items():
            parts = {n: numbers.get(n) for n in ("estimate", "std_error", "low", "high", "paper")}
            rows.append({**head, "term": term, **parts})
    schema = {
        "window_end": pl.Datetime("us", "UTC"),
        **dict.fromkeys(MODEL_FIT.tags, pl.String()),
        **MODEL_FIT.fields,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def incident_points(incidents: pl.DataFrame, pseudonyms: Pseudonymizer | None = None) -> pl.DataFrame:
    """Rows of ``incident`` as points; those that are suppressed are left out."""
    rows = []
    for row in incidents.iter_rows(named=True):
        if row.get("suppressed") is not None:
            continue
        subjects = list(row["subjects"] or ())
        explanation, evidence = row["explanation"] or "", row["evidence"] or "{}"
        if pseudonyms is not None:
            subjects = list(pseudonyms.subjects(subjects))
            explanation = pseudonyms.text(explanation)
            evidence = json.dumps(pseudonyms.value(json.loads(evidence)))
        if len(evidence) > _LONGEST:  # cut off it would be no JSON
            evidence = json.dumps({"left_out": "too long"})
        start = int(row["start"].timestamp()) * 1_000_000_000
        rows.append(
            {
                "at": start + zlib.crc32(row["id"].encode()) % 1_000_000_000,
                "detector": row["detector"] or "unknown",
                "cause": row["cause"] or "none",
                "severity": row["severity"] or "notice",
                "id": row["id"],
                "subject": subjects[0] if subjects else "",
                "subjects": ", ".join(subjects)[:_LONGEST],
                "server": row.get("server") or "",
                "start": start,
                "end": 0 if row["end"] is None else int(row["end"].timestamp()) * 1_000_000_000,
                "score": row["score"],
                "threshold": row["threshold"],
                "explanation": explanation[:_LONGEST],
                "evidence": evidence,
                "open": int(row["end"] is None),
            }
        )
    schema = {"at": pl.Int64(), **dict.fromkeys(INCIDENT.tags, pl.String()), **INCIDENT.fields}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(pl.from_epoch("at", "ns").dt.replace_time_zone("UTC"))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _within(at: int, unit: int, since: datetime | None, until: datetime | None) -> bool:
    seconds = at / unit
    return (since is None or seconds >= since.timestamp()) and (until is None or seconds < until.timestamp())


def _lost(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a point would keep something that it has no more, were it only written over."""
    if before["tags"] != now["tags"] or "values" not in before:
        return True
    had = dict(zip(before["terms"], before["values"], strict=True))
    has = dict(zip(now["terms"], now["values"], strict=True))
    return any(not set(fields) <= set(has.get(term, ())) for term, fields in had.items())


def _digest(frame: pl.DataFrame) -> str:
    return hashlib.sha256(frame.write_csv().encode()).hexdigest()[:16]
