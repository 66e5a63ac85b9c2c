"""Mail: accepted and attempted, done and deferred, refused, failed logins, for each server."""

from __future__ import annotations

from seismolog.sinks.grafana.dashboard import Dashboard
from seismolog.sinks.grafana.dashboards import parts
from seismolog.sinks.grafana.influxql import BIN, BIN_TABLE, SERVER, Select, among, equal, share, zero_where
from seismolog.sinks.grafana.measurements import BINS
from seismolog.sinks.grafana.panels import Override, Row, Stat, Table, Target, Thresholds, TimeSeries, look
from seismolog.sinks.grafana.thresholds import AUTH_FAILURES, DEFERRALS

ATTEMPTED = ("smtp_sent", "smtp_deferred")
#: Kinds that show that a mail server's log is being read.
PRESENT = (among("kind", "smtp_accepted", "smtp_sent", "smtp_connection"), SERVER)


def _rare(
    kind: str,
    *,
    table: str = BIN_TABLE,
    every: str | None = BIN,
    by: tuple[str, ...] = (),
    label: str = "count",
) -> Select:
    """Events that many bins have none of: 0 where the server wrote of other mail, a gap where it wrote nothing."""
    return zero_where(table, (equal("kind", kind), SERVER), PRESENT, every=every, by=by, label=label)


def _deferred_share(*, every: str | None = BIN, by: tuple[str, ...] = ()) -> Select:
    """N_SD / N_to."""
    return share(
        BIN_TABLE,
        (equal("kind", "smtp_deferred"), SERVER),
        (equal("kind", "smtp_sent"), SERVER),
        every=every,
        by=by,
        label="deferral share",
    )


def _total(kind: str, label: str) -> Target:
    return Target(parts.count(kind, every=None, by=("server",), label=label), table=True)


