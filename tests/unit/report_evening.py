"""A small made-up record for the tests of the report: three days of one campus, with an outbreak at the end.

The numbers come from a seeded generator and a few formulas: a day shape, ``8.6 N_S + N_P`` look-ups, deferrals
that climb from 18:00 of 15 July 2002. It stands in for a counted log where only the views are under test.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from seismolog.report.analysis import (
    Analysis,
    Coefficient,
    Correlation,
    InputSummary,
    ModelResult,
    SourceFile,
    UnmatchedShape,
)

START = datetime(2002, 7, 12, 15, 0, tzinfo=UTC)  # midnight of the 13th in Japan
MINUTES = 3 * 1440
OUTBREAK = 2 * 1440 + 18 * 60
HOSTILE = "</script><script>window.hacked=1</script>\x1b[2J\u202egpj.exe<img src=x onerror=window.hacked=1>"
MAIL = "133.95.10.2"


def evening(seed: int = 2002, *, hostile: bool = True) -> Analysis:
    rng = np.random.default_rng(seed)
    minute = np.arange(MINUTES)
    hour = minute % 1440 / 60
    weekday = np.where(minute < 2 * 1440, 0.55, 1.0)
    shape = weekday * (
        0.25 + 1.1 * np.exp(-(((hour - 10.5) / 2.6) ** 2)) + 0.95 * np.exp(-(((hour - 15.5) / 3.2) ** 2))
    )
    growth = np.where(minute >= OUTBREAK, 1 - np.exp(-(minute - OUTBREAK) / 70.0), 0.0)
    noise = np.exp(np.convolve(rng.normal(0, 0.05, MINUTES), np.ones(12) / 3, "same"))
    accepted = rng.poisson(16 * shape * noise * (1 + 2.4 * growth))
    pop = rng.poisson(34 * shape * noise)
    sent = rng.poisson(1.08 * accepted * (1 - 0.25 * growth))
    deferred = rng.poisson(0.25 * shape + 26 * growth * (1 + 0.35 * np.sin(minute / 9.5)))
    mail = rng.poisson(8.6 * accepted + pop)
    counts: dict[tuple[str, str, str | None], Any] = {
        ("1mx", "smtp_accepted", "10.0.0.9"): accepted,
        ("1mx", "smtp_sent", None): sent,
        ("1mx", "smtp_deferred", None): deferred,
        ("1mx", "pop_access", "10.0.0.8"): pop,
        ("1mx", "smtp_rejected", "10.0.0.7"): rng.poisson(0.6 * shape),
        ("1dns", "dns_query", MAIL): mail,
    }
    others = {
        "133.95.20.17": 60 * shape * noise,
        "133.95.31.5": np.where(
            (minute > 2 * 1440 + 630), 48 * (1 + 0.5 * np.sin(minute * 2 * np.pi / 60)), 0.05
        ),
        "133.95.44.101": np.where((minute > 1440 + 540) & (minute < 2 * 1440 + 900), 32.0, 0.02),
        "2001:db8:44::53": 22 * shape * noise,
        "133.95.52.3": 14 + 0 * shape,
        "133.95.7.44": 18 * shape,
        "133.95.61.9": 20 * np.roll(shape, 90),
        "192.0.2.77": 9 * (rng.random(MINUTES) < 0.04) * 30,
        "198.51.100.4": 5 + 3 * shape,
        "133.95.80.12": 7 * shape * noise,
        "203.0.113.9": 4 * shape,
    }
    for client, level in others.items():
        counts["1dns", "dns_query", client] = rng.poisson(level)
    starts = pl.Series(
        "bin_start", [START + timedelta(minutes=m) for m in range(MINUTES)], pl.Datetime("us", "UTC")
    )
    parts = [
        pl.DataFrame({"bin_start": starts, "count": values.astype(np.uint64)})
        .with_columns(server=pl.lit(server), kind=pl.lit(kind), client=pl.lit(client, pl.String))
        .filter(pl.col("count") > 0)
        for (server, kind, client), values in counts.items()
    ]
    rows = pl.concat(parts)
    traffic = (
        rows.group_by("bin_start", "server", "kind")
        .agg(pl.col("count").sum())
        .sort("bin_start", "server", "kind")
    )
    clients = (
        rows.filter(pl.col("client").is_not_null())
        .group_by("client", "kind")
        .agg(pl.col("count").sum())
        .sort("count", "client", descending=True)
    )
    curves = (
        rows.filter(pl.col("kind") == "dns_query")
        .with_columns(pl.col("bin_start").dt.truncate("10m"))
        .group_by("bin_start", "client", "kind")
        .agg(pl.col("count").sum())
        .sort("client", "bin_start")
    )

    def tens(values: Any) -> Any:
        return values.reshape(-1, 10).sum(axis=1).astype(float)

    n_s, n_p, n_sd, observed = tens(accepted), tens(pop), tens(deferred), tens(mail)
    calculated = 8.43 * n_s + 1.04 * n_p
    residual = observed - calculated
    effect = 1 - observed / (8.6 * n_s + n_p)
    series = pl.DataFrame(
        {
            "bin_start": starts.gather_every(10),
            "observed": observed,
            "calculated": calculated,
            "residual": residual,
            "standardized": residual / np.sqrt(calculated),
            "cache_efficiency": np.where(8.6 * n_s + n_p >= 200, effect, np.nan),
            "smtp_accepted": n_s,
            "pop_access": n_p,
            "smtp_deferred": n_sd,
        }
    ).with_columns(pl.col("cache_efficiency").fill_nan(None))
    model = ModelResult(
        name="1mx",
        server="1mx",
        client=MAIL,
        coefficients={
            "smtp_accepted": Coefficient(8.43, 0.11, 8.21, 8.64, 8.6),
            "pop_access": Coefficient(1.04, 0.06, 0.93, 1.16, 1.0),
        },
        series=series,
        bin=timedelta(minutes=10),
        r_squared=0.987,
        dispersion=1.31,
        cache_efficiency=float(np.nanmean(effect)),
        residual_vs_deferred=Correlation(0.04, -0.11, 0.19),
        receive_product=1.608,
        bins=432,
        rejected=9,
    )
    name = HOSTILE if hostile else "1mx"
    files = (
        SourceFile(
            "logs/1dns/messages.1.gz", "gz", 412_345_678, 1_002_233, 1_001_900, 301, 32, ("1dns",), START,
            START + timedelta(days=3), (2002, 2002), True, True, None, {"iplog": 1_001_900},
        ),
        SourceFile(
            "logs/1mx/syslog.0", "none", 98_765_432, 402_233, 398_111, 3_900, 222, ("1mx",), START,
            START + timedelta(days=3), (2002, 2002), True, True, (98_765_000, "the file ends in mid-line"),
            {"sendmail": 301_000, "qpopper": 97_111},
        ),
    )  # fmt: skip
    shapes = (
        UnmatchedShape("sshd[#]: Accepted password for # from #", 188, "Jul 13 00:00:02 1mx sshd[1]: Accepted password for "
                       + (HOSTILE if hostile else "root"), "logs/1mx/syslog.0", 3),
        UnmatchedShape("CROND[#]: (root) CMD (#)", 66, "Jul 13 00:00:01 1mx CROND[9]: (root) CMD (mrtg)",
                       "logs/1mx/syslog.0", 1),
    )  # fmt: skip
    return Analysis(
        input=InputSummary(
            files=files,
            lines=1_404_466,
            matched=1_400_011,
            ignored=4_201,
            unmatched=254,
            guesses=(
                "year 2002: the lines name none; taken from the file times",
                f"time zone of {name}: UTC+9, from the offset between 1dns and 1mx",
            ),
            shapes=shapes,
        ),
        traffic=traffic,
        clients=clients,
        curves=curves,
        client_count=1234,
        models=(model,),
        site="Example campus",
        timezone="Asia/Tokyo",
        paths=("logs/1dns", "logs/1mx"),
        mail_clients={MAIL: "1mx"},
        generated_at=datetime(2002, 7, 16, 1, 2, tzinfo=UTC),
    )
