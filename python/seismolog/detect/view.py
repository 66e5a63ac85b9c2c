"""The tables of a stretch of time, as detectors look at them.

A :class:`View` is of ``[since, until)``: a day, or the last day up to the bin that has just closed. It gives

- :meth:`View.table`     rows of a table of the store, as a polars frame
- :meth:`View.past`      rows of the days before, as far as the view's history reaches
- :meth:`View.curves`    counts of all clients (or other keys) by bin as one dense matrix, zero where nothing was counted
- :meth:`View.expected`  what was to be expected of each curve: its own past and the shape of its group
- :meth:`View.residuals` whitened standard normal residuals of the curves against it
- :meth:`View.before`    the level and the highest bin that a client had before a bin: what an incident is new against
- :meth:`View.model`     the traffic model of a mail server over the view

All of it is computed once and kept, so that detectors share it: ask for the whole and take rows from it
(``curves.where(mask)``) rather than for many parts.

    def find(view, settings):
        curves = view.curves("dns_query").where_peak(settings.minimum)      # cheap: effect first
        expected = view.expected(curves)                                    # then statistics on what is left
        ...

The tables come from a store, a snapshot, or a mapping of frames (tests, evaluation, the recent bins of a daemon). The
same code serves an archive and the close of a bin: the view of the last day up to now.

Limits: bins that are not whole within the view are left out. A bin in which the servers that write the kind wrote nothing
at all is not covered: its zeros are no silence (:attr:`Curves.covered`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from seismolog.detect import residuals
from seismolog.detect._runs import runs_of
from seismolog.detect.groups import Groups, grouped
from seismolog.detect.site import MailHost, Site
from seismolog.store.schema import QTYPES, table_of

if TYPE_CHECKING:
    from seismolog.detect.baseline import Baseline
    from seismolog.model import ServerModel

__all__ = ["Before", "Curves", "Expected", "Tables", "View", "bin_length"]

TEN = timedelta(minutes=10)
EARLIER = timedelta(days=7)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = pl.Datetime("us", "UTC")
_VALUES = ("count", *QTYPES)
"""Columns of ``client_traffic`` that curves of clients are of."""


@runtime_checkable
class Readable(Protocol):
    """What tables can be read from: :class:`seismolog.store.Store`, a snapshot of it, or the recent bins of a daemon."""

    def read(
        self,
        table: str,
        /,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.LazyFrame:
        """Rows of a table."""
        ...


Tables = Mapping[str, "pl.DataFrame | pl.LazyFrame"] | Readable


def bin_length(text: str) -> timedelta:
    """``10m`` as a length; ValueError for one that does not divide a day."""
    from seismolog.model.assemble import bin_width

    return bin_width(text)


@dataclass(frozen=True)
class Curves:
    """Counts by bin, a row for each client (or other key).

    Parameters
    ----------
    kind
        What was counted, such as "dns_query".
    names
        Key of each row, sorted.
    first
        Start of the first bin, UTC.
    bin
        Length of a bin.
    values
        (rows, bins) counts.
    covered
        (bins,) whether the log covers the bin.
    rows
        Place of each row in the whole matrix that this one is a part of.
    """

    kind: str
    names: tuple[str, ...]
    first: datetime
    bin: timedelta
    values: npt.NDArray[np.float32]
    covered: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.int64]
    key: tuple[Any, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def bins(self) -> int:
        """Number of bins."""
        return int(self.values.shape[1])

    @property
    def scale(self) -> float:
        """Length of a bin in units of ten minutes: thresholds are given per ten minutes."""
        return self.bin / TEN

    def start(self, place: int) -> datetime:
        """Start of a bin."""
        return self.first + int(place) * self.bin

    def end(self, place: int) -> datetime:
        """End of a bin."""
        return self.first + (int(place) + 1) * self.bin

    def place(self, moment: datetime) -> int:
        """Number of the bin that holds a moment; may lie outside."""
        return (moment - self.first) // self.bin

    def row(self, name: str) -> npt.NDArray[np.float32]:
        """The curve of a key; KeyError where it has none."""
        try:
            return cast("npt.NDArray[np.float32]", self.values[self.names.index(name)])
        except ValueError:
            raise KeyError(name) from None

    def where(self, chosen: npt.NDArray[Any]) -> Curves:
        """Some of the rows, by a mask or by their places."""
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else np.asarray(chosen, np.int64)
        return replace(
            self,
            names=tuple(self.names[i] for i in places),
            values=self.values[places],
            rows=self.rows[places],
        )

    def where_peak(self, minimum: float, bins: int = 1) -> Curves:
        """Rows that reach `minimum` counts per ten minutes, on average over `bins` bins running."""
        if not len(self):
            return self
        floor = minimum * self.scale * bins
        peak = self.values.max(axis=1) if bins == 1 else running_sum(self.values, bins).max(axis=1, initial=0)
        return self.where(peak >= floor)


def running_sum(values: npt.NDArray[np.float32], bins: int) -> npt.NDArray[np.float32]:
    """Sum over each bin and the `bins` − 1 before it; the first `bins` − 1 columns are left out."""
    if values.shape[1] < bins:
        return values[:, :0]
    total = values[:, bins - 1 :].copy()
    for shift in range(1, bins):
        total += values[:, bins - 1 - shift : values.shape[1] - shift]
    return total


@dataclass(frozen=True)
class Expected:
    """What was to be expected of some curves.

    Parameters
    ----------
    mean
        (rows, bins) expected counts, above 0.
    shape
        (rows,) shape k of the negative binomial, drawn towards the population's.
    rho
        Lag-one autocorrelation of the residuals of the population.
    group
        (rows,) group of each row, -1 for known servers.
    known
        (rows,) days of its own past that a row's expectation rests on; 0 means the population and this view only.
    """

    mean: npt.NDArray[np.float64]
    shape: npt.NDArray[np.float64]
    rho: float
    group: npt.NDArray[np.int64]
    known: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Before:
    """What clients did before a bin: an incident has to be new against it.

    ``mean`` and ``peak`` are counts a bin of the curves that were asked about; ``bins`` how many bins (of the view and
    of the past together) they rest on: 0 means that nothing is known.
    """

    mean: npt.NDArray[np.float64]
    peak: npt.NDArray[np.float64]
    bins: npt.NDArray[np.float64]


class View:
    """The tables of ``[since, until)`` as curves, expectations and residuals; see the module.

    Parameters
    ----------
    tables
        A store, a snapshot, or frames by the name of the table, with the columns of the store.
    since, until
        What is looked at, aware datetimes.
    site
        What is known about the site.
    history
        Start of the rows that :meth:`past` may read; by default `since`, so that there is no past.
    baseline
        What is usual for each client; None where nothing has been learnt.
    closing
        Whether `until` is now: then a log that has ended before it has a gap. The end of an archive is none.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        since: datetime,
        until: datetime,
        site: Site | None = None,
        history: datetime | None = None,
        baseline: Baseline | None = None,
        closing: bool = False,
    ) -> None:
        if since.tzinfo is None or until.tzinfo is None:
            raise ValueError("a time without a zone; times are aware, UTC")
        self.since, self.until = since.astimezone(UTC), until.astimezone(UTC)
        self.history = min(self.since, history.astimezone(UTC)) if history is not None else self.since
        self.site = site or Site()
        self.baseline = baseline
        self.closing = closing
        self._tables = tables
        self._kept: dict[Any, Any] = {}

    # -- rows

    @property
    def days(self) -> float:
        """Length of the view in days, at least a quarter of one: what significance is corrected for."""
        return max((self.until - self.since) / timedelta(days=1), 0.25)

    @property
    def zone(self) -> ZoneInfo:
        """The site's time zone."""
        return ZoneInfo(self.site.timezone)

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """`make()`, computed once for a key and shared by all detectors that ask for it."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def has(self, table: str) -> bool:
        """Whether there is such a table at all."""
        return not isinstance(self._tables, Mapping) or table in self._tables

    def lazy(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        where: pl.Expr | None = None,
    ) -> pl.LazyFrame:
        """Rows of a table, not read yet; by default those of the view. An absent table is empty."""
        low, high = since or self.since, until or self.until
        declared = table_of(table)
        if not isinstance(self._tables, Mapping):
            return self._tables.read(table, low, high, columns, where)
        if table not in self._tables:
            names = list(columns) if columns is not None else list(declared.names)
            return pl.LazyFrame(schema={n: declared.column(n).dtype for n in names})
        frame = self._tables[table].lazy()
        when = pl.col(declared.time)
        frame = frame.filter(when >= low, when < high)
        if where is not None:
            frame = frame.filter(where)
        if columns is None:
            return frame
        # A column that these frames lack is unknown: null, as in a file of the store that is older than the column.
        held = frame.collect_schema().names()
        return frame.select(
            pl.col(c) if c in held else pl.lit(None, dtype=declared.column(c).dtype).alias(c) for c in columns
        )

    def table(
        self, name: str, columns: Sequence[str] | None = None, *, kinds: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Rows of a table within the view, read once for these columns and kinds.

        `kinds` keeps rows of these kinds only, for tables that have the column.
        """
        key = ("table", name, tuple(columns or ()), tuple(kinds or ()))
        where = pl.col("kind").cast(pl.String).is_in(list(kinds)) if kinds is not None else None
        return cast(pl.DataFrame, self.kept(key, lambda: self.lazy(name, columns, where=where).collect()))

    def past(
        self, name: str, columns: Sequence[str] | None = None, *, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Rows of a table from the start of the history up to the view; empty where there is none. Not kept."""
        if self.history >= self.since:
            return self.lazy(name, columns, until=self.since, where=where).clear().collect()
        return self.lazy(name, columns, since=self.history, until=self.since, where=where).collect()

    def by_hour(
        self,
        key: Hashable,
        table: str,
        columns: Sequence[str],
        make: Callable[[pl.LazyFrame], pl.LazyFrame],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """What `make` makes of rows of a table; beside a daemon it is made of an hour once, and kept (:mod:`~.recent`).

        Parameters
        ----------
        key
            Names the columns, the condition and what is made of them, for what is kept.
        make
            Sums by bin and key, say. What it gives keeps the table's time column, of bins that do not reach over an
            hour, and each row comes from rows of its own hour only.

        Returns
        -------
        pl.DataFrame
            In no order. Where hours are kept, those of the whole hour that holds `since`, too.
        """
        low, high = since or self.since, until or self.until
        kept = getattr(self._tables, "by_hour", None)
        if kept is not None:
            return cast(pl.DataFrame, kept(key, table, low, high, columns, where, make))
        return make(self.lazy(table, columns, since=low, until=high, where=where)).collect()

    @cached_property
    def earlier(self) -> View | None:
        """The view of the days before this one, at most :data:`EARLIER`; None where the history does not reach back.

        For a few series of servers. Clients' pasts are in the baseline, which costs no reading.
        """
        first = max(self.history, self.since - EARLIER)
        if self.since - first < timedelta(hours=6):
            return None
        return View(self._tables, since=first, until=self.since, site=self.site)

    # -- curves

    def curves(
        self,
        kind: str = "dns_query",
        *,
        bin: str = "10m",  # noqa: A002 - the word of the field
        table: str = "client_traffic",
        by: str = "client",
        value: str = "count",
        clients: Iterable[str] | None = None,
    ) -> Curves:
        """Counts by bin, a row for each key that has any.

        Parameters
        ----------
        kind
            Kind of event.
        bin
            Length of the bins, a multiple of the table's.
        table, by, value
            Where the counts are, what the rows are of (one key column) and which column is summed: a query type
            such as "mx" is one.
        clients
            Only these keys. Without it the whole matrix is made once and kept.
        """
        if clients is not None:
            wanted = sorted(set(clients))
            return self._curves(kind, bin, table, by, value, wanted)
        key = ("curves", kind, bin, table, by, value)
        return cast(Curves, self.kept(key, lambda: self._curves(kind, bin, table, by, value, None)))

    def _curves(
        self,
        kind: str,
        bin: str,  # noqa: A002
        table: str,
        by: str,
        value: str,
        wanted: list[str] | None,
    ) -> Curves:
        length = bin_length(bin)
        first, count = self.grid(length)
        covered = self.covered(kind, bin)
        declared = table_of(table)
        where = pl.col("kind").cast(pl.String) == kind if "kind" in declared.keys else None
        columns = [declared.time, by, value, *(["kind"] if where is not None else [])]
        micros = round(length / timedelta(microseconds=1))
        start = round((first - _EPOCH) / timedelta(microseconds=1))

        def by_bin(rows: pl.LazyFrame) -> pl.LazyFrame:
            rows = rows.filter(pl.col(by).is_not_null())
            if wanted is not None:
                rows = rows.filter(pl.col(by).is_in(wanted))
            return (
                rows.select(
                    pl.col(by).cast(pl.String).alias("name"),
                    (pl.col(declared.time).dt.epoch("us") // micros).alias("bin"),
                    pl.col(value).cast(pl.Int64).alias("value"),
                )
                .group_by("name", "bin")
                .agg(pl.col("value").sum())
                .filter(pl.col("value") > 0)
                .select("name", (pl.col("bin") * micros).cast(_TIME).alias(declared.time), "value")
            )

        end = first + count * length
        by_client = wanted is None and (table, by) == ("client_traffic", "client") and value in _VALUES
        if by_client and not length % TEN and not hasattr(self._tables, "by_hour"):
            held = self._sums(kind).lazy().filter(pl.col(value) > 0)
            summed = held.select("name", declared.time, pl.col(value).cast(pl.Int64).alias("value")).collect()
            if length > TEN:
                when = pl.col(declared.time).dt.truncate(bin)
                summed = summed.group_by("name", when).agg(pl.col("value").sum())
        elif wanted is None and not timedelta(hours=1) % length:
            # Sums of whole bins: an hour is made of them, and can be kept.
            key = ("curves", kind, bin, table, by, value)
            summed = self.by_hour(key, table, columns, by_bin, since=first, until=end, where=where)
        else:
            summed = by_bin(self.lazy(table, columns, since=first, until=end, where=where)).collect()
        summed = summed.select(
            "name", "value", ((pl.col(declared.time).dt.epoch("us") - start) // micros).alias("place")
        ).filter(pl.col("place") >= 0)
        names = summed["name"].unique().sort()
        codes = (
            summed["name"].cast(pl.Enum(names)).to_physical().to_numpy() if len(names) else np.empty(0, int)
        )
        values = np.zeros((len(names), count), dtype=np.float32)
        if len(names):
            values[codes, summed["place"].to_numpy()] = summed["value"].to_numpy()
        if by == "client" and table == "client_traffic":
            self._mend(kind, bin, names, values)
        return Curves(
            kind,
            tuple(names.to_list()),
            first,
            length,
            values,
            covered,
            np.arange(len(names)),
            () if wanted is not None else (kind, bin, table, by, value),
        )

    def _sums(self, kind: str) -> pl.DataFrame:
        """Events of a kind and its query types by client and ten minutes, of one reading of the rows for all curves."""

        def make() -> pl.DataFrame:
            first, count = self.grid(TEN)
            values = _VALUES if kind == "dns_query" else _VALUES[:1]
            rows = self.lazy(
                "client_traffic",
                ["bin_start", "client", "kind", *values],
                since=first,
                until=first + count * TEN,
                where=pl.col("kind").cast(pl.String) == kind,
            )
            return (
                rows.filter(pl.col("client").is_not_null())
                .group_by(
                    pl.col("client").cast(pl.String).alias("name"), pl.col("bin_start").dt.truncate("10m")
                )
                .agg(pl.col(v).cast(pl.Int64).sum().cast(pl.UInt32) for v in values)
                .with_columns(pl.lit(0, dtype=pl.UInt32).alias(v) for v in _VALUES if v not in values)
                .collect()
            )

        return cast(pl.DataFrame, self.kept(("sums", kind), make))

    def _mend(self, kind: str, bin: str, names: pl.Series, values: npt.NDArray[np.float32]) -> None:  # noqa: A002
        """Put what is to be expected of it into bins that a client's server has no log of: a line between both sides.

        A gap of one server of several would otherwise look like a silence of its clients, and cut their curves in two.
        """
        if not self.has("traffic") or not len(names):
            return
        servers = self._writing(kind)
        for server in servers:
            missing = ~self._whole_at(server, bin_length(bin))
            if not missing.any():
                continue
            rows = np.arange(len(names))
            if len(servers) > 1:
                owned = self._owners(kind).filter(pl.col("server") == server)["client"]
                rows = np.flatnonzero(names.is_in(owned.implode()).to_numpy())
            span = 3 if bin == "10m" else 30
            for low, high in runs_of(missing):
                before, after = values[rows, max(0, low - span) : low], values[rows, high : high + span]
                left = (
                    before.mean(axis=1) if before.shape[1] else after.mean(axis=1) if after.shape[1] else None
                )
                if left is None:
                    continue
                right = after.mean(axis=1) if after.shape[1] else left
                share = (np.arange(high - low) + 0.5) / (high - low)
                line = left[:, None] * (1 - share) + right[:, None] * share
                values[rows, low:high] = np.maximum(values[rows, low:high], line)

    def _whole_at(self, server: str, length: timedelta) -> npt.NDArray[np.bool_]:
        """:meth:`whole_bins` of a server, for bins of another length."""
        whole = self.whole_bins(server)
        tens = self.grid(TEN)[0]
        first, count = self.grid(length)
        starts = np.arange(count) * (length / TEN) + (first - tens) / TEN
        result: npt.NDArray[np.bool_] = whole[np.clip(np.floor(starts).astype(np.int64), 0, len(whole) - 1)]
        return result

    def logs(self, curves: Curves) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]]:
        """Rows of clients that have the gaps of their server's log in common, and whether it is whole in each bin.

        Where it is not, a curve by client holds a line between both sides (:meth:`curves`): that is no likeness of two
        clients, and nothing begins there. A gap of another server is none of the client's. Most views have no gap, and one
        part.
        """
        rows, always = np.arange(len(curves)), np.ones(curves.bins, np.bool_)
        if not self.has("traffic") or not len(curves):
            return [(rows, always)]
        whole = {server: self._whole_at(server, curves.bin) for server in self._writing(curves.kind)}
        gaps = {server: bins for server, bins in whole.items() if not bins.all()}
        if not gaps:
            return [(rows, always)]
        owners = np.array([server or "" for server in self.servers_of(curves.names, curves.kind)])
        parts = [(owners == server, bins) for server, bins in gaps.items()]
        parts.append((~np.isin(owners, list(gaps)), always))
        return [(np.flatnonzero(of), bins) for of, bins in parts if of.any()]

    def told(self, curves: Curves) -> npt.NDArray[np.bool_]:
        """(rows, bins) whether the log of the server that a client asks is whole in a bin (:meth:`logs`)."""
        held = np.ones(curves.values.shape, np.bool_)
        for rows, whole in self.logs(curves):
            held[rows] = whole
        return held

    def _writing(self, kind: str) -> list[str]:
        """Servers that logged anything of a kind in this view."""
        return sorted({server for server, k in self._by_server("10m") if k == kind})

    def _owners(self, kind: str) -> pl.DataFrame:
        """Clients (``client``) with the server (``server``) that most of their events of a kind are logged by."""

        def by_hour(rows: pl.LazyFrame) -> pl.LazyFrame:
            return (
                rows.filter(pl.col("client").is_not_null())
                .group_by(
                    pl.col("bin_start").dt.truncate("1h"),
                    pl.col("client").cast(pl.String),
                    pl.col("server").cast(pl.String),
                )
                .agg(pl.col("count").cast(pl.Int64).sum())
            )

        def make() -> pl.DataFrame:
            rows = self.by_hour(
                ("owners", kind),
                "client_traffic",
                ["bin_start", "server", "kind", "client", "count"],
                by_hour,
                where=pl.col("kind").cast(pl.String) == kind,
            )
            return (
                rows.group_by("client", "server")
                .agg(pl.col("count").sum())
                .sort("count", "server", descending=True)
                .unique("client", keep="first")
            )

        return cast(pl.DataFrame, self.kept(("owners", kind), make))

    def grid(self, length: timedelta) -> tuple[datetime, int]:
        """Start of the first whole bin of the view, and the number of whole bins."""
        first = _EPOCH + -((_EPOCH - self.since) // length) * length
        return first, max(0, (self.until - first) // length)

    def server_curves(
        self,
        kinds: Sequence[str] | None,
        *,
        bin: str = "10m",  # noqa: A002
    ) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
        """(server, kind) -> counts by bin of the view, from ``traffic``; absent where a server has none of a kind.

        `kinds` None is every kind.
        """
        return {
            pair: counts for pair, counts in self._by_server(bin).items() if kinds is None or pair[1] in kinds
        }

    def _by_server(self, bin: str) -> dict[tuple[str, str], npt.NDArray[np.float64]]:  # noqa: A002
        def make() -> dict[tuple[str, str], npt.NDArray[np.float64]]:
            length = bin_length(bin)
            first, count = self.grid(length)
            micros = round(length / timedelta(microseconds=1))
            start = round((first - _EPOCH) / timedelta(microseconds=1))
            summed = (
                self.lazy(
                    "traffic",
                    ["bin_start", "server", "kind", "count"],
                    since=first,
                    until=first + count * length,
                )
                .select(
                    pl.col("server").cast(pl.String),
                    pl.col("kind").cast(pl.String),
                    ((pl.col("bin_start").dt.epoch("us") - start) // micros).alias("place"),
                    pl.col("count").cast(pl.Int64),
                )
                .group_by("server", "kind", "place")
                .agg(pl.col("count").sum())
                .collect()
            )
            found: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
            for (server, kind), part in summed.group_by("server", "kind"):
                counts = np.zeros(count)
                counts[part["place"].to_numpy()] = part["count"].to_numpy()
                found[str(server), str(kind)] = counts
            return found

        return cast("dict[tuple[str, str], npt.NDArray[np.float64]]", self.kept(("servers", bin), make))

    def covered(self, kind: str, bin: str = "10m") -> npt.NDArray[np.bool_]:  # noqa: A002
        """For each bin whether the log of this kind is there: of the servers that write most of it.

        A server counts that has lines in at least nine of ten bins between its first and its last, so that one that
        is idle by night does not make the night a gap. Servers that write less than a quarter of all do not: a gap of
        theirs is no gap of everybody. Without a table ``traffic`` all bins are taken as covered.
        """
        length = bin_length(bin)
        _, count = self.grid(length)
        if not self.has("traffic"):
            return np.ones(count, dtype=np.bool_)

        def make() -> npt.NDArray[np.bool_]:
            by_server = self._by_server(bin)
            of_kind = {server: float(counts.sum()) for (server, k), counts in by_server.items() if k == kind}
            covered = np.ones(count, dtype=np.bool_)
            any_of_them = np.zeros(count, dtype=np.bool_)
            for server, amount in of_kind.items():
                lines = np.sum([c for (s, _), c in by_server.items() if s == server], axis=0) > 0
                any_of_them |= lines
                if lines.any() and amount >= 0.25 * sum(of_kind.values()):
                    places = np.flatnonzero(lines)
                    if lines[places[0] : places[-1] + 1].mean() >= 0.9:
                        covered &= lines
            return covered & any_of_them if of_kind else covered

        return cast("npt.NDArray[np.bool_]", self.kept(("covered", kind, bin), make))

    def servers_of(self, clients: Sequence[str], kind: str = "dns_query") -> list[str | None]:
        """The server that most of each client's events of a kind are logged by, None where there are none."""
        asked = pl.DataFrame({"client": list(clients)}, schema={"client": pl.String})
        found = asked.join(self._owners(kind), on="client", how="left", maintain_order="left")["server"]
        return cast("list[str | None]", found.to_list())

    def server_of(self, client: str, kind: str = "dns_query") -> str | None:
        """The same of one client."""
        return self.servers_of([client], kind)[0]

    def whole_bins(self, server: str, *, minutes: int = 3) -> npt.NDArray[np.bool_]:
        """For each bin of ten minutes whether the server's log is whole in it: no run of so many empty minutes.

        All are where the server is so quiet that empty minutes are nothing special (more than one in ten).
        """

        def make() -> npt.NDArray[np.bool_]:
            _, count = self.grid(TEN)
            lines = [counts for (s, _), counts in self._by_server("1m").items() if s == server]
            start, _ = self.grid(timedelta(minutes=1))
            skipped = (self.grid(TEN)[0] - start) // timedelta(minutes=1)
            if not lines:
                return np.ones(count, dtype=np.bool_)
            empty = (np.sum(lines, axis=0) == 0)[skipped : skipped + 10 * count]
            if len(empty) < 10 * count or empty.mean() > 0.1:
                return np.ones(count, dtype=np.bool_)
            whole = np.ones(count, dtype=np.bool_)
            run = 0
            for minute in range(len(empty)):
                run = run + 1 if empty[minute] else 0
                if run >= minutes:
                    whole[(minute - minutes + 1) // 10 : minute // 10 + 1] = False
            return whole

        return cast("npt.NDArray[np.bool_]", self.kept(("whole", server, minutes), make))

    # -- what was to be expected

    def groups(self, curves: Curves) -> Groups:
        """Groups of the clients of the whole matrix that `curves` is (a part) of; known servers are none's members."""
        whole = self._whole(curves)
        return cast(Groups, self.kept(("groups", whole.key), lambda: self._group(whole)))

    def _whole(self, curves: Curves) -> Curves:
        if not curves.key:
            return curves
        kind, bin_, table, by, value = curves.key
        return self.curves(kind, bin=bin_, table=table, by=by, value=value)

    def _group(self, whole: Curves) -> Groups:
        profile = None
        if self.baseline is not None:
            profile = self.baseline.profile(whole.kind, whole.names)
        return grouped(
            whole.values,
            whole.covered,
            bins_an_hour=max(1, round(timedelta(hours=1) / whole.bin)),
            profile=profile,
        )

    def expected(self, curves: Curves) -> Expected:
        """What was to be expected of these curves: the client's own level, and the shape of its group.

        The level is the client's own of the days before, where the baseline knows it; otherwise it is taken from the
        calm part of this view (:func:`calm_level`). With two or more weeks of its own past, the shape is the client's
        own by slot of the week, with less its group's.
        """
        whole = self._whole(curves)
        groups = self.groups(curves)
        local = np.arange(len(whole))[curves.rows] if curves.key else np.arange(len(curves))
        member = groups.member[local]
        shapes = groups.shapes[member]
        level = calm_level(curves.values, shapes, curves.covered)
        known = np.zeros(len(curves))
        mean = level[:, None] * shapes
        if self.baseline is not None:
            past = self.baseline.expected(curves, self.zone, self.site.holidays)
            if past is not None:
                own, known = past.mean, past.days
                has = known > 0
                mean[has] = own[has]
        least = 0.02 * curves.scale
        mean = np.maximum(mean, least)
        inverse, rho = self._noise(whole)
        own_inverse = inverse[local]
        return Expected(mean, 1 / own_inverse, rho, member, known)

    def _noise(self, whole: Curves) -> tuple[npt.NDArray[np.float64], float]:
        """1/k of every row of the whole matrix, and the autocorrelation of the population."""

        def make() -> tuple[npt.NDArray[np.float64], float]:
            covered = whole.covered
            if not len(whole) or covered.sum() < 6:
                return np.full(len(whole), 1 / 3), 0.3
            # Noise is what is left beside the level of two hours around: a host that is switched on, and an incident,
            # are changes of level and no noise.
            values = whole.values[:, covered].astype(np.float64)
            level = values.mean(axis=1)
            order = np.argsort(-level)[:3000]
            busy = order[level[order] >= 1.0 * whole.scale]
            if len(busy) < 5:
                return np.full(len(whole), 1 / 3), 0.3
            around = _around(values[busy], 13)
            active = (around >= 2.0 * whole.scale) & (values[busy] > 0)
            held = np.where(active, values[busy], 0.0)
            # The mean around holds a thirteenth of the bin itself.
            inverse, population = residuals.inverse_shape(held, np.where(active, around, 0.0))
            result = np.full(len(whole), population * 13 / 12)
            result[busy] = np.clip(inverse * 13 / 12, population / 3, population * 2)
            slow = _around(values[busy], 37)
            scaled = (values[busy] - slow) / np.sqrt(slow + slow * slow * population + 1e-9)
            scaled = np.where(active, np.clip(scaled, -4, 4), np.nan)
            return result, residuals.autocorrelation(scaled)

        return cast(
            "tuple[npt.NDArray[np.float64], float]", self.kept(("noise", whole.key, len(whole)), make)
        )

    def residuals(
        self, curves: Curves, expected: Expected | None = None, *, whiten: bool = True
    ) -> npt.NDArray[np.float64]:
        """(rows, bins) standard normal residuals of the curves, whitened by AR(1); 0 where the log does not cover."""
        expected = expected or self.expected(curves)
        z = residuals.standard(curves.values, expected.mean, expected.shape[:, None])
        z[:, ~curves.covered] = 0.0
        return residuals.whitened(z, expected.rho) if whiten else z

    def before(self, curves: Curves, first: npt.NDArray[np.int64] | Sequence[int], *, gap: int = 1) -> Before:
        """Level and highest bin of each curve before its bin `first` (one for each row), the baseline's past included.

        `gap` bins just before `first` are left out: an incident that begins within a bin raises the one before.
        """
        places = np.asarray(first, dtype=np.int64)
        mean, peak, bins = np.zeros(len(curves)), np.zeros(len(curves)), np.zeros(len(curves))
        for i, stop in enumerate(places):
            end = max(0, int(stop) - gap)
            part = curves.values[i, :end][curves.covered[:end]]
            if len(part):
                mean[i], peak[i], bins[i] = float(part.mean()), float(part.max()), len(part)
        if self.baseline is not None:
            past = self.baseline.past(curves)
            if past is not None:
                weight = past.bins + bins
                mean = np.where(
                    weight > 0, (mean * bins + past.mean * past.bins) / np.maximum(weight, 1), 0.0
                )
                peak = np.maximum(peak, past.peak)
                bins = weight
        return Before(mean, peak, bins)

    # -- mail servers

    @cached_property
    def mail_hosts(self) -> tuple[MailHost, ...]:
        """Mail servers that wrote something in this view, with what is known of their addresses."""
        known = {host.name: host for host in self.site.mail_servers}
        writing = {
            s for s, kind in self._by_server("10m") if kind in ("smtp_accepted", "smtp_sent", "smtp_deferred")
        }
        return tuple(known.get(name, MailHost(name)) for name in sorted(writing | set(known)))

    def model(self, host: MailHost) -> ServerModel | None:
        """The traffic model of a mail server over the view and the days before, None where nothing can be compared."""
        return cast("ServerModel | None", self.kept(("model", host.name), lambda: self._model(host)))

    def _model(self, host: MailHost) -> ServerModel | None:
        from seismolog.model import server_model

        if not host.addresses or not self.has("traffic"):
            return None
        first = max(self.history, self.since - EARLIER)

        def counts(rows: pl.LazyFrame) -> pl.LazyFrame:
            return rows.group_by("bin_start", "server", "kind").agg(pl.col("count").cast(pl.Int64).sum())

        traffic = self.by_hour(
            "traffic", "traffic", ["bin_start", "server", "kind", "count"], counts, since=first
        )
        queries = self.by_hour(
            ("queries", host.addresses),
            "client_traffic",
            ["bin_start", "server", "kind", "client", "count"],
            lambda rows: rows,
            since=first,
            where=pl.col("client").is_in(list(host.addresses)),
        )
        inside = pl.col("bin_start") >= first
        made = server_model(
            traffic.filter(inside),
            queries.filter(inside),
            name=host.name,
            hostnames=[host.name],
            addresses=list(host.addresses),
            domains_per_message=host.domains_per_message,
            receive_rate=host.receive_rate,
            with_drift=False,
        )
        return None if made.bins.frame.is_empty() else made

    # -- telling

    def local(self, moment: datetime) -> str:
        """A moment in the site's time, for an explanation: ``18:20 on 15 Jul 2002``."""
        at = moment.astimezone(self.zone)
        return f"{at:%H:%M} on {at.day} {at:%b %Y}"

    @staticmethod
    def significance(p: float, tests: float, alpha: float = 1e-3) -> bool:
        """Whether p < alpha / tests (Bonferroni over everything that is looked at in a day)."""
        return p <= 0 or math.log(p) < math.log(alpha) - math.log(max(tests, 1.0))


def _around(values: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Mean of each bin and those around it, `width` in all, fewer at the ends."""
    width = min(width, values.shape[1])
    half = width // 2
    total = np.cumsum(np.concatenate([np.zeros((len(values), 1)), values], axis=1), axis=1)
    at = np.arange(values.shape[1])
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, values.shape[1])
    result: npt.NDArray[np.float64] = (total[:, high] - total[:, low]) / (high - low)
    return result


def calm_level(
    values: npt.NDArray[np.float32], shapes: npt.NDArray[np.float64], covered: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Level of each row against a shape, from its calmer half.

    Bins are taken in twelve stretches; the level of a stretch is its count over the sum of its shape, and that of the
    row the weighted lower median over the stretches (those that hold half of the shape), so that an incident that fills
    less than half of the view does not raise it. Where more is filled, the lower third counts.
    """
    rows, bins = values.shape
    if rows == 0 or bins == 0 or not covered.any():
        return np.zeros(rows)
    pieces = np.array_split(np.arange(bins), min(12, bins))
    held = np.where(covered, values, 0.0)
    weight_of = np.where(covered, shapes, 0.0)
    counts = np.stack([held[:, p].sum(axis=1) for p in pieces], axis=1)
    weights = np.stack([weight_of[:, p].sum(axis=1) for p in pieces], axis=1)
    ratio = counts / np.maximum(weights, 1e-6)
    order = np.argsort(ratio, axis=1)
    ordered = np.take_along_axis(ratio, order, axis=1)
    share = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    share /= np.maximum(share[:, -1:], 1e-9)
    place = (share < 0.35).sum(axis=1)
    lower = ordered[np.arange(rows), np.minimum(place, ordered.shape[1] - 1)]
    # Quiet rows: a few counts over the day; their lower stretches are empty. The mean then says more, within reason.
    mean = counts.sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-6)
    quiet = np.minimum(mean, 3.0 / max(bins / 12, 1.0) + lower)
    result: npt.NDArray[np.float64] = np.maximum(lower, np.where(lower < 0.5, quiet, lower))
    return result
