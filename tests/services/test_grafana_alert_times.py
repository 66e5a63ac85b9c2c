"""Alert rules over time, with a real InfluxDB: each goes firing when it should, and a blip does not.

For every rule there is a cause that begins at minute 0. Points are written as the daemon and the exporter write them, a
bin of ten minutes when it is over; every minute the rule's own query is asked and `alert_states` takes the answer.
``now()`` in a query becomes the minute that is played.

A rule sees its cause after as long as its query needs (`SEEN`: bins that have to close, a count that has to grow), and
fires ``for`` later. A blip is shorter; for rules whose query looks back for longer than their ``for``, which then adds
nothing to it, the blip is the longest that the query does not see.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.services.alert_states import Alerts, length
from tests.services.influxd.fixtures import Bucket
from tests.services.influxql_frames import Outcome, evaluate
from tests.services.test_grafana_queries import RULES

pytestmark = [pytest.mark.service]

#: Minute 0 of every scenario, a whole hour.
T0 = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
#: Minutes that are written before, at least: the longest that a query but that of the cache looks back.
BEFORE = 90

Bad = Callable[[int], bool]
#: What is written at a minute: line protocol without a time, and the minute that it is of.
Line = tuple[str, int]


def incident(severity: str) -> Callable[[int, Bad], Iterator[Line]]:
    def lines(minute: int, bad: Bad) -> Iterator[Line]:
        # Written when it begins, and again with its end.
        if minute >= 0 and bad(minute) != bad(minute - 1):
            opened = 1 if bad(minute) else 0
            yield f'incident,detector=d,cause=c,severity={severity} id="i",open={opened}i', 0

    return lines


def tens(*series: tuple[str, Callable[[bool], int]]) -> Callable[[int, Bad], Iterator[Line]]:
    """Counts of bins of ten minutes, written when a bin is over."""

    def lines(minute: int, bad: Bad) -> Iterator[Line]:
        start = minute - 10
        if minute % 10 == 0:
            for kind, count in series:
                for server, trouble in (("1mx", bad(start)), ("2mx", False)):
                    yield (
                        f"traffic_10m,server={server},kind={kind},side=inside count={count(trouble)}i",
                        start,
                    )

    return lines


def model(fields: Callable[[bool, int], str]) -> Callable[[int, Bad], Iterator[Line]]:
    def lines(minute: int, bad: Bad) -> Iterator[Line]:
        start = minute - 10
        if minute % 10 == 0:
            for name, trouble in (("1mx", bad(start)), ("2mx", False)):
                yield f"model,model={name} {fields(trouble, start // 10)}", start

    return lines


def counters(**grows: Callable[[bool], int]) -> Callable[[int, Bad], Iterator[Line]]:
    """The daemon's own numbers, every minute; counters only grow."""

    def lines(minute: int, bad: Bad) -> Iterator[Line]:
        values = {
            field: sum(grow(bad(m)) for m in range(-BEFORE, minute + 1)) for field, grow in grows.items()
        }
        yield "pipeline,instance=i " + ",".join(f"{f}={v}" for f, v in values.items()), minute

    return lines


SCENARIOS: dict[str, Callable[[int, Bad], Iterator[Line]]] = {
    "incident-critical": incident("critical"),
    "incident-warning": incident("warning"),
    "deferral-surge": tens(("smtp_deferred", lambda b: 90 if b else 4), ("smtp_sent", lambda b: 60)),
    "login-failures": tens(("auth_failure", lambda b: 400 if b else 5)),
    "model-residual": model(lambda b, n: f"observed=500,calculated=400,standardized={6.0 if b else n % 3}"),
    "predicted-absent": model(lambda b, n: f"observed={0 if b else 400},calculated=400,standardized=0"),
    "cache-collapse": model(
        lambda b, n: f"observed=300,calculated=300,cache_efficiency={0.0 if b else 0.5 + n % 3 / 100}"
    ),
    "no-lines": counters(lines=lambda b: 0 if b else 600),
    "unmatched-lines": counters(lines=lambda b: 600, unmatched=lambda b: 600 if b else 3),
    "export-lag": lambda m, bad: iter(
        [(f"pipeline,instance=i influxdb_lag_seconds={600 if bad(m) else 2}", m)]
    ),
    "export-errors": counters(influxdb_errors=lambda b: int(b)),
    "lines-shed": counters(shed_lines=lambda b: 20 if b else 0),
}

#: Minutes until the query shows the cause: a bin that closes; five bins, and the one before them out of sight; a mean of
#: seven bins of which one or two are bad; ten minutes without a line; more than 40 % of an hour; a fourth error.
SEEN = {
    "incident-critical": 0,
    "incident-warning": 0,
    "deferral-surge": 10,
    "login-failures": 10,
    "model-residual": 59,
    "predicted-absent": 59,
    "cache-collapse": 19,
    "no-lines": 10,
    "unmatched-lines": 26,
    "export-lag": 0,
    "export-errors": 3,
    "lines-shed": 0,
}

