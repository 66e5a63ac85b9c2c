"""Model: observed and calculated queries, the residual with its band, cache efficiency, coefficients and their drift."""

from __future__ import annotations

from seismolog.sinks.grafana.dashboard import Dashboard
from seismolog.sinks.grafana.influxql import Select, equal, matches, unlike
from seismolog.sinks.grafana.panels import Override, Row, Stat, Table, Target, Thresholds, TimeSeries, look
from seismolog.sinks.grafana.thresholds import (
    ABSENT_SHARE,
    CACHE_DENOMINATOR,
    CACHE_SHARE,
    RESIDUAL,
    RESIDUAL_BINS,
)

#: The model is computed in bins of 10 minutes, whatever bin is chosen for the counts.
INTERVAL = "10m"
EVERY = "$__interval"
#: A mail server's model has the server's name.
MODEL = matches("model", "server")
BINS = "The model's bins are 10 minutes long; zoomed out, a point is the mean of several."
#: Standard deviation of the residual, from residual and standardized residual of the same bins.
_DEVIATION = (
    Select(
        '"residual" * "residual" AS "r2", "standardized" * "standardized" AS "z2"',
        "model",
        (MODEL,),
        by=("model",),
    ),
)


def _series(field: str, function: str = "mean") -> Select:
    return Select(
        f'{function}("{field}") AS "{field}"', "model", (MODEL,), every=EVERY, by=("model",), fill="null"
    )


def _band(sign: str, label: str) -> Select:
    return Select(
        f'{sign}{RESIDUAL} * sqrt(sum("r2") / sum("z2")) AS "{label}"',
        _DEVIATION,
        every=EVERY,
        by=("model",),
        fill="null",
    )


def _coefficient(term: str, letter: str, title: str, means: str) -> TimeSeries:
    return TimeSeries(
        title=f"{letter}: {title}",
        description=f"{letter}, the DNS queries that {means} causes, as each fit found it, with its 95 % interval; dashed "
        "the value of the study. It holds until the next fit. A change beyond the interval is drift: software, a cache or "
        "who writes to whom has changed.",
        targets=[
            Target(
                Select(
                    ", ".join(f'last("{f}") AS "{f}"' for f in ("estimate", "low", "high", "paper")),
                    "model_fit",
                    (equal("term", term), MODEL),
                    every=EVERY,
                    by=("model",),
                    fill="none",
                ),
                alias="$tag_model $col",
            )
        ],
        decimals=2,
        step=True,
        # Fits are days apart: between two of them the last one holds.
        span=True,
        legend=("lastNotNull",),
        overrides=[
            look("/ estimate$/", "calculated", lineWidth=2),
            look("/ low$/", "band"),
            look("/ high$/", "band"),
            look("/ paper$/", "residual", lineStyle={"fill": "dash", "dash": [8, 8]}),
        ],
        interval="1h",
    )


def _absent() -> Select:
    return Select(
        'sum("observed") / sum("calculated") AS "share"',
        "model",
        (MODEL,),
        every=EVERY,
        by=("model",),
        fill="null",
    )


