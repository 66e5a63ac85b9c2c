"""Clients: who asks most, one client's curve by query type, clients that move together, networks."""

from __future__ import annotations

from seismolog.sinks.grafana.dashboard import Dashboard, client_filter
from seismolog.sinks.grafana.dashboards import parts
from seismolog.sinks.grafana.influxql import BIN, CLIENT_TABLE, SERVER, Select, equal, mentions, unlike
from seismolog.sinks.grafana.measurements import OTHER
from seismolog.sinks.grafana.panels import Override, Row, Table, Target, TimeSeries
from seismolog.sinks.grafana.thresholds import CORRELATION
from seismolog.store.schema import QTYPES

QUERY = equal("kind", "dns_query")
#: Series of one panel at most, where all clients are chosen.
SERIES = 25


def _by_client(*, where: tuple[str, ...] = ()) -> Select:
    return Select(
        'sum("count") AS "n", max("distinct_names") AS "names"',
        CLIENT_TABLE,
        (QUERY, unlike("client", OTHER), SERVER, *where),
        by=("client",),
    )


def _by_type() -> Select:
    """Queries of the chosen clients together, by type; through a subquery as in `parts.queries`."""
    inner = Select(", ".join(f'"{q}"' for q in QTYPES), CLIENT_TABLE, (QUERY, client_filter(), SERVER))
    sums = ", ".join(f'sum("{q}") AS "{q.upper()}"' for q in QTYPES)
    return Select(sums, (inner,), every=BIN, fill="null")


def _selected(fields: str, *, by: tuple[str, ...] = (), tail: str = "") -> Select:
    return Select(
        fields, CLIENT_TABLE, (QUERY, client_filter(), SERVER), every=BIN, by=by, fill="null", tail=tail
    )


def _rename(pattern: str, by: str) -> dict[str, object]:
    return {"id": "renameByRegex", "options": {"regex": pattern, "renamePattern": by}}


def build() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        "clients",
        "seismolog: Clients",
        "The clients that ask most, the curves of those chosen above, clients that move together, networks.",
        [
            Row(
                "Ranking",
                [
                    Table(
                        title=f"Top {SERIES} clients",
                        description="The clients with most DNS queries in the time range, with the most "
                        "distinct names asked for in one bin. Only clients with a series of their own; "
                        "all others are in “other” and in the store. A click on a client shows its "
                        "curves.",
                        targets=[
                            Target(
                                Select(
                                    f'top("n", "client", {SERIES}) AS "queries", "names"', (_by_client(),), time=""
                                ),
                                table=True,
                            )
                        ],
                        overrides=[
                            Override("Time", (("custom.hidden", True),)),
                            Override(
                                "client", (("displayName", "Client"), ("links", [parts.CLIENT_LINK.json()]))
                            ),
                            Override("queries", (("displayName", "Queries"),)),
                            Override("names", (("displayName", "Most names in a bin"),)),
                        ],
                        sort="Queries",
                        width=10,
                        height=11,
                    ),
                    Table(
                        title="Networks",
                        description="DNS queries in the time range by network: IPv4 clients by /24, IPv6 "
                        "clients by the first three groups (/48). Only clients with a series of their "
                        "own.",
                        targets=[
                            Target(
                                Select(
                                    'sum("count") AS "queries"',
                                    CLIENT_TABLE,
                                    (QUERY, unlike("client", OTHER), SERVER),
                                    by=("client",),
                                ),
                                alias="$tag_client",
                            )
                        ],
                        # InfluxQL cannot group by a part of a tag: the series are renamed to their network and added up.
                        transformations=[
                            _rename(r"^(\d+\.\d+\.\d+)\.\d+$", "$1.0/24"),
                            _rename(r"^([0-9a-f]+:[0-9a-f]+:[0-9a-f]*)[0-9a-f:]*$", "$1::/48"),
                            {"id": "reduce", "options": {"reducers": ["sum"], "mode": "seriesToRows"}},
                            {
                                "id": "groupBy",
                                "options": {
                                    "fields": {
                                        "Field": {"operation": "groupby", "aggregations": []},
                                        "Total": {"operation": "aggregate", "aggregations": ["sum", "count"]},
                                    }
                                },
                            },
                            {
                                "id": "organize",
                                "options": {
                                    "excludeByName": {},
                                    "indexByName": {},
                                    "renameByName": {
                                        "Field": "Network", "Total (sum)": "Queries", "Total (count)": "Clients",
                                    },
                                },
                            },
                        ],
                        sort="Queries",
                        width=6,
                        height=11,
                    ),
                    parts.incident_table(
                        "Incidents of the chosen clients",
                        "Incidents that began in the time range and that a chosen client is a subject of.",
                        (mentions("subjects", "client"),),
                        height=11,
                        limit=50,
                        width=8,
                        brief=True,
                    ),
                ],
            ),
            Row(
                "The chosen clients",
                [
                    TimeSeries(
                        title="DNS queries by type",
                        description="Queries of the chosen clients together, by query type, stacked. Many MX look-ups from "
                        "a client that is no mail server, or many PTR: look at its incidents, which are drawn into the "
                        f"picture. {parts.PER_BIN} {parts.GAPS}",
                        targets=[
                            Target(_by_type(), alias="$col")
                        ],
                        minimum=0,
                        stacked=True,
                        fill_opacity=40,
                        width=24,
                        height=9,
                    ),
                    TimeSeries(
                        title="DNS queries of each client",
                        description=f"One curve a client, for comparing them; {SERIES} at most. Choose two or more of the "
                        f"pairs below to see how they move together. {parts.PER_BIN} {parts.GAPS}",
                        targets=[
                            Target(
                                _selected('sum("count") AS "queries"', by=("client",), tail=f"SLIMIT {SERIES}"),
                                alias="$tag_client",
                            )
                        ],
                        minimum=0,
                        height=9,
                    ),
                    TimeSeries(
                        title="Distinct names of each client",
                        description=f"Distinct names that each chosen client asked for in a bin; {SERIES} clients at most. "
                        "Longer bins are computed from merged state, never by adding. Far more names than before: random "
                        "names, a tunnel, a scan.",
                        targets=[
                            Target(
                                _selected(
                                    'max("distinct_names") AS "names"', by=("client",), tail=f"SLIMIT {SERIES}"
                                ),
                                alias="$tag_client",
                            )
                        ],
                        minimum=0,
                        height=9,
                    ),
                ],
            ),
            Row(
                "Clients that move together",
                [
                    parts.incident_table(
                        "Pairs and groups",
                        "Clients whose curves move together once the shape of their group is taken away (detector "
                        f"`synchronized_clients`; the score is the rank correlation, from {CORRELATION} on). All "
                        "subjects are listed; choose them as clients above to compare their curves.",
                        (equal("detector", "synchronized_clients"),),
                    )
                ],
            ),
        ],
        uses=("server", "client", "bin"),
        incidents_of=(mentions("subjects", "client"),),
    )  # fmt: skip
