"""The promises about sources, with the real counting core: always the same table."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from seismolog.archive import Archived, ScanOptions, analyze_into_store, count
from seismolog.store import Store
from tests.unit.store_fakes import canonical

pytest.importorskip("seismolog._core")

rng = random.Random(11)
START = datetime(2026, 3, 29, 10, 0, tzinfo=UTC)


def dns_line(when: datetime) -> str:
    client = f"10.0.{rng.randrange(3)}.{rng.randrange(30)}"
    name = f"host{rng.randrange(80)}.example.org"
    kind = rng.choice(["A", "AAAA", "MX", "PTR"])
    return (
        f"{when:%b %d %H:%M:%S} 1mx named[77]: client @0x7f00aa {client}#{rng.randrange(1024, 65535)} ({name}): "
        f"query: {name} IN {kind} + (192.0.2.1)\n"
    )


def mail_line(when: datetime, n: int) -> str:
    return (
        f"{when:%b %d %H:%M:%S} 1mx sendmail[{900 + n}]: n2TA{n:04d}: from=<u{n % 9}@example.org>, size=900, class=0, "
        f"nrcpts=1, msgid=<{n}@example.org>, proto=ESMTP, daemon=MTA, relay=pc{n % 7} [10.0.9.{n % 7}]\n"
    )


SECONDS = 3000
DNS = [dns_line(START + timedelta(seconds=s)) for s in range(SECONDS)]
MAIL = [mail_line(START + timedelta(seconds=3 * s), s) for s in range(SECONDS // 3)]
OPTIONS = ScanOptions(timezone="UTC", year=2026, inside=("10.0.0.0/8",))


class Site:
    def __init__(self, folder: Path, options: ScanOptions = OPTIONS) -> None:
        self.store = Store(folder)
        self.options = options

    def analyze(self, *paths: Path) -> Archived:
        return analyze_into_store(paths, self.options, self.store)

    def tables(self) -> dict[str, pl.DataFrame]:
        return {n: canonical(self.store.read(n).collect()) for n in ("traffic", "client_traffic")}


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Site]:
    numbers = iter(range(100))
    return lambda options=OPTIONS: Site(tmp_path / f"store{next(numbers)}", options)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def save(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """DNS and mail of the host, in the order of time, counted in one file."""
    folder = tmp_path_factory.mktemp("whole")
    both = sorted(DNS + MAIL, key=lambda line: line[:15])
    made = Site(folder / "store")
    made.analyze(save(folder / "all.log", both))
    return made.tables()


def same(site: Site, expected: dict[str, pl.DataFrame]) -> None:
    for name, frame in site.tables().items():
        assert_frame_equal(frame, expected[name])


def test_what_is_stored_is_what_was_written(whole: dict[str, pl.DataFrame]) -> None:
    totals = dict(whole["traffic"].group_by("kind").agg(pl.col("count").sum()).iter_rows())
    assert totals == {"dns_query": len(DNS), "smtp_accepted": len(MAIL)}
    by_client = whole["client_traffic"].filter(pl.col("kind") == "dns_query")
    assert by_client["count"].sum() == len(DNS)
    assert by_client.select(pl.sum_horizontal("a", "aaaa", "mx", "ptr").sum()).item() == len(DNS)
    minute = (
        whole["client_traffic"]
        .group_by("bin_start", "kind")
        .agg(pl.col("client").n_unique().alias("clients"))
    )
    traffic = whole["traffic"].group_by("bin_start", "kind").agg(pl.col("distinct_clients").max())
    joined = minute.join(traffic, on=["bin_start", "kind"])
    assert (joined["distinct_clients"] <= joined["clients"]).all()


@pytest.mark.parametrize("order", [("dns", "mail"), ("mail", "dns"), ("dns mail",)])
def test_dns_and_mail_of_one_host_in_different_files(
    site: Callable[..., Site], logs: Path, whole: dict[str, pl.DataFrame], order: tuple[str, ...]
) -> None:
    paths = {"dns": save(logs / "dns", DNS), "mail": save(logs / "mail", MAIL)}
    made = site()
    for step in order:
        made.analyze(*(paths[n] for n in step.split()))
    same(made, whole)


# A cut in mid-minute, one at a minute, one behind a few lines.
@pytest.mark.parametrize("cut", [1525, 1500, 7])
@pytest.mark.parametrize("order", ["ab", "ba", "together"])
def test_a_log_cut_anywhere_and_its_halves_analysed_apart(
    site: Callable[..., Site], logs: Path, whole: dict[str, pl.DataFrame], cut: int, order: str
) -> None:
    halves = {"a": save(logs / "a", DNS[:cut]), "b": save(logs / "b", DNS[cut:])}
    made = site()
    made.analyze(save(logs / "mail", MAIL))
    if order == "together":
        made.analyze(halves["b"], halves["a"])
    else:
        for half in order:
            made.analyze(halves[half])
    same(made, whole)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_the_same_archive_again_rotated_and_compressed(
    site: Callable[..., Site], logs: Path, whole: dict[str, pl.DataFrame], pack: Callable[[bytes], bytes]
) -> None:
    made = site()
    save(logs / "mail.log", MAIL)
    save(logs / "dns.log", DNS)
    made.analyze(logs)
    (logs / "dns.log.1.packed").write_bytes(pack((logs / "dns.log").read_bytes()))
    again = made.analyze(logs)
    assert again.scanned == []
    (logs / "dns.log").unlink()
    assert made.analyze(logs).scanned == []
    same(made, whole)
    fresh = site()
    fresh.analyze(logs)
    same(fresh, whole)


def test_a_log_that_grows(site: Callable[..., Site], logs: Path, whole: dict[str, pl.DataFrame]) -> None:
    made = site()
    save(logs / "mail.log", MAIL)
    for upto in (3, 40, 1525, SECONDS):
        save(logs / "dns.log", DNS[:upto])
        result = made.analyze(logs)
        assert len(result.replaced) == (0 if upto == 3 else 1)
    same(made, whole)
    assert len(made.store.sources()) == 2


def test_threads_and_batches_change_nothing(
    site: Callable[..., Site], logs: Path, whole: dict[str, pl.DataFrame]
) -> None:
    for i in range(0, SECONDS, 500):
        save(logs / f"dns.{i}", DNS[i : i + 500])
    save(logs / "mail", MAIL)
    for options in (replace(OPTIONS, threads=1), replace(OPTIONS, threads=2, batch_size=1)):
        made = site(options)
        made.analyze(logs)
        same(made, whole)


def test_a_truncated_gz_is_counted_to_its_damage(site: Callable[..., Site], logs: Path) -> None:
    packed = gzip.compress("".join(DNS).encode())
    (logs / "dns.gz").write_bytes(packed[: len(packed) // 2])
    result = site().analyze(logs)
    assert len(result.failures) == 1
    assert result.failures[0].file == str(logs / "dns.gz")
    assert result.failures[0].offset
    assert 0 < result.summary.matched < len(DNS)


def test_counts_of_the_command_line_agree_with_the_store(logs: Path, whole: dict[str, pl.DataFrame]) -> None:
    save(logs / "dns", DNS)
    (logs / "dns.gz").write_bytes(gzip.compress("".join(DNS).encode()))
    save(logs / "mail", MAIL)
    hourly = count([logs], OPTIONS, by=["kind", "client"], bin=timedelta(minutes=10)).table
    expected = (
        whole["client_traffic"]
        .group_by(pl.col("bin_start").dt.truncate("10m"), "kind", "client")
        .agg(pl.col("count").cast(pl.Int64).sum())
        .sort("bin_start", "kind", "client")
    )
    assert_frame_equal(hourly, expected)
    by_type = count([logs], OPTIONS, by=["qtype"]).table
    assert dict(by_type.iter_rows())[None] == len(MAIL)
    assert by_type["count"].sum() == len(DNS) + len(MAIL)
