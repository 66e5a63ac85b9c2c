"""Incidents: how many, of what kind, and each with its explanation, its evidence and links to its curves."""

from __future__ import annotations

from seismolog.sinks.grafana.alerts import RUNBOOK_TEXT
from seismolog.sinks.grafana.dashboard import Dashboard
from seismolog.sinks.grafana.dashboards import parts
from seismolog.sinks.grafana.influxql import Select, equal, mentions
from seismolog.sinks.grafana.panels import Row, Stat, Target, Text, Thresholds, TimeSeries

OF_CLIENT = mentions("subjects", "client")


def _count(title: str, description: str, severity: str) -> Stat:
    return Stat(
        title=title,
        description=description,
        targets=[
            Target(
                Select('count("id") AS "incidents"', "incident", (equal("severity", severity), OF_CLIENT)),
                alias=severity,
            )
        ],
        no_value="0",
        thresholds=Thresholds(((1, severity),), base="neutral"),
    )


def build() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        "incidents",
        "seismolog: Incidents",
        "What the detectors raised, with explanation and evidence, and links to the curves that show it.",
        [
            Row(
                "How many",
                [
                    parts.open_incidents(),
                    _count("Critical", "Critical incidents that began in the time range.", "critical"),
                    _count("Warnings", "Warnings that began in the time range.", "warning"),
                    _count("Notices", "Notices that began in the time range.", "notice"),
                    TimeSeries(
                        title="Incidents by detector",
                        description="How many incidents began, by detector. The detectors are explained "
                        "in the docs, each with what looks like it but is harmless.",
                        targets=[
                            Target(
                                Select(
                                    'count("id") AS "incidents"',
                                    "incident",
                                    (OF_CLIENT,),
                                    every="$__interval",
                                    by=("detector",),
                                    fill="none",
                                ),
                                alias="$tag_detector",
                            )
                        ],
                        decimals=0,
                        draw="bars",
                        stacked=True,
                        width=24,
                        height=6,
                        legend=(),
                        interval="1h",
                    ),
                ],
            ),
            Row(
                "Which",
                [
                    parts.incident_table(
                        "Incidents",
                        "The incidents that began in the time range and concern a chosen client (all "
                        "clients: every incident), the newest first; 200 at most. A click on the subject "
                        "leads to its curves, in the same time range or about the incident. Score and "
                        "threshold are in the unit of the detector's test. The evidence is what the "
                        "detector saw, as JSON; the eye in a cell shows it whole.",
                        (OF_CLIENT,),
                        evidence=True,
                        height=18,
                    )
                ],
            ),
            Row(
                "What to do",
                [
                    Text(
                        title="Runbook",
                        description="What each alert means, how to check it, what to do.",
                        content=RUNBOOK_TEXT,
                        height=24,
                    )
                ],
                collapsed=True,
            ),
        ],
        uses=("client",),
        period="7d",
        incidents_of=(OF_CLIENT,),
        every_client=True,
    )  # fmt: skip
