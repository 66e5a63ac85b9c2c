"""Counts of logs, without a store: ``seismolog count``, and the study's five pipelines.

Limits: the table is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seismolog.errors import InputError, SeismologError, UsageError, core_errors
from seismolog.pipeline.reading import Progress, Reading, configuration, files_of, line_options, scan_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from seismolog.config import Config
    from seismolog.report.counts import Table

__all__ = ["BY", "PLAIN_ROWS", "CountResult", "count", "paper_counts"]


BY = ("server", "kind", "client", "qtype")
PLAIN_ROWS = 200_000
"""Rows up to which counts are summed without loading polars."""


@dataclass(frozen=True, slots=True)
class CountResult:
    """A table of counts, and what could not be read, or not to its end."""

    table: Table
    failures: tuple[SeismologError, ...] = ()


def count(
    paths: Sequence[str],
    reading: Reading,
    *,
    by: Sequence[str] = ("server", "kind"),
    bin: timedelta | None = None,  # noqa: A002 - the word of the field
    since: datetime | None = None,
    until: datetime | None = None,
    servers: Sequence[str] = (),
    progress: Progress = None,
) -> CountResult:
    """Counts of the events in logs.

    Parameters
    ----------
    paths
        Files, folders, globs or ``-``.
    by
        Any of ``server``, ``kind``, ``client``, ``qtype``, in the order of the columns wanted.
    bin
        Length of the time bins; ``None`` for none.
    since, until, servers
        Only events from ``since`` on and before ``until``, of these servers.

    Returns
    -------
    CountResult
        Rows in order of time and then of the columns; ``client`` is ``None`` for events without one, ``qtype`` for
        events that are no DNS query.
    """
    unknown = [name for name in by if name not in BY]
    if unknown or len(set(by)) < len(by) or not by:
        raise UsageError(
            f"--by {','.join(by)}: counts cannot be told apart by this",
            expected=f"some of {', '.join(BY)}, each once",
        )
    config = configuration(reading)
    wanted = _Wanted(tuple(by), bin, since, until, frozenset(servers))
    if "client" not in by and len(paths) == 1 and Path(paths[0]).is_file():
        # One file cannot be a copy of another, and its counts are few: no need to load what tells copies apart.
        quick = _count_one(paths[0], reading, config, wanted, progress)
        if quick is not None:
            return quick
    from seismolog import archive
    from seismolog.config import Config
    from seismolog.report.counts import Table

    counted = archive.count(
        paths,
        scan_options(reading, config or Config()),
        by=by,
        bin=bin or "all",
        since=since,
        until=until,
        servers=servers,
        progress=progress,
    )
    return CountResult(Table(wanted.columns, frame=counted.table), tuple(counted.failures))


def _count_one(
    path: str, reading: Reading, config: Config | None, wanted: _Wanted, progress: Progress
) -> CountResult | None:
    """Counts of one file without loading polars; ``None`` where there are too many rows for that."""
    from seismolog import _core

    options = line_options(reading, config)
    options["threads"] = reading.threads or (config.archive.threads if config is not None else 0)
    if config is not None and config.limits.model_fields_set:
        options["limits"] = config.limits.model_dump(mode="python")
    with core_errors():
        scan = _core.scan(
            [path], clients=False, query_types="qtype" in wanted.by, names=False, progress=progress, **options
        )
    table = _plain_counts(scan, wanted)
    return None if table is None else CountResult(table, tuple(_damages(scan.sources)))


def _damages(sources: Sequence[Mapping[str, Any]]) -> Iterator[SeismologError]:
    for source in sources:
        if source.get("error"):
            yield InputError(
                f"{source['error']['message']}; the {source['lines']} lines before are counted",
                file=str(source["path"]),
                offset=int(source["error"]["offset"]),
                mend="fetch the file again, or add --keep-going",
            )


@dataclass(frozen=True, slots=True)
class _Wanted:
    by: tuple[str, ...]
    bin: timedelta | None
    since: datetime | None
    until: datetime | None
    servers: frozenset[str]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*(("bin_start",) if self.bin else ()), *self.by, "count")


def _plain_counts(scan: Any, wanted: _Wanted) -> Table | None:
    """Counts by server, kind and query type, without polars; ``None`` where there are too many rows for that."""
    from arro3.core import Table as ArrowTable

    from seismolog import _core
    from seismolog.report.counts import Table

    arrow = ArrowTable.from_arrow(scan.table("traffic"))
    if arrow.num_rows > PLAIN_ROWS:
        return None
    names: dict[str, Sequence[str]] = {
        "server": scan.servers,
        "kind": _core.KINDS,
        "query_type": _core.QTYPES,
    }

    def column(which: str) -> list[Any]:
        values: list[Any] = list(arrow[which].to_pylist())
        if which in names and values and any(isinstance(value, int) for value in values):
            return [None if value is None else names[which][value] for value in values]
        return values

    keys = [column("query_type" if one == "qtype" else one) for one in wanted.by]
    counts = column("count")
    needs_time = wanted.bin or wanted.since or wanted.until
    times: list[Any] = column("bin_start") if needs_time else [None] * len(counts)
    servers = column("server") if wanted.servers else [None] * len(counts)
    step = int(wanted.bin.total_seconds()) if wanted.bin else 0
    low = wanted.since.timestamp() if wanted.since else float("-inf")
    high = wanted.until.timestamp() if wanted.until else float("inf")
    sums: dict[tuple[Any, ...], int] = {}
    for place, amount in enumerate(counts):
        if wanted.servers and servers[place] not in wanted.servers:
            continue
        key = tuple(values[place] for values in keys)
        if needs_time:
            seconds = times[place].timestamp()
            if not low <= seconds < high:
                continue
            if step:
                key = (seconds - seconds % step, *key)
        sums[key] = sums.get(key, 0) + amount
    ordered = sorted(sums.items(), key=lambda item: tuple((value is None, value or "") for value in item[0]))
    if step:
        rows = [(datetime.fromtimestamp(key[0], UTC), *key[1:], amount) for key, amount in ordered]
    else:
        rows = [(*key, amount) for key, amount in ordered]
    return Table(wanted.columns, rows)


def paper_counts(paths: Sequence[str], reading: Reading, progress: Progress = None) -> dict[str, int]:
    """What the study's five pipelines give over all these files: D_q, N_from, N_SS, N_SD, N_P."""
    del progress  # the core has none for this: it runs at the speed of the disk
    from seismolog import _core

    with core_errors():
        return dict(_core.paper_counts(files_of(paths, configuration(reading)), threads=reading.threads))
