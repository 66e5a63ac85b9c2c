"""A campus in a store, and the exporter that writes it to InfluxDB: for dashboards and alert rules to be tried on.

What for: every panel and every alert rule is run against a real InfluxDB; this is what it holds. Nothing is written there
but by the exporter: :func:`export_campus` makes the tables of a store and calls what `seismolog export` calls; the
daemon's own numbers go through the class that the daemon sends them with.

How: two DNS servers and two mail servers with a day and a week in their load, forty clients (four in IPv6) that have
series of their own and ten that are in `other`, one model with a daily fit for each mail server, incidents, the numbers
of the daemon. Counts of a bin are Poisson about intensity times length; what is not of the newest time is drawn in bins
of ten minutes. Two scenarios: `calm`, where no alert rule may fire, and `trouble`, where in the last hour every rule
has its cause.

Limits: a campus without lines, whose summaries say how many names there were and not which. One with lines, whose
incidents come when they come, is looked at in `test_grafana_simulated.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from seismolog.config import Config
from seismolog.sinks.influxdb.backfill import Exported, export
from seismolog.sinks.influxdb.pipeline import FIELDS, Pipeline
from seismolog.sinks.influxdb.refused import Aside
from seismolog.sinks.influxdb.target import target_of
from seismolog.sinks.influxdb.writer import Writer
from seismolog.store import SourceEntry, Store
from seismolog.store.schema import QTYPES, TABLES
from tests.services.influx_world import packed
from tests.services.influxd.server import Influxd

MINUTE = timedelta(minutes=1)

DNS_SERVERS = {"1dns": 1.0, "2dns": 0.4}
MAIL_SERVERS = {"1mx": 1.0, "2mx": 0.3}
#: Addresses of the mail servers as DNS clients.
MAIL_CLIENTS = {"192.0.2.2": "1mx", "192.0.2.3": "2mx"}
CLIENTS = (
    *MAIL_CLIENTS,
    *(f"192.0.2.{n}" for n in range(10, 34)),
    *(f"198.51.100.{n}" for n in range(1, 13)),
    *(f"2001:db8:1::{n:x}" for n in range(1, 5)),
)
#: Without series of their own: clients_per_hour is the number of those above.
OTHERS = tuple(f"203.0.113.{n}" for n in range(1, 11))
#: Queries a minute of all clients at the busiest server at noon.
QUERIES = 900.0
SHARES = dict(zip(QTYPES, (0.47, 0.22, 0.06, 0.12, 0.02, 0.02, 0.02, 0.05, 0.005, 0.015), strict=True))
MAIL = {
    "smtp_accepted": 14.0,
    "smtp_sent": 16.0,
    "smtp_deferred": 0.5,
    "smtp_bounced": 0.2,
    "smtp_rejected": 5.0,
    "smtp_connection": 24.0,
    "pop_access": 30.0,
    "imap_access": 20.0,
    "auth_failure": 1.0,
}
#: The truth that the fits scatter about.
COEFFICIENTS = {"smtp_accepted": (8.2, 8.6), "pop_access": (1.05, 1.0)}

INCIDENTS = (
    # detector, cause, severity, subjects, hours before the end, hours long, sentence
    ("step_change", "hijack", "warning", ("192.0.2.14",), 300, 5.0, "192.0.2.14 asks 12 times its usual"),
    ("synchronized_clients", "botnet", "critical", ("192.0.2.20", "198.51.100.4"), 50, 3.0, "two clients "
    "move together, correlation 0.97"),
    ("ripple", "polling", "warning", ("192.0.2.15",), 21, 4.0, "192.0.2.15 asks every 60 minutes"),
    ("mass_mailer", "worm", "critical", ("192.0.2.21",), 12, 2.0, "192.0.2.21 asks for the mail servers "
    "of 40 names"),
    ("synchronized_clients", "botnet", "warning", ("192.0.2.22", "192.0.2.23", "2001:db8:1::2"), 9, 2.5, "three "
    "clients move together"),
    ("log_gap", "outage", "notice", ("2dns",), 7, 0.5, "2dns wrote no line for 30 minutes"),
)  # fmt: skip


@cache
def summary(distinct: int) -> bytes | None:
    """A stored summary of so many things, each seen once."""
    return packed(range(distinct)) if distinct else None


@dataclass
class Campus:
    """The campus up to `end`: `minutes` days in bins of a minute, before that `depth` days in all in bins of ten."""

    end: datetime
    minutes: float = 0.5
    depth: float = 30.0
    #: Between two points of the daemon's own numbers.
    pulse: timedelta = MINUTE
    scenario: Literal["calm", "trouble"] = "calm"
    seed: int = 0

    def __post_init__(self) -> None:
        self.end = self.end.astimezone(UTC).replace(second=0, microsecond=0)
        self.random = np.random.default_rng(self.seed)

    # -- time

    def bins(self, length: timedelta, days: float) -> np.ndarray:
        """Start of each closed bin, seconds since 1970."""
        step = int(length.total_seconds())
        last = (int(self.end.timestamp()) - 120) // step * step
        return np.arange(last - int(days * 86400) // step * step, last, step)

    def stretches(self) -> Iterator[tuple[np.ndarray, float]]:
        """Starts of bins, and the minutes of each: first those of ten minutes, then those of one.

        The newest ten minutes that are not over are left out: while a daemon runs there is no roll-up of them.
        """
        first = int(self.end.timestamp() - self.minutes * 86400) // 3600 * 3600
        long = self.bins(10 * MINUTE, self.depth)
        yield long[long < first], 10.0
        yield np.arange(first, int(long[-1]) + 600, 60), 1.0

    def load(self, seconds: np.ndarray) -> np.ndarray:
        """Intensity relative to a noon of a working day."""
        hour = seconds % 86400 / 3600
        weekday = (seconds // 86400 + 3) % 7
        day = 0.4 + 0.6 * np.exp(-(((hour - 13) / 4.5) ** 2))
        return day * np.where(weekday >= 5, 0.8, 1.0)

    def trouble(self, seconds: np.ndarray, minutes: float = 70) -> np.ndarray:
        """Whether a bin lies in the last hour of a scenario with trouble."""
        if self.scenario == "calm":
            return np.zeros(len(seconds), dtype=bool)
        return seconds >= self.end.timestamp() - minutes * 60

    # -- tables

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of the store."""
        parts = [self.counted(seconds, minutes) for seconds, minutes in self.stretches()]
        return {
            "traffic": pl.concat([p[0] for p in parts]),
            "client_traffic": pl.concat([p[1] for p in parts]),
            "model_series": self.model(),
            "model_fit": self.fits(),
            "incident": self.incidents(),
        }

    def counted(self, seconds: np.ndarray, minutes: float) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Traffic and that of the clients: what a server was asked is what its clients asked it."""
        traffic, clients = [], []
        load = self.load(seconds)
        names = [*CLIENTS, *OTHERS]
        weights = 1 / np.arange(2, len(names) + 2)
        weights[len(CLIENTS) :] *= 0.3  # never among the most active
        weights /= weights.sum()
        inside = np.array([c.startswith(("192.0.2.", "2001:")) for c in names])
        for server, size in DNS_SERVERS.items():
            rates = QUERIES * size * minutes * load[:, None] * weights[None, :]
            asked = self.random.poisson(rates[:, :, None] * np.array(list(SHARES.values())))
            for c, client in enumerate(names):
                rows = asked[:, c, :]
                clients.append(self._rows(seconds, rows.sum(axis=1), client_traffic_of(server, client, rows)))
            for q, qtype in enumerate(QTYPES):
                for side, chosen in (("inside", inside), ("outside", ~inside)):
                    counts = asked[:, chosen, q].sum(axis=1)
                    active = (asked[:, chosen, q] > 0).sum(axis=1)
                    key = {"server": server, "kind": "dns_query", "query_type": qtype, "side": side}
                    traffic.append(self._rows(seconds, counts, traffic_of(key, counts, active, counts)))
        for server, size in MAIL_SERVERS.items():
            for kind, rate in MAIL.items():
                expected = rate * size * minutes * load
                if server == "1mx" and kind in ("smtp_deferred", "auth_failure"):
                    much = 30.0 if kind == "smtp_deferred" else 40.0
                    expected = np.where(self.trouble(seconds), much * minutes, expected)
                counts = self.random.poisson(expected)
                key = {"server": server, "kind": kind, "query_type": None, "side": "inside"}
                made = traffic_of(key, counts, np.minimum(counts, 30), np.zeros_like(counts))
                traffic.append(self._rows(seconds, counts, made))
        return tuple(  # type: ignore[return-value]
            pl.concat(f).select(pl.col(c.name).cast(c.dtype) for c in TABLES[n].columns)
            for n, f in (("traffic", traffic), ("client_traffic", clients))
        )

    def _rows(self, seconds: np.ndarray, counts: np.ndarray, columns: dict[str, Any]) -> pl.DataFrame:
        """Rows of the bins in which anything was counted."""
        frame = pl.DataFrame({"bin_start": moments(seconds), "count": counts, **columns})
        return frame.filter(pl.col("count") > 0)

    def model(self) -> pl.DataFrame:
        seconds = self.bins(10 * MINUTE, self.depth)
        load = self.load(seconds)
        parts = []
        for server, size in MAIL_SERVERS.items():
            messages = self.random.poisson(MAIL["smtp_accepted"] * size * 10 * load)
            sessions = self.random.poisson(MAIL["pop_access"] * size * 10 * load)
            calculated = 8.2 * messages + 1.05 * sessions
            spread = np.sqrt(3 * calculated + 1)
            standardized = np.clip(self.random.normal(size=len(seconds)), -2.5, 2.5)
            trouble = self.trouble(seconds)
            if server == "1mx":
                standardized = np.where(trouble, 8.0, standardized)
            observed = np.maximum(calculated + spread * standardized, 0)
            if server == "2mx":
                observed = np.where(trouble, 0.0, observed)
            residual = observed - calculated
            efficiency = np.where(trouble, 0.05, 0.45 + 0.03 * self.random.normal(size=len(seconds)))
            frame = pl.DataFrame(
                {
                    "bin_start": moments(seconds),
                    "observed": observed.round(3),
                    "calculated": calculated.round(3),
                    "residual": residual.round(3),
                    "standardized": (residual / spread).round(4),
                    "cache_efficiency": efficiency.round(4),
                }
            )
            parts.append(
                frame.with_columns(
                    pl.lit(server).alias("model"),
                    pl.when(pl.col("calculated") >= 200).then("cache_efficiency").alias("cache_efficiency"),
                )
            )
        return pl.concat(parts)

    def fits(self) -> pl.DataFrame:
        rows = []
        for server in MAIL_SERVERS:
            moment = self.end - timedelta(days=self.depth)
            while moment <= self.end:
                coefficients = {}
                for term, (truth, paper) in COEFFICIENTS.items():
                    error = 0.02 * truth
                    estimate = truth + error * self.random.normal()
                    coefficients[term] = {
                        "estimate": estimate, "std_error": error, "low": estimate - 2 * error,
                        "high": estimate + 2 * error, "paper": paper,
                    }  # fmt: skip
                rows.append(
                    {
                        "fitted_at": moment, "model": server, "window_start": moment - timedelta(days=28),
                        "window_end": moment,
                        "coefficients": json.dumps(coefficients), "r_squared": 0.98, "dispersion": 3.1,
                        "domains_not_received": 1.55, "observations": 1000, "left_out": 4,
                    }
                )  # fmt: skip
                moment += timedelta(days=1)
        return pl.DataFrame(rows)

    def incidents(self) -> pl.DataFrame:
        listed = [(*i, 0) for i in INCIDENTS]
        if self.scenario == "trouble":
            listed += [
                ("deferral_surge", "outbreak", "critical", ("1mx",), 0.8, 0.0, "1mx defers 300 "
                "deliveries in 10 minutes", 1),
                ("login_attack", "brute force", "warning", ("192.0.2.30",), 0.7, 0.0, "192.0.2.30 failed "
                "400 times", 1),
            ]  # fmt: skip
        rows = []
        for n, (detector, cause, severity, subjects, before, hours, sentence, opened) in enumerate(listed):
            start = self.end - timedelta(hours=before)
            rows.append(
                {
                    "id": f"id-{n}", "detector": detector, "cause": cause, "severity": severity, "start": start,
                    "end": None if opened else start + timedelta(hours=hours), "score": 12.5, "threshold": 5.0,
                    "subjects": list(subjects), "server": "1dns", "explanation": sentence,
                    "evidence": json.dumps({"observed": 300, "expected": 12.5, "bins": 3}),
                }
            )  # fmt: skip
        return pl.DataFrame(rows)

    # -- the daemon's own numbers

    def numbers(self) -> Iterator[tuple[datetime, dict[str, float]]]:
        """What /metrics shows, moment by moment."""
        seconds = self.bins(self.pulse, self.depth)
        trouble = self.trouble(seconds)
        rates = self.random.poisson(50 * self.pulse.total_seconds() * self.load(seconds))
        # The last quarter of an hour with trouble: nothing comes in any more; before it every second line is unknown.
        rates = np.where(self.trouble(seconds, 15), 0, rates)
        lines = np.cumsum(rates)
        unmatched = np.cumsum(np.where(trouble, rates // 2, rates // 50))
        errors = np.cumsum(np.where(trouble, 5, 0))
        shed = np.cumsum(np.where(trouble, 100, 0))
        for i, t in enumerate(seconds.tolist()):
            lag = 900 if trouble[i] else 2.5
            # Half of what is understood is no event: a mail server writes much beside its deliveries.
            of_fields = {
                "lines": lines[i], "matched": (lines[i] - unmatched[i]) // 2, "unmatched": unmatched[i],
                "late_lines": i // 100, "shed_lines": shed[i], "influxdb_points": lines[i], "influxdb_writes": i,
                "influxdb_errors": errors[i], "influxdb_dropped_series": 0, "wal_bytes": 4_000_000,
                "influxdb_lag_seconds": lag, "store_lag_seconds": 10,
            }  # fmt: skip
            metrics = {FIELDS[name][0]: float(value) for name, value in of_fields.items()}
            metrics["seismolog_queue_bytes"] = 95.0 if trouble[i] else 1.0
            metrics["seismolog_queue_bound_bytes"] = 100.0
            # Counting stands still: the lag is how long it has.
            metrics["seismolog_wal_durable_position"] = 1000.0 * (i + 1)
            metrics["seismolog_counted_position"] = 0.0 if trouble[i] else 1000.0 * (i + 1)
            yield datetime.fromtimestamp(t, UTC), metrics

    def shapes(self) -> Iterator[tuple[datetime, list[tuple[str, int]]]]:
        """Shapes of lines that are not understood, hour by hour."""
        for hour in range(24):
            counts = [100 * (n + 1) * (24 - hour) for n in range(len(SHAPES))]
            yield self.end - timedelta(hours=hour), list(zip(SHAPES, counts, strict=True))


SHAPES = ("kernel: usb #-#: new device", "cron: (root) CMD (W)", 'app: "W" = #')


def moments(seconds: np.ndarray) -> pl.Series:
    return pl.Series(seconds * 1_000_000, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def client_traffic_of(server: str, client: str, by_type: np.ndarray) -> dict[str, Any]:
    """Columns of a client's rows."""
    names = np.minimum(by_type.sum(axis=1), 40)
    return {
        "server": [server] * len(names),
        "kind": ["dns_query"] * len(names),
        "client": [client] * len(names),
        **{q: by_type[:, i] for i, q in enumerate(QTYPES)},
        "distinct_names": names,
        "name_state": [summary(n) for n in names.tolist()],
    }


