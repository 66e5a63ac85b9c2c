"""A log cut between two lines of one event: what the second takes back, in any file and in any order."""

from __future__ import annotations

import gzip
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from seismolog.archive import ScanOptions, analyze_into_store, count, edges
from seismolog.store import Store
from seismolog.store.schema import TABLES as TABLES_BY_NAME

pytest.importorskip("seismolog._core")

OPTIONS = ScanOptions(timezone="UTC", year=2026, inside=("10.0.0.0/8",))
START = datetime(2026, 3, 29, 8, 40, tzinfo=UTC)
TABLES = ("traffic", "client_traffic", "account_activity")


def session(rng: random.Random, number: int) -> list[tuple[datetime, str]]:
    """A qpopper session: its end is taken back by its login, which counts itself."""
    begin = START + timedelta(seconds=rng.randrange(9000))
    end = begin + timedelta(seconds=rng.randrange(3000))
    user, client = f"user{rng.randrange(12)}", f"10.0.0.{rng.randrange(20)}"
    return [
        (begin, f'pop1 popper[{4000 + number}]: (v4.0.5) POP login by user "{user}" at ({client}) {client}'),
        (end, f"pop1 popper[{4000 + number}]: Stats: {user} 0 0 3 4567 {client} {client}"),
    ]


def hand_over(rng: random.Random, number: int) -> list[tuple[datetime, str]]:
    """A message from this machine: two lines of acceptance, of which the hand-over takes one back."""
    when = START + timedelta(seconds=rng.randrange(9000))
    first, second = f"g6F9{number:04d}002140", f"g6F8{number:04d}002141"
    later = [when + timedelta(seconds=s) for s in sorted(rng.choices(range(90), k=2))]
    return [
        (when, f"mx1 sendmail[21]: {first}: from=joe, size=312, class=0, nrcpts=1, relay=joe@localhost"),
        (
            later[0],
            f"mx1 sm-mta[22]: {second}: from=<joe@mx1.example.org>, size=602, class=0, nrcpts=1, proto=ESMTP, "
            "daemon=MTA-v4, relay=localhost [127.0.0.1]",
        ),
        (
            later[1],
            f"mx1 sendmail[21]: {first}: to=bob@example.net, mailer=relay, relay=[127.0.0.1] [127.0.0.1], "
            f"dsn=2.0.0, stat=Sent ({second} Message accepted for delivery)",
        ),
    ]


def plain(rng: random.Random, number: int) -> list[tuple[datetime, str]]:
    """A message from outside, which nothing takes back."""
    when = START + timedelta(seconds=rng.randrange(9000))
    relay = f"pc{number % 7} [192.0.2.{number % 7}]"
    text = f"mx1 sm-mta[23]: g6F7{number:04d}002150: from=<a@example.com>, size=9, class=0, nrcpts=2, relay={relay}"
    return [(when, text)]


def written(lines: list[tuple[datetime, str]]) -> list[str]:
    return [f"{when:%b %d %H:%M:%S} {text}\n" for when, text in sorted(lines)]


def make(events: int = 300) -> list[str]:
    rng = random.Random(5)
    makers: list[Callable[[random.Random, int], list[tuple[datetime, str]]]] = [session, hand_over, plain]
    return written([line for n in range(events) for line in makers[n % 3](rng, n)])


LINES = make()


def tables(store: Store) -> dict[str, pl.DataFrame]:
    return {name: store.read(name).collect().sort(TABLES_BY_NAME[name].keys) for name in TABLES}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "all.log").write_text("".join(LINES))
    store = Store(folder / "store")
    analyze_into_store([folder / "all.log"], OPTIONS, store)
    return tables(store)


