"""From paths to answers: one function for each command, the only place where the parts meet.

The order is that of the data: the counting core reads the files, the store keeps the counts, the model fits them,
and what comes out is an :class:`~seismolog.report.analysis.Analysis` that the views show. Nothing here parses
arguments or prints.

Every function loads what it needs when it is called. Counting by kind needs neither polars nor pydantic, which take
longer to load than a million lines take to count.

Limits: :func:`count` keeps its table in memory; :func:`analyze` works through the store and keeps only rows by minute
and server, the ranking of the clients and the curves of the first few.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seismolog.errors import InputError, SeismologError, UsageError, core_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import polars as pl

    from seismolog.archive import Archived, ScanOptions
    from seismolog.config import Config
    from seismolog.detect.backtest import Trial
    from seismolog.detect.incidents import Incident as FoundIncident
    from seismolog.detect.site import Site
    from seismolog.discover import Discovery
    from seismolog.model import ServerModel
    from seismolog.report.analysis import (
        Analysis,
        Incident,
        InputSummary,
        ModelResult,
        SourceFile,
        UnmatchedShape,
    )
    from seismolog.report.counts import Table
    from seismolog.store import Snapshot, SourceEntry, Store

    Progress = Callable[[int, int, int], None] | None

__all__ = [
    "BackTest",
    "CountResult",
    "PlannedLoad",
    "Reading",
    "SiteDraft",
    "analyze",
    "backtest",
    "configuration",
    "count",
    "detect",
    "explain",
    "fit",
    "init",
    "paper_counts",
    "plan",
    "report",
    "unmatched_shapes",
]

BY = ("server", "kind", "client", "qtype")
PLAIN_ROWS = 200_000
"""Rows up to which counts are summed without loading polars."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How logs are read, whatever is done with them.

    ``timezone`` and ``year`` hold for lines that name none and win over the config; ``threads`` 0 is one a core.
    """

    timezone: str | None = None
    year: int | None = None
    keep_going: bool = False
    threads: int = 0
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class CountResult:
    """A table of counts, and what could not be read, or not to its end."""

    table: Table
    failures: tuple[SeismologError, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteDraft:
    """A proposed ``site.toml``, and what an administrator should know about it."""

    toml: str
    notes: tuple[str, ...] = ()
    failures: tuple[SeismologError, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedLoad:
    """The answer of ``plan``: queries with their 95 % prediction interval, by whose coefficients, in sentences."""

    queries: float
    low: float
    high: float
    peak: tuple[float, float, float] | None
    peak_start: str | None
    source: str
    terms: Mapping[str, Mapping[str, float]]
    sentences: tuple[str, ...] = ()


# --- what is read, and how --------------------------------------------------------------------------------------


def configuration(reading: Reading) -> Config | None:
    """The site's configuration, ``None`` where there is none: then pydantic need not be loaded."""
    places = (Path("site.toml"), Path("/etc/seismolog/site.toml"))
    if (
        reading.config is None
        and not os.environ.get("SEISMOLOG_CONFIG")
        and not any(p.is_file() for p in places)
    ):
        return None
    from seismolog.config import load

    return load(reading.config)


def line_options(reading: Reading, config: Config | None) -> dict[str, Any]:
    """What the core must be told to make events of lines."""
    options: dict[str, Any] = {"timezone": reading.timezone, "year": reading.year}
    if config is not None:
        site = config.site
        options |= {
            "timezone": reading.timezone or site.timezone,
            "server_timezones": config.server_timezones,
            "server_names": config.server_names,
            "inside": [str(network) for network in site.inside],
            "reinjection": [str(network) for network in site.reinjection],
            "client_prefix_v6": site.client_prefix_v6,
        }
    return {name: value for name, value in options.items() if value is not None}


def _scan_options(reading: Reading, config: Config) -> ScanOptions:
    from seismolog.archive import ScanOptions

    return ScanOptions.from_config(
        config, timezone=reading.timezone, year=reading.year, threads=reading.threads or None
    )


def _files(paths: Sequence[str], config: Config | None) -> list[str]:
    """The files that paths, folders and globs name; see :func:`seismolog.archive.discover`."""
    if all(path == "-" or Path(path).is_file() for path in paths):
        return list(dict.fromkeys(paths))
    from seismolog.archive import discover

    if config is None:
        from seismolog.config import Config

        config = Config()
    found = discover(paths, config.archive.skip)
    if found.failures:
        raise found.failures[0]
    return found.files


