"""Logs that are longer than a batch: counted in stretches, one log in the store."""

from __future__ import annotations

import gzip
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from seismolog.archive import ScanOptions, analyze_into_store, count
from seismolog.archive.scanning import DETAIL_TABLES
from seismolog.archive.stretches import together
from seismolog.errors import UsageError
from seismolog.store import Store
from tests.unit.store_fakes import canonical
from tests.unit.test_archive_core import DNS, MAIL, OPTIONS

pytest.importorskip("seismolog._core")

#: Every block that is read (256 KiB) is a stretch.
SHORT = replace(OPTIONS, batch_size=1)
ALL = sorted(DNS + MAIL, key=lambda line: line[:15])
TEXT = "".join(ALL).encode()


@pytest.fixture(params=["plain", "gz"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / ("all.log" if request.param == "plain" else "all.log.gz")
    path.write_bytes(TEXT if request.param == "plain" else gzip.compress(TEXT))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def rows(store: Store, name: str) -> pl.DataFrame:
    return canonical(store.read(name).collect())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "all.log").write_bytes(TEXT)
    store = Store(folder / "store")
    analyze_into_store([folder / "all.log"], OPTIONS, store)
    return {name: rows(store, name) for name in ("traffic", "client_traffic", *DETAIL_TABLES)}


def same(store: Store, whole: dict[str, pl.DataFrame]) -> None:
    for name in ("traffic", "client_traffic", "account_activity", "domain"):
        assert_frame_equal(rows(store, name), whole[name])
    for name in ("client_domain", "client_names", "ptr_target"):
        # What is told of consecutive lines is one step short at a cut; the rest is the same.
        found, expected = rows(store, name), whole[name]
        plain = [c for c in expected.columns if c in ("bin_start", "server", "client", "domain", "count")]
        assert_frame_equal(found.select(plain), expected.select(plain))


def parts(store: Store) -> list[str]:
    return [e.source for e in store.sources().values() if e.is_part]


def test_the_stretches_of_a_log_are_one_log(log: Path, store: Store, whole: dict[str, pl.DataFrame]) -> None:
    result = analyze_into_store([log], SHORT, store)
    same(store, whole)
    assert len(parts(store)) >= 1
    (entry,) = [e for e in store.sources().values() if not e.is_part]
    assert {e.whole for e in store.sources().values()} == {entry.source}
    assert (entry.lines, entry.matched, entry.bytes) == (len(ALL), len(ALL), len(TEXT))
    assert entry.full_hash and entry.head_hash
    assert entry.first_time == datetime(2026, 3, 29, 10, 0, tzinfo=UTC)
    assert entry.last_time == datetime(2026, 3, 29, 10, 49, tzinfo=UTC)
    assert [e.source for e in result.sources] == [entry.source]
    assert (result.summary.lines, result.summary.matched) == (len(ALL), len(ALL))
    assert result.summary.dialects.total() == len(ALL)


def test_it_is_known_again(log: Path, store: Store, whole: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    analyze_into_store([log], SHORT, store)
    assert analyze_into_store([log], SHORT, store).scanned == []
    other = tmp_path / "copy.log"
    other.write_bytes(TEXT)
    assert analyze_into_store([other], SHORT, store).scanned == []
    same(store, whole)


def test_a_longer_log_takes_its_place_with_all_stretches(
    store: Store, tmp_path: Path, whole: dict[str, pl.DataFrame]
) -> None:
    log = tmp_path / "all.log"
    log.write_bytes(TEXT[: len(TEXT) * 3 // 4].rpartition(b"\n")[0] + b"\n")
    analyze_into_store([log], SHORT, store)
    before = set(store.sources())
    assert len(before) >= 2
    log.write_bytes(TEXT)
    result = analyze_into_store([log], SHORT, store)
    same(store, whole)
    assert not before & set(store.sources())
    assert len(result.replaced) == 1


@pytest.mark.parametrize("again", [OPTIONS, SHORT])
def test_counted_again_it_is_there_once(
    log: Path, store: Store, whole: dict[str, pl.DataFrame], again: ScanOptions
) -> None:
    analyze_into_store([log], SHORT, store)
    analyze_into_store([log], again, store, again=True)
    same(store, whole)
    assert (parts(store) == []) == (again is OPTIONS)
    analyze_into_store([log], SHORT, store, again=True)
    same(store, whole)


def test_all_of_it_is_removed(log: Path, store: Store) -> None:
    analyze_into_store([log], SHORT, store)
    (entry,) = [e for e in store.sources().values() if not e.is_part]
    store.remove([entry.source])
    assert store.sources() == {}
    assert store.read("client_traffic").collect().is_empty()


def test_upkeep_keeps_it(log: Path, store: Store, whole: dict[str, pl.DataFrame]) -> None:
    analyze_into_store([log], SHORT, store)
    store.maintain(compact_files=1, retention=timedelta(0))
    same(store, whole)


def test_a_pipe_is_counted_in_stretches_and_known_by_its_content(
    store: Store, whole: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    log = tmp_path / "all.log"
    log.write_bytes(TEXT)

    def piped() -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        writer = threading.Thread(target=lambda: pipe.write_bytes(TEXT))
        writer.start()
        analyze_into_store([pipe], SHORT, store)
        writer.join()
        pipe.unlink()

    piped()
    assert parts(store)
    same(store, whole)
    piped()
    same(store, whole)
    # And as a file, with its name known.
    analyze_into_store([log], SHORT, store)
    same(store, whole)
    assert len([e for e in store.sources().values() if not e.is_part]) == 1


def test_a_pipe_that_repeats_a_file_of_the_same_command_is_dropped(
    store: Store, whole: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    log, pipe = tmp_path / "all.log", tmp_path / "pipe"
    log.write_bytes(TEXT)
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(TEXT))
    writer.start()
    analyze_into_store([log, pipe], SHORT, store)
    writer.join()
    same(store, whole)


def test_what_goes_wrong_leaves_nothing(log: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from seismolog.store.writer import SourceWriter

    added = []

    def add(self: SourceWriter, *arguments: object) -> None:
        added.append(arguments)
        if len(added) == 2:
            raise OSError(28, "No space left on device")
        original(self, *arguments)

    original = SourceWriter.add
    monkeypatch.setattr(SourceWriter, "add", add)
    with pytest.raises(OSError, match="No space"):
        analyze_into_store([log], SHORT, store)
    monkeypatch.undo()
    assert store.sources() == {}
    analyze_into_store([log], SHORT, store)
    assert len(parts(store)) >= 1


def test_a_log_of_years_without_years_is_counted_with_the_right_ones(tmp_path: Path, store: Store) -> None:
    start = datetime(2022, 1, 1, tzinfo=UTC)
    query = "(a.example): query: a.example IN A + (1.2.3.4)"
    times = [start + timedelta(hours=12 * i) for i in range(2900)]
    lines = [
        f"{t:%b %d %H:%M:%S} ns named[7]: client 10.0.0.{k}#53 {query}\n" for t in times for k in range(3)
    ]
    log = tmp_path / "years.log"
    log.write_text("".join(lines))
    end = (start + timedelta(hours=12 * 2900)).timestamp()
    os.utime(log, (end, end))
    options = replace(SHORT, year=None)
    result = analyze_into_store([log], options, store)
    found = store.read("traffic").group_by(pl.col("bin_start").dt.year()).agg(pl.col("count").sum()).collect()
    assert dict(found.sort("bin_start").iter_rows()) == {2022: 2190, 2023: 2190, 2024: 2196, 2025: 2124}
    assert "2022 to 2025" in result.summary.guesses[0]
    table = count([log], options, by=["kind"], bin="all").table
    assert table["count"].to_list() == [len(lines)]


def test_a_pipe_of_years_without_years_is_refused_and_leaves_nothing(tmp_path: Path, store: Store) -> None:
    query = "10.0.0.1#53 (a.example): query: a.example IN A + (1.2.3.4)"
    times = [datetime(2022, 1, 1, tzinfo=UTC) + timedelta(hours=4 * i) for i in range(8700)]
    text = "".join(f"{t:%b %d %H:%M:%S} ns named[7]: client {query}\n" for t in times).encode()
    pipe = tmp_path / "pipe"
    options = replace(SHORT, year=None)
    for job in (
        lambda: analyze_into_store([pipe], options, store),
        lambda: count([pipe], options, by=["kind"], bin="all"),
    ):
        os.mkfifo(pipe)
        writer = threading.Thread(target=lambda: pipe.write_bytes(text))
        writer.start()
        with pytest.raises(UsageError, match="span more than one") as caught:
            job()
        writer.join()
        pipe.unlink()
        assert caught.value.mend is not None and "--year 20" in caught.value.mend
    assert store.sources() == {}


def test_count_takes_stretches_too(log: Path, whole: dict[str, pl.DataFrame]) -> None:
    by = ["kind", "client"]
    one, other = (count([log], o, by=by, bin=timedelta(minutes=1)) for o in (SHORT, OPTIONS))
    assert_frame_equal(one.table, other.table, check_row_order=False)
    assert one.summary.lines == other.summary.lines == len(ALL)


def test_reports_of_stretches_are_added_up() -> None:
    one = {
        "lines": 3,
        "matched": 2,
        "unmatched": 1,
        "dialects": {"bind": 2},
        "servers": ["b"],
        "first_time": 60,
        "last_time": 120,
        "years": (2025, 2025),
    }
    other = {
        "lines": 4,
        "matched": 4,
        "dialects": {"bind": 1, "postfix": 3},
        "servers": ["a"],
        "first_time": None,
        "last_time": None,
        "years": (2025, 2026),
        "bytes": 9,
    }
    found = together([one, other])
    assert (found["lines"], found["matched"], found["unmatched"], found["bytes"]) == (7, 6, 1, 9)
    assert found["dialects"] == {"bind": 3, "postfix": 3}
    assert (found["servers"], found["first_time"], found["last_time"]) == (["a", "b"], 60, 120)
    assert found["years"] == (2025, 2026)
