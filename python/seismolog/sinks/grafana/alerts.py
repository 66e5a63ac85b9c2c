"""Alert rules: each a query, a reduction and a threshold, with what it means and what to do.

How: a rule asks InfluxDB by itself (data-source managed). Node A is the query, B reduces each series to one number, C
compares it; the alert fires for each series for which C holds as long as ``for``. The query carries its own range
(``time > now() - …``) and no macro: a provisioning file is passed through the expansion of ``$`` names, and a rule without
any cannot be changed by it. For the same reason templates say ``.Labels.server`` and not ``$labels.server``.

States chosen on purpose: most queries give a series only where something is wrong, or have nothing to judge where a
model or a server is missing, so no data is OK there. Only `no-lines` takes missing data for an alert: it watches
the daemon's own numbers, and without them nobody would see anything. A query that fails is an error of its own
(``Error``), never silently OK.

The runbook is made from the rules too (:data:`RUNBOOK_TEXT`, ``docs/runbook.md``): one heading for each rule.

Limits: conditions as simple as these are a net under the detectors, not their equals: `seismolog detect` knows each
client's own past. The expression nodes have the data source UID ``-100``, see the decision of 2026-11-25 on Grafana.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from seismolog.sinks.grafana.influxql import Select, equal, share
from seismolog.sinks.grafana.measurements import BINS
from seismolog.sinks.grafana.panels import DATASOURCE
from seismolog.sinks.grafana.thresholds import (
    ABSENT_SHARE,
    AUTH_FAILURES,
    CACHE_BINS,
    CACHE_DENOMINATOR,
    CACHE_LEAST,
    CACHE_SHARE,
    CACHE_Z,
    DEFERRALS,
    RESIDUAL,
    RESIDUAL_BINS,
)

__all__ = ["EXPRESSION", "FOLDER", "GROUP", "INTERVAL", "RULES", "RUNBOOK_TEXT", "Rule", "runbook"]

Json = dict[str, Any]

FOLDER = "seismolog"
GROUP = "seismolog"
#: How often the rules are evaluated.
INTERVAL = "1m"
#: The data source UID of an expression: the one that Grafana 9.4 to 13 all take.
EXPRESSION = "-100"

#: Minutes that a run of bins of the model needs: the bins, the one that is still open, and the time to compute them.
RUN_MINUTES = 10 * (RESIDUAL_BINS + 1) + 9
RUN = f"{RUN_MINUTES}m"
#: The same for the bins that a cache collapse lasts.
CACHE_RUN = f"{10 * (CACHE_BINS + 1) + 9}m"
#: Standard deviations between the quartiles of a normal distribution.
NORMAL_QUARTILES = 2 * NormalDist().inv_cdf(0.75)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One alert rule.

    Parameters
    ----------
    name
        Short name: of the UID and of the runbook's heading.
    query
        Gives one series for each thing that is judged.
    window
        Seconds back that the query looks at (it says so itself; Grafana wants to know too).
    reducer
        How a series becomes one number: ``last``, ``min``, ``max``, ``mean``, ``sum``.
    above, below
        The limit; exactly one of both.
    hold
        For how long the condition must hold.
    no_data, error
        State where the query gives nothing, and where it fails.
    panel
        Dashboard and title of the panel that shows it.
    summary
        One line with templates.
    meaning, check, remedy
        The runbook: what it means, how to look at it, what to do.
    """

    name: str
    title: str
    query: Select
    window: int
    severity: Literal["critical", "warning"]
    component: Literal["incident", "mail", "model", "pipeline"]
    panel: tuple[str, str]
    summary: str
    meaning: str
    check: str
    remedy: str
    reducer: Literal["last", "min", "max", "mean", "sum"] = "last"
    above: float | None = None
    below: float | None = None
    hold: str = "5m"
    no_data: Literal["OK", "NoData", "Alerting"] = "OK"
    error: Literal["OK", "Error", "Alerting"] = "Error"

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"{self.name}: one limit, above or below")

    @property
    def uid(self) -> str:
        """Its UID, stable over versions."""
        return f"seismolog-{self.name}"

    def data(self) -> list[Json]:
        """The three nodes as Grafana stores them."""
        span = {"from": self.window, "to": 0}
        if self.above is not None:
            evaluator: Json = {"type": "gt", "params": [self.above]}
        else:
            evaluator = {"type": "lt", "params": [self.below]}
        expression = {"type": "__expr__", "uid": EXPRESSION}
        return [
            {
                "refId": "A",
                "relativeTimeRange": span,
                "datasourceUid": DATASOURCE["uid"],
                "model": {
                    "refId": "A",
                    "datasource": DATASOURCE,
                    "rawQuery": True,
                    "query": str(self.query),
                    "resultFormat": "time_series",
                    "intervalMs": 60_000,
                    "maxDataPoints": 43_200,
                },
            },
            {
                "refId": "B",
                "relativeTimeRange": span,
                "datasourceUid": EXPRESSION,
                "model": {
                    "refId": "B",
                    "datasource": expression,
                    "type": "reduce",
                    "expression": "A",
                    "reducer": self.reducer,
                    "settings": {"mode": "dropNN"},
                },
            },
            {
                "refId": "C",
                "relativeTimeRange": span,
                "datasourceUid": EXPRESSION,
                "model": {
                    "refId": "C",
                    "datasource": expression,
                    "type": "threshold",
                    "expression": "B",
                    "conditions": [{"evaluator": evaluator}],
                },
            },
        ]

    def json(self, panels: dict[tuple[str, str], tuple[str, int]], docs: str) -> Json:
        """The rule as a provisioning file has it.

        Parameters
        ----------
        panels
            (dashboard, title) to (UID, number) of every panel.
        docs
            Where the docs are: URL or folder, ending in ``/``.
        """
        dashboard, number = panels[self.panel]
        return {
            "uid": self.uid,
            "title": self.title,
            "condition": "C",
            "for": self.hold,
            "noDataState": self.no_data,
            "execErrState": self.error,
            "isPaused": False,
            "labels": {"severity": self.severity, "component": self.component, "application": "seismolog"},
            "annotations": {
                "summary": self.summary,
                "description": self.meaning,
                "runbook_url": f"{docs}runbook.md#{self.name}",
                "__dashboardUid__": dashboard,
                "__panelId__": str(number),
            },
            "data": self.data(),
        }


