from __future__ import annotations

import gzip
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from seismolog.archive import Archived, ScanOptions, analyze_into_store, count, discover
from seismolog.config import parse
from seismolog.errors import InputError, StoreError, UsageError
from seismolog.store import Store
from tests.unit.archive_fakes import FakeCore, log
from tests.unit.store_fakes import Event, canonical, merge_states, minute

rng = random.Random(3)
DNS: list[Event] = [
    (m, "1mx", "dns_query", f"10.0.0.{rng.randrange(20)}", f"n{rng.randrange(30)}.example")
    for m in range(60)
    for _ in range(8)
]
MAIL: list[Event] = [
    (m, "1mx", rng.choice(["smtp_accepted", "pop_access"]), f"10.0.1.{rng.randrange(20)}", "-")
    for m in range(60)
]
TEXT = log(*DNS)
assert len(TEXT) > 3 * 4096
#: In the middle of a minute and behind the head.
CUT = TEXT.index(b"\n", len(TEXT) // 2) + 1
assert TEXT[CUT:].split()[0] == TEXT[:CUT].splitlines()[-1].split()[0]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


class Site:
    """A store and the core that fills it."""

    def __init__(self, folder: Path, split: bool = False) -> None:
        self.core = FakeCore(split)
        self.store = Store(folder, merger=merge_states)
        self.options = ScanOptions()

    def analyze(self, *paths: Path | str, **more: object) -> Archived:
        return analyze_into_store(paths, self.options, self.store, scanner=self.core, **more)  # type: ignore[arg-type]

    def tables(self) -> dict[str, pl.DataFrame]:
        return {n: canonical(self.store.read(n).collect()) for n in ("traffic", "client_traffic")}


@pytest.fixture
def new_site(tmp_path: Path) -> Callable[[], Site]:
    numbers = iter(range(100))
    return lambda **more: Site(tmp_path / f"store{next(numbers)}", **more)  # type: ignore[arg-type]


@pytest.fixture
def site(new_site: Callable[[], Site]) -> Site:
    return new_site()


def same(one: Site, other: Site) -> None:
    for name, frame in one.tables().items():
        assert_frame_equal(frame, other.tables()[name])


@pytest.fixture
def whole(new_site: Callable[[], Site], logs: Path) -> Site:
    """The DNS log counted in one piece."""
    (logs / "whole").write_bytes(TEXT)
    made = new_site()
    made.analyze(logs / "whole")
    (logs / "whole").unlink()
    return made


def test_the_same_archive_twice_is_the_same_table_and_is_not_read_again(
    site: Site, whole: Site, logs: Path
) -> None:
    (logs / "dns.log").write_bytes(TEXT)
    first = site.analyze(logs)
    again = site.analyze(logs)
    same(site, whole)
    assert len(site.core.scans) == 1
    assert site.core.digests == []
    assert [s.source for s in again.sources] == [s.source for s in first.sources]
    assert again.summary.lines == first.summary.lines == len(DNS)
    assert "counted before" in again.passed_over[0].reason


def test_forced_to_count_again_it_replaces_itself(site: Site, whole: Site, logs: Path) -> None:
    (logs / "dns.log").write_bytes(TEXT)
    site.analyze(logs)
    site.analyze(logs, again=True)
    same(site, whole)
    assert len(site.core.scans) == 2
    assert len(site.store.sources()) == 1


@pytest.mark.parametrize("together", [True, False])
def test_a_rotated_log_beside_its_compressed_copy_counts_once(
    site: Site, whole: Site, logs: Path, together: bool
) -> None:
    (logs / "dns.log.1").write_bytes(TEXT)
    if not together:
        site.analyze(logs)
    (logs / "dns.log.1.gz").write_bytes(gzip.compress(TEXT))
    result = site.analyze(logs)
    same(site, whole)
    assert len(site.store.sources()) == 1
    assert any("same content" in p.reason for p in result.passed_over)


def test_rotation_and_compression_between_two_runs(site: Site, whole: Site, logs: Path) -> None:
    (logs / "dns.log").write_bytes(TEXT)
    site.analyze(logs)
    (logs / "dns.log").unlink()
    (logs / "dns.log.2.gz").write_bytes(gzip.compress(TEXT))
    site.analyze(logs)
    same(site, whole)
    assert len(site.core.scans) == 1
    assert len(site.core.digests) == 1
    # Its new name is remembered, and renaming it again changes nothing.
    site.analyze(logs)
    (logs / "dns.log.2.gz").rename(logs / "dns.log.3.gz")
    again = site.analyze(logs)
    assert len(site.core.digests) == 1
    assert again.sources[0].paths[0] == str(logs / "dns.log.2.gz")
    same(site, whole)


@pytest.mark.parametrize("cut", [30, 4096, CUT])
def test_a_grown_file_replaces_its_shorter_self(site: Site, whole: Site, logs: Path, cut: int) -> None:
    (logs / "dns.log").write_bytes(TEXT[:cut])
    short = site.analyze(logs)
    (logs / "dns.log").write_bytes(TEXT)
    result = site.analyze(logs)
    same(site, whole)
    assert result.replaced == [s.source for s in short.sources]
    assert len(site.store.sources()) == 1


def test_a_shorter_copy_does_not_replace_the_longer(site: Site, whole: Site, logs: Path) -> None:
    (logs / "dns.log").write_bytes(TEXT)
    site.analyze(logs)
    (logs / "backup.log").write_bytes(TEXT[:CUT])
    site.analyze(logs)
    site.analyze(logs / "backup.log")
    same(site, whole)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a"), ("both",)])
def test_a_log_cut_in_mid_minute_and_its_halves_analysed_apart(
    site: Site, whole: Site, logs: Path, order: tuple[str, ...]
) -> None:
    (logs / "a").write_bytes(TEXT[:CUT])
    (logs / "b").write_bytes(TEXT[CUT:])
    for half in order:
        site.analyze(*([logs / half] if half != "both" else [logs / "b", logs / "a"]))
    same(site, whole)
    assert len(site.store.sources()) == 2


@pytest.mark.parametrize("order", [("dns", "mail"), ("mail", "dns")])
def test_dns_and_mail_of_one_host_in_different_files(
    site: Site, new_site: Callable[[], Site], logs: Path, order: tuple[str, str]
) -> None:
    (logs / "dns").write_bytes(TEXT)
    (logs / "mail").write_bytes(log(*MAIL))
    for name in order:
        site.analyze(logs / name)
    (logs / "all").write_bytes(log(*sorted(DNS + MAIL)))
    together = new_site()
    together.analyze(logs / "all")
    same(site, together)


def test_any_batching_gives_the_same_table(site: Site, new_site: Callable[[], Site], logs: Path) -> None:
    for i in range(5):
        (logs / f"part{i}").write_bytes(log(*DNS[i * 96 : (i + 1) * 96]))
    site.options = replace(site.options, batch_size=1)
    told: list[tuple[int, int, int]] = []
    result = site.analyze(logs, progress=lambda *step: told.append(step))
    assert [len(s) for s in site.core.scans] == [1] * 5
    other = new_site()
    other.analyze(logs)
    assert [len(s) for s in other.core.scans] == [5]
    same(site, other)
    assert told == sorted(told)
    assert told[-1] == (len(TEXT), len(TEXT), len(DNS))
    assert result.summary.matched == len(DNS)


def test_rows_of_one_key_in_one_file_become_one_row(
    whole: Site, new_site: Callable[..., Site], logs: Path
) -> None:
    (logs / "dns.log").write_bytes(TEXT)
    split = new_site(split=True)
    split.analyze(logs)
    assert split.store.read("traffic", columns=["bin_start"]).collect().height == 60
    same(split, whole)


def test_servers_without_a_name_in_their_lines_are_told_apart_by_the_option(
    site: Site, logs: Path, tmp_path: Path
) -> None:
    nameless = TEXT.replace(b"1mx", b"-")
    (logs / "one.log").write_bytes(nameless)
    (logs / "two.log").write_bytes(nameless)
    site.options = replace(site.options, default_server="1dns")
    site.analyze(logs / "one.log")
    site.options = replace(site.options, default_server="2dns")
    site.analyze(logs / "two.log")
    by_server = (
        site.store.read("traffic").collect().group_by("server").agg(pl.col("count").sum()).sort("server")
    )
    assert by_server.rows() == [("1dns", len(DNS)), ("2dns", len(DNS))]
    # The same file under a corrected name is the same source.
    site.options = replace(site.options, default_server="3dns")
    site.analyze(logs / "two.log")
    assert set(site.store.read("traffic").collect()["server"]) == {"1dns", "3dns"}


def test_other_options_count_again_and_replace(site: Site, whole: Site, logs: Path) -> None:
    (logs / "dns.log").write_bytes(TEXT)
    site.analyze(logs)
    site.options = replace(site.options, timezone="Asia/Tokyo")
    result = site.analyze(logs)
    assert len(site.core.scans) == 2
    assert len(site.store.sources()) == 1
    same(site, whole)
    assert not any("time zone" in g for g in result.summary.guesses)


def test_a_damaged_file_is_counted_to_the_damage_and_named(site: Site, whole: Site, logs: Path) -> None:
    packed = gzip.compress(os.urandom(0) + TEXT)
    (logs / "dns.log.gz").write_bytes(packed[: len(packed) * 2 // 3])
    result = site.analyze(logs)
    assert len(result.failures) == 1
    assert result.failures[0].file == str(logs / "dns.log.gz")
    assert result.failures[0].offset is not None
    assert 0 < result.summary.matched < len(DNS)
    # It is remembered as damaged, and the whole file takes its place.
    assert len(site.analyze(logs).failures) == 1
    assert len(site.core.scans) == 1
    (logs / "mended.log").write_bytes(TEXT)
    site.analyze(logs)
    same(site, whole)
    assert len(site.store.sources()) == 1


def test_what_was_guessed_is_told_also_the_second_time(site: Site, logs: Path) -> None:
    (logs / "dns.log").write_bytes(TEXT)
    first, second = site.analyze(logs), site.analyze(logs)
    assert first.summary.guesses == second.summary.guesses
    assert len(first.summary.guesses) == 2
    assert "2026" in first.summary.guesses[0]
    assert "read as UTC" in first.summary.guesses[1]


def test_unmatched_lines_are_counted(site: Site, logs: Path) -> None:
    (logs / "dns.log").write_bytes(TEXT + b"something else\n")
    summary = site.analyze(logs).summary
    assert (summary.lines, summary.matched, summary.unmatched) == (len(DNS) + 1, len(DNS), 1)
    assert summary.reasons == {"no dialect": 1}


def test_a_failing_store_keeps_what_earlier_batches_counted(
    site: Site, whole: Site, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (logs / "a").write_bytes(TEXT[:CUT])
    (logs / "b").write_bytes(TEXT[CUT:])
    site.options = replace(site.options, batch_size=1)
    scan = site.core.scan

    def full(paths: list[str], **options: object) -> object:
        if paths == [str(logs / "b")]:
            raise StoreError("no space left")
        return scan(paths, **options)

    monkeypatch.setattr(site.core, "scan", full)
    with pytest.raises(StoreError):
        site.analyze(logs)
    assert [s.paths for s in site.store.sources().values()] == [(str(logs / "a"),)]
    monkeypatch.undo()
    site.analyze(logs)
    same(site, whole)


def test_options_come_from_the_configuration_and_the_command_line_counts_before_it() -> None:
    config = parse(
        '[site]\ntimezone = "Asia/Tokyo"\ninside = ["10.0.0.0/8"]\n'
        '[[dns_server]]\nname = "1dns"\nhostnames = ["NS"]\ntimezone = "UTC"\n[limits]\nclients = 7'
    )
    options = ScanOptions.from_config(config, year=2002, threads=3)
    arguments = options.arguments()
    assert arguments["timezone"] == "Asia/Tokyo"
    assert arguments["server_names"] == {"ns": "1dns"}
    assert arguments["server_timezones"] == {"1dns": "UTC"}
    assert arguments["limits"]["clients"] == 7
    assert ScanOptions.from_config(config, timezone="UTC").timezone == "UTC"
    assert ScanOptions.from_config(parse("")).limits == {}
    assert options.fingerprint("1") == replace(options, threads=9).fingerprint("1")
    assert options.fingerprint("1") != replace(options, year=2003).fingerprint("1")
    assert options.fingerprint("1") != options.fingerprint("2")


# -- count


def test_count_adds_each_log_once(logs: Path) -> None:
    (logs / "dns.log").write_bytes(TEXT)
    (logs / "dns.log.gz").write_bytes(gzip.compress(TEXT))
    (logs / "mail.log").write_bytes(log(*MAIL))
    counted = count([logs], by=["kind"], scanner=FakeCore())
    pops = sum(e[2] == "pop_access" for e in MAIL)
    assert counted.table.rows() == [
        ("dns_query", len(DNS)),
        ("pop_access", pops),
        ("smtp_accepted", 60 - pops),
    ]
    assert counted.table.columns == ["kind", "count"]
    assert [p.path for p in counted.passed_over] == [str(logs / "dns.log.gz")]
    assert counted.summary.lines == len(DNS) + 60


def test_count_in_batches_by_client_and_bin(logs: Path) -> None:
    (logs / "a").write_bytes(TEXT[:CUT])
    (logs / "b").write_bytes(TEXT[CUT:])
    core = FakeCore()
    one = count([logs], by=["client", "qtype"], bin=timedelta(minutes=10), scanner=core)
    apart = count(
        [logs],
        ScanOptions(batch_size=1),
        by=["client", "qtype"],
        bin=timedelta(minutes=10),
        scanner=FakeCore(),
    )
    assert_frame_equal(one.table, apart.table)
    assert one.table.columns == ["bin_start", "client", "qtype", "count"]
    assert one.table["count"].sum() == len(DNS)
    part = count([logs], by=[], since=minute(10), until=minute(20), servers=["1mx"], scanner=FakeCore())
    assert part.table.rows() == [(80,)]
    assert count([logs], by=[], servers=["other"], scanner=FakeCore()).table.rows() == [(0,)]


# -- discover


def test_a_folder_is_walked_and_what_is_no_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "mail.log").write_text("a line\n")
    (tmp_path / "sub" / "old.log.gz").write_bytes(gzip.compress(b"a line\n"))
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "wtmp").write_bytes(b"\x00" * 384)
    (tmp_path / "core").write_bytes(bytes(range(8)) * 100)
    (tmp_path / "crashed.log").write_bytes(b"a line\n" * 100 + b"\x00" * 50 + b"a line\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "mail.link").symlink_to(tmp_path / "mail.log")
    os.mkfifo(tmp_path / "pipe")
    found = discover([tmp_path], skip=["wtmp*"])
    assert found.files == [str(tmp_path / n) for n in ("crashed.log", "mail.link", "sub/old.log.gz")]
    reasons = {Path(p.path).name: p.reason for p in found.passed_over}
    assert reasons == {
        ".hidden": "hidden",
        "wtmp": "not a log by its name",
        "core": "not text",
        "loop": "a link to a folder",
        "mail.log": f"the same file as {tmp_path / 'mail.link'}",
        "pipe": "not a regular file",
    }
    # What is named is read.
    assert discover([tmp_path / "wtmp", tmp_path / "core"], skip=["wtmp*"]).files == [
        str(tmp_path / "wtmp"),
        str(tmp_path / "core"),
    ]


def test_globs_and_order(tmp_path: Path) -> None:
    for name in ("b.log", "a.log", "c.txt"):
        (tmp_path / name).write_text("x\n")
    (tmp_path / "[x].log").write_text("y\n")
    found = discover([str(tmp_path / "*.log"), str(tmp_path / "c.txt"), str(tmp_path / "a.log"), "-", "-"])
    assert found.files == [str(tmp_path / n) for n in ("[x].log", "a.log", "b.log", "c.txt")] + ["-"]
    assert [p.reason for p in found.passed_over] == ["named twice", "named twice"]
    assert discover([str(tmp_path / "[x].log")]).files == [str(tmp_path / "[x].log")]


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text("x\n")
    with pytest.raises(InputError, match=r"no such file.*\n.*did you mean .*mail\.log\?"):
        discover([tmp_path / "mial.log"])
    with pytest.raises(InputError, match="no file matches"):
        discover([str(tmp_path / "*.gz")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="folder is empty"):
        discover([tmp_path / "empty"])
    with pytest.raises(UsageError, match="no log file was named"):
        discover([])
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / ".hidden").write_text("x")
    with pytest.raises(InputError, match="nothing there is a log"):
        discover([tmp_path / "only"])
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot be read"):
        discover([tmp_path / "dangling"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_in_a_folder_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("x\n")
    (tmp_path / "b.log").write_text("x\n")
    (tmp_path / "a.log").chmod(0)
    found = discover([tmp_path])
    assert found.files == [str(tmp_path / "b.log")]
    assert "Permission denied" in str(found.failures[0])
    with pytest.raises(InputError, match="Permission denied"):
        discover([tmp_path / "a.log"])


def test_a_file_that_vanishes_between_finding_and_reading_is_a_failure(site: Site, logs: Path) -> None:
    (logs / "a").write_bytes(TEXT)
    (logs / "b").write_bytes(TEXT[CUT:])
    identify = site.core.identify

    def vanish(paths: list[str]) -> list[dict[str, object]]:
        (logs / "b").unlink(missing_ok=True)
        return identify(paths)

    site.core.identify = vanish  # type: ignore[method-assign,assignment]
    result = site.analyze(logs)
    assert [f.file for f in result.failures] == [str(logs / "b")] or "b" in str(result.failures[0])
    assert result.summary.matched == len(DNS)


def test_moving_a_store_keeps_it_readable(site: Site, logs: Path, tmp_path: Path) -> None:
    (logs / "a").write_bytes(TEXT)
    site.analyze(logs)
    before = site.tables()
    shutil.move(site.store.url, tmp_path / "moved")
    moved = Store(tmp_path / "moved", merger=merge_states)
    assert_frame_equal(canonical(moved.read("traffic").collect()), before["traffic"])
