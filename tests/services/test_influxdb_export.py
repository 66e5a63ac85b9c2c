"""The real InfluxDB equals the store, point for point: after backfills, reprocessing, restarts, outages, late lines."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seismolog.config import Config
from seismolog.live.closed import ClosedBins
from seismolog.live.commit import CommitSettings, Committer
from seismolog.live.settings import source_of
from seismolog.live.sinks import Running
from seismolog.sinks.influxdb.backfill import export
from seismolog.sinks.influxdb.live import InfluxSink
from seismolog.store import SourceEntry, Store
from tests.services.influx_world import Event, assert_equal, at, frames, put, said, some
from tests.services.influxd.fixtures import Bucket
from tests.unit.live_fakes import FakeEngine

pytestmark = [pytest.mark.service]


def config_of(bucket: Bucket, tmp_path: Path, url: str | None = None, **more: Any) -> Config:
    token = tmp_path / "token"
    token.write_text(bucket.server.token + "\n")
    section = {
        "url": url or bucket.server.url,
        "org": bucket.server.org,
        "bucket": bucket.name,
        "token_file": str(token),
        "clients_per_hour": 3,
        "instance": "test",
        **more,
    }
    return Config.model_validate({"influxdb": section})


class World:
    """A store with its state folder, and a bucket."""

    def __init__(self, bucket: Bucket, tmp_path: Path, **more: Any) -> None:
        self.bucket = bucket
        self.folder = tmp_path
        self.store = Store(tmp_path / "store")
        self.config = config_of(bucket, tmp_path, **more)

    def export(self, **options: Any) -> Any:
        options.setdefault("patience", 20.0)
        return export(self.config, self.store.url, self.folder / "state", **options)


@pytest.fixture
def world(influx_bucket: Bucket, tmp_path: Path) -> World:
    return World(influx_bucket, tmp_path)


# --- out of the store -------------------------------------------------------------------------------------------


def test_a_backfill_writes_every_bin_and_roll_up_once(world: World) -> None:
    events = some(1, range(200))
    put(world.store, "one", events)
    done = world.export()
    points = assert_equal(world.bucket, events)
    assert done.points == sum(points.values())
    assert done.hours == 4 and done.written.refused == 0
    assert points["client_traffic"] > points["client_traffic_10m"] > points["client_traffic_1h"] > 0
    # Nothing is left to do; and doing it all again changes nothing.
    again = world.export()
    assert (again.points, again.hours, again.skipped) == (0, 0, 4)
    forced = world.export(again=True)
    assert forced.points == done.points
    assert assert_equal(world.bucket, events) == points


def test_a_part_of_the_time_can_be_exported(world: World) -> None:
    events = some(2, range(240))
    put(world.store, "one", events)
    world.export(since=at(60), until=at(120))
    inside = [e for e in events if 60 <= e.minute < 120]
    assert_equal(world.bucket, inside)
    world.export()
    assert_equal(world.bucket, events)


def test_reprocessing_rewrites_what_changed_and_zeros_what_is_gone(world: World) -> None:
    before = some(3, range(150))
    put(world.store, "one", before)
    world.export()
    # Counted again under other rules: some events are gone, with them whole bins, a client and a server; others came.
    after = [
        e
        for e in before
        if e.client != "10.0.0.1" and e.server != "2dns" and not 70 <= e.minute < 90 and e.minute < 130
    ] + some(4, range(20, 40))
    put(world.store, "one", after)
    done = world.export()
    assert done.zeros > 0
    assert_equal(world.bucket, after, zeros=True)
    # What is gone comes back.
    put(world.store, "one", before)
    world.export()
    assert_equal(world.bucket, before, zeros=True)


def test_a_source_that_is_removed_leaves_zeros(world: World) -> None:
    first, second = some(5, range(60)), some(6, range(30, 90))
    put(world.store, "one", first)
    put(world.store, "two", second)
    world.export()
    assert_equal(world.bucket, first + second)
    world.store.remove(["two"])
    world.export()
    assert_equal(world.bucket, first, zeros=True)


def test_an_export_that_is_killed_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from seismolog.sinks.influxdb import backfill

    monkeypatch.setattr(backfill, "LONGEST", 1)
    events = some(7, range(400))
    put(world.store, "one", events)
    calls = []

    class KilledError(Exception):
        pass

    def progress(done: int, total: int, points: int) -> None:
        calls.append((done, total, points))
        if done == 3:
            raise KilledError

    with pytest.raises(KilledError):
        world.export(progress=progress)
    assert calls[-1][:2] == (3, 7)
    done = world.export()
    assert (done.hours, done.skipped) == (4, 3)
    assert_equal(world.bucket, events)


def test_membership_is_of_the_hour_before_and_only_grows(world: World) -> None:
    def ask(minute: int, client: int, times: int) -> list[Event]:
        return [Event(minute, "1dns", "dns_query", f"10.0.0.{client}", f"n{i}.", "a") for i in range(times)]

    # Clients 1, 2, 3 are busiest in hour 0; 4, 5, 6 in hour 1.
    events = [e for c in range(1, 7) for e in ask(10, c, 20 - c)]
    events += [e for c in range(1, 7) for e in ask(70, c, 10 + c)]
    events += [e for c in range(1, 7) for e in ask(130, c, 10)]
    put(world.store, "one", events)
    world.export()

    def shown() -> dict[int, set[str]]:
        found: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
        for row in said(world.bucket, "client_traffic_1h"):
            if row["client"] != "other":
                found[(row["time"] - int(at(0).timestamp())) // 3600].add(row["client"][-1])
        return found

    # In the first hour there was none before: it decides for itself.
    assert shown() == {0: {"1", "2", "3"}, 1: {"1", "2", "3"}, 2: {"4", "5", "6"}}
    # Reprocessing turns the order of hour 1 round: those who have a series in hour 2 keep it.
    put(world.store, "one", events + [e for c in (1, 2) for e in ask(75, c, 50)])
    world.export()
    assert shown()[2] == {"4", "5", "6"}


def test_the_bound_on_series_leaves_clients_in_other(influx_bucket: Bucket, tmp_path: Path) -> None:
    world = World(influx_bucket, tmp_path, max_series=150, clients_per_hour=100)
    events = some(8, range(120), a_minute=30, clients=60)
    put(world.store, "one", events)
    done = world.export()
    assert done.refused_series > 0
    assert_equal(world.bucket, events)
    rows = [r for m in ("traffic", "client_traffic") for r in said(world.bucket, m)]
    tags = ("server", "kind", "query_type", "side", "client")
    assert len({tuple(r.get(t) for t in tags) for r in rows}) * 3 <= 150


def test_what_is_not_known_any_more_is_null_in_every_bin(world: World) -> None:
    """InfluxDB merges the fields of points of one time: a value that is only left out would stay."""
    events = some(30, range(150))
    put(world.store, "one", events)
    world.export()
    assert_equal(world.bucket, events)
    # Mail servers that do not log their clients any more, and queries whose names another version does not count.
    without = [
        e._replace(client=None) if e.kind == "smtp_accepted" and e.minute >= 30 else e
        for e in events
        if not (e.kind == "dns_query" and 40 <= e.minute < 50)
    ]
    without += [e._replace(name=None) for e in events if e.kind == "dns_query" and 40 <= e.minute < 50]
    put(world.store, "one", without)
    world.export()
    assert_equal(world.bucket, without, zeros=True)
    # And what was written as 0, of keys that were gone, is null when they are back without a value.
    put(world.store, "one", [e for e in without if e.kind != "smtp_accepted"])
    world.export()
    put(world.store, "one", without)
    done = world.export()
    assert done.written.refused == 0
    assert_equal(world.bucket, without, zeros=True)
    rows = [r for r in said(world.bucket, "traffic") if r["kind"] == "smtp_accepted" and r["count"]]
    assert {r.get("distinct_names") for r in rows} == {None}


def test_counts_without_states_take_their_numbers_back(world: World) -> None:
    """A second source of the same bins that was counted without states: the merged numbers are not known."""
    events = [e for e in some(31, range(60)) if e.kind == "dns_query"]
    put(world.store, "one", events)
    world.export()
    made = frames(events)
    bare = {
        name: f.with_columns(
            pl.lit(None, dtype=pl.Binary).alias(c) for c in ("client_state", "name_state") if c in f.columns
        )
        for name, f in made.items()
    }
    entry = SourceEntry(source="two", generation=0, head_hash="two", full_hash="two")
    with world.store.writer() as writer:
        writer.add(
            {n: f.with_columns(pl.lit(0, dtype=pl.UInt32).alias("source")) for n, f in bare.items()}, [entry]
        )
        writer.commit()
    world.export()
    for measurement in ("traffic", "traffic_10m", "traffic_1h"):
        rows = said(world.bucket, measurement)
        assert sum(r["count"] for r in rows) == 2 * len(events)
        for name in (
            "distinct_clients",
            "client_entropy",
            "distinct_names",
            "name_entropy",
            "top_name_share",
        ):
            assert {r.get(name) for r in rows} == {None}, (measurement, name)
    for measurement in ("client_traffic", "client_traffic_10m", "client_traffic_1h"):
        rows = [r for r in said(world.bucket, measurement) if r["count"]]
        assert {r.get("distinct_names") for r in rows} == {None}, measurement
    world.store.remove(["two"])
    world.export()
    assert_equal(world.bucket, events, zeros=True)


# --- models and incidents ---------------------------------------------------------------------------------------


def incidents(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {
        "detector": "ripple", "cause": "worm", "score": 9.0, "threshold": 5.0, "evidence": '{"a": "\\"x\\"\\n"}',
        "explanation": 'a "sentence", with\nall = sorts\\ of things', "end": None, "severity": "warning",
    }  # fmt: skip
    return pl.DataFrame([base | r for r in rows])


def test_incidents_are_points_of_their_own_and_change_in_place(world: World) -> None:
    two = incidents(
        {"id": "a", "start": at(30), "subjects": ["10.0.0.9"]},
        {"id": "b", "start": at(30), "subjects": ["10.0.0.8", "x,y=z"]},
    )
    world.store.replace("incident", two, pl.lit(True))
    world.export()
    rows = sorted(said(world.bucket, "incident"), key=lambda r: r["id"])
    assert [r["id"] for r in rows] == ["a", "b"]
    assert rows[1]["subjects"] == "10.0.0.8, x,y=z" and rows[1]["subject"] == "10.0.0.8"
    assert rows[0]["evidence"] == '{"a": "\\"x\\"\\n"}'
    assert rows[0]["explanation"] == 'a "sentence", with\\x0aall = sorts\\ of things'
    assert rows[0]["start"] == int(at(30).timestamp()) * 10**9
    assert (rows[0]["end"], rows[0]["open"]) == (0, 1)
    # One is graver now and over, which is another series; the other is not told any more.
    world.store.replace(
        "incident",
        incidents(
            {"id": "a", "start": at(30), "end": at(50), "subjects": ["10.0.0.9"], "severity": "critical"}
        ),
        pl.lit(True),
    )
    world.export()
    rows = said(world.bucket, "incident")
    assert [(r["id"], r["severity"], r["open"]) for r in rows] == [("a", "critical", 0)]
    assert rows[0]["end"] == int(at(50).timestamp()) * 10**9


def test_an_incident_gives_its_client_series_for_the_day_before(world: World) -> None:
    events = some(9, range(180))
    quiet = Event(20, "1dns", "dns_query", "10.9.9.9", "n.", "a")
    events += [quiet, quiet._replace(minute=100)]
    put(world.store, "one", events)
    world.export()
    assert not [r for r in said(world.bucket, "client_traffic") if r["client"] == "10.9.9.9"]
    world.store.replace(
        "incident", incidents({"id": "a", "start": at(110), "subjects": ["10.9.9.9"]}), pl.lit(True)
    )
    world.export()
    shown = [r for r in said(world.bucket, "client_traffic") if r["client"] == "10.9.9.9"]
    assert [r["time"] for r in shown] == [int(at(20).timestamp()), int(at(100).timestamp())]
    assert_equal(world.bucket, events)


def test_a_model_that_is_fitted_again_replaces_its_series(world: World) -> None:
    def series(first: int, last: int, residual: float) -> pl.DataFrame:
        return pl.DataFrame(
            [
                {
                    "bin_start": at(m), "model": "1mx", "observed": 10.0, "calculated": 10.0 - residual,
                    "residual": residual, "standardized": 0.1, "cache_efficiency": None,
                }
                for m in range(first, last, 10)
            ]
        )  # fmt: skip

    fit = pl.DataFrame(
        [
            {
                "fitted_at": at(0), "model": "1mx", "window_start": at(0), "r_squared": 0.9, "observations": 12,
                "coefficients": '{"smtp_accepted": {"estimate": 8.5, "std_error": 0.1, "low": 8.0, "high": 9.0, '
                '"paper": 8.6}}',
            }
        ]
    )  # fmt: skip
    world.store.replace("model_series", series(0, 120, 1.0), pl.lit(True))
    world.store.replace("model_fit", fit, pl.lit(True))
    world.export()
    assert [r["residual"] for r in said(world.bucket, "model")] == [1.0] * 12
    terms = {r["term"]: r for r in said(world.bucket, "model_fit")}
    assert terms["smtp_accepted"]["estimate"] == 8.5
    assert terms[None]["r_squared"] == 0.9 and terms[None]["observations"] == 12
    world.store.replace("model_series", series(60, 180, 2.0), pl.lit(True))
    world.export()
    rows = said(world.bucket, "model")
    assert [r["time"] for r in rows] == [int(at(m).timestamp()) for m in range(60, 180, 10)]
    assert {r["residual"] for r in rows} == {2.0}
    # An efficiency that can be computed, and then cannot any more.
    some_bins = pl.col("bin_start") < at(100)
    efficient = series(60, 180, 2.0).with_columns(
        pl.when(some_bins).then(0.4).otherwise(None).alias("cache_efficiency")
    )
    for frame, wanted in ((efficient, {0.4, None}), (series(60, 180, 2.0), {None})):
        world.store.replace("model_series", frame, pl.lit(True))
        world.export()
        rows = said(world.bucket, "model")
        assert len(rows) == 12 and {r["residual"] for r in rows} == {2.0}
        assert {r.get("cache_efficiency") for r in rows} == wanted
    # A fit of the same moment with a term less, and without what the study says.
    poorer = fit.with_columns(
        pl.lit('{"pop_access": {"estimate": 1.0, "std_error": 0.1, "low": 0.9, "high": 1.1}}').alias(
            "coefficients"
        ),
        pl.lit(None, dtype=pl.Float64).alias("r_squared"),
    )
    world.store.replace("model_fit", poorer, pl.lit(True))
    world.export()
    terms = {r["term"]: r for r in said(world.bucket, "model_fit")}
    assert set(terms) == {"pop_access", None}
    assert terms["pop_access"].get("paper") is None and terms[None].get("r_squared") is None
    assert terms[None]["observations"] == 12
    world.store.replace("model_fit", poorer.clear(), pl.lit(True))
    world.export()
    assert said(world.bucket, "model_fit") == []


# --- live -------------------------------------------------------------------------------------------------------


class Live:
    """A daemon without lines: an engine that a test puts bins into, the store's thread, the exporter."""

    def __init__(self, world: World, config: Config | None = None) -> None:
        self.world = world
        self.state = world.folder / "state"
        self.state.mkdir(exist_ok=True)
        self.config = config or world.config
        self.events: list[Event] = []
        self.position = 0
        self.engine = FakeEngine(str(self.state), intake={}, counting={})
        self.source = source_of(self.state)

    def start(self) -> None:
        self.bins = ClosedBins(self.engine, self.state / "cursors")  # type: ignore[arg-type]
        url = self.world.store.url
        self.committer = Committer(Store(url), self.source, self.bins, CommitSettings(interval=0.2))
        self.sink = InfluxSink(self.config)
        self.sink.start(Running(self.bins, lambda: Store(url), self.state, dict))
        self.committer.start()

    def close(self, events: list[Event]) -> None:
        """These events have come; every bin that they are in closes, or changes."""
        self.events += events
        for minute, server in sorted({(e.minute, e.server) for e in events}):
            self.position += 100
            rows = [e for e in self.events if (e.minute, e.server) == (minute, server)]
            self.engine.put(frames(rows, self.position))
        self.committer.nudge()
        self.sink.nudge([self.position])

    def settled(self, timeout: float = 60.0) -> None:
        """Wait until all is committed and sent."""
        end = time.monotonic() + timeout
        while min(self.sent(), self.bins.positions().get("store", 0)) < self.position:
            assert time.monotonic() < end, (self.bins.positions(), self.sink.metrics())
            time.sleep(0.02)

    def sent(self) -> int:
        """The revision up to which all has come through."""
        return next((p for n, p in self.bins.positions().items() if n.startswith("influxdb")), 0)

    def stop(self, timeout: float = 20.0) -> None:
        self.sink.stop(timeout)
        self.committer.stop(timeout)


