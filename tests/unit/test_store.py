from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from seismolog.errors import StoreError
from seismolog.store import TABLES, SourceEntry, Store
from seismolog.store.merge import combine
from seismolog.store.snapshot import meeting_stretches
from seismolog.store.table import DeltaFiles
from tests.unit.store_fakes import T0, Event, canonical, frames, merge_states, minute, numbers, state

DNS: list[Event] = [
    (0, "1dns", "dns_query", "10.0.0.1", "a.example"),
    (0, "1dns", "dns_query", "10.0.0.1", "b.example"),
    (0, "1dns", "dns_query", "10.0.0.2", "a.example"),
    (1, "1dns", "dns_query", "10.0.0.2", "c.example"),
]
MORE: list[Event] = [
    (1, "1dns", "dns_query", "10.0.0.2", "d.example"),
    (1, "1dns", "dns_query", "10.0.0.3", "c.example"),
    (2, "1dns", "dns_query", "10.0.0.3", "c.example"),
]


def entry(name: str, **more: object) -> SourceEntry:
    return SourceEntry(source=name, generation=0, bytes=10_000, head_hash=name, full_hash=name, **more)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", merger=merge_states)


def put(store: Store, *sources: tuple[str, list[Event]], replaces: dict[str, str] | None = None) -> None:
    with store.writer() as writer:
        events = [(i, e) for i, (_, of_source) in enumerate(sources) for e in of_source]
        writer.add(frames(events), [entry(n) for n, _ in sources])
        for old, new in (replaces or {}).items():
            writer.replaces(old, new)
        writer.commit()


def table(store: Store, name: str = "traffic") -> pl.DataFrame:
    return canonical(store.read(name).collect())


def expected(events: list[Event], name: str = "traffic") -> pl.DataFrame:
    """What one source with all the events would give."""
    schema = {c.name: c.dtype for c in TABLES[name].columns}
    frame = frames((0, e) for e in events)[name].drop("source")
    frame = frame.with_columns(pl.lit(None, dtype=pl.Null).alias(n) for n in schema if n not in frame.columns)
    return canonical(frame.select(schema.keys()).cast(schema))


def test_an_empty_store_reads_as_empty_tables(store: Store) -> None:
    for name, declared in TABLES.items():
        frame = store.read(name).collect()
        assert frame.height == 0
        assert frame.columns == list(declared.names)
    assert store.snapshot().span() is None
    assert store.sources() == {}


@pytest.mark.parametrize("name", ["traffic", "client_traffic"])
def test_what_is_written_is_read(store: Store, name: str) -> None:
    put(store, ("one", DNS))
    assert_frame_equal(table(store, name), expected(DNS, name))
    assert store.snapshot().span() == (minute(0), minute(1))


@pytest.mark.parametrize("name", ["traffic", "client_traffic"])
@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_sources_that_share_a_minute_are_summed_and_their_states_merged(
    store: Store, name: str, order: tuple[str, str]
) -> None:
    content = {"one": DNS, "two": MORE}
    for source in order:
        put(store, (source, content[source]))
    assert_frame_equal(table(store, name), expected(DNS + MORE, name))


