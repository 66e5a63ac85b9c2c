"""A proposed ``site.toml`` from logs, and the DNS load that so many mails will bring: ``seismolog init`` and ``plan``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from seismolog.errors import InputError, SeismologError, UsageError
from seismolog.pipeline.models import discovered, models_of
from seismolog.pipeline.reading import Progress, Reading, loaded, scan_options
from seismolog.pipeline.tables import Tables, known_store, opened_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from seismolog.model import ServerModel


__all__ = ["PlannedLoad", "SiteDraft", "init", "plan"]


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


def init(paths: Sequence[str], reading: Reading, *, progress: Progress = None) -> SiteDraft:
    """What logs say about a site, as a ``site.toml`` to check: servers, roles, which client is which mail server."""
    import polars as pl

    from seismolog.archive import analyze_into_store
    from seismolog.discover import site_toml

    config = loaded(reading)
    with opened_store(None) as (store, _):
        archived = analyze_into_store(paths, scan_options(reading, config), store, progress)
        tables = Tables(store.snapshot(["traffic", "client_traffic"]), None, None, ())
        traffic, clients = tables.traffic(), tables.clients()
        if traffic.is_empty():
            raise InputError(
                "no line of these files was counted",
                file=paths[0],
                mend="see `seismolog explain --unmatched`",
            )
        queries = clients.filter(pl.col("kind") == "dns_query").height
        found = discovered(tables, traffic, clients, config.model.bin, max(queries, 1))
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

    config = loaded(reading)
    zone = reading.timezone or config.site.timezone or "UTC"
    length = config.model.bin
    chosen: ServerModel | None = None
    others: list[pl.DataFrame] = []
    url = store or config.store_url
    if server is not None or url is not None:
        with opened_store(known_store(store, config)) as (opened, _):
            tables = Tables(opened.snapshot(["traffic", "client_traffic"]), None, None, ())
            models, _ = models_of(tables, tables.traffic(), tables.clients(), config, length)
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
