"""The tables: every column declared once, with what it means when rows are added up.

A table is a list of :class:`Column`. A column's *role* says what becomes of it where several rows of one
key meet (two sources that share a minute, or minutes that roll up to an hour):

``key``       part of the key; rows with equal keys are one row to a reader
``sum``       added
``state``     a mergeable summary (exact up to a stated size, a sketch past it), merged by the counting core
``derived``   a number that is a function of a state or of sums; recomputed, never added
``histogram`` a list of counts, added element by element
``bits``      a set of flags, united by bitwise or

Types are those that Delta Lake has: it knows no unsigned integers, so counts are Int64 where they sum many
clients and Int32 where they count one client in one bin (a narrow type halves a month in memory).

Besides its own columns every table with sources carries ``source`` (whose rows these are), ``generation``
(which writing of that source, see :mod:`seismolog.store.journal`), ``revision`` (of live rows: of the rows of
one key the highest holds, see :mod:`seismolog.store.live`; null in an archive's) and the partition ``date``
(UTC date of its time column).

Limits: a schema only gains nullable columns, at the end, and :data:`SCHEMA_VERSION` counts such additions.
A file written before a column existed reads as null there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

__all__ = [
    "GENERATION",
    "INTERVAL_MINUTES",
    "QTYPES",
    "REVISION",
    "SCHEMA_VERSION",
    "SOURCE",
    "TABLES",
    "Column",
    "Table",
    "table_of",
]

#: Counts additions to the schemas; stands in the metadata of every table.
SCHEMA_VERSION = 2

SOURCE = "source"
GENERATION = "generation"
REVISION = "revision"

#: The query types that have a column of their own, in the order of the counting core.
QTYPES = ("a", "aaaa", "mx", "ptr", "txt", "ns", "srv", "https", "any", "other")

Role = Literal["key", "sum", "state", "derived", "histogram", "bits", "value"]
Measure = Literal["distinct", "entropy", "top_share", "ratio", "median", "ones"]

_TIME = pl.Datetime("us", "UTC")
_DNS = ("dns_query", "dns_denied", "dns_error")
#: First minute of each bucket of ``interval_histogram``; the last has no end.
INTERVAL_MINUTES = (
    *(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
    *(15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 720, 1440),
)
_INTERVALS = (
    "intervals of consecutive queries of one source in minutes, buckets from "
    f"{', '.join(map(str, INTERVAL_MINUTES))}"
)
_DISTANCES = (
    "distances of consecutive IPv4 targets of a client, octets as a vector: 0; 1 to 2; to 8; to 32; below "
    "150.2; 150.2 to 210.4; to 300; above"
)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name, dtype
        As stored and as read.
    role
        What becomes of it when rows of one key meet; see the module.
    of, measure
        For ``derived``: the column that it is computed from and how. ``ratio`` divides ``of`` by ``per``.
    per
        The denominator of a ``ratio``.
    meaning
        One line for the documentation.
    """

    name: str
    dtype: pl.DataType
    role: Role
    meaning: str = ""
    of: str | None = None
    measure: Measure | None = None
    per: str | None = None


@dataclass(frozen=True)
class Table:
    """One table of the store.

    Parameters
    ----------
    name
        Name of the table and of its folder.
    bin
        Length of its bins as polars writes it ("1m", "10m", "1h"), None where rows are no bins.
    time
        The column that the partition ``date`` is taken from.
    columns
        Its columns without ``source``, ``generation`` and ``date``.
    kinds
        The kinds that its rows come from, None for all: two sources can only share a key of this table where
        both have events of such a kind.
    sourced
        Whether rows belong to sources (counted from logs) or are written whole by a fit or a detector.
    """

    name: str
    bin: str | None
    time: str
    columns: tuple[Column, ...]
    kinds: tuple[str, ...] | None = None
    sourced: bool = True
    _by_name: dict[str, Column] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._by_name.update({c.name: c for c in self.columns})

    def column(self, name: str) -> Column:
        """The column of that name; KeyError where there is none."""
        return self._by_name[name]

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the key columns, in order."""
        return tuple(c.name for c in self.columns if c.role == "key")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all own columns, in order."""
        return tuple(c.name for c in self.columns)

    @property
    def file_schema(self) -> pl.Schema:
        """What a Parquet file of this table holds (the partition ``date`` stands in its folder's name)."""
        fields: dict[str, pl.DataType] = {c.name: c.dtype for c in self.columns}
        if self.sourced:
            fields[SOURCE] = pl.String()
            fields[GENERATION] = pl.Int64()
            fields[REVISION] = pl.Int64()
        return pl.Schema(fields)

    @property
    def delta_schema(self) -> pl.Schema:
        """The whole schema as Delta Lake records it, the partition column last."""
        return pl.Schema({**self.file_schema, "date": pl.Date()})


