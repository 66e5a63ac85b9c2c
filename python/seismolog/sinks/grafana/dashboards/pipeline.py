"""Pipeline: what the daemon reads, what it does not understand, how far it lags, what it writes into InfluxDB."""

from __future__ import annotations

from seismolog.sinks.grafana.dashboard import Dashboard
from seismolog.sinks.grafana.influxql import Select
from seismolog.sinks.grafana.panels import Override, Row, Stat, Table, Target, Thresholds, TimeSeries, look

#: The daemon writes its numbers every ten seconds; a rate is of two groups of them.
EVERY = "$__interval"
INTERVAL = "2m"


def _rates(unit: str, **counters: str) -> Select:
    """Growth of counters a unit of time, by label. One query for all: InfluxDB then reads them side by side."""
    return Select(
        ", ".join(
            f'non_negative_derivative(max("{counter}"), {unit}) AS "{label.replace("_", " ")}"'
            for label, counter in counters.items()
        ),
        "pipeline",
        every=EVERY,
        by=("instance",),
        fill="null",
    )


def _gauges(**fields: str) -> Select:
    """The highest of each group, by label."""
    return Select(
        ", ".join(f'max("{field}") AS "{label}"' for label, field in fields.items()),
        "pipeline",
        every=EVERY,
        by=("instance",),
        fill="null",
    )


def _growth(**counters: str) -> tuple[Select, ...]:
    """How much counters grew in each group of time: of its highest values, so that months need no look at every point.

    A restart, after which a counter begins at 0, counts as no growth.
    """
    return (
        Select(
            ", ".join(
                f'non_negative_difference(max("{counter}")) AS "{label}"'
                for label, counter in counters.items()
            ),
            "pipeline",
            every=EVERY,
            by=("instance",),
            fill="null",
        ),
    )


def _understood(*, every: str | None) -> Select:
    """Lines that a dialect knows over all lines: those that are events and those that are known to be none."""
    return Select(
        '1 - sum("u") / sum("l") AS "understood"',
        _growth(u="unmatched", l="lines"),
        every=every,
        fill="null" if every else None,
    )


def lines_a_second() -> Stat:
    """Lines read a second."""
    return Stat(
        title="Lines a second",
        description="Log lines read a second by each daemon, with its curve. Red at 0: no sender reaches it.",
        targets=[Target(_rates("1s", lines="lines"), alias="$tag_instance")],
        unit="short",
        decimals=1,
        graph=True,
        thresholds=Thresholds(((0.001, "good"),), base="critical"),
        width=5,
        interval=INTERVAL,
    )


def matched_share() -> Stat:
    """Share of the lines that a dialect knows."""
    return Stat(
        title="Lines understood",
        description="Share of the lines read in the time range that a dialect knows. What is not "
        "understood stands under “Shapes of unmatched lines” on the dashboard Pipeline. How high it "
        "should be depends on what is sent: only mail and DNS lines, above 90 %.",
        targets=[Target(_understood(every=None), alias="understood")],
        unit="percentunit",
        decimals=1,
        thresholds=Thresholds(((0.5, "warning"), (0.9, "good")), base="critical"),
        width=5,
        interval=INTERVAL,
    )


def lag() -> Stat:
    """How old the newest counted line is, and the newest point in InfluxDB."""
    return Stat(
        title="Lag now",
        description="How far the daemon is behind: between a line's arrival and its being counted, and "
        "between a bin's closing and its being in InfluxDB. Of the last quarter of an hour, whatever the "
        "range above. Red from five minutes on.",
        targets=[
            Target(
                Select(
                    'last("lag_seconds") AS "counting", last("influxdb_lag_seconds") AS "InfluxDB"',
                    "pipeline",
                    by=("instance",),
                    time="time > now() - 15m",
                ),
                alias="$col",
            )
        ],
        unit="s",
        thresholds=Thresholds(((60, "warning"), (300, "critical"))),
        width=4,
        interval=INTERVAL,
    )


def writes() -> Stat:
    """Writes into InfluxDB that failed, and lines shed."""
    return Stat(
        title="Lost or delayed",
        description="In the time range: lines that were shed because a queue was full (lost where the "
        "sender's protocol confirms nothing), and writes into InfluxDB that failed (they are tried "
        "again; nothing is lost).",
        targets=[
            Target(
                Select(
                    'sum("s") AS "lines shed", sum("e") AS "failed writes"',
                    _growth(s="shed_lines", e="influxdb_errors"),
                ),
                alias="$col",
            )
        ],
        decimals=0,
        no_value="0",
        thresholds=Thresholds(((1, "warning"),)),
        width=4,
        interval=INTERVAL,
    )


