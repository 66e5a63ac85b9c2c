"""What an analysis found, in the one shape that every view of it reads.

:class:`Analysis` stands between the work (count, store, fit) and its views (the HTML report, the terminal
summary, the JSON document): :mod:`seismolog.pipeline` builds one, the views only read it. Everything in it is
already small. A month of a campus is a hundred million rows of counts by client; an analysis holds the
totals by kind, one row a minute for each server, the ranking of the clients and the curves of the first few.

Times are UTC; ``timezone`` is only for showing. Frames are polars frames with these columns:

``traffic``
    ``bin_start`` (UTC, 1 minute), ``server``, ``kind``, ``count``: summed over query types and sides.
``clients``
    ``client``, ``kind``, ``count``, in falling order of count.
``curves``
    ``bin_start`` (of length ``curve_bin``), ``client``, ``kind``, ``count`` for the first clients.
``ModelResult.series``
    ``bin_start``, ``observed``, ``calculated``, ``residual``, ``standardized``, ``cache_efficiency``
    (null where it is not defined), and, where the pipeline has them, ``smtp_accepted``, ``pop_access``
    and ``smtp_deferred`` of the same bins.

Limits: a kind without a row in ``traffic`` counted nothing; a minute without a row is a minute without
events, which is not the same as a minute without a log (see ``log gap`` in the findings).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from seismolog.errors import SeismologError

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")

KIND_LABELS: dict[str, str] = {
    "dns_query": "DNS queries",
    "dns_denied": "DNS queries refused",
    "dns_error": "DNS queries failed",
    "smtp_accepted": "messages accepted",
    "smtp_sent": "deliveries done",
    "smtp_deferred": "deliveries deferred",
    "smtp_bounced": "bounces",
    "smtp_rejected": "SMTP refusals",
    "smtp_connection": "SMTP connections",
    "smtp_reinjected": "hand-overs to itself",
    "pop_access": "POP sessions",
    "imap_access": "IMAP sessions",
    "ftp_access": "FTP sessions",
    "ssh_access": "SSH sessions",
    "auth_failure": "failed log-ins",
    "firewall_drop": "firewall drops",
}
"""What an administrator calls each kind of event, in the order of the kinds."""

KIND_SYMBOLS: dict[str, str] = {
    "dns_query": "D_q",
    "smtp_accepted": "N_S",
    "smtp_sent": "N_SS",
    "smtp_deferred": "N_SD",
    "pop_access": "N_P",
}
"""The letter that the 2003 study gives to a kind, where it gives one."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that was read, or that could not be read to its end.

    ``error`` is ``(byte offset, message)`` of the place where reading stopped. ``state`` says what the
    store did with it: ``read``, ``unchanged`` (the store had it already) or ``replaced`` (it had a shorter
    version of it).
    """

    path: str
    compression: str = "none"
    bytes: int = 0
    lines: int = 0
    matched: int = 0
    ignored: int = 0
    unmatched: int = 0
    servers: tuple[str, ...] = ()
    first_time: datetime | None = None
    last_time: datetime | None = None
    years: tuple[int, int] | None = None
    year_guessed: bool = False
    timezone_guessed: bool = False
    error: tuple[int, str] | None = None
    dialects: Mapping[str, int] = field(default_factory=dict)
    state: str = "read"


@dataclass(frozen=True, slots=True)
class UnmatchedShape:
    """Lines that no dialect knows, grouped by their shape, with one of them as an example."""

    shape: str
    count: int
    example: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class InputSummary:
    """What was read, what was not understood and what was guessed.

    ``ignored`` lines belong to a daemon that is known but say nothing that is counted; ``unmatched`` lines
    belong to none. ``lines = matched + ignored + unmatched``. ``shed`` counts what a memory limit left out,
    by limit; ``reasons`` counts unmatched lines by reason.
    """

    files: tuple[SourceFile, ...] = ()
    lines: int = 0
    matched: int = 0
    ignored: int = 0
    unmatched: int = 0
    guesses: tuple[str, ...] = ()
    shed: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    shapes: tuple[UnmatchedShape, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    """Files that were found and not read, each with the reason: a copy of another, no text, …"""
    shapes_of: tuple[int, int] | None = None
    """(files whose lines were grouped by shape, files with unmatched lines), where not all were."""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """Queries caused by one event of a kind: estimate, standard error, 95 % interval and the paper's value."""

    estimate: float
    std_error: float | None
    low: float | None
    high: float | None
    paper: float | None = None