def test_one_command_and_two_give_the_same_table(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other", merger=merge_states)
    put(store, ("one", DNS), ("two", MORE))
    put(other, ("two", MORE))
    put(other, ("one", DNS))
    assert_frame_equal(table(store), table(other))


def test_counting_a_source_again_replaces_its_rows_only(store: Store) -> None:
    put(store, ("one", DNS), ("two", MORE))
    put(store, ("one", DNS))
    assert_frame_equal(table(store), expected(DNS + MORE))
    put(store, ("one", DNS[:1]))
    assert_frame_equal(table(store), expected(DNS[:1] + MORE))


def test_a_grown_source_takes_the_place_of_the_shorter(store: Store) -> None:
    put(store, ("short", DNS))
    put(store, ("long", DNS + MORE), replaces={"short": "long"})
    assert_frame_equal(table(store), expected(DNS + MORE))
    assert set(store.sources()) == {"long"}
    assert store.journal.entries()["short"].state == "replaced"
    assert store.journal.entries()["short"].replaced_by == "long"


def test_a_removed_source_is_gone_at_once_and_its_rows_are_cleared_by_upkeep(store: Store) -> None:
    put(store, ("one", DNS), ("two", MORE))
    assert store.remove(["two", "never there"]) == 1
    assert_frame_equal(table(store), expected(DNS))
    stored = store.tables["traffic"]
    assert sum(f.rows or 0 for f in stored.files()) > table(store).height
    store.maintain(retention=timedelta(0))
    stored.open()
    assert sum(f.rows or 0 for f in stored.files()) == table(store).height
    assert_frame_equal(table(store), expected(DNS))


def test_rows_without_a_commit_are_invisible_and_their_files_go(store: Store) -> None:
    put(store, ("one", DNS))
    with store.writer() as writer:
        writer.add(frames([(0, e) for e in MORE]), [entry("two")])
    assert_frame_equal(table(store), expected(DNS))
    on_disk = list(Path(store.url).glob("traffic/date=*/*.parquet"))
    assert len(on_disk) == 1


def test_rows_whose_journal_entry_never_came_stay_invisible_for_good(store: Store) -> None:
    put(store, ("one", DNS))
    with store.writer() as writer:  # as a writer that dies between its two commits
        writer.add(frames([(0, e) for e in MORE]), [entry("two")])
        writer._committing = True
        for name, written in writer._written.items():
            store.tables[name].commit(written, numbers=(writer._before, writer._next - 1))
    assert_frame_equal(table(store), expected(DNS))
    put(store, ("two", MORE))  # must not take the numbers of the dead writer
    assert_frame_equal(table(store), expected(DNS + MORE))
    store.maintain(retention=timedelta(0))
    assert_frame_equal(table(store), expected(DNS + MORE))


def test_two_writers_cannot_use_the_same_numbers(store: Store) -> None:
    put(store, ("one", DNS))
    first, second = (DeltaFiles(store.url, TABLES["traffic"]) for _ in range(2))
    rows = store.snapshot(["traffic"]).rows("traffic").collect()
    first.open()
    second.open()
    before = store.tables["traffic"].last_number()
    first.commit(first.write(rows), numbers=(before, before + 1))
    with pytest.raises(StoreError, match="another process wrote"):
        second.commit(second.write(rows), numbers=(before, before + 1))


def test_a_second_writer_waits_and_then_names_the_first(store: Store) -> None:
    with (
        store.writer(),
        pytest.raises(StoreError, match=r"process \d+ is writing"),
        store.writer(lock_wait=0.1),
    ):
        pass


def test_a_snapshot_stays_while_the_store_moves_on(store: Store) -> None:
    put(store, ("one", DNS))
    snapshot = store.snapshot(["traffic"])
    put(store, ("one", MORE))
    store.maintain(retention=timedelta(days=1))
    assert_frame_equal(canonical(snapshot.read("traffic").collect()), expected(DNS))
    assert_frame_equal(table(store), expected(MORE))


def test_a_snapshot_that_is_overtaken_looks_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, ("one", DNS))
    entries = store.journal.entries
    overtaken = iter([True])

    def pin_then_write(files: DeltaFiles) -> object:
        if next(overtaken, False):
            other = Store(store.url, merger=merge_states)
            put(other, ("one", MORE))
            other.maintain(retention=timedelta(days=1))
        files.open()
        from seismolog.store.snapshot import _Pinned

        return _Pinned(files, tuple(files.files()))

    monkeypatch.setattr("seismolog.store.snapshot.Snapshot._pin", staticmethod(pin_then_write))
    assert entries()
    assert_frame_equal(table(store), expected(MORE))