# --- count ------------------------------------------------------------------------------------------------------


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
        _scan_options(reading, config or Config()),
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
        return dict(_core.paper_counts(_files(paths, configuration(reading)), threads=reading.threads))


# --- explain ----------------------------------------------------------------------------------------------------


def explain(paths: Sequence[str], reading: Reading) -> Iterator[dict[str, Any]]:
    """How each line parses, a dict a line.

    Keys: ``line``, ``dialect``, ``kind``, ``server``, ``client``, ``time``, ``count``, ``reason``, ``text``, and
    ``file`` where there is more than one.
    """
    from seismolog import _core

    config = configuration(reading)
    options = line_options(reading, config)
    files = _files(paths, config)
    for file in files:
        with core_errors():
            for item in _core.explain(file, **options):
                found = dict(item)
                if isinstance(found.get("time"), int):
                    found["time"] = datetime.fromtimestamp(found["time"], UTC)
                found["text"] = _text(found.get("text"))
                if found.get("kind") is None and found.get("reason") is None and found.get("ignored"):
                    found["reason"] = "known, not counted"
                if len(files) > 1:
                    found["file"] = file
                yield found


def unmatched_shapes(paths: Sequence[str], reading: Reading) -> list[UnmatchedShape]:
    """Lines that no dialect knows, grouped by shape, the most frequent first."""
    from seismolog import _core
    from seismolog.report.analysis import UnmatchedShape

    with core_errors():
        found = _core.shapes(_files(paths, configuration(reading)))
    return [
        UnmatchedShape(str(s["shape"]), int(s["count"]), _text(s["example"]), str(s["path"]), int(s["line"]))
        for s in found
    ]