def _open(severity: str) -> Select:
    return Select(
        'count("id") AS "open"',
        "incident",
        (equal("open", 1), equal("severity", severity)),
        by=("detector",),
        time="time > now() - 30d",
    )


def _grown(counter: str, back: str) -> Select:
    """How much a counter grew, for each daemon."""
    return Select(
        f'sum("grown") AS "{counter}"',
        (
            Select(
                f'non_negative_difference("{counter}") AS "grown"',
                "pipeline",
                by=("instance",),
                time=f"time > now() - {back}",
            ),
        ),
        by=("instance",),
        time="",
    )


def _of_a_run(fields: str, outcome: str, *conditions: str) -> Select:
    """A value for each model of which a run of bins is there."""
    return Select(
        outcome,
        (
            Select(
                f'{fields}, count("observed") AS "bins"',
                "model",
                by=("model",),
                time=f"time > now() - {RUN}",
            ),
        ),
        (f'"bins" >= {RESIDUAL_BINS}', *conditions),
        by=("model",),
        time="",
    )


def _efficiency(label: str, back: str) -> Select:
    return Select(f'"cache_efficiency" AS "{label}"', "model", by=("model",), time=f"time > now() - {back}")


RULES: tuple[Rule, ...] = (
    Rule(
        name="incident-critical",
        title="A critical incident is open",
        query=_open("critical"),
        window=30 * 86400,
        above=0,
        hold="0s",
        severity="critical",
        component="incident",
        panel=("incidents", "Incidents"),
        summary="{{ .Labels.detector }}: {{ .Values.B }} critical incident(s) open",
        meaning="A detector has raised a critical incident that has not ended.",
        check="Open the dashboard Incidents: the explanation says what was seen, with numbers; the "
        "evidence what it was compared with; a click on the subject shows its curve. The detector's page "
        "in the docs lists what looks like it but is harmless.",
        remedy="Act on the subject as the cause calls for (isolate the client, lock the account, tell "
        "its owner). A known and harmless subject belongs into `[[detect.suppress]]` with a reason.",
    ),
    Rule(
        name="incident-warning",
        title="A warning is open",
        query=_open("warning"),
        window=30 * 86400,
        above=0,
        hold="10m",
        severity="warning",
        component="incident",
        panel=("incidents", "Incidents"),
        summary="{{ .Labels.detector }}: {{ .Values.B }} warning(s) open",
        meaning="A detector has raised a warning that has been open for ten minutes.",
        check="As for a critical incident: the dashboard Incidents.",
        remedy="Look at it within the day. What turns out to be usual is learnt after `[detect] "
        "accept_after`.",
    ),
    Rule(
        name="deferral-surge",
        title="Most deliveries are put off",
        query=share(
            BINS["10m"],
            (equal("kind", "smtp_deferred"),),
            (equal("kind", "smtp_sent"),),
            every="10m",
            by=("server",),
            time="time > now() - 35m",
            least=DEFERRALS,
        ),
        window=2100,
        reducer="last",
        above=0.5,
        hold="10m",
        severity="critical",
        component="mail",
        panel=("mail", "Deferrals in 10 minutes"),
        summary="{{ .Labels.server }} puts off more than half of its deliveries",
        meaning=f"At least {DEFERRALS} deliveries in 10 minutes, and more than half of all, were put off.",
        check="Dashboard Mail: does N_to rise with N_SD while N_from stays? Then messages are sent that "
        "peers refuse: an outbreak or a stolen account. Does only N_SD rise? Then one large remote "
        "domain, or the way to it, is down: `mailq` says which.",
        remedy="Find the sender (dashboard Clients, `smtp_accepted`), stop it, and empty the queue of "
        "its messages. A remote domain that is down needs waiting.",
    ),
    Rule(
        name="login-failures",
        title="Many logins fail",
        query=Select(
            'sum("count") AS "failures"',
            BINS["10m"],
            (equal("kind", "auth_failure"),),
            every="10m",
            by=("server",),
            fill="none",
            time="time > now() - 35m",
        ),
        window=2100,
        reducer="last",
        above=10 * AUTH_FAILURES,
        hold="10m",
        severity="warning",
        component="mail",
        panel=("mail", "Failed logins in 10 minutes"),
        summary="{{ .Labels.server }}: {{ .Values.B }} failed logins in 10 minutes",
        meaning=f"More than {10 * AUTH_FAILURES} logins failed at a server in 10 minutes, ten times what "
        "`login_attack` lets a single client have.",
        check="Dashboard Incidents: is there a `login_attack`? It names client or account. Without one, "
        "the failures come from many addresses: password spraying, or a broken authentication service.",
        remedy="Block the client, or look after the authentication service. Accounts that succeeded in "
        "between need a new password.",
    ),
    Rule(
        name="model-residual",
        title="More DNS queries than the mail explains",
        query=_of_a_run('min("standardized") AS "least"', '"least"'),
        window=RUN_MINUTES * 60,
        above=RESIDUAL,
        hold="5m",
        severity="warning",
        component="model",
        panel=("model", "Standardized residual"),
        summary="{{ .Labels.model }} asks more than its mail explains: {{ .Values.B }} standard deviations",
        meaning=f"In at least {RESIDUAL_BINS} bins of 10 minutes in a row the residual was above {RESIDUAL} "
        "standard deviations.",
        check="Dashboard Model: since when? Dashboard Clients with the mail server's address: which "
        "query type? MX and A together point to mass mailing through the server; PTR to a log analyser "
        "or a black list; A alone to a scanner on the host.",
        remedy="A newsletter or a queue run ends by itself. A new filter that asks the DNS is there to "
        "stay: the next fit learns it.",
    ),
    Rule(
        name="predicted-absent",
        title="Expected DNS queries do not arrive",
        query=_of_a_run(
            'sum("observed") AS "observed", sum("calculated") AS "calculated"',
            '"observed" / "calculated" AS "share"',
            f'"calculated" >= {CACHE_DENOMINATOR}',
        ),
        window=RUN_MINUTES * 60,
        below=ABSENT_SHARE,
        hold="5m",
        severity="critical",
        component="model",
        panel=("model", "Share of the calculated queries that arrive"),
        summary="{{ .Labels.model }} takes mail but asks the DNS server next to nothing",
        meaning=f"Mail goes on, and at most {ABSENT_SHARE:.0%} of the queries that it should cause arrive.",
        check="Does the mail server reach the DNS server (`dig @…` on it)? Was its resolver changed? "
        "Does the DNS server still write its query log?",
        remedy="Mend the way, or the configuration. If it now asks elsewhere on purpose, take its "
        "address out of `[[mail_server]]`.",
    ),
    Rule(
        name="cache-collapse",
        title="The cache has lost its effect",
        query=Select(
            '"now" / "usual" AS "share"',
            (
                Select(
                    'mean("now") AS "now", count("now") AS "bins", median("usual") AS "usual", '
                    'percentile("usual", 25) AS "low", percentile("usual", 75) AS "high"',
                    (
                        Select(
                            '"now", "usual"',
                            (_efficiency("now", CACHE_RUN), _efficiency("usual", "7d")),
                            by=("model",),
                            time="",
                        ),
                    ),
                    by=("model",),
                    time="",
                ),
            ),
            # Where there was no effect there is none to lose; by night few bins have one, and it varies by more than the
            # share. Deviations are robust ones, as an incident of the week must not hide the next.
            (
                f'"bins" >= {CACHE_BINS}',
                f'"usual" >= {CACHE_LEAST}',
                f'"usual" - "now" > {CACHE_Z / NORMAL_QUARTILES:.3g} * ("high" - "low")',
            ),
            by=("model",),
            time="",
        ),
        window=7 * 86400,
        below=CACHE_SHARE,
        hold="10m",
        severity="warning",
        component="model",
        panel=("model", "Cache efficiency"),
        summary="{{ .Labels.model }}: the cache answers {{ .Values.B }} of what it used to",
        meaning=f"Over the last {CACHE_BINS} bins of 10 minutes the cache efficiency is below {CACHE_SHARE:.0%} of the "
        f"week's median, and more than {CACHE_Z:g} robust standard deviations below it.",
        check="Was the resolver on the mail server restarted within the hour? Then it fills again by "
        "itself. Otherwise: is its cache full, or its limit on time to live changed?",
        remedy="Restart or enlarge the resolver's cache.",
    ),
    Rule(
        name="no-lines",
        title="No log line comes in",
        query=_grown("lines", "12m"),
        window=720,
        below=1,
        hold="5m",
        # Nothing to read: the daemon does not run, or does not reach InfluxDB.
        no_data="Alerting",
        severity="critical",
        component="pipeline",
        panel=("pipeline", "Lines"),
        summary="{{ .Labels.instance }} has read no log line for ten minutes",
        meaning="The daemon has read no line for ten minutes, or its own numbers are missing.",
        check="`systemctl status seismolog`; `curl localhost:9514/healthz`; does rsyslog report a "
        "suspended action? Does the firewall pass the port?",
        remedy="Start the daemon, or mend the sender. Lines that rsyslog holds in its queue are "
        "delivered afterwards.",
    ),
    Rule(
        name="unmatched-lines",
        title="Most lines are not understood",
        query=Select(
            '1 - "unmatched" / "lines" AS "share"',
            (
                Select(
                    'sum("unmatched") AS "unmatched", sum("lines") AS "lines"',
                    (
                        Select(
                            'non_negative_difference("unmatched") AS "unmatched", '
                            'non_negative_difference("lines") AS "lines"',
                            "pipeline",
                            by=("instance",),
                            time=f"time > now() - {RUN}",
                        ),
                    ),
                    by=("instance",),
                    time="",
                ),
            ),
            ('"lines" >= 1000',),
            by=("instance",),
            time="",
        ),
        window=RUN_MINUTES * 60,
        below=0.6,
        hold="30m",
        severity="warning",
        component="pipeline",
        panel=("pipeline", "Share of lines understood"),
        summary="{{ .Labels.instance }} understands only {{ .Values.B }} of the lines",
        meaning="Less than 60 % of at least 1000 lines are known to a dialect.",
        check="Dashboard Pipeline, “Shapes of unmatched lines”; `seismolog explain --unmatched FILE`.",
        remedy="Send fewer programs' lines, or report the shape: a dialect may lack a form that a new "
        "version of a daemon writes.",
    ),
    Rule(
        name="export-lag",
        title="InfluxDB lags behind",
        query=Select(
            'last("influxdb_lag_seconds") AS "lag"', "pipeline", by=("instance",), time="time > now() - 15m"
        ),
        window=900,
        above=300,
        hold="5m",
        severity="warning",
        component="pipeline",
        panel=("pipeline", "Lag"),
        summary="{{ .Labels.instance }}: the newest bins are {{ .Values.B }} s late in InfluxDB",
        meaning="Bins reach InfluxDB more than five minutes after they closed. Nothing is lost: the "
        "store holds them.",
        check="Dashboard Pipeline: failed writes? Disk and memory of the InfluxDB host?",
        remedy="Mend InfluxDB; the exporter catches up by itself.",
    ),
    Rule(
        name="export-errors",
        title="Writes into InfluxDB fail",
        query=_grown("influxdb_errors", "15m"),
        window=900,
        above=3,
        hold="5m",
        severity="warning",
        component="pipeline",
        panel=("pipeline", "Writes and failures"),
        summary="{{ .Labels.instance }}: {{ .Values.B }} failed writes in 15 minutes",
        meaning="More than three writes failed within 15 minutes. They are tried again.",
        check="The daemon's log names the status and the line: 401 the token, 404 the bucket, 422 a time "
        "outside the retention, 429 and 503 load.",
        remedy="Mend what the status says.",
    ),
    Rule(
        name="lines-shed",
        title="Lines are shed",
        query=_grown("shed_lines", "15m"),
        window=900,
        above=0,
        hold="0s",
        severity="critical",
        component="pipeline",
        panel=("pipeline", "Lines shed"),
        summary="{{ .Labels.instance }} has shed {{ .Values.B }} lines in 15 minutes",
        meaning="A bound was reached and lines were dropped. What came in unconfirmed (UDP, plain TCP) "
        "is lost.",
        check="Dashboard Pipeline, fill of the queue: a flood, or a slow disk? Which sender?",
        remedy="Stop the flood at its sender; send over RELP, which waits; raise `[live]` bounds only if "
        "the machine has the memory.",
    ),
)


def runbook(heading: str = "##") -> str:
    """The runbook in Markdown, one heading for each rule."""
    parts = []
    for rule in RULES:
        limit = f"above {rule.above:g}" if rule.above is not None else f"below {rule.below:g}"
        held = f"for {rule.hold}" if rule.hold != "0s" else "at once"
        parts.append(
            f"{heading} {rule.name}\n\n"
            f"**{rule.title}** ({rule.severity}): fires where the {rule.reducer} value of a series is {limit}, {held}; "
            f"without data {rule.no_data}.\n\n"
            f"{rule.meaning}\n\n*Check.* {rule.check}\n\n*Do.* {rule.remedy}\n"
        )
    return "\n".join(parts)


#: The runbook as the dashboard Incidents shows it.
RUNBOOK_TEXT = runbook()