def test_time_range_columns_and_condition(store: Store) -> None:
    put(store, ("one", DNS), ("two", MORE))
    one_minute = store.read("traffic", minute(1), minute(2), ["count"]).collect()
    assert one_minute.to_dicts() == [{"count": 3}]
    busy = store.read("client_traffic", where=pl.col("client") == "10.0.0.2", columns=["bin_start", "count"])
    assert busy.collect().sort("bin_start").rows() == [(minute(0), 1), (minute(1), 2)]
    with pytest.raises(ValueError, match="no column nonsense"):
        store.read("traffic", columns=["nonsense"])
    with pytest.raises(ValueError, match="no table"):
        store.read("nonsense")
    with pytest.raises(ValueError, match="without a zone"):
        store.read("traffic", datetime(2026, 3, 29))  # noqa: DTZ001


def test_distinct_numbers_come_from_the_merged_state_even_if_it_is_not_asked_for(store: Store) -> None:
    put(store, ("one", DNS), ("two", MORE))
    row = store.read("traffic", minute(1), minute(2), ["distinct_clients", "name_entropy"]).collect().row(0)
    assert row[0] == 2
    assert row[1] == pytest.approx(numbers(state({"c": 2, "d": 1}))["entropy"])


def test_days_are_read_one_by_one(store: Store) -> None:
    late = [(e[0] + 1440, *e[1:]) for e in MORE]
    put(store, ("one", DNS + late))
    days = list(store.days("traffic", columns=["count"]))
    assert [d.isoformat() for d, _ in days] == ["2026-03-29", "2026-03-30"]
    assert [int(f["count"].sum()) for _, f in days] == [4, 3]
    only = list(store.days("traffic", minute(1440)))
    assert [d.isoformat() for d, _ in only] == ["2026-03-30"]


def test_small_files_are_joined_and_nothing_changes(store: Store) -> None:
    for n in range(6):
        put(store, (f"s{n}", [(e[0] + n, *e[1:]) for e in DNS]))
    before = table(store)
    done = store.maintain(compact_files=3, retention=timedelta(0))
    assert done.rewritten > 0
    assert done.deleted_files > 0
    assert len(list(Path(store.url).glob("traffic/date=*/*.parquet"))) == 1
    assert len(list(Path(store.url).glob("source/date=*/*.parquet"))) == 1
    assert_frame_equal(table(store), before)
    assert len(store.sources()) == 6
    put(store, ("s0", DNS[:1]))
    assert store.sources()["s0"].generation == max(s.generation for s in store.sources().values())


def test_old_days_expire_but_not_what_was_just_counted(store: Store) -> None:
    late = [(e[0] + 3 * 1440, *e[1:]) for e in MORE]
    put(store, ("one", DNS), ("two", late))
    counted = datetime.now(UTC)
    # An archive much older than `keep`, analysed today, stays.
    store.maintain(keep=timedelta(days=1), now=counted + timedelta(hours=1))
    assert table(store).height == len(expected(DNS)) + len(expected(late))
    # Once it was counted longer ago than `keep`, the old days go.
    store.maintain(keep=timedelta(days=1), now=counted + timedelta(days=2), retention=None)
    if counted + timedelta(days=1) > T0 + timedelta(days=3):
        assert table(store).height == 0
        assert store.sources() == {}


def test_an_unknown_column_is_an_error_and_not_dropped(store: Store) -> None:
    bad = frames([(0, DNS[0])])
    bad["traffic"] = bad["traffic"].with_columns(pl.lit(1).alias("surprise"))
    with store.writer() as writer, pytest.raises(StoreError, match="surprise"):
        writer.add(bad, [entry("one")])


def test_a_count_that_does_not_fit_is_an_error_and_not_wrapped(store: Store) -> None:
    bad = frames([(0, DNS[0])])
    bad["client_traffic"] = bad["client_traffic"].with_columns(pl.lit(2**31, dtype=pl.UInt32).alias("count"))
    with store.writer() as writer, pytest.raises(StoreError):
        writer.add(bad, [entry("one")])