def traffic_of(
    key: dict[str, str | None], counts: np.ndarray, clients: np.ndarray, names: np.ndarray
) -> dict[str, Any]:
    """Columns of the rows of one key with so many clients and names (no names: null)."""
    n = len(counts)
    names = np.minimum(names, 40)
    known = names > 0
    share = np.divide(1.0, names, out=np.zeros(n), where=known)
    return {
        **{k: pl.Series([v] * n, dtype=pl.String) for k, v in key.items()},
        "recipients": counts,
        "distinct_clients": clients,
        "client_entropy": np.log2(np.maximum(clients, 1)),
        "client_state": [summary(c) for c in clients.tolist()],
        "distinct_names": pl.Series(names).replace(0, None),
        "name_entropy": pl.Series(np.log2(np.maximum(names, 1))).set(pl.Series(~known), None),
        "top_name_share": pl.Series(share).set(pl.Series(~known), None),
        "name_state": [summary(c) for c in names.tolist()],
    }


def export_campus(server: Influxd, bucket: str, campus: Campus, folder: Path) -> tuple[Store, Exported]:
    """Put the campus into a store, and let the exporter write it into the bucket."""
    store = Store(folder / "store")
    tables = campus.tables()
    entry = SourceEntry(source="campus", generation=0, head_hash="campus", full_hash="campus")
    with store.writer() as writer:
        counted = {
            n: tables[n].with_columns(pl.lit(0, dtype=pl.UInt32).alias("source"))
            for n in ("traffic", "client_traffic")
        }
        writer.add(counted, [entry])
        writer.commit()
    for name in ("model_series", "model_fit", "incident"):
        store.replace(name, tables[name], pl.lit(True))
    token = folder / "token"
    token.write_text(server.token)
    section = {
        "url": server.url, "org": server.org, "bucket": bucket, "token_file": str(token), "instance": "campus",
        "clients_per_hour": len(CLIENTS),
    }  # fmt: skip
    config = Config.model_validate({"influxdb": section})
    done = export(config, store.url, folder / "state", patience=60.0)
    target = target_of(config)
    sender = Writer(target, Aside(folder / "refused.lp", 1 << 20), patience=60.0)
    numbers = Pipeline(target.instance, most=10_000)
    for n, (at, metrics) in enumerate(campus.numbers(), 1):
        numbers.take(metrics, at)
        if n % 10_000 == 0:
            sender.write(numbers.texts(target.batch_points))
            numbers.sent()
    sender.write(numbers.texts(target.batch_points))
    for at, shapes in campus.shapes():
        sender.write(numbers.shapes(shapes, at))
    sender.close()
    return store, done
