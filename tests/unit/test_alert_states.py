"""The machine that steps alert rules through time, by the tables that Grafana documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.services.alert_states import Alerts
from tests.services.influxql_frames import Outcome

T0 = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
A, B = (("server", "1mx"),), (("server", "2mx"),)


def rule(hold: str = "3m", no_data: str = "OK", error: str = "Error") -> dict[str, str]:
    return {"for": hold, "noDataState": no_data, "execErrState": error}


def of(**series: bool) -> Outcome:
    holds = {{"a": A, "b": B}[n]: h for n, h in series.items()}
    return Outcome(dict.fromkeys(holds, 1.0), holds)


BAD, GOOD, NOTHING, BROKEN = of(a=True), of(a=False), Outcome(), Outcome(error="timeout")


def states(alerts: Alerts, *outcomes: Outcome) -> str:
    """First letters of the states: Normal, Pending, Alerting, Error, and D for no data."""
    letters = {"NoData": "D"}
    begun = T0 if alerts._last is None else alerts._last + MINUTE
    found = [alerts.step(begun + i * MINUTE, o) for i, o in enumerate(outcomes)]
    return "".join(letters.get(s, s[0]) for s in found)


@pytest.mark.parametrize(
    ("hold", "outcomes", "expected"),
    [
        # Fires at the first evaluation that is `for` after the first that held: 3 m are four evaluations.
        ("3m", [GOOD, BAD, BAD, BAD, BAD, BAD, GOOD], "NPPPAAN"),
        # One evaluation in between begins anew.
        ("3m", [BAD, BAD, BAD, GOOD, BAD, BAD, BAD, BAD], "PPPNPPPA"),
        ("0s", [GOOD, BAD, GOOD, BAD], "NANA"),
        # Between two evaluations nothing is known: 90 s are over at the second minute.
        ("90s", [BAD, BAD, BAD], "PPA"),
    ],
)
def test_for_is_waited_for(hold: str, outcomes: list[Outcome], expected: str) -> None:
    assert states(Alerts(rule(hold)), *outcomes) == expected


def test_each_series_waits_for_itself() -> None:
    alerts = Alerts(rule("2m"))
    assert states(alerts, of(a=True, b=False), of(a=True, b=True), of(a=True, b=True)) == "PPA"
    assert alerts.alerting() == [dict(A)]
    assert states(alerts, of(a=False, b=True)) == "A"
    assert alerts.alerting() == [dict(B)]


def test_a_series_that_is_gone_is_kept_for_one_evaluation() -> None:
    alerts = Alerts(rule("1m"))
    both, one = of(a=True, b=False), of(b=False)
    assert states(alerts, both, both, one, one) == "PAAN"
    assert A not in alerts.instances
    # Pending is kept in the same way, and goes on where it was.
    assert states(Alerts(rule("2m")), both, one, both) == "PPA"


@pytest.mark.parametrize(
    ("chosen", "expected"), [("OK", "PANNP"), ("Alerting", "PAAAA"), ("NoData", "PADDP")]
)
def test_no_data_is_what_was_chosen(chosen: str, expected: str) -> None:
    assert states(Alerts(rule("1m", chosen)), BAD, BAD, NOTHING, NOTHING, BAD) == expected


def test_no_data_that_alerts_waits_as_well() -> None:
    alerts = Alerts(rule("3m", "Alerting"))
    assert states(alerts, NOTHING, NOTHING, NOTHING, NOTHING) == "PPPA"
    assert alerts.alerting() == [{}]
    assert states(Alerts(rule("3m", "Alerting")), GOOD, NOTHING, NOTHING, GOOD, NOTHING) == "NPPNP"


@pytest.mark.parametrize(
    ("chosen", "patient", "expected"),
    [
        ("Error", False, "NEEEN"),
        ("Error", True, "NPPEN"),
        ("OK", False, "NNNNN"),
        ("Alerting", False, "NPPAN"),
    ],
)
def test_an_error_is_what_was_chosen(chosen: str, patient: bool, expected: str) -> None:
    alerts = Alerts(rule("2m", error=chosen), patient=patient)
    assert states(alerts, GOOD, BROKEN, BROKEN, BROKEN, GOOD) == expected


def test_after_an_error_the_wait_begins_anew() -> None:
    assert states(Alerts(rule("2m")), BAD, BAD, BROKEN, BAD, BAD, BAD) == "PPEPPA"


def test_what_no_rule_uses_is_refused() -> None:
    with pytest.raises(NotImplementedError):
        Alerts(rule() | {"keepFiringFor": "5m"})
    with pytest.raises(NotImplementedError):
        Alerts(rule(no_data="KeepLast")).step(T0, NOTHING)
    alerts = Alerts(rule())
    alerts.step(T0, GOOD)
    with pytest.raises(ValueError, match="no evaluation"):
        alerts.step(T0 + timedelta(seconds=30), GOOD)