def test_bins_that_close_and_change_are_sent(world: World) -> None:
    live = Live(world)
    live.start()
    live.close(some(20, range(30)))
    live.settled()
    assert_equal(world.bucket, live.events)
    live.close(some(21, range(10, 70)))
    live.close(some(22, range(5)))
    live.settled()
    live.stop()
    assert_equal(world.bucket, live.events)
    assert live.sink.metrics()["seismolog_influxdb_points_total"] > 0


def test_the_daemon_tells_how_many_series_it_did_not_begin(influx_bucket: Bucket, tmp_path: Path) -> None:
    live = Live(World(influx_bucket, tmp_path, max_series=150, clients_per_hour=100))
    live.start()
    live.close(some(25, range(20), a_minute=30, clients=60))
    live.settled()
    end = time.monotonic() + 20
    while not (told := live.sink.metrics()).get("seismolog_influxdb_refused_series_total"):
        assert time.monotonic() < end, told
        time.sleep(0.05)
    assert told["seismolog_influxdb_series"] <= 150
    # What has no series of its own is in `other`.
    assert_equal(influx_bucket, live.events)
    live.stop()


def test_late_lines_in_any_order_with_restarts_between_give_the_same(world: World) -> None:
    events = some(23, range(150), a_minute=8)
    random.Random(1).shuffle(events)
    live = Live(world)
    for part in range(4):
        live.start()
        live.close(events[part::4])
        if part % 2:
            live.settled()
        live.stop()  # in the middle of it, for the even ones
    live.start()
    live.settled()
    live.stop()
    assert_equal(world.bucket, live.events)
    # The store, read for itself, gives the same: a backfill over it changes nothing.
    world.export(again=True)
    assert_equal(world.bucket, live.events)


