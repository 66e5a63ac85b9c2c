"""The traffic models of the mail servers that a store tells of, and what the views show of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from seismolog.pipeline.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from seismolog.config import Config
    from seismolog.discover import Discovery
    from seismolog.model import ServerModel
    from seismolog.report.analysis import ModelResult
    from seismolog.store import Store

__all__ = ["DISCOVERY_CLIENTS", "DISCOVERY_SPAN", "discovered", "keep_models", "models_of", "result_of"]


DISCOVERY_CLIENTS = 500
"""Clients among which the mail servers are looked for: the busiest ones."""
DISCOVERY_SPAN = timedelta(days=14)


def models_of(
    tables: Tables, traffic: pl.DataFrame, clients: pl.DataFrame, config: Config, length: timedelta
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
        found = discovered(tables, traffic, clients, length, DISCOVERY_CLIENTS)
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


def discovered(
    tables: Tables, traffic: pl.DataFrame, clients: pl.DataFrame, length: timedelta, most: int
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


def result_of(model: ServerModel) -> ModelResult:
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


def keep_models(store: Store, models: Sequence[ServerModel]) -> None:
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
