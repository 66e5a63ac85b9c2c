"""Pipeline: what the daemon reads, what it does not understand, how far it lags, what it writes into InfluxDB."""

from __future__ import annotations

from seismolog.sinks.grafana.dashboard import Dashboard
from seismolog.sinks.grafana.influxql import Select
from seismolog.sinks.grafana.panels import Override, Row, Stat, Table, Target, Thresholds, TimeSeries, look

#: The daemon writes its numbers once a minute; a rate is of at least two of them.
EVERY = "$__interval"
INTERVAL = "2m"


def _rate(counter: str, label: str, unit: str = "1s") -> Select:
    return Select(
        f'non_negative_derivative(max("{counter}"), {unit}) AS "{label}"',
        "pipeline",
        every=EVERY,
        by=("instance",),
        fill="null",
    )


def _gauge(field: str, label: str, function: str = "max") -> Select:
    return Select(
        f'{function}("{field}") AS "{label}"', "pipeline", every=EVERY, by=("instance",), fill="null"
    )


def _growth(counter: str, label: str) -> Select:
    """How much a counter has grown over the range; a restart counts as no growth."""
    return Select(
        f'sum("grown") AS "{label}"',
        (Select(f'non_negative_difference("{counter}") AS "grown"', "pipeline", by=("instance",)),),
    )


def _matched(*, every: str | None) -> Select:
    """Matched lines over all lines, from the growth of both counters."""
    return Select(
        'sum("matched") / sum("lines") AS "matched"',
        (
            Select(
                'non_negative_difference("matched") AS "matched", non_negative_difference("lines") AS "lines"',
                "pipeline",
                by=("instance",),
            ),
        ),
        every=every,
        fill="null" if every else None,
    )


def lines_a_second() -> Stat:
    """Lines read a second."""
    return Stat(
        title="Lines a second",
        description="Log lines read a second by each daemon, with its curve. Red at 0: no sender reaches it.",
        targets=[Target(_rate("lines", "lines"), alias="$tag_instance")],
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
        targets=[Target(_matched(every=None), alias="understood")],
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
        "between a bin's closing and its being in InfluxDB. Red from five minutes on.",
        targets=[
            Target(_gauge("lag_seconds", "counting", "last"), alias="counting"),
            Target(_gauge("influxdb_lag_seconds", "InfluxDB", "last"), alias="InfluxDB"),
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
            Target(_growth("shed_lines", "lines shed"), alias="lines shed"),
            Target(_growth("influxdb_errors", "failed writes"), alias="failed writes"),
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
                        description="Log lines a second: read, understood by a dialect, not understood, "
                        "and later than their bin's state is kept for. A gap: the daemon did not run or "
                        "did not reach InfluxDB.",
                        targets=[
                            Target(_rate("lines", "read"), alias="read $tag_instance"),
                            Target(_rate("matched", "understood"), alias="understood $tag_instance"),
                            Target(_rate("unmatched", "not understood"), alias="not understood "
                            "$tag_instance"),
                            Target(_rate("late_lines", "late"), alias="late $tag_instance"),
                        ],
                        unit="short",
                        label="lines a second",
                        minimum=0,
                        overrides=[
                            look("/^read /", "observed"),
                            look("/^understood /", "accepted"),
                            look("/^not understood /", "deferred"),
                            look("/^late /", "calculated"),
                        ],
                        interval=INTERVAL,
                    ),
                    TimeSeries(
                        title="Share of lines understood",
                        description="Lines that a dialect knows over all lines. A sudden fall: a daemon "
                        "was updated and writes another form, or a new program logs here.",
                        targets=[Target(_matched(every=EVERY), alias="understood")],
                        unit="percentunit",
                        minimum=0,
                        maximum=1,
                        thresholds=Thresholds(((0.5, "good"),), base="critical", style="dashed"),
                        overrides=[look("understood", "accepted")],
                        interval=INTERVAL,
                    ),
                    Table(
                        title="Shapes of unmatched lines",
                        description="Lines that no dialect knows, by shape (words as W, numbers as N), "
                        "with how many there were since the daemon's start. `seismolog explain "
                        "--unmatched` shows examples. What a shape quotes comes out of the log: a sender "
                        "chooses it.",
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
                            Target(_gauge("lag_seconds", "counting"), alias="counting $tag_instance"),
                            Target(_gauge("influxdb_lag_seconds", "InfluxDB"), alias="InfluxDB "
                            "$tag_instance"),
                            Target(_gauge("store_lag_seconds", "store"), alias="store $tag_instance"),
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
                        targets=[Target(_gauge("queue_fill", "fill"), alias="$tag_instance")],
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
                        targets=[Target(_rate("shed_lines", "shed", "1m"), alias="$tag_instance")],
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
                        targets=[Target(_gauge("wal_bytes", "bytes"), alias="$tag_instance")],
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
                        targets=[Target(_rate("influxdb_points", "points"), alias="$tag_instance")],
                        label="points a second",
                        minimum=0,
                        interval=INTERVAL,
                    ),
                    TimeSeries(
                        title="Writes and failures",
                        description="Requests a minute to InfluxDB, those that failed (tried again), and "
                        "series that the guard of cardinality left out.",
                        targets=[
                            Target(_rate("influxdb_writes", "writes", "1m"), alias="writes $tag_instance"),
                            Target(_rate("influxdb_errors", "failed", "1m"), alias="failed $tag_instance"),
                            Target(
                                _rate("influxdb_dropped_series", "left out", "1m"), alias="left out "
                                "$tag_instance"
                            ),
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