def test_what_is_not_in_the_store_yet_is_sent_all_the_same(world: World) -> None:
    live = Live(world)
    live.start()
    live.committer.stop(5)  # a store that cannot be written: bins wait in the log
    live.close(some(24, range(20)))
    live.close(some(25, range(5, 25)))
    end = time.monotonic() + 30
    while live.sent() < live.position:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert_equal(world.bucket, live.events)
    live.sink.stop(10)
    # After a restart the exporter is ahead of the store: it lays the log over it.
    live.start()
    live.close(some(26, range(10, 30)))
    live.settled()
    live.stop()
    assert_equal(world.bucket, live.events)


def test_an_archive_over_a_live_stretch_is_sent_by_the_daemon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seismolog.sinks.influxdb import live as module

    monkeypatch.setattr(module, "STORE_EVERY", 1.0)
    live = Live(world)
    live.start()
    events = some(27, range(120))
    live.close(events)
    live.settled()
    # The archive of the first hour and more, with lines that live never saw.
    more = [e for e in events if 10 <= e.minute < 80] + some(28, range(20, 60))
    put(world.store, "archive", more)
    live.sink.nudge([])
    traffic = world.store.read("traffic").collect()
    end = time.monotonic() + 90
    while not _same_totals(world, traffic):
        assert time.monotonic() < end, live.sink.metrics()
        time.sleep(0.2)
    live.stop()