@dataclass(frozen=True, slots=True)
class Correlation:
    """A correlation coefficient with its 95 % interval."""

    r: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ModelResult:
    """The traffic model of one mail server: ``dns_query ≈ Σ coefficient · count (+ baseline)``.

    ``receive_product`` is n(1−q) = (m_S − 2)/4. ``method`` is ``fit``, or ``paper`` where there was too little to
    fit and the study's coefficients stand in. ``rejected`` are bins of weight 0, ``left_out`` bins that not both
    logs cover. ``cache_coefficients`` are those that the cache efficiency was reckoned with, ``cache_source`` says
    where they come from. ``absences`` are stretches in which mail went on and queries stopped.
    """

    name: str
    server: str
    client: str
    coefficients: Mapping[str, Coefficient]
    series: pl.DataFrame
    bin: timedelta
    r_squared: float | None = None
    dispersion: float | None = None
    cache_efficiency: float | None = None
    residual_vs_deferred: Correlation | None = None
    receive_product: float | None = None
    baseline: Coefficient | None = None
    bins: int = 0
    rejected: int = 0
    left_out: int = 0
    method: str = "fit"
    cache_coefficients: Mapping[str, float] = field(
        default_factory=lambda: {"smtp_accepted": 8.6, "pop_access": 1.0}
    )
    cache_source: str = ""
    deferral_note: str = ""
    """Why the deferral test was not made, where it was not."""
    absences: tuple[tuple[datetime, datetime, float, float], ...] = ()
    """(start, end, calculated, observed) of each."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that stands out, with its numbers and the command that shows the lines behind it.

    ``trace`` is an argument list, to be quoted for a shell when shown.
    """

    name: str
    severity: Severity
    title: str
    text: str
    start: datetime | None = None
    end: datetime | None = None
    subjects: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    trace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Incident:
    """What detectors found, one cause an incident. The fields are those of the store's ``incident`` table.

    ``end`` is ``None`` while it goes on. ``evidence`` has one entry for each detector that saw it.
    """

    id: str
    detector: str
    cause: str
    severity: Severity
    subjects: tuple[str, ...]
    start: datetime
    end: datetime | None
    score: float
    threshold: float
    explanation: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    server: str | None = None
    suppressed: str | None = None
    """Why it is not told, ``None`` where it is: it is shown last, and does not count for ``--fail-on``."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything the report, the terminal summary and the JSON document are made of."""

    input: InputSummary
    traffic: pl.DataFrame
    clients: pl.DataFrame
    curves: pl.DataFrame
    curve_bin: timedelta = timedelta(minutes=10)
    client_count: int = 0
    models: tuple[ModelResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    incidents: tuple[Incident, ...] = ()
    incident_curves: pl.DataFrame | None = None
    """``bin_start`` (of length ``curve_bin``), ``subject``, ``kind``, ``count`` of the subjects of the incidents."""
    site: str = ""
    timezone: str = "UTC"
    paths: tuple[str, ...] = ()
    mail_clients: Mapping[str, str] = field(default_factory=dict)
    """Address of a DNS client → the mail server behind it, known from the config or found in the logs."""
    generated_at: datetime | None = None
    failures: tuple[SeismologError, ...] = ()
    """What could not be read, or not to its end."""

    @property
    def start(self) -> datetime | None:
        """Start of the first minute in which anything was counted."""
        value = self.traffic["bin_start"].min() if self.traffic.height else None
        return value if isinstance(value, datetime) else None

    @property
    def end(self) -> datetime | None:
        """End of the last minute in which anything was counted (half open)."""
        value = self.traffic["bin_start"].max() if self.traffic.height else None
        return value + timedelta(minutes=1) if isinstance(value, datetime) else None

    def counts(self) -> dict[str, int]:
        """Events by kind, most first, over all servers and the whole time."""
        if not self.traffic.height:
            return {}
        import polars as pl

        totals = self.traffic.group_by("kind").agg(pl.col("count").sum()).sort("count", descending=True)
        return {str(kind): int(count) for kind, count in totals.iter_rows()}
