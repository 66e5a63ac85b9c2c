"""Ninety days of a campus as the exporter writes them: line protocol for dashboards and alert rules to be tried on.

What for: every panel and every alert rule is run against a real InfluxDB; this is what it holds. The measurements,
tags and fields are those of `seismolog.sinks.grafana.measurements`, and a test holds the lines to that list.

How: two DNS servers and two mail servers with a day and a week in their load, forty clients (four in IPv6), one model
with a weekly fit for each mail server, incidents, the numbers of the daemon. Counts of a bin are Poisson about
intensity times length, drawn anew for each length of bin: the lengths agree in the mean and not count by count.
Two scenarios: `calm`, where no alert rule may fire, and `trouble`, where in the last hour every rule has its cause.

Limits: a stand-in for the exporter's output, made without logs and without the store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np

from seismolog.store.schema import QTYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

MINUTE = timedelta(minutes=1)
LENGTHS = {"traffic": MINUTE, "traffic_10m": 10 * MINUTE, "traffic_1h": 60 * MINUTE}

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


def tag(value: str) -> str:
    """A tag value of line protocol."""
    return value.replace(",", "\\,").replace(" ", "\\ ").replace("=", "\\=")


def quoted(value: str) -> str:
    """A string field of line protocol."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


@dataclass
class Campus:
    """The campus up to `end`.

    `days` says for how many days each measurement of traffic is made; the model and the pipeline go back `depth` days.
    """

    end: datetime
    days: dict[str, float] = field(
        default_factory=lambda: {"traffic": 1.0, "traffic_10m": 9.0, "traffic_1h": 30.0}
    )
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

    # -- lines

    def lines(self) -> Iterator[str]:
        """Everything, one point a line."""
        for name, length in LENGTHS.items():
            if self.days.get(name):
                yield from self.traffic(name, length)
                yield from self.clients(name, length)
        yield from self.model()
        yield from self.fits()
        yield from self.incidents()
        yield from self.pipeline()
        yield from self.shapes()

    def traffic(self, name: str, length: timedelta) -> Iterator[str]:
        seconds = self.bins(length, self.days[name])
        minutes = length.total_seconds() / 60
        load = self.load(seconds)
        for server, size in DNS_SERVERS.items():
            for qtype, share in SHARES.items():
                for side, part in (("inside", 0.9), ("outside", 0.1)):
                    counts = self.random.poisson(QUERIES * size * share * part * minutes * load)
                    for t, n in zip(seconds.tolist(), counts.tolist(), strict=True):
                        if n:
                            clients = min(n, 20)
                            yield (
                                f"{name},server={server},kind=dns_query,query_type={qtype},side={side} "
                                f"count={n}i,recipients=0i,distinct_clients={clients}i,"
                                f"client_entropy={np.log2(clients + 1):.3f},distinct_names={n // 2 + 1}i,"
                                f"name_entropy={np.log2(n + 1):.3f},top_name_share={1 / (1 + n / 9):.4f} {t}000000000"
                            )
        for server, size in MAIL_SERVERS.items():
            for kind, rate in MAIL.items():
                rates = rate * size * minutes * load
                if kind == "smtp_deferred" and server == "1mx":
                    rates = np.where(self.trouble(seconds), 30.0 * minutes, rates)
                if kind == "auth_failure" and server == "1mx":
                    rates = np.where(self.trouble(seconds), 40.0 * minutes, rates)
                counts = self.random.poisson(rates)
                for t, n in zip(seconds.tolist(), counts.tolist(), strict=True):
                    if n:
                        clients = min(n, 30)
                        yield (
                            f"{name},server={server},kind={kind},query_type=none,side=inside count={n}i,"
                            f"recipients={n}i,distinct_clients={clients}i,client_entropy={np.log2(clients + 1):.3f},"
                            f"distinct_names=0i,name_entropy=0,top_name_share=0 {t}000000000"
                        )

    def clients(self, name: str, length: timedelta) -> Iterator[str]:
        seconds = self.bins(length, self.days[name])
        minutes = length.total_seconds() / 60
        load = self.load(seconds)
        weights = 1 / np.arange(2, len(CLIENTS) + 2)
        weights /= weights.sum()
        for client, weight in [*zip(CLIENTS, weights, strict=True), ("other", 0.3)]:
            rates = QUERIES * 0.7 * weight * minutes * load
            by_type = self.random.poisson(rates[:, None] * np.array(list(SHARES.values())))
            for t, row in zip(seconds.tolist(), by_type.tolist(), strict=True):
                n = sum(row)
                types = ",".join(f"{q}={k}i" for q, k in zip(QTYPES, row, strict=True))
                yield (
                    f"client_{name},server=1dns,kind=dns_query,client={tag(client)} "
                    f"count={n}i,{types},distinct_names={n // 2}i {t}000000000"
                )

    def model(self) -> Iterator[str]:
        seconds = self.bins(10 * MINUTE, self.depth)
        load = self.load(seconds)
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
            for i, t in enumerate(seconds.tolist()):
                line = f"model,model={server} observed={observed[i]:.3f},calculated={calculated[i]:.3f}"
                line += f",residual={residual[i]:.3f},standardized={residual[i] / spread[i]:.4f}"
                if calculated[i] >= 200:
                    line += f",cache_efficiency={efficiency[i]:.4f}"
                yield f"{line} {t}000000000"

    def fits(self) -> Iterator[str]:
        start = self.end - timedelta(days=self.depth)
        for server in MAIL_SERVERS:
            moment = start
            while moment <= self.end:
                for term, (truth, paper) in COEFFICIENTS.items():
                    error = 0.02 * truth
                    estimate = truth + error * self.random.normal()
                    yield (
                        f"model_fit,model={server},term={term} estimate={estimate:.4f},std_error={error:.4f},"
                        f"low={estimate - 2 * error:.4f},high={estimate + 2 * error:.4f},paper={paper} {ns(moment)}"
                    )
                yield (
                    f"model_fit,model={server} r_squared=0.98,dispersion=3.1,domains_not_received=1.55,"
                    f"observations=1000i,left_out=4i {ns(moment)}"
                )
                moment += timedelta(days=1)

    def incidents(self) -> Iterator[str]:
        listed = [(*i, 0) for i in INCIDENTS]
        if self.scenario == "trouble":
            listed += [
                ("deferral_surge", "outbreak", "critical", ("1mx",), 0.8, 0.0, "1mx defers 300 "
                "deliveries in 10 minutes", 1),
                ("login_attack", "brute force", "warning", ("192.0.2.30",), 0.7, 0.0, "192.0.2.30 failed "
                "400 times", 1),
            ]  # fmt: skip
        for n, (detector, cause, severity, subjects, before, hours, sentence, opened) in enumerate(listed):
            start = self.end - timedelta(hours=before)
            end = 0 if opened else ns(start + timedelta(hours=hours))
            evidence = json.dumps({"observed": 300, "expected": 12.5, "bins": 3})
            yield (
                f"incident,detector={detector},cause={tag(cause)},severity={severity} id={quoted(f'id-{n}')},"
                f"subject={quoted(subjects[0])},subjects={quoted(', '.join(subjects))},server={quoted('1dns')},"
                f"start={ns(start)}i,end={end}i,score=12.5,threshold=5,explanation={quoted(sentence)},"
                f"evidence={quoted(evidence)},open={opened}i {ns(start) + n}"
            )

    def pipeline(self) -> Iterator[str]:
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
            yield (
                f"pipeline,instance=campus lines={lines[i]},matched={lines[i] - unmatched[i]},unmatched={unmatched[i]},"
                f"late_lines={i // 100},shed_lines={shed[i]},influxdb_points={lines[i]},influxdb_writes={i},"
                f"influxdb_errors={errors[i]},influxdb_dropped_series=0,queue_fill={0.95 if trouble[i] else 0.01},"
                f"wal_bytes=4000000,lag_seconds={lag},influxdb_lag_seconds={lag},store_lag_seconds=10 {t}000000000"
            )

    def shapes(self) -> Iterator[str]:
        shapes = ("kernel: usb N-N: new device", "cron[N]: (root) CMD (W)", 'app: "W" = N')
        for hour in range(24):
            moment = ns(self.end - timedelta(hours=hour))
            for n, shape in enumerate(shapes):
                seen = 100 * (n + 1) * (24 - hour)
                yield f"unmatched_shape,instance=campus,hash={n:08x} shape={quoted(shape)},count={seen}i {moment}"


def batches(lines: Iterator[str], size: int = 10_000) -> Iterator[bytes]:
    """The lines in bodies of so many."""
    held: list[str] = []
    for line in lines:
        held.append(line)
        if len(held) == size:
            yield "\n".join(held).encode()
            held.clear()
    if held:
        yield "\n".join(held).encode()