def test_rows_counted_without_states_add_up_and_say_that_distinct_numbers_are_unknown(store: Store) -> None:
    bare = {
        n: f.with_columns(pl.lit(None, dtype=pl.Binary).alias(c) for c in f.columns if c.endswith("_state"))
        for n, f in frames([(0, e) for e in MORE]).items()
    }
    put(store, ("one", DNS))
    with store.writer() as writer:
        writer.add(bare, [entry("two")])
        writer.commit()
    row = store.read("traffic", minute(1), minute(2)).collect().to_dicts()[0]
    assert row["count"] == 3
    assert row["distinct_clients"] is None
    assert row["name_entropy"] is None


def test_what_is_unknown_of_a_minute_is_unknown_of_ten_and_of_the_hour() -> None:
    declared = TABLES["traffic"]
    wide = expected([(m, *rest) for m in range(12) for _, *rest in DNS])  # type: ignore[misc]
    lost = wide.with_columns(
        pl.when(pl.col("bin_start") != minute(3)).then(c).alias(c) for c in ("client_state", "name_state")
    )
    derived = [c.name for c in declared.columns if c.role == "derived"]

    def rolled(frame: pl.DataFrame, *lengths: str) -> pl.DataFrame:
        for length in lengths:
            floor = pl.col("bin_start").dt.truncate(length)
            frame = combine(frame.with_columns(floor), declared, merger=merge_states)
        return canonical(frame)

    for steps in (("1h",), ("10m", "1h"), ("2m", "10m", "1h", "1d")):
        of_all = rolled(lost, *steps)
        assert of_all["count"].to_list() == rolled(wide, *steps)["count"].to_list()
        for name in derived:
            assert of_all[name].null_count() == of_all.height, (steps, name)
    # What does not hold the minute is known, in every step.
    known = rolled(wide, "2m").filter(pl.col("bin_start") != minute(2))
    assert_frame_equal(rolled(lost, "2m").filter(pl.col("bin_start") != minute(2)), known)
    assert known["distinct_names"].null_count() == 0


def test_what_nobody_asked_stays_nothing_and_is_not_unknown() -> None:
    # Mail has no names: null where it was counted, however often it is added up.
    mail = expected([(m, "1mx", "smtp_accepted", "10.0.0.1", "") for m in range(4)])
    for length in ("2m", "10m"):
        floor = pl.col("bin_start").dt.truncate(length)
        mail = combine(mail.with_columns(floor), TABLES["traffic"], merger=merge_states)
        assert mail["name_state"].null_count() == mail["distinct_names"].null_count() == mail.height
        assert mail["distinct_clients"].to_list() == [1] * mail.height
    assert mail["count"].to_list() == [4]


def test_a_column_added_later_reads_as_null_in_old_files(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, ("one", DNS))
    from dataclasses import replace

    from seismolog.store.schema import Column

    old = TABLES["traffic"]
    new = replace(old, columns=(*old.columns, Column("bytes", pl.Int64(), "sum", "bytes")))
    monkeypatch.setitem(TABLES, "traffic", new)
    later = Store(store.url, merger=merge_states)
    assert later.read("traffic", columns=["bytes"]).collect()["bytes"].to_list() == [None, None]
    put(later, ("two", MORE))
    assert_frame_equal(canonical(later.read("traffic").collect()), expected(DNS + MORE))
    assert "bytes" in later.tables["traffic"].create().schema().to_json()


def test_a_store_of_a_newer_version_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, ("one", DNS))
    monkeypatch.setattr("seismolog.store.table.SCHEMA_VERSION", 0)
    with pytest.raises(StoreError, match="newer seismolog"):
        put(Store(store.url, merger=merge_states), ("two", MORE))


def test_other_tools_read_the_tables(store: Store) -> None:
    put(store, ("one", DNS))
    frame = pl.scan_delta(f"{store.url}/traffic").collect()
    assert frame["count"].sum() == 4
    assert frame["date"].unique().to_list() == [T0.date()]


