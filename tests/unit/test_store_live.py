"""Live rows in the store: revisions, crashes between the logs, replays, and archives over a live range."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, Transaction, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from seismolog.errors import StoreError
from seismolog.store import TABLES, Coverage, SourceEntry, Store
from seismolog.store.live import LiveTotals, overlapping
from seismolog.store.schema import GENERATION, REVISION
from seismolog.store.supersede import superseding
from seismolog.store.table import DataFile, DeltaFiles
from tests.unit.live_fakes import Counter, live_frames
from tests.unit.store_fakes import T0, Event, canonical, frames, merge_states, minute
from tests.unit.test_store import expected, put, table

BOTH = ("traffic", "client_traffic")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", merger=merge_states)


def query(at: int, client: int = 1, name: str = "a.example", server: str = "1dns") -> Event:
    return (at, server, "dns_query", f"10.0.0.{client}", name)


def day(*minutes: int) -> list[Event]:
    """A few queries of several clients in each of these minutes."""
    return [query(m, c, f"n{m * c % 5}.example") for m in minutes for c in range(1, 4)]


def assert_holds(store: Store, events: list[Event]) -> None:
    for name in BOTH:
        assert_frame_equal(table(store, name), expected(events, name))


def live(store: Store, events: list[Event], revision: int = 100, source: str = "live") -> None:
    store.live_writer(source).commit(live_frames(events, revision), revision)


# --- revisions --------------------------------------------------------------------------------------------------


def test_of_each_key_the_highest_revision_is_read(store: Store) -> None:
    writer = store.live_writer("live")
    counter = Counter()
    counter.feed(*day(0, 1))
    writer.commit(counter.close(), counter.position)
    counter.feed(query(0, 2, "late.example"), *day(2))
    writer.commit(counter.close(), counter.position)
    assert_holds(store, counter.events)
    assert set(store.sources()) == {"live"}
    entry = store.sources()["live"]
    assert entry.origin == "live"
    assert entry.live_revision == counter.position
    assert [(c.server, c.kind, c.first, c.last) for c in entry.coverage] == [
        ("1dns", "dns_query", minute(0), minute(2))
    ]
    assert store.snapshot().span() == (minute(0), minute(2))


def test_revisions_of_one_key_in_one_commit_are_folded(store: Store) -> None:
    both = [live_frames(day(0), 10), live_frames([*day(0), query(0, 9)], 20)]
    together = {n: pl.concat([f[n] for f in both]) for n in BOTH}
    store.live_writer("live").commit(together, 20)
    assert_holds(store, [*day(0), query(0, 9)])
    rows = store.read("traffic", columns=["count", REVISION, GENERATION, "source"]).collect()
    assert rows["count"].to_list() == [4]
    assert rows[REVISION].to_list() == [20]
    assert rows["source"].to_list() == ["live"]


def test_a_replayed_revision_is_skipped(store: Store) -> None:
    writer = store.live_writer("live")
    assert writer.commit(live_frames(day(0), 50), 50) is True
    assert writer.commit(live_frames(day(0), 50), 50) is False
    assert store.live_writer("live").committed() == 50
    assert store.live_writer("live").commit(live_frames(day(0), 50), 50) is False
    assert_holds(store, day(0))


def test_two_live_sources_are_summed(store: Store) -> None:
    live(store, day(0, 1), source="live-a")
    live(store, day(1, 2), source="live-b")
    assert_holds(store, day(0, 1) + day(1, 2))


def test_rows_and_totals_go_up_together(store: Store) -> None:
    writer = store.live_writer("live")
    writer.commit(live_frames(day(0), 50), 50, LiveTotals(10, 7, 2, 1))
    entry = store.sources()["live"]
    assert (entry.lines, entry.matched, entry.ignored, entry.unmatched) == (10, 7, 2, 1)
    assert store.live_writer("live").totals() == LiveTotals(10, 7, 2, 1)


def test_a_revision_without_rows_only_moves_on(store: Store) -> None:
    writer = store.live_writer("live")
    writer.commit(live_frames(day(0), 50), 50)
    assert writer.commit({}, 80) is True
    assert writer.committed() == 80
    assert_holds(store, day(0))


def test_an_unknown_column_is_an_error(store: Store) -> None:
    wrong = {"traffic": live_frames(day(0), 5)["traffic"].with_columns(pl.lit(1).alias("size"))}
    with pytest.raises(StoreError, match="no column size"):
        store.live_writer("live").commit(wrong, 5)
    assert store.read("traffic").collect().is_empty()


def test_a_source_of_an_archive_is_no_live_source(store: Store) -> None:
    put(store, ("one", day(0)))
    with pytest.raises(StoreError, match="is an archive's"):
        store.live_writer("one").commit(live_frames(day(0), 5), 5)


def test_the_journal_stays_small_and_archives_keep_their_numbers(store: Store) -> None:
    writer = store.live_writer("live")
    for n in range(20):
        writer.commit(live_frames(day(n), 100 * n + 100), 100 * n + 100)
        if n == 10:
            put(store, ("other", [query(0, 1, server="2dns")]))
    store.journal.files.open()
    assert len(store.journal.files.files()) <= 5
    assert_holds(store, [*day(*range(20)), query(0, 1, server="2dns")])
    assert len({e.generation for e in store.sources().values()}) == 2


def test_a_live_source_can_be_removed_and_goes_on(store: Store) -> None:
    writer = store.live_writer("live")
    for n in range(5):
        writer.commit(live_frames(day(n), n + 1), n + 1)
    store.remove(["live"])
    assert store.read("traffic").collect().is_empty()


def test_a_store_of_the_version_before_gains_the_columns(store: Store) -> None:
    put(store, ("one", day(0)))
    for name in (*BOTH, "source"):  # written again as the version before wrote it
        uri = f"{store.url}/{name}"
        content = pl.read_delta(uri).drop(REVISION if name in BOTH else "live_revision")
        number = store.tables[name].last_number()
        shutil.rmtree(uri)
        properties = CommitProperties(app_transactions=[Transaction("seismolog", number)])
        settings_then = {"delta.dataSkippingNumIndexedCols": "0"}
        write_deltalake(
            uri, content, partition_by=["date"], commit_properties=properties, configuration=settings_then
        )
    later = Store(store.url, merger=merge_states)
    assert_holds(later, day(0))
    live(later, day(5))
    assert_holds(later, day(0, 5))
    assert later.sources()["one"].live_revision is None
    assert later.tables["traffic"].files()[-1].first is not None or later.tables["traffic"].files()[0].first


# --- upkeep -----------------------------------------------------------------------------------------------------


def test_upkeep_folds_revisions_and_changes_nothing(store: Store) -> None:
    writer = store.live_writer("live")
    counter = Counter()
    for n in range(0, 300, 7):
        counter.feed(*day(n))
        if n % 21 == 0:
            counter.feed(query(max(0, n - 50), 8, "late.example"))
        writer.commit(counter.close(), counter.position)
    stored = store.tables["client_traffic"]
    stored.open()
    before = sum(f.rows or 0 for f in stored.files())
    done = store.maintain(archives=False, retention=timedelta(0), now=T0 + timedelta(hours=6))
    assert done.rewritten > 0
    assert_holds(store, counter.events)
    stored.open()
    rows = sum(f.rows or 0 for f in stored.files())
    assert rows == table(store, "client_traffic").height < before
    assert overlapping(stored.files()) == []
    assert len(stored.files()) == 5  # hours
    # When the day is over its files are strung together, and what comes late still counts.
    store.maintain(archives=False, compact_files=2, retention=timedelta(0), now=T0 + timedelta(days=2))
    stored.open()
    assert len(stored.files()) == 1
    assert_holds(store, counter.events)
    counter.feed(query(100, 77, "very-late.example"))
    writer.commit(counter.close(), counter.position)
    assert_holds(store, counter.events)


def test_upkeep_leaves_rows_that_wait_for_their_journal_entry(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = store.live_writer("live")
    writer.commit(live_frames(day(0), 10), 10)
    monkeypatch.setattr(writer, "_append", lambda *a, **k: (_ for _ in ()).throw(StoreError("killed")))
    with pytest.raises(StoreError):
        writer.commit(live_frames([*day(0), query(0, 5)], 20), 20)
    store.maintain(archives=False, retention=timedelta(0))
    assert_holds(store, day(0))
    again = store.live_writer("live")
    assert again.committed() == 10
    assert again.commit(live_frames([*day(0), query(0, 5)], 20), 20)
    assert_holds(store, [*day(0), query(0, 5)])


def test_live_days_expire_by_their_age_alone(store: Store) -> None:
    live(store, day(0, 1))
    put(store, ("archive", [query(0, 1, server="2dns")]))
    store.maintain(keep=timedelta(days=1), retention=timedelta(0), now=T0 + timedelta(days=3))
    assert set(table(store)["server"]) == {"2dns"}


def test_the_log_of_many_commits_is_cut(store: Store) -> None:
    writer = store.live_writer("live")
    for n in range(30):
        writer.commit(live_frames(day(n), n + 1), n + 1)
    store.maintain(archives=False)
    log = Path(store.url) / "traffic" / "_delta_log"
    assert list(log.glob("*.checkpoint.parquet"))
    assert "interval 24 hours" in (store.tables["traffic"].create().metadata().configuration).values()
    assert_holds(Store(store.url, merger=merge_states), day(*range(30)))
    assert Store(store.url).live_writer("live").committed() == 30
    assert Store(store.url).tables["traffic"].last_number("seismolog-live-live") == 30


# --- archives over a live range ---------------------------------------------------------------------------------


def test_an_archive_over_a_live_range_changes_nothing(store: Store) -> None:
    events = day(*range(20))
    live(store, events)
    put(store, ("archive", [e for e in events if 5 <= e[0] <= 15]))
    assert_holds(store, events)


def test_an_archive_cut_in_mid_minute_leaves_live_at_its_edges(store: Store) -> None:
    events = day(*range(20))
    live(store, events)
    inside = [e for e in events if 5 <= e[0] <= 15]
    put(store, ("archive", inside[1:-2]))  # part of the first and of the last minute
    assert_holds(store, events)


def test_an_archive_mends_what_live_missed(store: Store) -> None:
    events = day(*range(20))
    live(store, [e for e in events if e[0] not in (8, 9, 15) and e != (10, *events[30][1:])])
    put(store, ("archive", [e for e in events if 5 <= e[0] <= 15]))
    assert_holds(store, events)  # minute 15 is an edge where live has nothing


def test_what_the_archive_does_not_have_inside_is_gone(store: Store) -> None:
    live(store, day(*range(20)))
    put(store, ("archive", day(5, 7, 15)))
    assert_holds(store, day(*range(6), 7, *range(15, 20)))


def test_other_kinds_and_servers_are_left_alone(store: Store) -> None:
    mail = [(m, "1mx", "smtp_accepted", "10.0.1.1", "") for m in range(20)]
    other = [(m, "1dns", "pop_access", "10.0.1.1", "") for m in range(20)]
    live(store, [*day(*range(20)), *mail, *other])
    put(store, ("archive", day(*range(5, 16))))
    assert_holds(store, [*day(*range(20)), *mail, *other])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_halves_of_a_cut_log_and_live_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    store = Store(tmp_path / "store", merger=merge_states)
    events = day(*range(30))
    cut = len(events) // 2 + 1  # in mid-minute
    steps = [
        lambda: live(store, events),
        lambda: put(store, ("first", events[:cut])),
        lambda: put(store, ("second", events[cut:])),
    ]
    for step in order:
        steps[step]()
    assert_holds(store, events)
    store.maintain(retention=timedelta(0))
    assert_holds(store, events)
    assert table(store).filter(pl.col("bin_start") == minute(15))["distinct_clients"].to_list() == [3]


def test_not_summed_is_not_doubled_either(store: Store) -> None:
    events = day(*range(20))
    live(store, events)
    put(store, ("archive", [e for e in events if 5 <= e[0] <= 15]))
    rows = store.read("client_traffic", columns=["count"], summed=False).collect()
    assert rows["count"].sum() == len(events)
    some = store.read("client_traffic", minute(5), minute(16), columns=["count"]).collect()
    assert some["count"].sum() == len(day(*range(5, 16)))


def details(events: list[Event], columns: dict[str, object]) -> pl.DataFrame:
    """Rows of `domain` (10 min)."""
    rows: dict[tuple[datetime, str, str], int] = {}
    for at, server, _, _, name in events:
        key = (minute(at // 10 * 10), server, name)
        rows[key] = rows.get(key, 0) + 1
    frame = pl.DataFrame(
        [(*k, n) for k, n in rows.items()],
        schema={
            "bin_start": pl.Datetime("us", "UTC"),
            "server": pl.String,
            "domain": pl.String,
            "count": pl.Int64,
        },
        orient="row",
    )
    return frame.with_columns(pl.lit(v).alias(k) for k, v in columns.items())


def counts_of(store: Store, name: str) -> list[tuple[object, ...]]:
    declared = TABLES[name]
    value = "logins" if name == "account_activity" else "count"
    return sorted(store.read(name, columns=[*declared.keys, value]).collect().rows())


def test_longer_bins_are_superseded_where_the_archive_covers_them_whole(store: Store) -> None:
    events = day(*range(60))
    seen = [e for e in events if e[0] not in (22, 33)]  # live missed some
    frame = details(seen, {REVISION: 100})
    store.live_writer("live").commit({**live_frames(seen, 100), "domain": frame}, 100)
    held = [e for e in events if 15 <= e[0] <= 45]
    with store.writer() as writer:
        entry = SourceEntry(source="archive", generation=0, bytes=10, head_hash="x", full_hash="x")
        writer.add({**frames((0, e) for e in held), "domain": details(held, {"source": 0})}, [entry])
        writer.commit()
    # 20 and 30 are inside; 10 and 40 are edges, where live holds.
    whole = [e for e in events if 20 <= e[0] < 40] + [e for e in seen if not 20 <= e[0] < 40]
    assert counts_of(store, "domain") == sorted(details(whole, {}).rows())


def activity(rows: list[tuple[int, str, str, int]], columns: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(
        [(T0 + timedelta(hours=h), s, a, n) for h, s, a, n in rows],
        schema={
            "bin_start": pl.Datetime("us", "UTC"),
            "server": pl.String,
            "account": pl.String,
            "logins": pl.Int64,
        },
        orient="row",
    ).with_columns(pl.lit(v).alias(k) for k, v in columns.items())


def hourly(kind: str, hours: range) -> list[Event]:
    return [(60 * h + m, "1mx", kind, "10.0.1.1", "") for h in hours for m in (0, 59)]


def accounts(store: Store, archive_kind: str, rows: list[tuple[int, str, str, int]], hours: range) -> None:
    with store.writer() as writer:
        entry = SourceEntry(source=archive_kind, generation=0, bytes=10, head_hash="x", full_hash="x")
        made = frames((0, e) for e in hourly(archive_kind, hours))
        writer.add({**made, "account_activity": activity(rows, {"source": 0})}, [entry])
        writer.commit()


def test_a_table_of_mixed_kinds_changes_sides_only_as_a_whole(store: Store) -> None:
    mixed = hourly("pop_access", range(6)) + hourly("ssh_access", range(6))
    rows = [(h, "1mx", "ann", 5) for h in range(6)]
    frame = activity(rows, {REVISION: 100})
    store.live_writer("live").commit({**live_frames(mixed, 100), "account_activity": frame}, 100)
    whole = sorted(activity(rows, {}).rows())
    # An archive of one of both kinds: live has more, and holds.
    accounts(store, "pop_access", [(h, "1mx", "ann", 3) for h in range(1, 5)], range(1, 5))
    assert counts_of(store, "account_activity") == whole
    # An archive of a kind that live has not: other lines, added.
    accounts(store, "imap_access", [(h, "1mx", "ann", 10) for h in range(1, 3)], range(1, 3))
    added = [(h, "1mx", "ann", 15 if h in (1, 2) else 5) for h in range(6)]
    assert counts_of(store, "account_activity") == sorted(activity(added, {}).rows())
    # The other kind's archive: together they cover what live has, and supersede it strictly inside.
    accounts(store, "ssh_access", [(h, "1mx", "ann", 4) for h in range(1, 5)], range(1, 5))
    inside = [(h, "1mx", "ann", {1: 15, 2: 17, 3: 7}.get(h, 5)) for h in range(6)]
    assert counts_of(store, "account_activity") == sorted(activity(inside, {}).rows())


def coverage(server: str, kind: str, first: int, last: int) -> Coverage:
    return Coverage(server, kind, minute(first), minute(last), 1)


def source(name: str, generation: int, *stretches: Coverage, origin: str = "archive") -> SourceEntry:
    return SourceEntry(source=name, generation=generation, origin=origin, coverage=stretches)


def test_the_rule_as_a_pure_function() -> None:
    a_minute = timedelta(minutes=1)
    live_entry = source("live", 9, coverage("a", "dns_query", 0, 99), origin="live")
    archive = source("x", 1, coverage("a", "dns_query", 12, 40), coverage("a", "pop_access", 10, 50))
    assert superseding([live_entry], TABLES["traffic"], a_minute) is None
    assert superseding([archive], TABLES["traffic"], a_minute) is None
    rule = superseding([live_entry, archive], TABLES["traffic"], a_minute)
    assert rule is not None
    # A server's stretch is that of all its kinds: the file holds its lines from 10 to 50.
    assert rule.inside.of == {("a", "dns_query"): [(minute(11), minute(49))]}
    assert rule.disputed.of == {("a", "dns_query"): [(minute(10), minute(10)), (minute(50), minute(50))]}
    longer = superseding([live_entry, archive], TABLES["domain"], timedelta(minutes=10))
    assert longer is not None
    assert longer.inside.of == {("a", ""): [(minute(20), minute(40))]}
    assert longer.disputed.of == {("a", ""): [(minute(10), minute(10)), (minute(50), minute(50))]}


def test_stretches_hold_what_a_plain_test_holds() -> None:
    live_entry = source(
        "live", 9, *(coverage(s, k, 0, 99) for s in "ab" for k in ("dns_query", "pop_access")), origin="live"
    )
    archives = [
        source("x", 1, coverage("a", "dns_query", 3, 20)),
        source("y", 2, coverage("a", "dns_query", 40, 41), coverage("b", "pop_access", 40, 60)),
        source("z", 3, coverage("a", "dns_query", 15, 30)),
    ]
    rule = superseding([live_entry, *archives], TABLES["traffic"], timedelta(minutes=1))
    assert rule is not None
    rows = [(s, k, minute(m)) for s in "abc" for k in ("dns_query", "pop_access") for m in range(-2, 70)]
    frame = pl.DataFrame(rows, schema=["server", "kind", "bin_start"], orient="row")
    found = frame.select(rule.inside.hold("bin_start").alias("held"))["held"].to_list()
    for (server, kind, at), held in zip(rows, found, strict=True):
        assert held == any(f <= at <= t for f, t in rule.inside.of.get((server, kind), ()))
    assert sum(found) == 26 + 19


def data_file(first: int, last: int, path: str = "f") -> DataFile:
    return DataFile(path, 1, T0.date(), 1, minute(first), minute(last), 1, 1, 1)


def test_overlapping_stretches_of_files() -> None:
    assert overlapping([]) == []
    assert overlapping([data_file(0, 5), data_file(6, 9)]) == []
    assert overlapping([data_file(0, 5), data_file(5, 9)]) == [(minute(5), minute(5))]
    assert overlapping([data_file(0, 50), data_file(10, 20), data_file(15, 30)]) == [(minute(10), minute(30))]
    assert overlapping([data_file(0, 5), data_file(3, 9), data_file(20, 30), data_file(25, 26)]) == [
        (minute(3), minute(5)),
        (minute(25), minute(26)),
    ]


# --- against a plain model --------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.builds(
        query,
        st.integers(0, 40),
        st.integers(1, 3),
        st.sampled_from(["a.example", "b.example"]),
        st.sampled_from(["1dns", "2dns"]),
    ),
    min_size=1,
    max_size=60,
)
STEP = st.one_of(
    st.tuples(st.just("feed"), st.integers(1, 20)),
    st.tuples(st.just("commit"), st.just(0)),
    st.tuples(st.just("killed"), st.integers(0, 2)),
    st.tuples(st.just("upkeep"), st.just(0)),
    st.tuples(st.just("archive"), st.integers(0, 1_000_000)),
)


class KilledError(Exception):
    """Stands for the end of the process."""


@settings(max_examples=25)
@given(events=EVENTS, steps=st.lists(STEP, max_size=14))
def test_against_a_plain_model(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], steps: list[tuple[str, int]]
) -> None:
    """Lines out of order, commits, kills between any two tables, upkeep, archives of any stretch: the same table."""
    store = Store(tmp_path_factory.mktemp("model") / "store", merger=merge_states)
    counter = Counter()
    log: list[tuple[int, dict[str, pl.DataFrame]]] = []  # the closed-bin log
    writer = store.live_writer("live")
    waiting = list(events)
    by_time = sorted(events)

    def committing(stop_after: int | None = None) -> None:
        frames_ = counter.close()
        if any(not f.is_empty() for f in frames_.values()):
            log.append((counter.position, frames_))
        after = writer.committed()
        due = [f for r, f in log if r > after]
        if not due:
            return
        together = {n: pl.concat([f[n] for f in due]) for n in BOTH}
        original = DeltaFiles.commit
        left = [stop_after]

        def dying(self: DeltaFiles, *args: object, **kwargs: object) -> None:
            if left[0] is not None:
                if left[0] == 0:
                    raise KilledError
                left[0] -= 1
            original(self, *args, **kwargs)  # type: ignore[arg-type]

        DeltaFiles.commit = dying  # type: ignore[method-assign]
        try:
            writer.commit(together, log[-1][0])
        finally:
            DeltaFiles.commit = original  # type: ignore[method-assign]

    for step, number in steps:
        if step == "feed":
            counter.feed(*waiting[:number])
            del waiting[:number]
        elif step == "commit":
            committing()
        elif step == "killed":
            try:
                committing(number)
            except KilledError:
                store = Store(store.url, merger=merge_states)
                writer = store.live_writer("live")
        elif step == "upkeep":
            store.maintain(archives=number % 2 == 0, retention=timedelta(0))
        else:
            first, last = sorted((number % 1000 % len(by_time), number // 1000 % len(by_time)))
            if first < last:
                put(store, (f"archive-{first}-{last}", by_time[first:last]))
                # Another archive of the same lines is another test's matter.
                store.remove(
                    [
                        s
                        for s in store.sources()
                        if s.startswith("archive") and not s.endswith(f"-{first}-{last}")
                    ]
                )
    counter.feed(*waiting)
    committing()
    assert_holds(store, events)


# --- killed -----------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
from tests.unit import test_store_live as t
from seismolog.store.table import DeltaFiles

store, step, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
taken = 0

def watched(function):
    def call(*args, **kwargs):
        global taken
        taken += 1
        if taken == step and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if taken == step and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

DeltaFiles.write = watched(DeltaFiles.write)
DeltaFiles.commit = watched(DeltaFiles.commit)
t.second_commit(t.Store(store, merger=t.merge_states))
print("done", taken)
"""