@pytest.fixture(scope="module")
def counted_whole(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    log = tmp_path_factory.mktemp("counted") / "all.log"
    log.write_text("".join(LINES))
    return count([log], OPTIONS, by=["kind", "client"], bin=timedelta(minutes=1)).table


def pieces(folder: Path, cuts: tuple[int, ...]) -> list[Path]:
    folder.mkdir()
    bounds = [0, *cuts, len(LINES)]
    paths = []
    for n, (low, high) in enumerate(itertools.pairwise(bounds)):
        paths.append(folder / f"mail.{n}")
        paths[-1].write_text("".join(LINES[low:high]))
    return paths


def test_the_whole_log_has_what_is_to_be_taken_back(whole: dict[str, pl.DataFrame]) -> None:
    totals = dict(whole["traffic"].group_by("kind").agg(pl.col("count").sum()).iter_rows())
    # A session counts once, a local message once; without pairs there would be 200 of each.
    assert totals["pop_access"] == 100
    assert totals["smtp_accepted"] == 200
    assert totals["smtp_reinjected"] == 100


@pytest.mark.parametrize("cuts", [(350,), (200, 420), (100, 101, 300)])
@pytest.mark.parametrize("order", ["rising", "falling", "together"])
def test_pieces_give_the_table_of_the_whole(
    tmp_path: Path, whole: dict[str, pl.DataFrame], cuts: tuple[int, ...], order: str
) -> None:
    paths = pieces(tmp_path / "logs", cuts)
    store = Store(tmp_path / "store")
    if order == "together":
        analyze_into_store(paths, OPTIONS, store)
    else:
        for path in paths if order == "rising" else reversed(paths):
            analyze_into_store([path], OPTIONS, store)
    back = [e for e in store.sources().values() if e.source.endswith("~back")]
    assert back, "a cut that parts no pair tests nothing"
    for name, frame in tables(store).items():
        assert_frame_equal(frame, whole[name])


def test_a_piece_that_grows_and_one_counted_again(tmp_path: Path, whole: dict[str, pl.DataFrame]) -> None:
    first, second = pieces(tmp_path / "logs", (350,))
    store = Store(tmp_path / "store")
    text = second.read_text()
    second.write_text("".join(text.splitlines(keepends=True)[:60]))
    analyze_into_store([first, second], OPTIONS, store)
    assert_some_difference(tables(store), whole)
    second.write_text(text)
    analyze_into_store([second], OPTIONS, store)
    for again in (False, True):
        analyze_into_store([first, second], OPTIONS, store, again=again)
        for name, frame in tables(store).items():
            assert_frame_equal(frame, whole[name])


def assert_some_difference(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> None:
    assert any(not frame.equals(other[name]) for name, frame in one.items())


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_stretches_of_one_file_give_the_table_of_the_whole(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(pack("".join(make(9000)).encode()))
    stores = []
    # A stretch is a block of text at least: this log has several.
    for name, size in (("whole", 2**30), ("stretches", 1)):
        stores.append(Store(tmp_path / name))
        analyze_into_store([log], replace(OPTIONS, batch_size=size), stores[-1])
    parts = {e.source.partition("~")[2] for e in stores[1].sources().values()}
    assert {"", "1", "2", "back", "1~back"} <= parts
    expected = tables(stores[0])
    for name, frame in tables(stores[1]).items():
        assert_frame_equal(frame, expected[name])


def test_counts_of_the_command_are_those_of_the_store(tmp_path: Path, whole: dict[str, pl.DataFrame]) -> None:
    log = tmp_path / "all.log"
    log.write_text("".join(LINES))
    expected = whole["client_traffic"].group_by("kind", "client").agg(pl.col("count").sum())
    for paths in (pieces(tmp_path / "logs", (200, 420)), [log]):
        for by in (["kind", "client"], ["kind", "client", "qtype"]):
            table = count(paths, OPTIONS, by=by).table.select("kind", "client", "count")
            assert_frame_equal(table, expected, check_dtypes=False, check_row_order=False)
        kinds = count(paths, OPTIONS, by=["kind"]).table
        assert dict(kinds.rows()) == dict(
            whole["traffic"].group_by("kind").agg(pl.col("count").sum()).iter_rows()
        )


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(LINES)), swapped=st.booleans())
def test_a_log_cut_anywhere_counts_as_the_whole(
    cut: int, swapped: bool, counted_whole: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> None:
    paths = pieces(tmp_path_factory.mktemp("cut") / "logs", (cut,))
    minute = timedelta(minutes=1)
    table = count(paths[::-1] if swapped else paths, OPTIONS, by=["kind", "client"], bin=minute).table
    assert_frame_equal(table, counted_whole)


def test_a_cancel_takes_one_event_within_the_hour_back() -> None:
    def taken(*halves: tuple[int, str | None, int]) -> list[tuple[int, int]]:
        """Of halves (minute, kind, source), those taken back."""
        found = edges.Halves()
        for minute, kind, source in halves:
            when = START + timedelta(minutes=minute)
            row = {"id": 1, "bin_start": when, "server": "mx1", "kind": kind}
            found.add(source, pl.DataFrame([row], schema_overrides={"kind": pl.String, "id": pl.UInt64}))
        back = found.taken()
        if back.is_empty():
            return []
        return [
            ((w - START) // timedelta(minutes=1), s) for w, s in back.select("bin_start", "source").rows()
        ]

    assert taken((0, "pop_access", 0), (60, None, 1)) == [(0, 0)]
    assert taken((0, "pop_access", 0), (61, None, 1)) == []
    assert taken((5, None, 0), (6, "pop_access", 1)) == [(6, 1)]
    assert taken((0, "pop_access", 0), (1, "pop_access", 0), (2, None, 1)) == [(0, 0)]
    assert taken((0, "pop_access", 0), (1, None, 1), (2, None, 1)) == [(0, 0)]
    assert taken((0, "pop_access", 0)) == []
    assert taken() == []


def test_what_a_replaced_piece_took_back_is_there_again(tmp_path: Path) -> None:
    first, second = pieces(tmp_path / "logs", (350,))
    store, alone = Store(tmp_path / "store"), Store(tmp_path / "alone")
    analyze_into_store([first, second], OPTIONS, store)
    assert any(s.endswith("~back") for s in store.sources())
    # Of another server now, and without any half: it takes nothing back of the first piece any more.
    other = replace(OPTIONS, server_names={"mx1": "elsewhere", "pop1": "elsewhere"})
    analyze_into_store([second], other, store)
    assert not any(s.endswith("~back") for s in store.sources())
    analyze_into_store([first], OPTIONS, alone)
    analyze_into_store([second], other, alone)
    for name, frame in tables(store).items():
        assert_frame_equal(frame, tables(alone)[name])