def test_rows_of_a_model_are_replaced_by_condition_in_one_commit(store: Store) -> None:
    def series(model: str, *observed: float) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "bin_start": [minute(10 * i) for i in range(len(observed))],
                "model": model,
                "observed": observed,
            }
        )

    store.replace("model_series", series("a", 1.0, 2.0), pl.col("model") == "a")
    store.replace("model_series", series("b", 5.0), pl.col("model") == "b")
    store.replace("model_series", series("a", 3.0), pl.col("model") == "a")
    rows = store.read("model_series", columns=["model", "observed"]).collect().sort("model").rows()
    assert rows == [("a", 3.0), ("b", 5.0)]
    with pytest.raises(ValueError, match="belong to sources"):
        store.replace("traffic", series("a", 1.0), pl.lit(True))


def test_a_whole_table_of_many_rows_is_replaced(store: Store) -> None:
    def rows(day: int) -> pl.DataFrame:
        return pl.DataFrame({"client": [f"10.0.{n // 256}.{n % 256}" for n in range(30_000)]}).with_columns(
            pl.lit(minute(0)).alias("learned_at"), pl.lit("dns_query").alias("series"), last_day=pl.lit(day)
        )

    for day in (1, 2):
        store.replace("baseline", rows(day), None)
        kept = store.read("baseline").collect()
        assert (kept.height, kept["last_day"].unique().to_list()) == (30_000, [day])


def test_source_entries_survive_the_round_trip(store: Store) -> None:
    full = entry(
        "one",
        paths=("/var/log/mail.log",),
        servers=("1mx", "2mx"),
        dialects={"postfix": 3},
        error={"offset": 12, "message": "cut short"},
        first_time=minute(0),
        year_guessed=True,
        edges=b"\x00open",
        fingerprint="f",
    )
    with store.writer() as writer:
        writer.add(frames([(0, e) for e in DNS]), [full])
        writer.commit()
    read = Store(store.url).sources()["one"]
    assert (read.paths, read.servers, read.dialects, read.error) == (
        full.paths,
        full.servers,
        full.dialects,
        full.error,
    )
    assert (read.first_time, read.year_guessed, read.fingerprint) == (minute(0), True, "f")
    assert [(c.server, c.kind, c.first, c.last, c.events) for c in read.coverage] == [
        ("1dns", "dns_query", minute(0), minute(1), 4)
    ]
    assert store.journal.edges(["one", "another"]) == {"one": b"\x00open"}


def test_meeting_stretches_are_where_sources_share_server_kind_and_bin() -> None:
    from seismolog.store.journal import Coverage

    def c(server: str, kind: str, first: int, last: int) -> Coverage:
        return Coverage(server, kind, minute(first), minute(last), 1)

    traffic, domain = TABLES["traffic"], TABLES["domain"]
    apart = [(1, c("a", "dns_query", 0, 59)), (2, c("a", "dns_query", 60, 119))]
    assert meeting_stretches(apart, traffic) == []
    edge = [(1, c("a", "dns_query", 0, 60)), (2, c("a", "dns_query", 60, 119))]
    assert meeting_stretches(edge, traffic) == [(minute(60), minute(60))]
    assert meeting_stretches([(1, c("a", "dns_query", 0, 55)), (2, c("a", "dns_query", 57, 70))], domain) == [
        (minute(50), minute(50))
    ]
    other_kind = [(1, c("a", "dns_query", 0, 60)), (2, c("a", "pop_access", 0, 60))]
    assert meeting_stretches(other_kind, traffic) == []
    assert meeting_stretches(other_kind, domain) == []
    inside = [
        (1, c("a", "dns_query", 0, 100)),
        (2, c("a", "dns_query", 10, 20)),
        (3, c("a", "dns_query", 30, 40)),
    ]
    assert meeting_stretches(inside, traffic) == [(minute(10), minute(20)), (minute(30), minute(40))]
    same = [(1, c("a", "dns_query", 0, 100)), (1, c("a", "dns_query", 10, 20))]
    assert meeting_stretches(same, traffic) == []