def second_commit(store: Store) -> None:
    counter = Counter()
    counter.feed(*day(0, 1))
    counter.close()
    counter.feed(query(1, 9), *day(2))
    store.live_writer("live").commit(counter.close(), counter.position)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", range(1, 7))
def test_killed_at_any_step_the_next_start_goes_on(tmp_path: Path, root: Path, step: int, when: str) -> None:
    store = Store(tmp_path / "store", merger=merge_states)
    live(store, day(0, 1), revision=600)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "python"), str(root)])}
    command = [sys.executable, "-c", CHILD, store.url, str(step), when]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert child.returncode == -signal.SIGKILL, child.stdout + child.stderr
    after = [*day(0, 1, 2), query(1, 9)]
    survivor = Store(store.url, merger=merge_states)
    assert_holds(survivor, after if (step, when) == (6, "after") else day(0, 1))
    second_commit(survivor)
    assert_holds(survivor, after)
    survivor.maintain(retention=timedelta(0))
    assert_holds(survivor, after)
    for name in BOTH:
        files = survivor.tables[name]
        files.open()
        assert sum(f.rows or 0 for f in files.files()) == table(survivor, name).height


def test_times_are_utc() -> None:
    assert canonical(live_frames(day(0), 1)["traffic"])["bin_start"][0] == datetime(2026, 3, 29, tzinfo=UTC)
