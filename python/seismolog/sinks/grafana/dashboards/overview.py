"""Overview: queries, messages and sessions now and against the week before, open incidents, health of the pipeline."""

from __future__ import annotations

from seismolog.sinks.grafana.dashboard import Dashboard
from seismolog.sinks.grafana.dashboards import parts
from seismolog.sinks.grafana.dashboards.pipeline import lag, lines_a_second, matched_share, writes
from seismolog.sinks.grafana.influxql import (
    BIN_TABLE,
    NEWEST,
    NEWEST_WEEK_BEFORE,
    SERVER,
    WEEK_BEFORE,
    Select,
    equal,
    matches,
)
from seismolog.sinks.grafana.panels import Override, Panel, Row, Stat, Target, Thresholds, TimeSeries, look

QUANTITIES = (
    # kind, title, letter of the study, colour
    ("dns_query", "DNS queries", "D_q", "observed"),
    ("smtp_accepted", "Messages accepted", "N_S", "accepted"),
    ("pop_access", "POP3 sessions", "N_P", "sessions"),
)


def _conditions(kind: str) -> tuple[str, ...]:
    made = (equal("kind", kind), SERVER)
    return (*made, matches("query_type", "query_type")) if kind == "dns_query" else made


def _counted(kind: str, time: str = "$timeFilter") -> Select:
    return parts.queries(time=time) if kind == "dns_query" else parts.count(kind, time=time)


def _change(kind: str) -> Select:
    """Sum over the range, over that of the same range a week before, less one."""
    where = _conditions(kind)
    return Select(
        'sum("now") / sum("before") - 1 AS "change"',
        (
            Select('sum("count") AS "now", 0 * sum("count") AS "before"', BIN_TABLE, where),
            Select('0 * sum("count") AS "now", sum("count") AS "before"', BIN_TABLE, where, time=WEEK_BEFORE),
        ),
        time="",
    )


def _now(kind: str, title: str, letter: str) -> Stat:
    return Stat(
        title=f"{title} ({letter}) in ${{bin:text}}",
        description=f"{title}, {letter} of the study: the last whole bin of the range (if it lies in its last six hours), "
        "the same bin a week before, and how much the whole range has changed against the week before (no figure: no data "
        "a week ago).",
        targets=[
            Target(_counted(kind, NEWEST), alias="last bin"),
            Target(_counted(kind, NEWEST_WEEK_BEFORE), alias="a week before"),
            Target(_change(kind), alias="change of the range"),
        ],
        thresholds=Thresholds(base="neutral"),
        overrides=[
            Override("change of the range", (("unit", "percentunit"), ("decimals", 0))),
        ],
        width=8,
        height=5,
        interval="1m",
    )


def _curves(title: str, description: str, shift: str | None) -> list[Panel]:
    drawn = [
        TimeSeries(
            title=f"DNS queries, {title}",
            description=f"D_q of the chosen servers and query types{description}. {parts.PER_BIN} {parts.GAPS}",
            targets=[Target(parts.queries(by=("server",)), alias="$tag_server")],
            minimum=0,
            fill_opacity=10,
            time_shift=shift,
            interval="1m",
        ),
        TimeSeries(
            title=f"Messages and sessions, {title}",
            description=f"N_S (messages accepted) and N_P (POP3 sessions) of the chosen servers{description}. "
            f"{parts.PER_BIN} {parts.GAPS}",
            targets=[
                Target(parts.count("smtp_accepted"), alias="N_S"),
                Target(parts.count("pop_access"), alias="N_P"),
            ],
            minimum=0,
            overrides=[look("N_S", "accepted"), look("N_P", "sessions")],
            time_shift=shift,
            interval="1m",
        ),
    ]
    return list(drawn)


def build() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        "overview",
        "seismolog: Overview",
        "DNS queries, messages and POP3 sessions now and against the week before, open incidents, health "
        "of the pipeline.",
        [
            Row("Now", [_now(kind, title, letter) for kind, title, letter, _ in QUANTITIES]),
            Row("Health", [parts.open_incidents(), lines_a_second(), matched_share(), lag(), writes()]),
            Row("This week and the week before", _curves("now", "", None) + _curves("a week before", " a ""7d"
            "week earlier", "7d")),
            Row(
                "Incidents",
                [
                    parts.incident_table(
                        "Newest incidents",
                        "The twenty newest incidents that began in the time range. A click on the "
                        "subject leads to its curves.",
                        limit=20,
                    )
                ],
            ),
        ],
        uses=("server", "bin", "query_type"),
    )  # fmt: skip