def _same_totals(world: World, traffic: pl.DataFrame) -> bool:
    by_bin = traffic.group_by(pl.col("bin_start").dt.epoch("s"), "server", "kind").agg(pl.col("count").sum())
    want = {(b, s, k): n for b, s, k, n in by_bin.iter_rows()}
    found: dict[tuple[Any, ...], int] = {}
    for row in said(world.bucket, "client_traffic"):
        key = (row["time"], row["server"], row["kind"])
        found[key] = found.get(key, 0) + row["count"]
    return {k: v for k, v in found.items() if v} == want


def test_a_bin_is_there_two_seconds_after_it_closed(world: World) -> None:
    live = Live(world)
    live.start()
    live.close(some(29, range(3)))
    live.settled()
    waits = []
    for minute in range(3, 8):
        began = time.monotonic()
        live.close([Event(minute, "1dns", "dns_query", "10.0.0.1", "n.", "a")])
        query = (
            f"select \"count\" from traffic where server = '1dns' and time = {int(at(minute).timestamp())}s"
        )
        while not world.bucket.server.influxql(query, world.bucket.name):
            assert time.monotonic() - began < 10
            time.sleep(0.02)
        waits.append(time.monotonic() - began)
    live.stop()
    assert sorted(waits)[2] <= 2.0, waits
