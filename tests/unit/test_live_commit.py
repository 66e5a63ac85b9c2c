"""Closed bins on their way: cursors, the committing thread, and a store that is away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from seismolog._core import KINDS
from seismolog.errors import StoreError
from seismolog.live.closed import ClosedBins, frames_of
from seismolog.live.commit import CommitSettings, Committer
from seismolog.store import LiveTotals, Store
from tests.unit.live_fakes import Counter, FakeClosed, FakeEngine, live_frames
from tests.unit.store_fakes import merge_states, minute
from tests.unit.test_store import expected, table
from tests.unit.test_store_live import day, query


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(str(tmp_path / "live"), intake={}, counting={})


@pytest.fixture
def bins(tmp_path: Path, engine: FakeEngine) -> ClosedBins:
    return ClosedBins(engine, tmp_path / "live" / "cursors", merger=merge_states)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", merger=merge_states)


def fast(**more: object) -> CommitSettings:
    return CommitSettings(interval=0.01, **more)  # type: ignore[arg-type]


# --- frames -----------------------------------------------------------------------------------------------------


def test_names_take_the_place_of_codes() -> None:
    events = [*day(0), (0, "1mx", "smtp_accepted", "10.0.1.1", "")]
    closed = FakeClosed(700, live_frames(events, 700), KINDS)
    frames = frames_of(closed, KINDS, merge_states)[0]
    for name, frame in live_frames(events, 700).items():
        found = frames[name].select(frame.columns).cast(frame.schema)  # type: ignore[arg-type]
        assert_frame_equal(found, frame, check_row_order=False)


def test_rows_of_one_key_in_one_entry_are_added_up() -> None:
    parts = [live_frames(day(0), 5), live_frames([query(0, 1, "z.example")], 5)]
    closed = FakeClosed(5, {"traffic": pl.concat([p["traffic"] for p in parts])}, KINDS)
    frame = frames_of(closed, KINDS, merge_states)[0]["traffic"]
    assert frame["count"].to_list() == [4]
    assert frame["revision"].to_list() == [5]


# --- cursors ----------------------------------------------------------------------------------------------------


def test_only_what_every_reader_has_passed_is_released(engine: FakeEngine, bins: ClosedBins) -> None:
    revisions = [engine.put(live_frames(day(n), 10 * n + 10)) for n in range(4)]
    store, sink = bins.cursor("store", 0), bins.cursor("influxdb")
    store.advance(revisions[3])
    assert engine.released == 0
    assert [b.revision for b in sink.read(2)] == revisions[:2]
    sink.advance(revisions[1])
    assert engine.released == revisions[1]
    sink.advance(revisions[0])  # never back
    assert sink.position == revisions[1]
    assert bins.positions() == {"store": revisions[3], "influxdb": revisions[1]}


def test_a_position_survives_a_restart_and_a_damaged_one_starts_anew(
    tmp_path: Path, engine: FakeEngine, bins: ClosedBins, caplog: pytest.LogCaptureFixture
) -> None:
    bins.cursor("store", 1000)
    bins.cursor("influxdb").advance(50)
    again = ClosedBins(engine, tmp_path / "live" / "cursors")
    assert again.cursor("influxdb").position == 50
    saved = tmp_path / "live" / "cursors" / "influxdb.json"
    assert json.loads(saved.read_text())["revision"] == 50
    saved.write_text("{")
    assert again.cursor("influxdb").position == 0
    assert "influxdb.json cannot be used" in caplog.text
    again.forget("influxdb")
    assert not saved.exists()


def test_a_sink_that_is_too_far_behind_is_left_to_the_store(
    tmp_path: Path, engine: FakeEngine, bins: ClosedBins
) -> None:
    revisions = [engine.put(live_frames(day(n), 10 * n + 10)) for n in range(4)]
    store, sink = bins.cursor("store", 0), bins.cursor("influxdb")
    store.advance(revisions[2])
    bins.bound()
    assert sink.skipped is None
    log = tmp_path / "live" / "closed"
    log.mkdir()
    (log / "1.arrow").write_bytes(b"\0" * 5000)
    bins.size = 4000
    bins.bound()
    assert sink.skipped == (0, revisions[2])
    assert sink.position == revisions[2]  # never past the store
    assert engine.released == revisions[2]
    assert bins.skipped_total == 1
    again = ClosedBins(engine, tmp_path / "live" / "cursors").cursor("influxdb")
    assert again.skipped == (0, revisions[2])
    sink.mended()
    assert ClosedBins(engine, tmp_path / "live" / "cursors").cursor("influxdb").skipped is None


def test_a_sink_that_has_not_moved_for_too_long_is_left_to_the_store(
    engine: FakeEngine, bins: ClosedBins
) -> None:
    engine.put(live_frames(day(0), 10))
    store, sink = bins.cursor("store", 0), bins.cursor("influxdb")
    store.advance(10)
    bins.age = 0.0
    time.sleep(0.01)
    bins.bound()
    assert sink.skipped == (0, 10)


def test_the_store_s_own_cursor_is_never_moved(engine: FakeEngine, bins: ClosedBins) -> None:
    engine.put(live_frames(day(0), 10))
    store = bins.cursor("store", 0)
    bins.age, bins.size = 0.0, 0
    bins.bound()
    assert store.position == 0
    assert engine.released == 0


# --- the thread -------------------------------------------------------------------------------------------------


def test_what_closes_is_committed_and_released(store: Store, engine: FakeEngine, bins: ClosedBins) -> None:
    counter = Counter()
    committed: list[int] = []
    thread = Committer(
        store, "live-a", bins, fast(), totals=lambda: LiveTotals(7, 5, 1, 1), committed=committed.append
    )  # fmt: skip
    thread.start()
    for n in range(3):
        counter.feed(*day(n), query(0, 9, f"late{n}.example"))
        engine.put(counter.close())
        thread.nudge()
        until(lambda: engine.released == counter.position)
    assert thread.stop(10)
    assert_frame_equal(table(store), expected(counter.events))
    assert_frame_equal(table(store, "client_traffic"), expected(counter.events, "client_traffic"))
    assert store.sources()["live-a"].lines == 7
    assert committed[-1] == counter.position
    assert thread.state.commits >= 3
    assert thread.lag == 0.0
    assert not thread.alive


def test_who_cannot_wait_has_what_closed_committed_at_once(
    store: Store, engine: FakeEngine, bins: ClosedBins
) -> None:
    thread = Committer(store, "live-a", bins, CommitSettings(interval=3600.0))
    assert not thread.flush(0.1)  # it does not run yet
    thread.start()
    for n in range(3):
        engine.put(live_frames(day(n), 10 * n + 10))
        assert thread.flush(30)
        assert engine.released == 10 * n + 10
    assert thread.flush(30)  # nothing new has closed
    assert thread.stop(10)
    assert not thread.flush(0.1)


def test_a_late_set_is_added_and_replaces_nothing(store: Store, engine: FakeEngine, bins: ClosedBins) -> None:
    thread = Committer(store, "live-a", bins, fast())
    thread.start()
    engine.put(live_frames(day(0), 100))
    late = query(0, 9, "late.example")
    # The same minute again, hours later: its own rows, told twice, once beside rows of the bins proper.
    for revision, other in ((200, []), (300, day(1))):
        engine.put(live_frames([late, *other], revision))
        closed = engine.closed[-1]
        for name, frame in closed._tables.items():
            number = pl.when(pl.col("bin_start") < minute(1)).then(7).otherwise(0).cast(pl.UInt32)
            closed._tables[name] = frame.with_columns(number.alias("source"))
    thread.nudge()
    until(lambda: engine.released == 300)
    assert thread.stop(10)
    assert_frame_equal(table(store), expected([*day(0), late, *day(1)]))
    assert set(store.sources()) == {"live-a", "live-a~7"}


def test_commits_are_as_far_apart_as_is_set(store: Store, engine: FakeEngine, bins: ClosedBins) -> None:
    thread = Committer(store, "live-a", bins, CommitSettings(interval=0.8))
    thread.start()
    began = time.monotonic()
    for n in range(12):
        engine.put(live_frames(day(n), n + 1))
        thread.nudge()
        time.sleep(0.05)
    until(lambda: engine.released == 12)
    took = time.monotonic() - began
    assert thread.state.commits <= 2 + took / 0.8
    assert thread.stop(10)


def test_many_rows_make_several_commits(store: Store, engine: FakeEngine, bins: ClosedBins) -> None:
    for n in range(40):
        engine.put(live_frames(day(n), n + 1))
    thread = Committer(store, "live-a", bins, fast(rows=20))
    thread.start()
    assert thread.stop(30)
    assert thread.state.commits > 1
    assert_frame_equal(table(store), expected(day(*range(40))))


def test_after_a_restart_it_goes_on_from_what_the_store_has(
    store: Store, engine: FakeEngine, bins: ClosedBins
) -> None:
    for n in range(3):
        engine.put(live_frames(day(n), n + 1))
    first = Committer(store, "live-a", bins, fast())
    first.start()
    assert first.stop(10)
    engine.closed = [
        FakeClosed(n + 1, live_frames(day(n), n + 1), KINDS) for n in range(4)
    ]  # nothing was released
    engine.released = 0
    rows = first.state.rows
    second = Committer(
        Store(store.url, merger=merge_states), "live-a", ClosedBins(engine, Path(store.url)), fast()
    )
    second.start()
    assert second.stop(10)
    assert second.state.rows < rows
    assert engine.released == 4
    assert_frame_equal(table(store), expected(day(*range(4))))


def test_a_store_that_is_away_is_tried_again_and_nothing_is_lost(
    store: Store,
    engine: FakeEngine,
    bins: ClosedBins,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from seismolog.store.live import LiveWriter

    away = [True]
    commit = LiveWriter.commit

    def failing(self: LiveWriter, *args: object) -> bool:
        if away[0]:
            raise StoreError("no space left", mend="make room")
        return commit(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(LiveWriter, "commit", failing)
    monkeypatch.setattr("seismolog.live.commit._FIRST_WAIT", 0.01)
    monkeypatch.setattr("seismolog.live.commit._LAST_WAIT", 0.05)
    caplog.set_level("INFO", "seismolog")
    thread = Committer(store, "live-a", bins, fast())
    thread.start()
    engine.put(live_frames(day(0), 1))
    thread.nudge()
    until(lambda: thread.state.errors >= 3)
    assert thread.state.trouble == "no space left"
    assert engine.released == 0
    assert caplog.text.count("no space left") == 1  # told once
    assert thread.lag > 0
    away[0] = False
    until(lambda: engine.released == 1)
    assert thread.stop(10)
    assert thread.state.trouble is None
    assert "can be written again" in caplog.text
    assert_frame_equal(table(store), expected(day(0)))


def test_a_store_that_stays_away_ends_in_time_and_says_so(
    store: Store, engine: FakeEngine, bins: ClosedBins, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seismolog.store.live import LiveWriter

    def failing(self: LiveWriter, *args: object) -> bool:
        raise StoreError("no space left")

    monkeypatch.setattr(LiveWriter, "commit", failing)
    engine.put(live_frames(day(0), 1))
    thread = Committer(store, "live-a", bins, fast())
    thread.start()
    assert thread.stop(10) is False
    assert engine.released == 0


def test_upkeep_runs_when_it_is_due(store: Store, engine: FakeEngine, bins: ClosedBins) -> None:
    thread = Committer(store, "live-a", bins, fast(upkeep=0.0))
    thread.start()
    for n in range(5):
        engine.put(live_frames(day(0, *range(n)), n + 1))
        thread.nudge()
        until(lambda n=n: engine.released == n + 1)
    until(lambda: thread.state.upkeeps > 2)
    assert thread.stop(10)
    assert_frame_equal(table(store), expected(day(0, *range(4))))
