"""The life of an incident: one cause is one incident, it does not flap, and it keeps its name."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from seismolog.detect import registry, residuals, run
from seismolog.detect.backtest import backtest, suggest
from seismolog.detect.base import Raised
from seismolog.detect.baseline import Baseline
from seismolog.detect.groups import grouped
from seismolog.detect.incidents import Book, incident_id, incidents_frame, incidents_of
from seismolog.detect.kept import load_baseline, load_incidents, save_baseline, save_incidents
from seismolog.detect.site import Networks, Site, Suppression, holidays_of
from seismolog.detect.view import Curves
from seismolog.store import Store
from tests.unit.detect_campus import T0, Campus, pc

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def raised(
    detector: str = "step_change", start: float = 0, end: float | None = None, **changes: Any
) -> Raised:
    given: dict[str, Any] = {
        "detector": detector,
        "cause": "new activity",
        "severity": "warning",
        "subjects": ("192.0.2.7",),
        "server": None,
        "start": NOON + start * HOUR,
        "end": None if end is None else NOON + end * HOUR,
        "score": 5.0,
        "threshold": 1.0,
        "explanation": f"{detector} speaks.",
    }
    return Raised(**{**given, **changes})


def test_it_opens_goes_on_and_closes_after_its_calm_time() -> None:
    book = Book()
    first = book.update([raised()], NOON + HOUR)
    assert [i.open for i in first.opened] == [True]
    assert first.opened[0].id == incident_id("step_change", "192.0.2.7", NOON)
    assert book.update([raised()], NOON + 1.1 * HOUR).opened == ()
    # Not seen any more: still open for half an hour, then closed where it was last seen.
    assert book.update([], NOON + 1.4 * HOUR).closed == ()
    closed = book.update([], NOON + 1.7 * HOUR).closed
    assert [(i.id, i.end) for i in closed] == [(first.opened[0].id, NOON + 1.1 * HOUR)]


def test_it_does_not_flap() -> None:
    book = Book()
    book.update([raised(end=1)], NOON + HOUR)
    assert len(book.update([], NOON + 2 * HOUR).closed) + len(book.incidents) >= 1
    again = book.update([raised(start=1.8)], NOON + 2.2 * HOUR)
    assert again.opened == ()
    assert [i.open for i in book.incidents] == [True]
    far = book.update([raised(start=8)], NOON + 9 * HOUR)
    assert len(far.opened) == 1


def test_three_detectors_and_one_cause_are_one_incident() -> None:
    book = Book()
    book.update([raised(), raised("ripple", 0.2, cause="remote-controlled", score=9.0)], NOON + HOUR)
    book.update([raised(), raised("mail_server_mimic", cause="worm", severity="critical")], NOON + 2 * HOUR)
    (incident,) = book.incidents
    assert set(incident.evidence) == {"step_change", "ripple", "mail_server_mimic"}
    assert incident.cause == "worm"
    assert incident.severity == "critical"
    assert incident.detector == "mail_server_mimic"
    assert incident.explanation.startswith("mail_server_mimic speaks.")
    assert incident.id == incident_id("step_change", "192.0.2.7", NOON)


def test_a_group_draws_its_members_together() -> None:
    book = Book()
    alone = [raised(subjects=("192.0.2.7",)), raised(subjects=("192.0.2.8",), start=0.1)]
    assert len(book.update(alone, NOON + HOUR).opened) == 2
    group = raised("synchronized_clients", subjects=("192.0.2.7", "192.0.2.8"), cause="remote-controlled")
    changes = book.update([*alone, group], NOON + 2 * HOUR)
    assert len(book.incidents) == 1
    assert len(changes.absorbed) == 1
    assert set(book.incidents[0].subjects) == {"192.0.2.7", "192.0.2.8"}


def test_silence_after_an_incident_ends_it() -> None:
    book = Book()
    quiet = raised("silence", 2, None, cause="unknown", severity="notice", evidence={"under_incident": True})
    book.update([raised(end=2), quiet], NOON + 4 * HOUR)
    (incident,) = book.incidents
    assert incident.end == NOON + 2 * HOUR


def test_other_subjects_and_other_times_are_other_incidents() -> None:
    book = Book()
    found = [raised(end=1), raised(subjects=("192.0.2.9",), end=1), raised(start=5, end=6)]
    assert len(book.update(found, NOON + 7 * HOUR).opened) == 3


def test_a_suppression_silences_until_its_day_with_its_reason() -> None:
    silent = Suppression(("192.0.2.0/24",), "the survey", ("step_change",), date(2026, 3, 2))
    book = Book(site=Site(suppressions=(silent,)))
    book.update([raised(end=1), raised(start=48)], NOON + 50 * HOUR)
    assert [i.suppressed for i in book.incidents] == ["the survey", None]


def test_incidents_and_what_is_usual_survive_in_the_store(tmp_path: Path) -> None:
    campus = Campus(seed=2, pcs=80, servers=5, days=4)
    campus.add(pc(70), 300, 10, 20)
    outcome = run.detect(campus.tables(), since=T0, until=T0 + timedelta(days=4), begin=T0)
    assert pc(70) in {s for i in outcome.incidents for s in i.subjects}
    store = Store(tmp_path / "store")
    save_incidents(store, outcome.incidents, T0, T0 + timedelta(days=4))
    save_incidents(store, outcome.incidents, T0, T0 + timedelta(days=4))
    assert load_incidents(store) == list(outcome.incidents)
    assert incidents_of(incidents_frame(outcome.incidents)) == list(outcome.incidents)
    save_baseline(store, outcome.baseline)
    again = load_baseline(store)
    names = outcome.baseline.names("dns_query")
    assert again.names("dns_query") != ()
    assert set(again.names("dns_query")) == set(names)
    assert again.days("dns_query") == outcome.baseline.days("dns_query") == 4
    assert np.array_equal(again.known("dns_query", names), outcome.baseline.known("dns_query", names))
    assert again.profile("dns_query", names) == pytest.approx(outcome.baseline.profile("dns_query", names))
    # A baseline that knows the days that are to be looked at is not used for them.
    assert load_baseline(store, before=T0).days("dns_query") == 0


def test_a_second_run_tells_the_same(tmp_path: Path) -> None:
    campus = Campus(seed=2, pcs=80, servers=5, days=3)
    campus.add(pc(70), 300, 10, 20)
    tables = campus.tables()
    spans = {"since": T0 + timedelta(days=2), "until": T0 + timedelta(days=3), "begin": T0}
    assert run.detect(tables, **spans).incidents == run.detect(tables, **spans).incidents


def test_an_incident_teaches_nothing_until_it_is_accepted() -> None:
    campus = Campus(seed=2, pcs=80, servers=5, days=5)
    for day in (3, 4):
        campus.add(pc(70), 300, 9, 21, day)
    outcome = run.detect(campus.tables(), since=T0, until=T0 + timedelta(days=5), begin=T0)
    mine = [i for i in outcome.incidents if pc(70) in i.subjects]
    assert {i.start.date() for i in mine} == {date(2026, 3, 5), date(2026, 3, 6)}


def test_the_watch_sees_at_the_close_of_a_bin_what_the_archive_shows() -> None:
    campus = Campus(seed=4)
    campus.add(pc(250), 300, 14, 18)
    view = campus.view()
    watch = run.Watch(site=view.site, settings=registry.settings_of({}), baseline=view.baseline)
    start = T0 + timedelta(days=campus.days - 1)
    tables = campus.tables()
    early = watch.close(
        {k: f.filter(f["bin_start"] < start + 13 * HOUR) for k, f in tables.items()}, start + 13 * HOUR
    )
    assert [i for i in early.opened if pc(250) in i.subjects] == []
    until = start + 15 * HOUR
    late = watch.close({k: f.filter(f["bin_start"] < until) for k, f in tables.items()}, until)
    (mine,) = [i for i in late.opened if pc(250) in i.subjects]
    assert mine.open
    assert abs(mine.start - campus.at(14)) <= timedelta(minutes=20)
    assert watch.state()["open"] == len([i for i in watch.book.incidents if i.open])


def test_a_back_test_counts_what_thresholds_would_have_raised_and_suggests() -> None:
    campus = Campus(seed=4, pcs=100, servers=5, days=5)
    campus.add(pc(70), 120, 14, 18)
    settings = registry.settings_of({})
    trials = backtest(
        campus.tables(),
        since=T0 + timedelta(days=4),
        until=T0 + timedelta(days=5),
        site=Site(),
        settings=settings,
        begin=T0,
        names=["step_change"],
    )
    rates = {(t.setting, t.value): t.rate for t in trials}
    assert rates["", None] == 1.0
    assert rates["minimum", 200.0] == 0.0
    assert "120" in trials[0].incidents[0].explanation or pc(70) in trials[0].incidents[0].explanation
    told = {s.setting: s for s in suggest(trials, 0.5, settings)}
    assert told["minimum"].value == 200.0
    assert told["minimum"].rate == 0.0


def test_the_days_of_a_site_are_its_own() -> None:
    site = Site(timezone="Asia/Tokyo")
    days = list(run.days_of(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC), _zone(site)))
    assert [d[0].hour for d in days] == [0, 15, 15]
    assert sum((b - a for a, b in days), timedelta()) == timedelta(days=2)


def _zone(site: Site) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(site.timezone)


def test_networks_hold_addresses_of_both_kinds() -> None:
    nets = Networks(["192.0.2.0/24", "192.0.3.0/24", "10.0.0.1/32", "2001:db8::/32"])
    given = [
        "192.0.2.0",
        "192.0.3.255",
        "192.0.4.0",
        "10.0.0.1",
        "10.0.0.2",
        "2001:db8::5",
        "2001:db9::",
        "x",
        "",
    ]
    assert nets.contain(given).tolist() == [True, True, False, True, False, True, False, False, False]
    assert not Networks([])


def test_a_calendar_is_read_as_days() -> None:
    text = (
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ=YEARLY\r\nSUMMARY:New\r\n  Year\r\n"
        "END:VEVENT\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20260503\r\nDTEND;VALUE=DATE:20260506\r\nEND:VEVENT\r\n"
        "BEGIN:VEVENT\r\nDTSTART:20260701T000000Z\r\nRRULE:FREQ=MONTHLY\r\nSUMMARY:odd\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    days, notes = holidays_of(text)
    assert {date(2026, 1, 1), date(2030, 1, 1), date(2026, 5, 3), date(2026, 5, 5), date(2026, 7, 1)} <= days
    assert date(2026, 5, 6) not in days
    assert len(notes) == 1
    assert "MONTHLY" in notes[0]


def test_residuals_of_negative_binomial_counts_are_standard_normal() -> None:
    rng = np.random.default_rng(1)
    mean = np.full((200, 144), 7.0)
    counts = rng.poisson(mean * rng.gamma(3, 1 / 3, mean.shape))
    z = residuals.standard(counts, mean, 3.0)
    assert abs(z.mean()) < 0.02
    assert z.std() == pytest.approx(1, abs=0.02)
    inverse, population = residuals.inverse_shape(counts, mean)
    assert population == pytest.approx(1 / 3, rel=0.1)
    assert inverse.shape == (200,)


def test_tails_are_those_of_the_negative_binomial() -> None:
    from scipy import stats

    for count, mean, shape in ((3, 2.0, 3.0), (40, 5.0, 3.0), (400, 5.0, 3.0), (1, 0.01, 0.5)):
        exact = stats.nbinom.logsf(count - 1, shape, shape / (shape + mean))
        assert float(residuals.log_upper(count, mean, shape)[()]) == pytest.approx(exact, rel=0.02, abs=1e-6)
        low = stats.nbinom.logcdf(count, shape, shape / (shape + mean))
        assert float(residuals.log_lower(count, mean, shape)[()]) == pytest.approx(low, rel=1e-6, abs=1e-9)
    assert float(residuals.log_upper(10**6, 1.0, 3.0)[()]) < -1000
    assert residuals.significant(-20.0, 1000, 1e-3).item()
    assert not residuals.significant(-10.0, 1000, 1e-3).item()


def test_clients_that_work_alike_are_grouped() -> None:
    rng = np.random.default_rng(2)
    hours = np.arange(144) / 6
    office = np.where((hours > 8) & (hours < 18), 2.0, 0.05)
    values = np.concatenate(
        [rng.poisson(np.tile(5 * office, (200, 1))), rng.poisson(np.full((60, 144), 5.0))]
    )
    found = grouped(values.astype(np.float32), np.ones(144, bool))
    assert len(set(found.member[:200])) == 1
    assert len(set(found.member[200:])) == 1
    assert found.member[0] != found.member[-1]
    assert found.shapes[found.member[-1]].std() < 0.15 < found.shapes[found.member[0]].std()


def test_groups_of_many_clients_are_those_of_a_part_of_them() -> None:
    rng = np.random.default_rng(3)
    hours = np.arange(24)
    office = np.where((hours > 8) & (hours < 18), 12.0, 0.3)
    working = rng.random(45_000) < 0.7
    values = rng.poisson(np.where(working[:, None], office, 5.0)).astype(np.float32)
    found = grouped(values, np.ones(24, bool), bins_an_hour=1)
    # Every client is sorted, those that the mixture was not fitted to as well: each group is of one way of working.
    for group in np.unique(found.member):
        share = working[found.member == group].mean()
        assert share > 0.99 or share < 0.01
    assert found.sizes.sum() == 45_000


def test_an_empty_baseline_knows_nothing_and_says_so() -> None:
    empty = Baseline()
    assert empty.days("dns_query") == 0
    assert empty.known("dns_query", ["192.0.2.1"]).tolist() == [0.0]
    assert empty.jump_rate("dns_query", 100, 60, 5) is None
    assert Baseline.of_frame(empty.frame()).days("dns_query") == 0 if empty.frame().width else True


def learnt_with(heights: dict[str, list[float]], days: int = 5) -> Baseline:
    """Working days of two networks of 200 quiet clients each, with rises of these heights in each network every day."""
    made = Baseline()
    names = tuple(sorted(f"10.{net}.0.{n}" for net in (1, 2) for n in range(200)))
    for day in range(days):
        first = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(days=day)
        curves = Curves(
            "dns_query",
            names,
            first,
            timedelta(minutes=10),
            np.ones((len(names), 144), np.float32),
            np.ones(144, np.bool_),
            np.arange(len(names)),
        )
        jumps = [
            (f"{net}.0.{(day * 20 + n) % 200}", first + timedelta(hours=9), height, 120.0, height / 10)
            for net, of_net in heights.items()
            for n, height in enumerate(of_net)
        ]
        made.learn(curves, ZoneInfo("UTC"), jumps=jumps)
    return made


def test_a_rise_that_was_not_seen_in_a_week_is_the_rarer_the_higher_it_is() -> None:
    made = learnt_with({"10.1": [100, 60, 45, 36, 31, 28, 25, 23, 22, 20]})

    def rate(height: float, client: str = "10.1.0.7") -> float:
        found = made.jump_rate("dns_query", height, 120, height / 10, client=client)
        assert found is not None
        return found

    # Two clients in three days of six: what is alike was seen.
    assert rate(60) == pytest.approx(400 * 2 / 200, rel=0.8)
    rates = [rate(height) for height in (60, 150, 300, 1000)]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.02 * rates[0]
    # A network in which nobody rises has no part in it.
    assert rate(60, "10.2.0.7") == 0.0


def test_rises_are_not_told_of_before_two_days_could_be_compared() -> None:
    assert learnt_with({"10.1": [100.0]}, days=3).jump_rate("dns_query", 50, 60, 5) is None
    assert learnt_with({"10.1": [100.0]}, days=4).jump_rate("dns_query", 50, 60, 5) is not None


def test_addresses_change_hands_where_they_rise_to_many_times_their_own() -> None:
    other_hosts = learnt_with({"10.1": [100.0], "10.2": [39.0] * 10})
    assert other_hosts.pool_peak("dns_query", "10.1.0.7") > 0
    # Users have days that are busier than others.
    assert other_hosts.pool_peak("dns_query", "10.2.0.7") == 0


def test_every_detector_is_one_file_with_a_page(root: Path) -> None:
    for name, module in registry.detectors().items():
        assert name == module.NAME
        assert module.SUMMARY.endswith(".")
        assert (root / "docs" / "detectors" / f"{name}.md").is_file()
        for field in module.Settings.model_fields.values():
            assert field.description
        for setting, direction in module.Settings.THRESHOLDS.items():
            assert setting in module.Settings.model_fields
            assert direction in (-1, 1)