def build() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        "model",
        "seismolog: Model",
        "DNS queries of each mail server as observed and as its mail explains them, residual, cache, "
        "coefficients.",
        [
            Row(
                "Queries explained by mail",
                [
                    TimeSeries(
                        title="Observed and calculated",
                        description="DNS queries of each mail server: observed, and calculated from its messages and "
                        f"sessions by the fitted coefficients. {BINS}",
                        targets=[
                            Target(_series("observed"), alias="observed $tag_model"),
                            Target(_series("calculated"), alias="calculated $tag_model"),
                        ],
                        label="queries in 10 minutes",
                        minimum=0,
                        overrides=[
                            look("/^observed /", "observed"),
                            look("/^calculated /", "calculated", lineStyle={"fill": "dash", "dash": [8, 4]}),
                        ],
                        interval=INTERVAL,
                    ),
                    TimeSeries(
                        title="Residual and its band",
                        description="Observed less calculated, and the band of ± "
                        f"{RESIDUAL} standard deviations that a bin leaves upwards once in a thousand by chance. A run "
                        f"of {RESIDUAL_BINS} bins above the band is what `model_residual` looks for. {BINS}",
                        targets=[
                            Target(_series("residual"), alias="residual $tag_model"),
                            Target(_band("-", "lower"), alias="lower $tag_model"),
                            Target(_band("", "upper"), alias="upper $tag_model"),
                        ],
                        label="queries in 10 minutes",
                        overrides=[
                            look("/^residual /", "observed"),
                            look("/^lower /", "band"),
                            look("/^upper /", "band"),
                        ],
                        interval=INTERVAL,
                    ),
                    TimeSeries(
                        title="Standardized residual",
                        description="The residual in standard deviations; of several bins the highest. Dashed: "
                        f"{RESIDUAL}, the limit of `model_residual` in {RESIDUAL_BINS} bins in a row.",
                        targets=[Target(_series("standardized", "max"), alias="$tag_model")],
                        decimals=1,
                        thresholds=Thresholds(((RESIDUAL, "critical"),), style="dashed"),
                        interval=INTERVAL,
                    ),
                    TimeSeries(
                        title="Cache efficiency",
                        description="1 − observed / (m_S N_S + N_P) with the configured m_S: the share of the look-ups that "
                        f"a cache answered. Only where at least {CACHE_DENOMINATOR} queries are expected; elsewhere a gap. "
                        f"`cache_collapse` raises an incident where it falls below {CACHE_SHARE:.0%} of what is "
                        "usual. Below 0: more queries than without a cache.",
                        targets=[Target(_series("cache_efficiency"), alias="$tag_model")],
                        unit="percentunit",
                        maximum=1,
                        thresholds=Thresholds(((0.0, "good"),), base="critical", style="dashed"),
                        interval=INTERVAL,
                    ),
                ],
            ),
            Row(
                "Predicted but absent",
                [
                    TimeSeries(
                        title="Share of the calculated queries that arrive",
                        description=f"Observed over calculated. Dashed: {ABSENT_SHARE:.0%}, at or below which a run of bins "
                        "is called “predicted but absent”: mail went on and the queries stopped; the server asks "
                        f"elsewhere or cannot reach the DNS server. {BINS}",
                        targets=[Target(_absent(), alias="$tag_model")],
                        unit="percentunit",
                        minimum=0,
                        thresholds=Thresholds(((ABSENT_SHARE, "good"),), base="critical", style="dashed"),
                        width=18,
                        interval=INTERVAL,
                    ),
                    Stat(
                        title="Bins predicted but absent",
                        description=f"How many bins of the time range have at most {ABSENT_SHARE:.0%} of their "
                        "calculated queries.",
                        targets=[
                            Target(
                                Select(
                                    'count("observed") AS "bins"',
                                    "model",
                                    (f'"observed" <= {ABSENT_SHARE} * "calculated"', MODEL),
                                    by=("model",),
                                ),
                                alias="$tag_model",
                            )
                        ],
                        no_value="0",
                        thresholds=Thresholds(((1, "warning"), (3, "critical"))),
                        height=8,
                    ),
                ],
            ),
            Row(
                "Coefficients",
                [
                    _coefficient("smtp_accepted", "m_S", "queries a message", "one accepted message"),
                    _coefficient("pop_access", "m_P", "queries a POP3 session", "one POP3 session"),
                    Table(
                        title="Newest fit and drift",
                        description="The newest coefficients of the time range with standard error, 95 % "
                        "interval and the study's value. Drift: newest less first of the time range, in "
                        "standard errors of that difference; beyond ± 3 it is no chance.",
                        targets=[
                            Target(
                                Select(
                                    ", ".join(
                                        f'last("{f}") AS "{f}"' for f in ("estimate", "std_error", "low", "high", "paper")
                                    )
                                    + ', (last("estimate") - first("estimate")) / sqrt(last("std_error") * '
                                    'last("std_error") + first("std_error") * first("std_error")) AS "drift"',
                                    "model_fit",
                                    (unlike("term", ""), MODEL),
                                    by=("model", "term"),
                                ),
                                table=True,
                            )
                        ],
                        decimals=2,
                        overrides=[
                            Override("Time", (("custom.hidden", True),)),
                            Override("term", (("displayName", "Kind of event"),)),
                            Override("estimate", (("displayName", "Queries an event"),)),
                            Override("std_error", (("displayName", "Standard error"),)),
                            Override("low", (("displayName", "Low"),)),
                            Override("high", (("displayName", "High"),)),
                            Override("paper", (("displayName", "Study"),)),
                            Override("drift", (("displayName", "Drift"), ("decimals", 1))),
                        ],
                        width=14,
                        height=7,
                        no_value="no fit in the time range",
                    ),
                    TimeSeries(
                        title="Quality of the fit",
                        description="R² (share of the variance explained, right to 1) and dispersion "
                        "(variance over mean of the residuals; 1 would be chance alone) of each fit. A "
                        "falling R²: the model no longer describes the server.",
                        targets=[
                            Target(
                                Select(
                                    'last("r_squared") AS "R²", last("dispersion") AS "dispersion"',
                                    "model_fit",
                                    (equal("term", ""), MODEL),
                                    every=EVERY,
                                    by=("model",),
                                    fill="none",
                                ),
                                alias="$tag_model $col",
                            )
                        ],
                        decimals=2,
                        minimum=0,
                        step=True,
                        span=True,
                        width=10,
                        height=7,
                        legend=(),
                        interval="1h",
                    ),
                ],
            ),
        ],
        uses=("server",),
        period="7d",
    )  # fmt: skip