def build() -> Dashboard:
    """The dashboard."""
    ten = BINS["10m"]
    return Dashboard(
        "mail",
        "seismolog: Mail",
        "Messages accepted, deliveries attempted, done and deferred, refusals and sessions of each mail "
        "server.",
        [
            Row(
                "Totals of the time range",
                [
                    Stat(
                        title="Accepted (N_from)",
                        description="Messages that the chosen servers took on in the time range, each "
                        "counted once.",
                        targets=[Target(parts.count("smtp_accepted"), alias="N_from")],
                        calc="sum",
                        thresholds=Thresholds(base="neutral"),
                    ),
                    Stat(
                        title="Attempted (N_to = N_SS + N_SD)",
                        description="Deliveries tried in the time range: done and deferred together.",
                        targets=[Target(parts.count(*ATTEMPTED), alias="N_to")],
                        calc="sum",
                        thresholds=Thresholds(base="neutral"),
                    ),
                    Stat(
                        title="Deferred",
                        description="Share of the deliveries tried that were put off, over the whole "
                        "time range. Usually a few per cent; an outbreak that peers refuse raises it for "
                        "hours.",
                        targets=[Target(_deferred_share(every=None), alias="N_SD / N_to")],
                        unit="percentunit",
                        decimals=1,
                        thresholds=Thresholds(((0.2, "warning"), (0.5, "critical"))),
                    ),
                    Stat(
                        title="Refused",
                        description="Messages refused at SMTP time, and messages that bounced, in the "
                        "time range.",
                        targets=[
                            Target(_rare("smtp_rejected"), alias="rejected"),
                            Target(_rare("smtp_bounced"), alias="bounced"),
                        ],
                        calc="sum",
                        thresholds=Thresholds(base="neutral"),
                    ),
                ],
            ),
            Row(
                "In and out",
                [
                    TimeSeries(
                        title="Accepted and attempted",
                        description="N_from (messages accepted) and N_to (deliveries tried) of the chosen servers. In calm "
                        f"times the two go together; N_to far above N_from is what an outbreak looks like. {parts.PER_BIN} "
                        f"{parts.GAPS}",
                        targets=[
                            Target(parts.count("smtp_accepted"), alias="N_from"),
                            Target(parts.count(*ATTEMPTED), alias="N_to"),
                        ],
                        minimum=0,
                        overrides=[look("N_from", "accepted"), look("N_to", "sent")],
                    ),
                    TimeSeries(
                        title="Done and deferred",
                        description="N_SS (deliveries done) and N_SD (deliveries put off) of the chosen servers. Usually "
                        f"N_SS is far above N_SD. {parts.PER_BIN} N_SD is 0 where the servers wrote of other mail.",
                        targets=[
                            Target(parts.count("smtp_sent"), alias="N_SS"),
                            Target(_rare("smtp_deferred"), alias="N_SD"),
                        ],
                        minimum=0,
                        overrides=[look("N_SS", "sent"), look("N_SD", "deferred")],
                    ),
                ],
            ),
            Row(
                "Deferrals",
                [
                    TimeSeries(
                        title="Deferral share of each server",
                        description="N_SD / N_to in each bin. A gap: no delivery was tried in that bin.",
                        targets=[
                            Target(_deferred_share(by=("server",)), alias="$tag_server")
                        ],
                        unit="percentunit",
                        minimum=0,
                        maximum=1,
                    ),
                    TimeSeries(
                        title="Deferrals in 10 minutes",
                        description="N_SD of each server in bins of 10 minutes, whatever bin is chosen above, because the "
                        f"detector `deferral_surge` looks at these. Dashed: the {DEFERRALS} from which on it may raise an "
                        "incident, if N_to has also left its usual proportion to N_from.",
                        targets=[
                            Target(
                                _rare("smtp_deferred", table=ten, every="10m", by=("server",)), alias="$tag_server"
                            )
                        ],
                        minimum=0,
                        thresholds=Thresholds(((DEFERRALS, "critical"),), style="dashed"),
                        interval="10m",
                    ),
                ],
            ),
            Row(
                "Refusals and sessions",
                [
                    TimeSeries(
                        title="Rejected and bounced",
                        description="Messages refused at SMTP time and messages that bounced, of each server. "
                        f"{parts.PER_BIN} 0 where the server wrote of other mail.",
                        targets=[
                            Target(_rare("smtp_rejected", by=("server",)), alias="rejected $tag_server"),
                            Target(_rare("smtp_bounced", by=("server",)), alias="bounced $tag_server"),
                        ],
                        minimum=0,
                    ),
                    TimeSeries(
                        title="Failed logins in 10 minutes",
                        description="Failed logins (auth_failure) of each server in bins of 10 minutes. Dashed: the "
                        f"{AUTH_FAILURES} from a single client at which `login_attack` looks closer; a server's sum passes "
                        "it more easily.",
                        targets=[
                            Target(
                                _rare("auth_failure", table=ten, every="10m", by=("server",)), alias="$tag_server"
                            )
                        ],
                        minimum=0,
                        thresholds=Thresholds(((AUTH_FAILURES, "warning"),), style="dashed"),
                        interval="10m",
                    ),
                    TimeSeries(
                        title="Sessions that read mail",
                        description=f"N_P (POP3) and IMAP sessions of the chosen servers. {parts.PER_BIN} {parts.GAPS}",
                        targets=[
                            Target(parts.count("pop_access"), alias="N_P"),
                            Target(parts.count("imap_access"), alias="IMAP"),
                        ],
                        minimum=0,
                        overrides=[look("N_P", "sessions"), look("IMAP", "observed")],
                    ),
                    TimeSeries(
                        title="Connections",
                        description="SMTP connections of clients to each server. Many connections with few messages "
                        f"accepted: refusals or a scan. {parts.PER_BIN} {parts.GAPS}",
                        targets=[Target(parts.count("smtp_connection", by=("server",)), alias="$tag_server")],
                        minimum=0,
                    ),
                ],
            ),
            Row(
                "Each server",
                [
                    Table(
                        title="Counts of the time range",
                        description="What each chosen server did in the time range. Deferral share: N_SD "
                        "over N_to.",
                        targets=[
                            _total("smtp_accepted", "accepted"),
                            _total("smtp_sent", "sent"),
                            _total("smtp_deferred", "deferred"),
                            Target(
                                _deferred_share(every=None, by=("server",)),
                                table=True,
                            ),
                            _total("smtp_bounced", "bounced"),
                            _total("smtp_rejected", "rejected"),
                            _total("pop_access", "POP3"),
                            _total("imap_access", "IMAP"),
                            _total("auth_failure", "failed logins"),
                        ],
                        transformations=[
                            {"id": "merge", "options": {}},
                            parts.without("Time"),
                        ],
                        overrides=[Override("deferral share", (("unit", "percentunit"), ("decimals", 1)))],
                        sort="accepted",
                        height=7,
                        no_value="0",
                    )
                ],
            ),
        ],
        uses=("server", "bin"),
    )  # fmt: skip
