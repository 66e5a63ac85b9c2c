"""Everything that is said about one mail server, put together, and its shapes for the store and for JSON.

`server_model` is what `analyze` and `fit` call: one mail server in, one `ServerModel` out. It computes nothing itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from seismolog.model.applied import calculated
from seismolog.model.assemble import Coverage, ModelSeries, series
from seismolog.model.cache import CacheEfficiency, cache_efficiency
from seismolog.model.deferral import DeferralTest, deferral_test
from seismolog.model.drift import Drift, drift
from seismolog.model.estimate import BASELINE, TERMS, Coefficient, Fit, fit
from seismolog.model.health import Absence, absences
from seismolog.model.paper import remote_domains

_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class ServerModel:
    """The model of one mail server.

    Attributes
    ----------
    name
        Of the model: that of the mail server in the configuration.
    server
        Host name under which the mail server logs.
    clients
        Its addresses as a DNS client.
    bins
        The series that was fitted, and how many bins were left out of it.
    table
        observed, calculated, residual, standardized, cache_efficiency by bin (see `calculated`).
    """

    name: str
    server: str
    clients: tuple[str, ...]
    bins: ModelSeries
    fit: Fit
    table: pl.DataFrame
    cache: CacheEfficiency
    deferral: DeferralTest
    drift: Drift | None
    absences: tuple[Absence, ...]
    domains_per_message: float | None = None
    receive_rate: float | None = None

    @property
    def client(self) -> str:
        """The addresses as one text."""
        return ", ".join(self.clients)

    def sentences(self) -> list[str]:
        """What an administrator should read about this model, most important first."""
        said = [absence.sentence for absence in self.absences]
        said += [*self.bins.notes, *self.fit.notes]
        found = self.fit.n_one_minus_q
        if found is not None and found.low is not None and found.high is not None:
            text = (
                f"From m_S only n(1−q) = (m_S − 2)/4 can be read: {found.estimate:.2f} "
                f"(95 % interval {found.low:.2f} to {found.high:.2f})."
            )
            if self.domains_per_message is None or self.receive_rate is None:
                text += " n and q apart would have to be configured."
            else:
                given = remote_domains(self.cache.m_s)
                text += f" n and q apart are configured, not fitted; they give {given:.2f}."
            said.append(text)
        if self.cache.estimate is not None:
            said.append(
                f"Cache efficiency {self.cache.estimate:.0%} over {self.cache.bins} bins, reckoned with m_S = "
                f"{self.cache.m_s:.2f} from {self.cache.source}."
            )
        said.append(self.deferral.verdict)
        if self.drift is not None:
            said += self.drift.notes
        return said

    def to_json(self) -> dict[str, Any]:
        """The entry of ``models`` in ``analyze --format json``; numbers that do not exist are None, never NaN."""
        test = self.deferral
        product = self.fit.n_one_minus_q
        kinds = {kind: c for kind, c in self.fit.coefficients.items() if kind != BASELINE}
        baseline = self.fit.coefficients.get(BASELINE)
        return {
            "name": self.name,
            "server": self.server,
            "client": self.client,
            "coefficients": {kind: _coefficient(c) for kind, c in kinds.items()},
            "baseline": None if baseline is None else _coefficient(baseline),
            "r_squared": _finite(self.fit.r_squared),
            "dispersion": _finite(self.fit.dispersion),
            "cache_efficiency": _finite(self.cache.estimate),
            "residual_vs_deferred": {
                "r": _finite(test.r),
                "low": _finite(test.low),
                "high": _finite(test.high),
            },
            "n_one_minus_q": None if product is None else _finite(product.estimate),
            "method": self.fit.method,
            "bin_seconds": int(self.bins.bin.total_seconds()),
            "bins": self.fit.bins,
            "left_out": self.bins.left_out,
            "rejected": self.fit.rejected,
            "down_weighted": self.fit.down_weighted,
            "notes": self.sentences(),
        }

    def fit_rows(self, fitted_at: datetime) -> pl.DataFrame:
        """The row of this fit for the table ``model_fit``; empty without a bin."""
        schema: dict[str, Any] = {
            "fitted_at": _TIME,
            "model": pl.String,
            "window_start": _TIME,
            "window_end": _TIME,
            "server": pl.String,
            "client": pl.String,
            "coefficients": pl.String,
            "r_squared": pl.Float64,
            "dispersion": pl.Float64,
            "domains_not_received": pl.Float64,
            "observations": pl.Int64,
            "left_out": pl.Int64,
        }
        if self.fit.window is None:
            return pl.DataFrame(schema=schema)
        first, last = self.fit.window
        product = self.fit.n_one_minus_q
        coefficients = {kind: _coefficient(c) for kind, c in self.fit.coefficients.items()}
        row = (
            fitted_at,
            self.name,
            first,
            last + self.bins.bin,
            self.server,
            self.client,
            json.dumps(coefficients, allow_nan=False),
            _finite(self.fit.r_squared),
            _finite(self.fit.dispersion),
            None if product is None else _finite(product.estimate),
            self.fit.bins,
            self.fit.rejected,
        )
        return pl.DataFrame([row], schema=schema, orient="row")

    def series_rows(self) -> pl.DataFrame:
        """The rows of this model for the table ``model_series``."""
        return self.table.select(
            "bin_start",
            pl.lit(self.name, dtype=pl.String).alias("model"),
            pl.exclude("bin_start"),
        )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _coefficient(c: Coefficient) -> dict[str, float | None]:
    return {
        "estimate": _finite(c.estimate),
        "std_error": _finite(c.std_error),
        "low": _finite(c.low),
        "high": _finite(c.high),
        "paper": c.paper,
    }


def server_model(
    traffic: pl.DataFrame,
    client_traffic: pl.DataFrame,
    *,
    name: str,
    hostnames: Sequence[str],
    addresses: Sequence[str],
    dns_servers: Sequence[str] | None = None,
    bin: str = "10m",  # noqa: A002 - the word of the command line and the configuration
    terms: Sequence[str] = TERMS,
    baseline: bool = True,
    domains_per_message: float | None = None,
    receive_rate: float | None = None,
    coverage: Coverage | None = None,
    window: timedelta | None = None,
    with_drift: bool = True,
) -> ServerModel:
    """Model one mail server from the tables ``traffic`` and ``client_traffic``.

    Parameters
    ----------
    name, hostnames, addresses, domains_per_message, receive_rate
        The ``[[mail_server]]`` of the configuration.
    window
        Only the last so much time is fitted; default: all.
    with_drift
        Whether the coefficients' drift is estimated as well: a fit for each stretch of time.

    See `series` and `fit` for the others.

    Raises
    ------
    ValueError
        For a bad `bin`, terms, n or q; or without a host name.
    """
    if not hostnames:
        raise ValueError(f"mail server {name!r} has no host name")
    bins = series(
        traffic,
        client_traffic,
        mail_server=hostnames,
        addresses=addresses,
        dns_servers=dns_servers,
        bin=bin,
        coverage=coverage,
    )
    frame = bins.frame
    if window is not None and not frame.is_empty():
        last = frame["bin_start"][-1]
        assert isinstance(last, datetime)
        frame = frame.filter(pl.col("bin_start") > last - window)
        bins = ModelSeries(frame, bins.bin, bins.left_out, bins.notes)
    fitted = fit(frame, terms=terms, baseline=baseline)
    missing = tuple(absences(frame, fitted))
    # Queries that went elsewhere are no work of a cache.
    present = frame
    for absence in missing:
        present = present.filter((pl.col("bin_start") < absence.start) | (pl.col("bin_start") >= absence.end))
    return ServerModel(
        name=name,
        server=hostnames[0],
        clients=tuple(addresses),
        bins=bins,
        fit=fitted,
        table=calculated(frame, fitted, domains_per_message=domains_per_message, receive_rate=receive_rate),
        cache=cache_efficiency(present, domains_per_message=domains_per_message, receive_rate=receive_rate),
        deferral=deferral_test(frame, fitted),
        drift=drift(frame, terms=terms, baseline=baseline) if with_drift else None,
        absences=missing,
        domains_per_message=domains_per_message,
        receive_rate=receive_rate,
    )