def _key(name: str, dtype: pl.DataType, meaning: str) -> Column:
    return Column(name, dtype, "key", meaning)


def _sum(name: str, dtype: pl.DataType, meaning: str) -> Column:
    return Column(name, dtype, "sum", meaning)


def _state(name: str, meaning: str) -> Column:
    return Column(name, pl.Binary(), "state", meaning)


def _of(name: str, dtype: pl.DataType, state: str, measure: Measure, meaning: str) -> Column:
    return Column(name, dtype, "derived", meaning, of=state, measure=measure)


def _bin(length: str) -> Column:
    return _key("bin_start", _TIME, f"start of the half-open UTC bin of {length}")


_SERVER = _key("server", pl.String(), "host that wrote the line")
_CLIENT = _key("client", pl.String(), "address that caused it, null where there is none")


def _qtypes(dtype: pl.DataType) -> tuple[Column, ...]:
    return tuple(_sum(q, dtype, f"of them of type {q.upper()}, 0 for what is no DNS query") for q in QTYPES)


_TABLES = (
    Table(
        name="traffic",
        bin="1m",
        time="bin_start",
        columns=(
            _bin("1 minute"),
            _SERVER,
            _key("kind", pl.String(), "kind of event"),
            _key("query_type", pl.String(), "DNS query type, null for what is no DNS query"),
            _key("side", pl.String(), "inside or outside of the site, null where there is no client"),
            _sum("count", pl.Int64(), "events"),
            _sum("recipients", pl.Int64(), "addresses that the events concern"),
            _of("distinct_clients", pl.Int32(), "client_state", "distinct", "distinct client addresses"),
            _of(
                "client_entropy", pl.Float64(), "client_state", "entropy", "Shannon entropy of clients, bits"
            ),
            _of("distinct_names", pl.Int32(), "name_state", "distinct", "distinct query names"),
            _of(
                "name_entropy", pl.Float64(), "name_state", "entropy", "Shannon entropy of query names, bits"
            ),
            _of("top_name_share", pl.Float64(), "name_state", "top_share", "share of the most frequent name"),
            _state("client_state", "summary of the counts by client"),
            _state("name_state", "summary of the counts by query name"),
        ),
    ),
    Table(
        name="client_traffic",
        bin="1m",
        time="bin_start",
        columns=(
            _bin("1 minute"),
            _SERVER,
            _key("kind", pl.String(), "kind of event"),
            _CLIENT,
            _sum("count", pl.Int32(), "events"),
            *_qtypes(pl.Int32()),
            _of("distinct_names", pl.Int32(), "name_state", "distinct", "distinct query names"),
            _state("name_state", "summary of the counts by query name"),
        ),
    ),
    Table(
        name="domain",
        bin="10m",
        time="bin_start",
        kinds=_DNS,
        columns=(
            _bin("10 minutes"),
            _SERVER,
            _key("domain", pl.String(), "registered domain"),
            _sum("count", pl.Int64(), "queries"),
            *_qtypes(pl.Int32()),
            _of("distinct_names", pl.Int32(), "name_state", "distinct", "distinct query names"),
            _of("distinct_clients", pl.Int32(), "client_state", "distinct", "distinct client addresses"),
            _state("name_state", "summary of the counts by query name"),
            _state("client_state", "summary of the counts by client"),
        ),
    ),
    Table(
        name="client_domain",
        bin="1h",
        time="bin_start",
        kinds=_DNS,
        columns=(
            _bin("1 hour"),
            _SERVER,
            _CLIENT,
            _key("domain", pl.String(), "registered domain"),
            _sum("count", pl.Int64(), "queries"),
            _of("distinct_names", pl.Int32(), "name_state", "distinct", "distinct query names"),
            _sum(
                "names_measured",
                pl.Int64(),
                "names that entropies and lengths are of: each distinct one once an hour and source, a sample "
                "past 256",
            ),
            _sum(
                "label_entropy_sum",
                pl.Float64(),
                "entropies of the characters left of the domain, added over the names measured, bits",
            ),
            Column(
                "mean_label_entropy",
                pl.Float64(),
                "derived",
                "mean label entropy of a name, bits",
                of="label_entropy_sum",
                measure="ratio",
                per="names_measured",
            ),
            Column("name_length_histogram", pl.List(pl.Int32()), "histogram", "names measured by length"),
            _of(
                "median_name_length", pl.Int32(), "name_length_histogram", "median", "median length of a name"
            ),
            Column(
                "mail_label_bits",
                pl.Int32(),
                "bits",
                "leftmost labels seen, one bit each: mail, smtp, mx, ns, gate, relay",
            ),
            _of("mail_labels", pl.Int32(), "mail_label_bits", "ones", "number of mail-like labels seen"),
            Column("interval_histogram", pl.List(pl.Int32()), "histogram", _INTERVALS),
            _state("name_state", "summary of the query names, without counts"),
        ),
    ),
    Table(
        name="client_names",
        bin="1h",
        time="bin_start",
        kinds=_DNS,
        columns=(
            _bin("1 hour"),
            _SERVER,
            _CLIENT,
            _sum("mx_names", pl.Int64(), "distinct names asked as MX, each once an hour and source"),
            _sum(
                "mail_domains",
                pl.Int64(),
                "registered domains asked with a leftmost label of mail, smtp, mx, ns, gate or relay, each once an "
                "hour and source",
            ),
            _sum("probed_domains", pl.Int64(), "of them with three or more of these labels"),
            _sum(
                "unlikely_domains",
                pl.Int64(),
                "registered domains whose name looks made up by a program, each once an hour and source",
            ),
        ),
    ),
    Table(
        name="ptr_target",
        bin="1h",
        time="bin_start",
        kinds=_DNS,
        columns=(
            _bin("1 hour"),
            _SERVER,
            _key("origin", pl.String(), "client, or its /24: a /24 is the sum of its clients"),
            _sum("count", pl.Int64(), "reverse look-ups"),
            _of("distinct_targets", pl.Int32(), "target_state", "distinct", "distinct addresses asked for"),
            _state("target_state", "summary of the counts by target"),
            Column("distance_histogram", pl.List(pl.Int32()), "histogram", _DISTANCES),
        ),
    ),
    Table(
        name="drop_target",
        bin="1h",
        time="bin_start",
        kinds=("firewall_drop",),
        columns=(
            _bin("1 hour"),
            _SERVER,
            _key("origin", pl.String(), "client, or its /24: a /24 is the sum of its clients"),
            _key("port", pl.Int32(), "destination port, 0 where none is told, null: all ports together"),
            _sum("count", pl.Int64(), "packets dropped"),
            _of("distinct_targets", pl.Int32(), "target_state", "distinct", "distinct destinations"),
            _state("target_state", "summary of the counts by destination"),
            Column("distance_histogram", pl.List(pl.Int32()), "histogram", _DISTANCES),
            _of(
                "distinct_endpoints",
                pl.Int32(),
                "endpoint_state",
                "distinct",
                "distinct destinations with port, null where the row is of one port",
            ),
            _state("endpoint_state", "summary of the counts by destination and port"),
        ),
    ),
    Table(
        name="account_activity",
        bin="1h",
        time="bin_start",
        kinds=(
            "smtp_accepted",
            "smtp_rejected",
            "pop_access",
            "imap_access",
            "ftp_access",
            "ssh_access",
            "auth_failure",
        ),
        columns=(
            _bin("1 hour"),
            _SERVER,
            _key("account", pl.String(), "account name as logged, 256 bytes at most"),
            _sum("logins", pl.Int64(), "successful logins"),
            _sum("failures", pl.Int64(), "failed authentications"),
            _sum("authenticated_sends", pl.Int64(), "messages accepted from the authenticated account"),
            _of("distinct_clients", pl.Int32(), "client_state", "distinct", "distinct client addresses"),
            _state("client_state", "summary of the counts by client"),
            _of(
                "distinct_networks",
                pl.Int32(),
                "network_state",
                "distinct",
                "distinct networks of clients (a /24, or a /48 of IPv6) of logins and sends",
            ),
            _state("network_state", "summary of the counts by network"),
        ),
    ),
    Table(
        name="model_fit",
        bin=None,
        time="fitted_at",
        sourced=False,
        columns=(
            _key("fitted_at", _TIME, "when the model was fitted"),
            _key("model", pl.String(), "name of the model"),
            _key("window_start", _TIME, "first bin of the window"),
            Column("window_end", _TIME, "value", "end of the window"),
            Column("server", pl.String(), "value", "mail server"),
            Column("client", pl.String(), "value", "its address as a DNS client"),
            Column(
                "coefficients", pl.String(), "value", "JSON: kind to estimate, std_error, low, high, paper"
            ),
            Column("r_squared", pl.Float64(), "value", "share of the variance explained"),
            Column("dispersion", pl.Float64(), "value", "variance over mean of the residuals"),
            Column("domains_not_received", pl.Float64(), "value", "n(1-q) = (m_S - 2)/4"),
            Column("observations", pl.Int64(), "value", "bins fitted"),
            Column("left_out", pl.Int64(), "value", "bins left out as outlying"),
        ),
    ),
    Table(
        name="model_series",
        bin=None,
        time="bin_start",
        sourced=False,
        columns=(
            _key("bin_start", _TIME, "start of the bin of the model's length"),
            _key("model", pl.String(), "name of the model"),
            Column("observed", pl.Float64(), "value", "queries observed"),
            Column("calculated", pl.Float64(), "value", "queries that the model explains"),
            Column("residual", pl.Float64(), "value", "observed - calculated"),
            Column("standardized", pl.Float64(), "value", "residual in standard deviations"),
            Column(
                "cache_efficiency",
                pl.Float64(),
                "value",
                "1 - observed/(m_S N_S + N_P), null where undefined",
            ),
        ),
    ),
    Table(
        name="incident",
        bin=None,
        time="start",
        sourced=False,
        columns=(
            _key("id", pl.String(), "deterministic: detector, subject, start"),
            Column("detector", pl.String(), "value", "detector that raised it"),
            Column("cause", pl.String(), "value", "presumed cause"),
            Column("severity", pl.String(), "value", "severity"),
            Column("start", _TIME, "value", "first bin"),
            Column("end", _TIME, "value", "end, null while open"),
            Column("score", pl.Float64(), "value", "statistic"),
            Column("threshold", pl.Float64(), "value", "what it was compared with"),
            Column("subjects", pl.List(pl.String()), "value", "addresses concerned"),
            Column("evidence", pl.String(), "value", "JSON"),
            Column("explanation", pl.String(), "value", "one sentence"),
            Column("server", pl.String(), "value", "server whose log shows it, null for several"),
            Column("detectors", pl.List(pl.String()), "value", "every detector that saw it"),
            Column("updated_at", _TIME, "value", "end of the last bin that changed it"),
            Column("suppressed", pl.String(), "value", "why it is not told, null where it is"),
        ),
    ),
    Table(
        name="baseline",
        bin=None,
        time="learned_at",
        sourced=False,
        columns=(
            _key("learned_at", _TIME, "when it was written; the rows of one moment belong together"),
            _key("series", pl.String(), "kind of event"),
            _key("client", pl.String(), "client, null: the days that were learnt and their jumps"),
            Column("total", pl.List(pl.Float32()), "value", "events by hour of the week, older ones fading"),
            Column(
                "hours", pl.List(pl.Float32()), "value", "hours of the week that were covered, fading alike"
            ),
            Column("peak", pl.Float32(), "value", "busiest half hour, events in ten minutes"),
            Column("first_day", pl.Int32(), "value", "first day seen, days from 1 January of year 1"),
            Column("last_day", pl.Int32(), "value", "last day seen"),
            Column("seen", pl.Int32(), "value", "days seen"),
            Column("full", pl.Float32(), "value", "share of the bins of its days with an event"),
        ),
    ),
    # The point of truth: which generation of which source is current. See the journal module.
    Table(
        name="source",
        bin=None,
        time="recorded_at",
        sourced=False,
        columns=(
            _key("source", pl.String(), "identity: servers and content"),
            _key("revision", pl.Int64(), "number of this entry; the highest one of a source holds"),
            Column("generation", pl.Int64(), "value", "which writing of the rows is current"),
            Column("state", pl.String(), "value", "current, replaced, removed or expired"),
            Column("replaced_by", pl.String(), "value", "the source that took its place"),
            Column("recorded_at", _TIME, "value", "when this entry was written"),
            Column("origin", pl.String(), "value", "archive or live"),
            Column("paths", pl.List(pl.String()), "value", "paths that this content was seen under"),
            Column("compression", pl.String(), "value", "compression of the file last read"),
            Column("compressed_bytes", pl.Int64(), "value", "size of the file last read"),
            Column("mtime_ns", pl.Int64(), "value", "its modification time, nanoseconds"),
            Column("bytes", pl.Int64(), "value", "length of the decompressed content"),
            Column("head_hash", pl.String(), "value", "hash of its first 4 KiB"),
            Column("full_hash", pl.String(), "value", "hash of all of it"),
            Column("servers", pl.List(pl.String()), "value", "hosts that wrote its lines"),
            Column("dialects", pl.String(), "value", "JSON: dialect to number of lines"),
            Column("lines", pl.Int64(), "value", "lines read"),
            Column("matched", pl.Int64(), "value", "lines that are events"),
            Column("ignored", pl.Int64(), "value", "lines that a dialect knows and that are no events"),
            Column("unmatched", pl.Int64(), "value", "lines that no dialect knows"),
            Column("first_time", _TIME, "value", "time of the first line"),
            Column("last_time", _TIME, "value", "time of the last line"),
            Column("year_guessed", pl.Boolean(), "value", "the lines carry no year"),
            Column("timezone_guessed", pl.Boolean(), "value", "the lines carry no zone"),
            Column("error", pl.String(), "value", "JSON: where reading ended early and why"),
            Column("fingerprint", pl.String(), "value", "hash of the options that it was counted under"),
            Column("coverage", pl.String(), "value", "JSON: [server, kind, first bin, last bin, events]"),
            Column(
                "edges",
                pl.Binary(),
                "value",
                "halves of events at both ends, which the files around it decide (Arrow IPC)",
            ),
            Column(
                "live_revision",
                pl.Int64(),
                "value",
                "of a live source: its rows up to this revision are visible; null of an archive",
            ),
        ),
    ),
)

#: Every table by name.
TABLES: dict[str, Table] = {t.name: t for t in _TABLES}


def table_of(name: str) -> Table:
    """The table of that name; ValueError names those that exist."""
    try:
        return TABLES[name]
    except KeyError:
        raise ValueError(f"no table {name!r}; there are {', '.join(TABLES)}") from None
