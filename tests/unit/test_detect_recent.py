"""What a daemon's looks keep of the hours of a store is what a fresh look would read, whatever changes between them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from seismolog.detect.recent import Recent
from seismolog.detect.view import View
from seismolog.store import Store
from seismolog.store.snapshot import Snapshot
from tests.unit.live_fakes import Counter
from tests.unit.store_fakes import Event, merge_states, minute
from tests.unit.test_store import put

COLUMNS = ["bin_start", "server", "kind", "client", "count"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", merger=merge_states)


def query(at: int, client: int = 1) -> Event:
    return (at, "1dns", "dns_query", f"10.0.0.{client}", "a.example")


def by_bin(rows: pl.LazyFrame) -> pl.LazyFrame:
    return (
        rows.group_by(pl.col("bin_start").dt.truncate("10m"), pl.col("client").cast(pl.String))
        .agg(pl.col("count").cast(pl.Int64).sum())
        .filter(pl.col("count") > 0)
    )


class Looks:
    """Looks of the last three hours at a store, with and without what is kept."""

    def __init__(self, store: Store) -> None:
        self.store, self.recent = store, Recent()
        self.made: list[tuple[Any, Any]] = []

    def look(self, until: int) -> None:
        since = minute(until) - timedelta(hours=3)

        def make(rows: pl.LazyFrame) -> pl.LazyFrame:
            self.made.append((since, until))
            return by_bin(rows)

        kept = View(self.recent.of(self.store), since=since, until=minute(until))
        found = kept.by_hour("test", "client_traffic", COLUMNS, make).filter(pl.col("bin_start") >= since)
        fresh = View(self.store, since=since, until=minute(until))
        expected = fresh.by_hour("test", "client_traffic", COLUMNS, by_bin)
        assert_frame_equal(found, expected, check_row_order=False)
        one, other = kept.curves(), fresh.curves()
        assert one.names == other.names
        assert np.array_equal(one.values, other.values)


def test_hours_that_have_not_changed_are_not_read_again(store: Store) -> None:
    counter, writer, looks = Counter(), store.live_writer("live"), Looks(store)
    for until in range(10, 310, 10):
        counter.feed(*[query(until - 10 + m, c) for m in range(0, 10, 3) for c in (1, 2)])
        writer.commit(counter.close(), counter.position)
        looks.look(until)
    # One reading a look, of the newest hour.
    assert len(looks.made) == 30
    kept = looks.recent._kept["test"]
    assert sorted(kept) == [minute(60 * h) for h in (2, 3, 4)]
    assert looks.recent.bytes > 0
    # A late line: its hour is read again. Its commit also holds the newest bins, so that those between may be.
    counter.feed(query(130, 9))
    writer.commit(counter.close(), counter.position)
    looks.made.clear()
    looks.look(300)
    assert len(looks.made) == 1
    looks.made.clear()
    looks.look(300)
    assert looks.made == []


@pytest.mark.parametrize("seed", range(6))
def test_whatever_changes_a_look_sees_it(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    counter, writer, looks = Counter(), store.live_writer("live"), Looks(store)
    archives = 0
    for until in range(20, 420, 20):
        counter.feed(*[query(until - 20 + rng.randrange(20), rng.randrange(1, 6)) for _ in range(12)])
        if rng.random() < 0.4:
            counter.feed(*[query(rng.randrange(until), rng.randrange(1, 6)) for _ in range(3)])
        writer.commit(counter.close(), counter.position)
        what = rng.random()
        if what < 0.2:
            store.maintain()
        elif what < 0.4:
            first = rng.randrange(until)
            last = rng.randrange(first, until)
            archives += 1
            put(
                store,
                (f"archive-{archives}", [query(at, rng.randrange(1, 6)) for at in range(first, last + 1)]),
            )
        elif what < 0.5 and archives:
            store.remove([f"archive-{rng.randrange(1, archives + 1)}"])
        elif what < 0.6:
            store.live_writer("live~1").commit({}, counter.position)
        looks.look(until)
        looks.look(until)


def test_rows_whose_revision_is_not_told_are_never_taken_as_unchanged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter, writer = Counter(), store.live_writer("live")
    counter.feed(query(5))
    writer.commit(counter.close(), counter.position)
    assert store.snapshot().stamp("client_traffic", minute(0), minute(60)) is not None
    files = Snapshot.files
    monkeypatch.setattr(
        Snapshot, "files", lambda *a, **k: [replace(f, high_revision=None) for f in files(*a, **k)]
    )
    assert store.snapshot().stamp("client_traffic", minute(0), minute(60)) is None


def test_frames_are_read_as_they_are() -> None:
    rows = pl.DataFrame(
        {
            "bin_start": [minute(5)],
            "server": ["1dns"],
            "kind": ["dns_query"],
            "client": ["10.0.0.1"],
            "count": [3],
        }
    )
    tables = {"client_traffic": rows}
    assert Recent().of(tables) is tables
    view = View(tables, since=minute(0), until=minute(10))
    assert view.by_hour("test", "client_traffic", COLUMNS, by_bin)["count"].to_list() == [3]
    assert view.curves().values.tolist() == [[3.0]]
