"""What several dashboards show: curves of a kind of event, lists of incidents, links.

Limits: only what at least two dashboards use stands here.
"""

from __future__ import annotations

from seismolog.sinks.grafana.dashboard import uid
from seismolog.sinks.grafana.influxql import BIN, BIN_TABLE, SERVER, Select, equal, matches
from seismolog.sinks.grafana.panels import COLORS, Link, Override, Stat, Table, Target, Thresholds

__all__ = [
    "CLIENT_LINK",
    "GAPS",
    "PER_BIN",
    "count",
    "incident_table",
    "open_incidents",
    "queries",
    "severity_looks",
    "without",
]

#: How a curve of counts is to be read.
PER_BIN = "Each point is the count of one bin of the length chosen above."
#: What a gap means.
GAPS = "A gap: no line of the kind was read for that bin."

_VARIABLES = "${server:queryparam}&${bin:queryparam}&${query_type:queryparam}"


def _to_clients(field: str) -> str:
    return f"/d/{uid('clients')}?var-client=${{__data.fields.{field}}}&{_VARIABLES}"


#: From a cell that holds a client to its curves, in the same time range.
CLIENT_LINK = Link("Curves of this client", f"{_to_clients('client')}&${{__url_time_range}}")


def count(
    *kinds: str,
    every: str | None = BIN,
    by: tuple[str, ...] = (),
    time: str = "$timeFilter",
    label: str = "count",
) -> Select:
    """Events of the kinds a bin, of the servers chosen."""
    return Select(
        f'sum("count") AS "{label}"',
        BIN_TABLE,
        (equal("kind", kinds[0]) if len(kinds) == 1 else f'"kind" =~ /^({"|".join(kinds)})$/', SERVER),
        every=every,
        by=by,
        fill="null" if every else None,
        time=time,
    )


def queries(*, by: tuple[str, ...] = (), time: str = "$timeFilter", every: str | None = BIN) -> Select:
    """DNS queries (D_q) a bin, of the servers and query types chosen.

    Through a subquery: queries have a series for each type and side, and InfluxDB adds up merged points in half the time
    that it takes to merge the sums of each series.
    """
    where = (equal("kind", "dns_query"), SERVER, matches("query_type", "query_type"))
    return Select(
        'sum("count") AS "queries"',
        (Select('"count"', BIN_TABLE, where, by=by, time=time),),
        every=every,
        by=by,
        fill="null" if every else None,
        time=time,
    )


def severity_looks() -> tuple[Override, ...]:
    """The colour of each severity."""
    return tuple(
        Override(severity, (("color", {"mode": "fixed", "fixedColor": COLORS[severity]}),))
        for severity in ("notice", "warning", "critical")
    )


def open_incidents() -> Stat:
    """How many incidents are open now, by severity."""
    return Stat(
        title="Incidents open now",
        description="Incidents that have not ended, by severity, whatever the time range above: all that "
        "began within the last 90 days.",
        targets=[
            Target(
                Select(
                    'count("id") AS "incidents"',
                    "incident",
                    (equal("open", 1),),
                    by=("severity",),
                    time="time > now() - 90d",
                ),
                alias="$tag_severity",
            )
        ],
        no_value="0",
        background=True,
        thresholds=Thresholds(((1, "warning"),)),
        overrides=severity_looks(),
        data_links=[Link("Incidents", f"/d/{uid('incidents')}?${{__url_time_range}}&{_VARIABLES}")],
    )


def incident_table(
    title: str,
    description: str,
    where: tuple[str, ...] = (),
    *,
    evidence: bool = False,
    brief: bool = False,
    width: int = 24,
    height: int = 9,
    limit: int = 200,
) -> Table:
    """The incidents that began in the time range, the newest first, each with links to its client.

    Two columns hold the time about an incident in milliseconds (six hours before it, to six hours after its end or to
    now); they are there for the link and are not shown.
    """
    columns = '"severity", "detector", "subject", "explanation"'
    if not brief:
        columns += ', "cause", "subjects", "score", "threshold", "end" / 1000000 AS "ended", "open"'
    columns += ', "start" / 1000000 - 21600000 AS "view_from", "start" / 1000000 + 64800000 AS "view_to"'
    if evidence:
        columns += ', "evidence", "id"'
    around = "from=${__data.fields.view_from}&to=${__data.fields.view_to}"
    hidden = (("custom.hidden", True),)
    return Table(
        title=title,
        description=description,
        targets=[
            Target(Select(columns, "incident", where, tail=f"ORDER BY time DESC LIMIT {limit}"), table=True)
        ],
        no_value="none",
        width=width,
        height=height,
        overrides=[
            Override("Time", (("displayName", "Began"), ("custom.width", 170))),
            Override("ended", (("unit", "dateTimeAsIso"), ("displayName", "Ended"), ("custom.width", 170),
                               ("mappings", [{"type": "value", "options": {"0": {"text": "open", "index": 0}}}]))),
            Override("severity", (("displayName", "Severity"), ("custom.width", 90))),
            Override("detector", (("displayName", "Detector"), ("custom.width", 170))),
            Override("cause", (("displayName", "Cause"), ("custom.width", 120))),
            Override("subject", (
                ("displayName", "Subject"),
                ("custom.width", 150),
                ("links", [
                    Link("Its curves, same time range", f"{_to_clients('subject')}&${{__url_time_range}}").json(),
                    Link("Its curves about the incident", f"{_to_clients('subject')}&{around}").json(),
                ]),
            )),
            Override("subjects", (("displayName", "All subjects"), ("custom.width", 180))),
            Override("explanation", (("displayName", "Explanation"),)),
            Override("score", (("displayName", "Score"), ("decimals", 2), ("custom.width", 80))),
            Override("threshold", (("displayName", "Threshold"), ("decimals", 2), ("custom.width", 90))),
            Override("open", (("displayName", "Open"), ("custom.width", 70),
                              ("mappings", [{"type": "value", "options": {"0": {"text": "no", "index": 0},
                                                                          "1": {"text": "yes", "index": 1}}}]))),
            Override("evidence", (("displayName", "Evidence"),)),
            Override("id", hidden),
            Override("view_from", hidden),
            Override("view_to", hidden),
        ],
    )  # fmt: skip


def without(*columns: str) -> dict[str, object]:
    """The transformation that leaves columns out."""
    return {
        "id": "organize",
        "options": {"excludeByName": dict.fromkeys(columns, True), "indexByName": {}, "renameByName": {}},
    }