#: Minutes that a cause may last without an alert, and whether the rule is pending meanwhile.
BLIPS = {
    "incident-warning": (9, True),
    "deferral-surge": (10, True),
    "login-failures": (10, True),
    "model-residual": (50, True),
    "predicted-absent": (50, True),
    "cache-collapse": (10, True),
    "no-lines": (14, True),
    "unmatched-lines": (26, False),
    "export-lag": (4, True),
    "export-errors": (3, False),
}


class Play:
    """One scenario in a bucket of its own, a minute at a time."""

    def __init__(self, bucket: Bucket, name: str, bad: Bad) -> None:
        self.bucket, self.name, self.bad = bucket, name, bad
        self.alerts = Alerts(RULES[name])
        history = 60 * 24 if name == "cache-collapse" else BEFORE
        self.write(*(line for m in range(-history, -10) for line in SCENARIOS[name](m, bad)))

    def write(self, *lines: Line) -> None:
        if lines:
            start = int(T0.timestamp())
            self.bucket.server.write(
                "\n".join(f"{text} {start + 60 * m}" for text, m in lines), self.bucket.name
            )

    def run(self, minute: int) -> Callable[[str], dict[str, Any]]:
        def ask(query: str) -> dict[str, Any]:
            then = query.replace("now()", f"{int((T0 + minute * MINUTE).timestamp())}s")
            text = urlencode({"db": self.bucket.name, "q": then, "epoch": "ms"})
            return json.loads(self.bucket.server.request("GET", f"/query?{text}"))

        return ask

    def states(self, until: int, silent: Bad = lambda _: False) -> dict[int, str]:
        """The state of the rule at every minute from ten minutes before the cause; while `silent` nothing is written."""
        found = {}
        for minute in range(-10, until):
            if not silent(minute):
                self.write(*SCENARIOS[self.name](minute, self.bad))
            found[minute] = self.alerts.step(
                T0 + minute * MINUTE, evaluate(RULES[self.name], self.run(minute))
            )
        return found


def test_every_rule_is_played() -> None:
    assert set(SCENARIOS) == set(SEEN) == set(RULES)
    assert set(BLIPS) == {name for name, rule in RULES.items() if rule["for"] != "0s"}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_fires_once_its_cause_was_seen_for_long_enough(influx_bucket: Bucket, name: str) -> None:
    hold = int(length(RULES[name]["for"]) / MINUTE)
    play = Play(influx_bucket, name, lambda minute: minute >= 0)
    states = play.states(SEEN[name] + hold + 6)
    first = {state: min(m for m, s in states.items() if s == state) for state in set(states.values())}
    assert {m: s for m, s in states.items() if m < SEEN[name] and s != "Normal"} == {}
    if hold:
        assert first["Pending"] == SEEN[name]
    assert first["Alerting"] == SEEN[name] + hold
    assert {s for m, s in states.items() if m >= first["Alerting"]} == {"Alerting"}
    # The other server, model or daemon is not meant.
    (labels,) = play.alerts.alerting()
    assert set(labels.values()) <= {"d", "1mx", "i"}


@pytest.mark.parametrize("name", BLIPS)
def test_a_blip_does_not_fire(influx_bucket: Bucket, name: str) -> None:
    minutes, pends = BLIPS[name]
    play = Play(influx_bucket, name, lambda minute: 0 <= minute < minutes)
    states = play.states(max(SEEN[name], minutes) + 45)
    assert "Alerting" not in states.values(), states
    assert ("Pending" in states.values()) is pends
    assert states[max(states)] == "Normal"


def test_a_daemon_that_is_gone_is_told_by_what_is_missing(influx_bucket: Bucket) -> None:
    play = Play(influx_bucket, "no-lines", lambda _: False)
    states = play.states(25, silent=lambda minute: minute >= 0)
    alerting = min(m for m, s in states.items() if s == "Alerting")
    # One point alone says nothing of growth: twelve minutes less two, and `for`.
    assert alerting == 10 + 5
    assert {s for m, s in states.items() if m >= alerting} == {"Alerting"}


def test_an_answer_that_fails_is_an_error_and_begins_anew(influx_bucket: Bucket) -> None:
    play = Play(influx_bucket, "export-lag", lambda minute: minute >= 0)
    play.states(4)
    assert play.alerts.state == "Pending"
    assert play.alerts.step(T0 + 4 * MINUTE, Outcome(error="timeout")) == "Error"
    later = [
        play.alerts.step(T0 + m * MINUTE, evaluate(RULES["export-lag"], play.run(m))) for m in range(5, 11)
    ]
    assert later == ["Pending"] * 5 + ["Alerting"]
