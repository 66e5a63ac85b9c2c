"""Detectors over a store: ``seismolog detect``, its back-test, and incidents as the views show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from seismolog.errors import InputError
from seismolog.pipeline.models import models_of
from seismolog.pipeline.reading import Reading, loaded
from seismolog.pipeline.tables import Tables, known_store, opened_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from seismolog.config import Config
    from seismolog.detect.backtest import Trial
    from seismolog.detect.incidents import Incident as FoundIncident
    from seismolog.detect.site import Site
    from seismolog.model import ServerModel
    from seismolog.report.analysis import Incident
    from seismolog.store import Snapshot, Store

__all__ = [
    "SUBJECT_CURVES",
    "BackTest",
    "backtest",
    "detect",
    "find_incidents",
    "shown",
    "site_with",
    "subject_curves",
]


SUBJECT_CURVES = 4
"""Subjects of an incident whose curves are drawn: the first ones."""


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
    config = loaded(reading)
    with opened_store(known_store(store, config)) as (opened, _):
        site = _site_of_store(opened, config, reading, since, until)
        return find_incidents(
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

    config = loaded(reading)
    with opened_store(known_store(store, config)) as (opened, _):
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


def site_with(config: Config, reading: Reading, models: Sequence[ServerModel]) -> Site:
    """What is known of the site, with the mail servers' addresses that were found in the logs."""
    from dataclasses import replace

    from seismolog.detect.site import Site

    site = Site.from_config(config, mail_addresses={model.name: list(model.clients) for model in models})
    return replace(site, timezone=reading.timezone) if reading.timezone else site


def _site_of_store(
    store: Store, config: Config, reading: Reading, since: datetime | None, until: datetime | None
) -> Site:
    tables = Tables(store.snapshot(["traffic", "client_traffic"]), since, until, ())
    models, _ = models_of(tables, tables.traffic(), tables.clients(), config, config.model.bin)
    return site_with(config, reading, models)


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


def find_incidents(
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


def shown(incident: FoundIncident) -> Incident:
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


def subject_curves(
    tables: Tables, traffic: pl.DataFrame, incidents: Sequence[FoundIncident], step: timedelta
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
