"""Logs in, an :class:`~seismolog.report.analysis.Analysis` out: ``seismolog analyze``, ``fit`` and ``report``.

Limits: what is kept in memory are rows by minute and server, the ranking of the clients and the curves of the first few.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from seismolog.pipeline.incidents import find_incidents, shown, site_with, subject_curves
from seismolog.pipeline.inputs import input_summary
from seismolog.pipeline.models import keep_models, models_of, result_of
from seismolog.pipeline.reading import Progress, Reading, loaded, scan_options
from seismolog.pipeline.tables import Tables, known_store, opened_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seismolog.archive import Archived
    from seismolog.config import Config
    from seismolog.detect.incidents import Incident as FoundIncident
    from seismolog.report.analysis import Analysis
    from seismolog.store import Store

__all__ = ["TOP_CLIENTS", "analyze", "fit", "report"]


TOP_CLIENTS = 12


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

    config = loaded(reading)
    with opened_store(store or config.store_url) as (opened, lasting):
        archived = analyze_into_store(paths, scan_options(reading, config), opened, progress)
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
    config = loaded(reading)
    url = known_store(store, config)
    with opened_store(url) as (opened, lasting):
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
    tables = Tables(snapshot, since, until, tuple(servers))
    traffic = tables.traffic()
    clients = tables.clients()
    length = bin or config.model.bin
    models, guesses = models_of(tables, traffic, clients, config, length)
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
        keep_models(store, models)
    found: Sequence[FoundIncident] = ()
    if incidents == "kept":
        from seismolog.detect.kept import load_incidents

        found = load_incidents(store, since, until)
    elif incidents == "find":
        site = site_with(config, reading, models)
        found = find_incidents(store, config, site, since, until, lasting=lasting)
    if servers:
        found = [i for i in found if i.server is None or i.server in servers]
    summary, failures = input_summary(store, archived, reading, tuple(guesses))
    analysis = Analysis(
        input=summary,
        traffic=traffic,
        clients=clients,
        curves=curves,
        curve_bin=curve_bin,
        client_count=queries["client"].n_unique() if queries.height else clients["client"].n_unique(),
        models=tuple(result_of(model) for model in models),
        incidents=tuple(shown(incident) for incident in found),
        incident_curves=subject_curves(tables, traffic, found, curve_bin) if found else None,
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