def build() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        "pipeline",
        "seismolog: Pipeline",
        "What the daemon reads and understands, how far it lags, what it sheds, what it writes into "
        "InfluxDB.",
        [
            Row("Now", [lines_a_second(), matched_share(), lag(), writes()]),
            Row(
                "Reading",
                [
                    TimeSeries(
                        title="Lines",
                        description="Log lines a second: read, counted as events, not understood by any "
                        "dialect (the rest is understood and no event); and closed bins that late lines "
                        "changed. A gap: the daemon did not run or did not reach InfluxDB.",
                        targets=[
                            Target(
                                _rates(
                                    "1s", read="lines", events="matched", not_understood="unmatched", late="late_lines"
                                ),
                                alias="$col $tag_instance",
                            )
                        ],
                        unit="short",
                        label="lines a second",
                        minimum=0,
                        overrides=[
                            look("/^read /", "observed"),
                            look("/^events /", "accepted"),
                            look("/^not understood /", "deferred"),
                            look("/^late /", "calculated"),
                        ],
                        interval=INTERVAL,
                    ),
                    TimeSeries(
                        title="Share of lines understood",
                        description="Lines that a dialect knows over all lines. A sudden fall: a daemon "
                        "was updated and writes another form, or a new program logs here.",
                        targets=[Target(_understood(every=EVERY), alias="understood")],
                        unit="percentunit",
                        minimum=0,
                        maximum=1,
                        thresholds=Thresholds(((0.5, "good"),), base="critical", style="dashed"),
                        overrides=[look("understood", "accepted")],
                        interval=INTERVAL,
                    ),
                    Table(
                        title="Shapes of unmatched lines",
                        description="The most frequent shapes of lines that no dialect knows, with how "
                        "many there were since the daemon's start. Addresses stand as ADDR, mail addresses "
                        "as MAIL, identifiers as ID, numbers as #; words stay. Of a flood a sample is "
                        "looked at. `seismolog explain --unmatched FILE` shows examples and reasons. The "
                        "words come out of the log: a sender chooses them.",
                        targets=[
                            Target(
                                Select(
                                    'last("count") AS "lines", "shape"', "unmatched_shape", by=("*",)
                                ),
                                table=True,
                            )
                        ],
                        overrides=[
                            Override("Time", (("displayName", "Seen last"), ("custom.width", 170))),
                            Override("lines", (("displayName", "Lines"), ("custom.width", 100))),
                            Override("shape", (("displayName", "Shape"),)),
                            Override("instance", (("displayName", "Daemon"), ("custom.width", 120))),
                            Override("hash", (("custom.hidden", True),)),
                        ],
                        sort="Lines",
                        no_value="none",
                    ),
                ],
            ),
            Row(
                "Queues and lag",
                [
                    TimeSeries(
                        title="Lag",
                        description="Seconds between a line's arrival and its being counted, between a "
                        "bin's closing and its being in InfluxDB, and in the store. From five minutes on "
                        "an alert is raised.",
                        targets=[
                            Target(
                                _gauges(
                                    counting="lag_seconds", InfluxDB="influxdb_lag_seconds", store="store_lag_seconds"
                                ),
                                alias="$col $tag_instance",
                            )
                        ],
                        unit="s",
                        minimum=0,
                        thresholds=Thresholds(((300, "critical"),), style="dashed"),
                        interval=INTERVAL,
                    ),
                    TimeSeries(
                        title="Fill of the queue",
                        description="Share of the queue between reception and counting that is taken. At "
                        "100 % senders that can wait are made to wait; lines of those that cannot (UDP) "
                        "are shed.",
                        targets=[Target(_gauges(fill="queue_fill"), alias="$tag_instance")],
                        unit="percentunit",
                        minimum=0,
                        maximum=1,
                        thresholds=Thresholds(((0.8, "warning"), (0.95, "critical")), style="dashed"),
                        interval=INTERVAL,
                    ),
                    TimeSeries(
                        title="Lines shed",
                        description="Lines a minute that were dropped because a bound was reached. 0 is "
                        "what it should be.",
                        targets=[Target(_rates("1m", shed="shed_lines"), alias="$tag_instance")],
                        label="lines a minute",
                        minimum=0,
                        thresholds=Thresholds(((1, "critical"),), style="dashed"),
                        draw="bars",
                        interval=INTERVAL,
                    ),
                    TimeSeries(
                        title="Write-ahead log",
                        description="Bytes of the write-ahead log on disk. It grows while counting or "
                        "the store lags and shrinks with the next snapshot.",
                        targets=[Target(_gauges(bytes="wal_bytes"), alias="$tag_instance")],
                        unit="bytes",
                        minimum=0,
                        interval=INTERVAL,
                    ),
                ],
            ),
            Row(
                "InfluxDB",
                [
                    TimeSeries(
                        title="Points written",
                        description="Points a second that the exporter writes. It writes when bins "
                        "close: bursts are usual.",
                        targets=[Target(_rates("1s", points="influxdb_points"), alias="$tag_instance")],
                        label="points a second",
                        minimum=0,
                        interval=INTERVAL,
                    ),
                    TimeSeries(
                        title="Writes and failures",
                        description="Requests a minute to InfluxDB, those that failed (tried again), and "
                        "series that the guard of cardinality left out.",
                        targets=[
                            Target(
                                _rates(
                                    "1m",
                                    writes="influxdb_writes",
                                    failed="influxdb_errors",
                                    left_out="influxdb_dropped_series",
                                ),
                                alias="$col $tag_instance",
                            )
                        ],
                        label="a minute",
                        minimum=0,
                        overrides=[
                            look("/^writes /", "accepted"),
                            look("/^failed /", "critical"),
                            look("/^left out /", "calculated"),
                        ],
                        interval=INTERVAL,
                    ),
                ],
            ),
        ],
        uses=(),
    )  # fmt: skip