def _text(value: object) -> str:
    """Bytes of a log as text; what is no UTF-8 stays as surrogates, which :func:`visible` shows as bytes."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value or "")


# --- analyze, fit, report ---------------------------------------------------------------------------------------

TOP_CLIENTS = 12
DISCOVERY_CLIENTS = 500
"""Clients among which the mail servers are looked for: the busiest ones."""
DISCOVERY_SPAN = timedelta(days=14)
SHAPES_BYTES = 256_000_000
"""Text that is read again to group what was not understood; more would take longer than counting did."""


def analyze(
    paths: Sequence[str],
    reading: Reading,
    *,
    store: str | None = None,
    bin: timedelta | None = None,  # noqa: A002 - the word of the field
    since: datetime | None = None,
    until: datetime | None = None,
    servers: Sequence[str] = (),
    progress: Progress = None,
    incidents: bool = True,
) -> Analysis:
    """Read logs into the store, fit the models, find the incidents and work out what stands out.

    Parameters
    ----------
    paths
        Files, folders, globs or ``-``.
    store
        Folder or URL; that of the configuration, else a temporary one that is deleted again.
    bin
        Length of the model's bins; that of the configuration, else ten minutes.
    since, until
        The time looked at; by default from the first to the last line of these files, with whatever else the store
        holds of that time (the DNS log of yesterday's run beside the mail log of this one).
    servers
        Only these servers.
    incidents
        Whether the detectors run (the configuration may turn them off as well).
    """
    from seismolog.archive import analyze_into_store

    config = _loaded(reading)
    with _opened(store or config.store_url) as (opened, lasting):
        archived = analyze_into_store(paths, _scan_options(reading, config), opened, progress)
        if lasting:
            opened.maintain(
                keep=config.store.keep,
                compact_files=config.store.compact_files,
                retention=config.store.retention,
            )
        times = [t for e in archived.sources for t in (e.first_time, e.last_time) if t is not None]
        if times:
            since = since or min(times).replace(second=0, microsecond=0)
            until = until or max(times) + timedelta(minutes=1)
        return _analysis(
            opened,
            config,
            reading,
            archived,
            paths=paths,
            bin=bin,
            since=since,
            until=until,
            servers=servers,
            lasting=lasting,
            incidents="find" if incidents and config.detect.enabled else "none",
        )


def fit(
    paths: Sequence[str],
    reading: Reading,
    *,
    store: str | None = None,
    bin: timedelta | None = None,  # noqa: A002
    since: datetime | None = None,
    until: datetime | None = None,
    servers: Sequence[str] = (),
    progress: Progress = None,
) -> Analysis:
    """The models alone: of logs, or of what the store holds where no path is named."""
    if paths:
        return analyze(
            paths,
            reading,
            store=store,
            bin=bin,
            since=since,
            until=until,
            servers=servers,
            progress=progress,
            incidents=False,
        )
    return report(reading, store=store, bin=bin, since=since, until=until, servers=servers)


def report(
    reading: Reading,
    *,
    store: str | None = None,
    bin: timedelta | None = None,  # noqa: A002
    since: datetime | None = None,
    until: datetime | None = None,
    servers: Sequence[str] = (),
) -> Analysis:
    """The analysis of what the store holds, without reading a log."""
    config = _loaded(reading)
    url = _known_store(store, config)
    with _opened(url) as (opened, lasting):
        return _analysis(
            opened,
            config,
            reading,
            None,
            paths=(),
            bin=bin,
            since=since,
            until=until,
            servers=servers,
            lasting=lasting,
            incidents="kept",
        )


def _loaded(reading: Reading) -> Config:
    from seismolog.config import load

    return load(reading.config)


def _known_store(store: str | None, config: Config) -> str:
    url = store or config.store_url
    if url is None:
        raise UsageError(
            "no store is known",
            mend="name one with --store, or set url in the section [store] of the configuration",
        )
    if "://" not in url and not Path(url).is_dir():
        raise InputError(
            "there is no store", file=url, mend=f"seismolog analyze PATH --store {url} makes one"
        )
    return url


@contextmanager
def _opened(url: str | None) -> Iterator[tuple[Store, bool]]:
    """A store, and whether it lasts: without a place it lives in a temporary folder."""
    from seismolog.store import Store

    if url is not None:
        yield Store(url), True
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="seismolog-") as folder:
        yield Store(folder), False


def _analysis(
    store: Store,
    config: Config,
    reading: Reading,
    archived: Archived | None,
    *,
    paths: Sequence[str],
    bin: timedelta | None,  # noqa: A002
    since: datetime | None,
    until: datetime | None,
    servers: Sequence[str],
    lasting: bool,
    incidents: Literal["find", "kept", "none"],
) -> Analysis:
    from dataclasses import replace

    import polars as pl

    from seismolog.report.analysis import Analysis
    from seismolog.report.findings import find

    snapshot = store.snapshot(["traffic", "client_traffic"])
    tables = _Tables(snapshot, since, until, tuple(servers))
    traffic = tables.traffic()
    clients = tables.clients()
    length = bin or config.model.bin
    models, guesses = _models(tables, traffic, clients, config, length)
    addresses = {client: model.name for model in models for client in model.clients}
    queries = clients.filter(pl.col("kind") == "dns_query")
    first_kind = (
        "dns_query" if queries.height else (str(clients["kind"][0]) if clients.height else "dns_query")
    )
    leading = clients.filter(pl.col("kind") == first_kind)["client"].head(TOP_CLIENTS).to_list()
    curve_bin = timedelta(minutes=10)
    if since and until and (until - since) > timedelta(days=60):
        curve_bin = timedelta(hours=1)
    curves = tables.curves(leading, first_kind, curve_bin)
    if lasting:
        _keep(store, models)
    found: Sequence[FoundIncident] = ()
    if incidents == "kept":
        from seismolog.detect.kept import load_incidents

        found = load_incidents(store, since, until)
    elif incidents == "find":
        site = _site(config, reading, models)
        found = _incidents(store, config, site, since, until, lasting=lasting)
    if servers:
        found = [i for i in found if i.server is None or i.server in servers]
    summary, failures = _input(store, archived, reading, tuple(guesses))
    analysis = Analysis(
        input=summary,
        traffic=traffic,
        clients=clients,
        curves=curves,
        curve_bin=curve_bin,
        client_count=queries["client"].n_unique() if queries.height else clients["client"].n_unique(),
        models=tuple(_result(model) for model in models),
        incidents=tuple(_shown(incident) for incident in found),
        incident_curves=_subjects(tables, traffic, found, curve_bin) if found else None,
        timezone=reading.timezone or config.site.timezone or "UTC",
        paths=tuple(paths),
        mail_clients=addresses,
        generated_at=datetime.now(UTC),
        failures=failures,
    )
    # A client's onset is told once: by its incident where it has one.
    told = {s for i in analysis.incidents if i.suppressed is None for s in i.subjects}
    findings = tuple(f for f in find(analysis) if f.name != "onset" or f.subjects[0] not in told)
    return replace(analysis, findings=findings)


# --- incidents --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BackTest:
    """What detectors would have raised; ``suggestions`` where a rate was wanted."""

    trials: Sequence[Trial]
    days: float
    suggestions: Sequence[Any] = ()


def detect(
    reading: Reading,
    *,
    store: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    names: Sequence[str] | None = None,
    keep: bool = True,
) -> tuple[list[FoundIncident], str]:
    """The incidents of what the store holds, and the time zone to show them in.

    Parameters
    ----------
    names
        Detectors to run, whether the configuration has them enabled or not; by default those that are enabled.
    keep
        Whether the store keeps them. It does not keep those of some detectors only.
    """
    config = _loaded(reading)
    with _opened(_known_store(store, config)) as (opened, _):
        site = _site_of_store(opened, config, reading, since, until)
        return _incidents(
            opened, config, site, since, until, lasting=keep and names is None, names=names
        ), site.timezone


def backtest(
    reading: Reading,
    *,
    store: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    names: Sequence[str] | None = None,
    wanted: float | None = None,
) -> BackTest:
    """What each detector and threshold would have raised in what the store holds.

    Parameters
    ----------
    wanted
        Incidents a day of one detector for which thresholds are suggested.
    """
    from seismolog.detect import registry
    from seismolog.detect.backtest import backtest as tried
    from seismolog.detect.backtest import suggest
    from seismolog.detect.run import Rules

    config = _loaded(reading)
    with _opened(_known_store(store, config)) as (opened, _):
        site = _site_of_store(opened, config, reading, since, until)
        snapshot = opened.snapshot()
        first, last, begin = _span(snapshot, since, until)
        settings = registry.settings_of(config.detect.given)
        trials = tried(
            snapshot,
            since=first,
            until=last,
            site=site,
            settings=settings,
            rules=Rules.of_config(config.detect),
            begin=begin,
            names=names,
        )
    days = (last - first) / timedelta(days=1)
    return BackTest(trials, days, suggest(trials, wanted, settings) if wanted is not None else ())


def _site(config: Config, reading: Reading, models: Sequence[ServerModel]) -> Site:
    """What is known of the site, with the mail servers' addresses that were found in the logs."""
    from dataclasses import replace

    from seismolog.detect.site import Site

    site = Site.from_config(config, mail_addresses={model.name: list(model.clients) for model in models})
    return replace(site, timezone=reading.timezone) if reading.timezone else site


def _site_of_store(
    store: Store, config: Config, reading: Reading, since: datetime | None, until: datetime | None
) -> Site:
    tables = _Tables(store.snapshot(["traffic", "client_traffic"]), since, until, ())
    models, _ = _models(tables, tables.traffic(), tables.clients(), config, config.model.bin)
    return _site(config, reading, models)


def _span(
    snapshot: Snapshot, since: datetime | None, until: datetime | None
) -> tuple[datetime, datetime, datetime]:
    """First and last moment to look at, and the first that the store holds."""
    held = snapshot.span()
    if held is None:
        raise InputError(
            "the store holds no counts", mend="seismolog analyze PATH --store … counts logs into it"
        )
    first, last = held
    return since or first, until or last + timedelta(minutes=1), first


def _incidents(
    store: Store,
    config: Config,
    site: Site,
    since: datetime | None,
    until: datetime | None,
    *,
    lasting: bool,
    names: Sequence[str] | None = None,
) -> list[FoundIncident]:
    """Run the detectors over what the store holds; keep what they found, and what is usual, where the store lasts."""
    from seismolog.detect import registry
    from seismolog.detect.kept import load_baseline, save_baseline, save_incidents
    from seismolog.detect.run import Rules
    from seismolog.detect.run import detect as run_detectors

    snapshot = store.snapshot()
    if snapshot.span() is None:
        return []
    first, last, begin = _span(snapshot, since, until)
    settings = registry.settings_of(config.detect.given)
    if names is not None:
        settings = {n: s.model_copy(update={"enabled": True}) for n, s in settings.items()}
    outcome = run_detectors(
        snapshot,
        since=first,
        until=last,
        site=site,
        settings=settings,
        rules=Rules.of_config(config.detect),
        baseline=load_baseline(store, before=first) if lasting else None,
        begin=begin,
        names=names,
    )
    if lasting:
        save_incidents(store, outcome.incidents, first, last)
        save_baseline(store, outcome.baseline)
    return list(outcome.incidents)


def _shown(incident: FoundIncident) -> Incident:
    """An incident in the shape that the views read."""
    from seismolog.report.analysis import Incident

    return Incident(
        id=incident.id,
        detector=incident.detector,
        cause=incident.cause,
        severity="info" if incident.severity == "notice" else incident.severity,
        subjects=incident.subjects,
        start=incident.start,
        end=incident.end,
        score=incident.score,
        threshold=incident.threshold,
        explanation=incident.explanation,
        evidence=incident.evidence,
        server=incident.server,
        suppressed=incident.suppressed,
    )


SUBJECT_CURVES = 4
"""Subjects of an incident whose curves are drawn: the first ones."""


def _subjects(
    tables: _Tables, traffic: pl.DataFrame, incidents: Sequence[FoundIncident], step: timedelta
) -> pl.DataFrame:
    """The curves of the subjects of incidents: of clients their queries (or drops), of servers what they wrote."""
    import polars as pl

    names = list(dict.fromkeys(s for i in incidents for s in i.subjects[:SUBJECT_CURVES]))
    parts = []
    for kind in ("dns_query", "firewall_drop", "auth_failure"):
        part = tables.curves(names, kind, step)
        parts.append(
            part.select(
                "bin_start", pl.col("client").alias("subject"), pl.col("kind").cast(pl.String), "count"
            )
        )
    servers = traffic.filter(pl.col("server").cast(pl.String).is_in(names))
    keys = [pl.col("bin_start").dt.truncate(step), pl.col("server").cast(pl.String).alias("subject")]
    parts.append(
        servers.group_by(*keys, pl.col("kind").cast(pl.String))
        .agg(pl.col("count").sum())
        .select("bin_start", "subject", "kind", "count")
    )
    return pl.concat(parts, how="vertical_relaxed").sort("subject", "kind", "bin_start")


@dataclass(frozen=True, slots=True)
class _Tables:
    """The rows of a stretch of time and of some servers, read from one moment of the store.

    Rows of one key that meet from two sources need not be joined first: only sums are taken here.
    """

    snapshot: Snapshot
    since: datetime | None
    until: datetime | None
    servers: tuple[str, ...]

    def _rows(self, table: str, columns: list[str]) -> pl.LazyFrame:
        import polars as pl

        where = pl.col("server").is_in(list(self.servers)) if self.servers else None
        return self.snapshot.read(table, self.since, self.until, columns, where, summed=False)

    def traffic(self) -> pl.DataFrame:
        """Counts by minute, server and kind."""
        import polars as pl

        keys = ["bin_start", "server", "kind"]
        rows = (
            self._rows("traffic", [*keys, "count"]).group_by(keys).agg(pl.col("count").cast(pl.UInt64).sum())
        )
        return rows.sort(keys).collect(engine="streaming")

    def clients(self) -> pl.DataFrame:
        """Counts by client and kind, most first."""
        import polars as pl

        rows = self._rows("client_traffic", ["client", "kind", "count"]).filter(
            pl.col("client").is_not_null()
        )
        summed = rows.group_by("client", "kind").agg(pl.col("count").cast(pl.UInt64).sum())
        return summed.sort("count", "client", "kind", descending=[True, False, False]).collect(
            engine="streaming"
        )

    def curves(self, clients: Sequence[str], kind: str, step: timedelta) -> pl.DataFrame:
        """Counts of these clients by bin."""
        import polars as pl

        rows = self._rows("client_traffic", ["bin_start", "client", "kind", "count"])
        rows = rows.filter(pl.col("client").is_in(list(clients)), pl.col("kind") == kind)
        keys = [pl.col("bin_start").dt.truncate(step), pl.col("client"), pl.col("kind")]
        summed = rows.group_by(keys).agg(pl.col("count").cast(pl.UInt64).sum())
        return summed.sort("client", "bin_start").collect(engine="streaming")

    def queries(
        self, clients: Sequence[str], step: timedelta, *, mx: bool, since: datetime | None = None
    ) -> pl.DataFrame:
        """DNS queries of these clients by bin and DNS server."""
        import polars as pl

        columns = ["bin_start", "server", "client", "kind", "count", *(["mx"] if mx else [])]
        rows = self._rows("client_traffic", columns)
        rows = rows.filter(pl.col("client").is_in(list(clients)), pl.col("kind") == "dns_query")
        if since is not None:
            rows = rows.filter(pl.col("bin_start") >= since)
        keys = [pl.col("bin_start").dt.truncate(step), pl.col("server"), pl.col("client"), pl.col("kind")]
        sums = [pl.col(name).cast(pl.Int64).sum() for name in columns[4:]]
        return rows.group_by(keys).agg(sums).sort("bin_start", "server", "client").collect(engine="streaming")


def _models(
    tables: _Tables, traffic: pl.DataFrame, clients: pl.DataFrame, config: Config, length: timedelta
) -> tuple[list[ServerModel], list[str]]:
    """A model of each mail server whose addresses are configured or can be found, and what was guessed for it."""
    import polars as pl

    from seismolog.discover import MAIL_ROLE
    from seismolog.model import server_model
    from seismolog.report.text import bin_name

    known = {server.name: server for server in config.mail_server}
    writing = set(traffic.filter(pl.col("kind").is_in(MAIL_ROLE))["server"].unique().to_list())
    asked: list[tuple[str, list[str], list[str], float | None, float | None]] = [
        (s.name, [s.name], [str(a) for a in s.addresses], s.domains_per_message, s.receive_rate)
        for s in known.values()
        if s.addresses and s.name in writing
    ]
    covered = {name for name, *_ in asked}
    guesses: list[str] = []
    if writing - covered and clients.filter(pl.col("kind") == "dns_query").height:
        found = _discovered(tables, traffic, clients, length, DISCOVERY_CLIENTS)
        for match in found.matches:
            if match.server.name in covered or covered & set(match.server.hostnames):
                continue
            guesses.append(match.sentence)
            if match.addresses:
                server = known.get(match.server.name)
                asked.append(
                    (
                        match.server.name,
                        list(match.server.hostnames),
                        list(match.addresses),
                        server.domains_per_message if server else None,
                        server.receive_rate if server else None,
                    )
                )
    models = []
    for name, hostnames, addresses, domains, rate in asked:
        models.append(
            server_model(
                traffic,
                tables.queries(addresses, timedelta(minutes=1), mx=False),
                name=name,
                hostnames=hostnames,
                addresses=addresses,
                bin=bin_name(length),
                domains_per_message=domains,
                receive_rate=rate,
                window=config.model.window,
            )
        )
    models = [model for model in models if not model.bins.frame.is_empty()]
    return models, guesses


def _discovered(
    tables: _Tables, traffic: pl.DataFrame, clients: pl.DataFrame, length: timedelta, most: int
) -> Discovery:
    """Which client is which mail server, looked for among the busiest clients of the last two weeks."""
    import polars as pl

    from seismolog.discover import discover
    from seismolog.report.text import bin_name

    last = traffic["bin_start"].max()
    since = last - DISCOVERY_SPAN if isinstance(last, datetime) else None
    busiest = clients.filter(pl.col("kind") == "dns_query")["client"].head(most).to_list()
    recent = traffic.filter(pl.col("bin_start") >= since) if since is not None else traffic
    return discover(recent, tables.queries(busiest, length, mx=True, since=since), bin=bin_name(length))


def _result(model: ServerModel) -> ModelResult:
    """A model in the shape that the views read."""
    from seismolog.model import BASELINE
    from seismolog.report.analysis import Coefficient, Correlation, ModelResult

    def shown(term: Any) -> Coefficient:
        return Coefficient(term.estimate, term.std_error, term.low, term.high, term.paper)

    terms = model.fit.coefficients
    test = model.deferral
    correlation = None
    if test.r is not None and test.low is not None and test.high is not None:
        correlation = Correlation(test.r, test.low, test.high)
    said = {test.verdict, *(absence.sentence for absence in model.absences)}
    product = model.fit.n_one_minus_q
    return ModelResult(
        name=model.name,
        server=model.server,
        client=model.client,
        coefficients={kind: shown(term) for kind, term in terms.items() if kind != BASELINE},
        baseline=shown(terms[BASELINE]) if BASELINE in terms else None,
        series=model.table,
        bin=model.bins.bin,
        r_squared=model.fit.r_squared,
        dispersion=model.fit.dispersion,
        cache_efficiency=model.cache.estimate,
        residual_vs_deferred=correlation,
        receive_product=product.estimate if product is not None else None,
        bins=model.fit.bins,
        rejected=model.fit.rejected,
        left_out=model.bins.left_out,
        method=model.fit.method,
        cache_coefficients={"smtp_accepted": model.cache.m_s, "pop_access": 1.0},
        cache_source=model.cache.source,
        deferral_note="" if correlation else test.verdict,
        absences=tuple((a.start, a.end, a.calculated, a.observed) for a in model.absences),
        notes=tuple(sentence for sentence in model.sentences() if sentence not in said),
    )


def _keep(store: Store, models: Sequence[ServerModel]) -> None:
    """Write the fits and their series into the store; a fit of the same window replaces the earlier one."""
    import polars as pl

    now = datetime.now(UTC)
    for model in models:
        if model.fit.window is None:
            continue
        first, last = model.fit.window
        of_model = pl.col("model") == model.name
        same = of_model & (pl.col("window_start") == first) & (pl.col("window_end") == last + model.bins.bin)
        store.replace("model_fit", model.fit_rows(now), same)
        stretch = of_model & pl.col("bin_start").is_between(first, last)
        store.replace("model_series", model.series_rows(), stretch, first, last)


def _input(
    store: Store, archived: Archived | None, reading: Reading, guesses: tuple[str, ...]
) -> tuple[InputSummary, tuple[SeismologError, ...]]:
    """What was read: from the run that read it, or from the journal of the store."""
    from seismolog.report.analysis import InputSummary

    if archived is None:
        entries = sorted(
            store.sources().values(), key=lambda e: (e.first_time is None, e.first_time, e.paths)
        )
        files = tuple(_source_file(entry, {}, "unchanged") for entry in entries)
        summary = InputSummary(
            files=files,
            lines=sum(f.lines for f in files),
            matched=sum(f.matched for f in files),
            ignored=sum(f.ignored for f in files),
            unmatched=sum(f.unmatched for f in files),
            guesses=guesses,
        )
        return summary, ()
    given = {str(Path(path).absolute()): path for path in archived.files}
    scanned = {str(Path(path).absolute()) for path in archived.scanned} | ({"-"} & set(archived.scanned))
    order = {path: place for place, path in enumerate(given)}
    files = tuple(
        _source_file(entry, given, "read" if scanned & set(entry.paths) else "unchanged")
        for entry in sorted(
            archived.sources, key=lambda e: min((order.get(p, len(order)) for p in e.paths), default=0)
        )
    )
    shapes, of = _shapes(files, reading) if archived.summary.unmatched else ((), None)
    summary = InputSummary(
        files=files,
        lines=archived.summary.lines,
        matched=archived.summary.matched,
        ignored=archived.summary.ignored,
        unmatched=archived.summary.unmatched,
        guesses=(*archived.summary.guesses, *guesses),
        shed={name: count for name, count in archived.summary.shed.items() if count},
        reasons=dict(archived.summary.reasons),
        shapes=shapes,
        shapes_of=of,
        passed_over=tuple((p.path, p.reason) for p in archived.passed_over),
    )
    return summary, tuple(archived.failures)


def _source_file(entry: SourceEntry, given: Mapping[str, str], state: str) -> SourceFile:
    from seismolog.report.analysis import SourceFile

    path = next(
        (given[p] for p in entry.paths if p in given), entry.paths[0] if entry.paths else entry.source
    )
    error = None
    if entry.error is not None:
        error = (int(entry.error.get("offset", 0)), str(entry.error.get("message", "")))
    years = None
    if entry.first_time and entry.last_time:
        years = (entry.first_time.year, entry.last_time.year)
    return SourceFile(
        path=path,
        compression=entry.compression or "plain",
        bytes=entry.bytes,
        lines=entry.lines,
        matched=entry.matched,
        ignored=entry.ignored,
        unmatched=entry.unmatched,
        servers=entry.servers,
        first_time=entry.first_time,
        last_time=entry.last_time,
        years=years,
        year_guessed=entry.year_guessed,
        timezone_guessed=entry.timezone_guessed,
        error=error,
        dialects=entry.dialects,
        state=state,
    )


def _shapes(
    files: Sequence[SourceFile], reading: Reading
) -> tuple[tuple[UnmatchedShape, ...], tuple[int, int] | None]:
    """Shapes of what was not understood, of the files with the densest unmatched lines that can be read in seconds."""
    candidates = [f for f in files if f.unmatched and f.path != "-" and Path(f.path).is_file()]
    candidates.sort(key=lambda f: -f.unmatched / max(f.bytes, 1))
    chosen: list[str] = []
    budget = SHAPES_BYTES
    for file in candidates:
        if file.bytes <= budget:
            chosen.append(file.path)
            budget -= file.bytes
    if not chosen:
        return (), (0, len(candidates)) if candidates else None
    shapes = tuple(unmatched_shapes(chosen, reading))
    return shapes, (len(chosen), len(candidates)) if len(chosen) < len(candidates) else None


# --- init and plan ----------------------------------------------------------------------------------------------


def init(paths: Sequence[str], reading: Reading, *, progress: Progress = None) -> SiteDraft:
    """What logs say about a site, as a ``site.toml`` to check: servers, roles, which client is which mail server."""
    import polars as pl

    from seismolog.archive import analyze_into_store
    from seismolog.discover import site_toml

    config = _loaded(reading)
    with _opened(None) as (store, _):
        archived = analyze_into_store(paths, _scan_options(reading, config), store, progress)
        tables = _Tables(store.snapshot(["traffic", "client_traffic"]), None, None, ())
        traffic, clients = tables.traffic(), tables.clients()
        if traffic.is_empty():
            raise InputError(
                "no line of these files was counted",
                file=paths[0],
                mend="see `seismolog explain --unmatched`",
            )
        queries = clients.filter(pl.col("kind") == "dns_query").height
        found = _discovered(tables, traffic, clients, config.model.bin, max(queries, 1))
    zone = reading.timezone or config.site.timezone
    notes = tuple(
        dict.fromkeys((*archived.summary.guesses, *(match.sentence for match in found.matches), *found.notes))
    )
    return SiteDraft(site_toml(found, timezone=zone, paths=paths), notes, tuple(archived.failures))


def plan(
    reading: Reading,
    *,
    mails: float,
    pops: float = 0.0,
    imaps: float = 0.0,
    per: Literal["day", "hour"] = "day",
    server: str | None = None,
    store: str | None = None,
) -> PlannedLoad:
    """What DNS load so many mails will bring: by the fit of a mail server in the store, else by the study."""
    from seismolog.model import BASELINE
    from seismolog.model import plan as planned
    from seismolog.report.text import bin_name

    config = _loaded(reading)
    zone = reading.timezone or config.site.timezone or "UTC"
    length = config.model.bin
    chosen: ServerModel | None = None
    others: list[pl.DataFrame] = []
    url = store or config.store_url
    if server is not None or url is not None:
        with _opened(_known_store(store, config)) as (opened, _):
            tables = _Tables(opened.snapshot(["traffic", "client_traffic"]), None, None, ())
            models, _ = _models(tables, tables.traffic(), tables.clients(), config, length)
        named = [m for m in models if server is None or server in (m.name, m.server)]
        if server is not None and not named:
            known = ", ".join(m.name for m in models) or "none"
            raise UsageError(
                f"no model of a mail server {server!r}", expected=f"one of those in the store: {known}"
            )
        if len(named) > 1:
            raise UsageError(
                "there is more than one mail server",
                mend=f"name one with --server: {', '.join(m.name for m in named)}",
            )
        chosen = named[0] if named else None
        others = [m.bins.frame for m in models if m is not chosen]
    answer = planned(
        chosen.fit if chosen else None,
        mails=mails,
        pops=pops,
        imaps=imaps,
        per=per,
        frame=chosen.bins.frame if chosen else None,
        timezone=zone,
        bin=bin_name(length),
        population=others,
    )
    source = (
        f"the fit of {chosen.name}"
        if chosen and chosen.fit.method == "fit"
        else "the coefficients of the 2003 study"
    )
    return PlannedLoad(
        answer.total.queries,
        answer.total.low,
        answer.total.high,
        (answer.peak.queries, answer.peak.low, answer.peak.high) if answer.peak else None,
        answer.peak_start,
        source,
        _terms(chosen, {"smtp_accepted": mails, "pop_access": pops, "imap_access": imaps}, BASELINE),
        answer.sentences,
    )


def _terms(
    model: ServerModel | None, events: Mapping[str, float], baseline: str
) -> dict[str, dict[str, float]]:
    """What each kind of event contributes."""
    from seismolog.model import PAPER

    coefficients = (
        {kind: term.estimate for kind, term in model.fit.coefficients.items() if kind != baseline}
        if model
        else PAPER
    )
    return {
        kind: {"count": amount, "coefficient": coefficients[kind], "queries": coefficients[kind] * amount}
        for kind, amount in events.items()
        if amount and kind in coefficients
    }
