"""Archives: the same table from every compression, cut, order and number of threads, and what damage leaves."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from seismolog import _core
from seismolog.store.merge import combine
from seismolog.store.schema import TABLES
from tests.unit.core_support import balanced, counts, query, scan_text, tables, texts, utc

OPTIONS: dict[str, Any] = {"timezone": "UTC", "year": 2002, "state": True, "inside": ["10.0.0.0/8"]}


def sample(lines: int, seed: int = 3) -> list[str]:
    """Lines of all dialects, a few seconds apart."""
    rng = random.Random(seed)
    made = []
    for i in range(lines):
        seconds = i * 7 % 86_400
        stamp = f"Jul {15 + i * 7 // 86_400} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        client = f"10.0.{rng.randrange(4)}.{rng.randrange(40)}"
        made.append(
            rng.choice(
                [
                    query(stamp, client, f"h{rng.randrange(50)}.example.org"),
                    query(stamp, f"2001:db8::{rng.randrange(40):x}", f"h{rng.randrange(50)}.example.org"),
                    f"{stamp} mx2 postfix/smtpd[11]: 4F{i:06X}: client=a.example.net[198.51.100.{rng.randrange(40)}]",
                    f"{stamp} mx2 postfix/smtp[14]: 4F{i:06X}: to=<b@x>, relay=x[198.51.100.9]:25, status=sent (250 ok)",
                    f"{stamp} pop2 dovecot: imap-login: Login: user=<a>, method=PLAIN, rip={client}, lip=192.0.2.25",
                    f"{stamp} mx2 weatherd[1]: it rains",
                ]
            )
        )
    return made


LINES = sample(3000)
TEXT = texts(LINES)
CUT = TEXT.index(b"\n", len(TEXT) // 2) + 1


def frames(data: bytes) -> bytes:
    """One Zstandard frame: of the `zstd` tool where it is installed, else of blocks that are stored as they are."""
    if tool := shutil.which("zstd"):
        return subprocess.run(
            [tool, "-q", "-c", "--check"], input=data, stdout=subprocess.PIPE, check=True
        ).stdout
    return stored_frame(data)


def stored_frame(data: bytes) -> bytes:
    """RFC 8878: a frame of one segment with a content size of four bytes, no checksum, raw blocks."""
    most = 1 << 17
    blocks = [data[i : i + most] for i in range(0, len(data), most)] or [b""]
    body = b""
    for i, block in enumerate(blocks):
        body += (len(block) << 3 | (i + 1 == len(blocks))).to_bytes(3, "little") + block
    return b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little") + body


PACKS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("plain", bytes),
    "gz": ("gz", gzip.compress),
    "gz members": ("gz", lambda t: gzip.compress(t[:CUT]) + gzip.compress(t[CUT:])),
    "gz members cut in a line": (
        "gz",
        lambda t: b"".join(gzip.compress(t[i : i + 777]) for i in range(0, len(t), 777)),
    ),
    "gz with an empty member": ("gz", lambda t: gzip.compress(b"") + gzip.compress(t) + gzip.compress(b"")),
    "zst": ("zst", frames),
    "zst frames": ("zst", lambda t: b"".join(frames(t[i : i + 7777]) for i in range(0, len(t), 7777))),
    "zst stored": ("zst", stored_frame),
    "zst skippable frame": ("zst", lambda t: b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + frames(t)),
    "xz": ("xz", lzma.compress),
    "xz streams": ("xz", lambda t: lzma.compress(t[:CUT]) + lzma.compress(t[CUT:])),
    "bz2": ("bz2", bz2.compress),
    "bz2 streams": ("bz2", lambda t: bz2.compress(t[:CUT]) + bz2.compress(t[CUT:])),
}


def same(found: _core.Scan, expected: dict[str, pl.DataFrame]) -> None:
    for name, frame in tables(found).items():
        assert_frame_equal(frame, expected[name])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    return tables(scan_text(tmp_path_factory.mktemp("plain"), TEXT, **OPTIONS))


class TestCompressions:
    @pytest.mark.parametrize("pack", PACKS)
    @pytest.mark.parametrize("threads", [1, 3])
    def test_the_same_tables(
        self, tmp_path: Path, plain: dict[str, pl.DataFrame], pack: str, threads: int
    ) -> None:
        compression, packer = PACKS[pack]
        # The name says nothing: the first bytes do.
        scan = scan_text(tmp_path, packer(TEXT), names=["mail.log"], threads=threads, digest=True, **OPTIONS)
        same(scan, plain)
        report = scan.sources[0]
        assert report["error"] is None
        assert (report["compression"], report["bytes"], report["lines"]) == (
            compression,
            len(TEXT),
            len(LINES),
        )
        assert report["full_hash"] == _core.digest(tmp_path / "mail.log")["full_hash"]

    @pytest.mark.parametrize("pack", PACKS)
    def test_through_a_pipe(self, tmp_path: Path, plain: dict[str, pl.DataFrame], pack: str) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_bytes, args=(PACKS[pack][1](TEXT),))
        writer.start()
        scan = _core.scan([pipe], **OPTIONS)
        writer.join()
        same(scan, plain)
        assert scan.sources[0]["bytes"] == len(TEXT)

    def test_every_text_has_one_identity(self, tmp_path: Path) -> None:
        found = set()
        for i, (_, packer) in enumerate(PACKS.values()):
            path = tmp_path / str(i)
            path.write_bytes(packer(TEXT))
            told = _core.identify([path])[0]
            found.add((told["head_hash"], told["head_bytes"], _core.digest(path)["full_hash"]))
        assert len(found) == 1

    def test_prefixes_tell_a_grown_file(self, tmp_path: Path) -> None:
        for name, text in (("old", TEXT[:CUT]), ("new", TEXT)):
            (tmp_path / name).write_bytes(text)
        old = _core.digest(tmp_path / "old")
        grown = _core.digest(tmp_path / "new", [len(TEXT) + 1, CUT, 0, len(TEXT)])
        assert grown["prefixes"][1] == old["full_hash"]
        assert grown["prefixes"][3] == grown["full_hash"]
        assert grown["prefixes"][0] is None
        assert grown["head_hash"] == old["head_hash"]


def damaged(report: dict[str, Any]) -> tuple[int, str]:
    assert report["error"] is not None
    return report["error"]["offset"], report["error"]["message"]


class TestDamage:
    @pytest.mark.parametrize("pack", ["gz", "zst", "xz", "bz2"])
    @pytest.mark.parametrize("part", [0.9, 0.5])
    @pytest.mark.parametrize("threads", [1, 2])
    def test_a_truncated_file_is_counted_to_its_end(
        self, tmp_path: Path, pack: str, part: float, threads: int
    ) -> None:
        # bzip2 can only be read in whole blocks of its text, 900 kB by default.
        packed = bz2.compress(TEXT, 1) if pack == "bz2" else PACKS[pack][1](TEXT)
        scan = scan_text(tmp_path, packed[: int(len(packed) * part)], threads=threads, **OPTIONS)
        report = scan.sources[0]
        offset, message = damaged(report)
        assert message
        assert offset == report["bytes"] <= len(TEXT)
        read = TEXT[:offset]
        whole = read[: read.rfind(b"\n") + 1]
        assert report["lines"] == whole.count(b"\n")
        assert balanced(report)
        (tmp_path / "before").mkdir()
        assert_frame_equal(counts(scan), counts(scan_text(tmp_path / "before", whole, **OPTIONS)))
        if pack == "gz":
            assert report["lines"] > len(LINES) * (part - 0.2)

    @pytest.mark.parametrize("pack", ["gz", "zst", "xz", "bz2"])
    def test_flipped_bytes(self, tmp_path: Path, pack: str) -> None:
        packed = PACKS[pack][1](TEXT)
        rng = random.Random(pack)
        told = 0
        for i in range(25):
            broken = bytearray(packed)
            broken[rng.randrange(8, len(broken))] ^= 1 << rng.randrange(8)
            report = scan_text(tmp_path, bytes(broken), names=[f"{i}.log"], **OPTIONS).sources[0]
            assert balanced(report)
            # A broken block may decode to other text before its checksum is read, and that is counted.
            assert report["lines"] <= 2 * len(LINES)
            told += report["error"] is not None
        # A flag or a time in a header may change without harm; where there is a checksum, damage of the text is seen.
        assert told >= 20 or (pack == "zst" and not shutil.which("zstd"))

    @pytest.mark.parametrize("pack", ["gz", "xz", "bz2", "zst"])
    def test_garbage_behind_the_end(self, tmp_path: Path, pack: str) -> None:
        """What was whole counts; that something follows is told."""
        report = scan_text(tmp_path, PACKS[pack][1](TEXT) + b"this is no archive" * 4, **OPTIONS).sources[0]
        assert report["lines"] == len(LINES)
        assert damaged(report)[0] == len(TEXT)

    def test_zeros_behind_a_gz(self, tmp_path: Path) -> None:
        """Tape and block devices pad with zeros; gzip itself ignores them."""
        report = scan_text(tmp_path, gzip.compress(TEXT) + bytes(512), **OPTIONS).sources[0]
        assert (report["lines"], report["error"]) == (len(LINES), None)

    def test_a_second_member_that_is_cut(self, tmp_path: Path) -> None:
        second = gzip.compress(TEXT[CUT:])
        report = scan_text(
            tmp_path, gzip.compress(TEXT[:CUT]) + second[: len(second) // 3], **OPTIONS
        ).sources[0]
        assert damaged(report)[0] > CUT
        assert TEXT[:CUT].count(b"\n") < report["lines"] < len(LINES)

    def test_only_a_head(self, tmp_path: Path) -> None:
        for pack in ("gz", "zst", "xz", "bz2"):
            report = scan_text(tmp_path, PACKS[pack][1](TEXT)[:12], names=[pack]).sources[0]
            assert report["lines"] == 0
            assert damaged(report)[0] == 0

    def test_other_files_are_not_harmed(self, tmp_path: Path, plain: dict[str, pl.DataFrame]) -> None:
        packed = gzip.compress(TEXT)
        scan = scan_text(tmp_path, packed[:500], TEXT, packed[:-9], **OPTIONS)
        assert [r["error"] is None for r in scan.sources] == [False, True, False]
        table = tables(scan)["client_traffic"].filter(pl.col("source") == 1).drop("source")
        expected = plain["client_traffic"].drop("source")
        assert_frame_equal(table, expected)


class TestFiles:
    def test_an_empty_file(self, tmp_path: Path) -> None:
        for pack, (compression, packer) in PACKS.items():
            if "member" not in pack and "stream" not in pack and "frames" not in pack:
                scan = scan_text(tmp_path, packer(b""), state=True, digest=True)
                report = scan.sources[0]
                assert (report["lines"], report["bytes"], report["error"]) == (0, 0, None)
                assert report["compression"] == ("plain" if compression == "plain" else compression)
                assert report["first_time"] is None
                assert counts(scan).is_empty()

    def test_no_file(self) -> None:
        scan = _core.scan([])
        assert scan.sources == []
        assert scan.summary["lines"] == 0
        assert pl.DataFrame(scan.table("traffic")).is_empty()

    @pytest.mark.parametrize("call", [_core.scan, _core.identify, _core.shapes, _core.paper_counts])
    def test_a_folder_and_a_missing_file_are_told_before_anything_is_read(
        self, tmp_path: Path, call: Any
    ) -> None:
        good = tmp_path / "good.log"
        good.write_bytes(TEXT)
        with pytest.raises(_core.InputError, match="is a folder") as told:
            call([good, tmp_path])
        assert str(tmp_path) in str(told.value)
        with pytest.raises(_core.InputError, match=r"none\.log"):
            call([good, tmp_path / "none.log"])

    def test_one_file_functions_say_the_same(self, tmp_path: Path) -> None:
        for call in (_core.explain, _core.digest):
            with pytest.raises(_core.InputError, match="is a folder"):
                call(tmp_path)
            with pytest.raises(_core.InputError, match=r"none\.log"):
                call(tmp_path / "none.log")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_an_unreadable_file(self, tmp_path: Path) -> None:
        path = tmp_path / "secret.log"
        path.write_bytes(TEXT)
        path.chmod(0)
        with pytest.raises(_core.InputError, match=r"secret\.log"):
            _core.scan([path])

    def test_a_name_that_is_no_text(self, tmp_path: Path) -> None:
        path = os.fsencode(tmp_path) + b"/\xff\xfe.log"
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(TEXT)
        scan = _core.scan([os.fsdecode(path)], **OPTIONS)
        assert scan.summary["lines"] == len(LINES)

    def test_progress_may_stop_a_scan(self, tmp_path: Path) -> None:
        path = tmp_path / "big.log"
        path.write_bytes(TEXT * 200)

        def stop(read: int, total: int, lines: int) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            _core.scan([path], threads=1, progress=stop)

    def test_progress_ends_at_the_whole(self, tmp_path: Path) -> None:
        for pack in ("plain", "gz"):
            path = tmp_path / pack
            path.write_bytes(PACKS[pack][1](TEXT))
            told: list[tuple[int, int, int]] = []
            _core.scan([path], progress=lambda *now, told=told: told.append(now))
            assert told[-1] == (path.stat().st_size, path.stat().st_size, len(LINES))

    def test_first_and_last_time(self, tmp_path: Path) -> None:
        report = scan_text(tmp_path, texts([query("Jul 15 18:00:59"), query("Jul 15 17:59:01")])).sources[0]
        start = int(utc(2002, 7, 15, 17, 59).timestamp())
        assert (report["first_time"], report["last_time"]) == (start, start + 60)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than 64 MiB in one plain file, which is cut in parts: each line many times, times rising."""
    path = tmp_path_factory.mktemp("large") / "large.log"
    path.write_bytes(b"".join((line + "\n").encode() * 260 for line in LINES))
    assert path.stat().st_size > 1 << 26
    return path


class TestThreads:
    def test_a_large_file_in_parts(self, large: Path) -> None:
        one = _core.scan([large], threads=1, digest=True, **OPTIONS)
        expected = tables(one)
        assert balanced(one.summary)
        for threads in (2, 4):
            scan = _core.scan([large], threads=threads, digest=True, **OPTIONS)
            assert scan.summary == one.summary
            left, right = scan.sources[0], one.sources[0]
            assert left == right
            same(scan, expected)

    def test_many_files(self, tmp_path: Path) -> None:
        packs = [p for _, p in PACKS.values()]
        parts = [packs[i % len(packs)](texts(LINES[i * 100 : i * 100 + 100])) for i in range(20)]
        one = scan_text(tmp_path, *parts, threads=1, **OPTIONS)
        for threads in (2, 4):
            other = scan_text(tmp_path, *parts, threads=threads, **OPTIONS)
            assert other.sources == one.sources
            same(other, tables(one))


# --- Cut anywhere: what two files give together is what the whole gives.

POOL = st.sampled_from(LINES[:400])


@settings(max_examples=60)
@given(lines=st.lists(POOL, max_size=120), cut=st.integers(0, 120), threads=st.integers(1, 3))
def test_a_log_cut_in_two_files(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], cut: int, threads: int
) -> None:
    """Lines in any order, cut at any line; states too. Relations of two lines over the cut are the store's limit."""
    folder = tmp_path_factory.mktemp("cut")
    whole = scan_text(folder, texts(lines), names=["whole"], **OPTIONS)
    parts = scan_text(folder, texts(lines[:cut]), texts(lines[cut:]), threads=threads, **OPTIONS)
    assert_frame_equal(counts(parts), counts(whole))
    for tally in ("lines", "matched", "ignored", "unmatched", "dialects", "reasons"):
        assert parts.summary[tally] == whole.summary[tally]
    one, two = tables(whole), tables(parts)
    for name in ("traffic", "client_traffic"):
        table = TABLES[name]
        keys = [k for k in table.keys if k in one[name].columns]
        merged = combine(two[name].with_columns(pl.lit(0, pl.UInt32).alias("source")), table, keys)
        expected = one[name].select(merged.columns)
        assert_frame_equal(merged.sort(keys), expected.sort(keys).cast(merged.schema), check_exact=False)


@pytest.fixture(scope="module")
def related() -> list[str]:
    """Lines of which one holds and one takes back, in either order, some without the other, and repetitions."""
    rng = random.Random(5)
    made: list[tuple[int, str, str]] = []
    for i in range(300):
        first, second = rng.sample(range(600), 2)
        pair = rng.choice(
            [
                (
                    f"pop1 popper[{4000 + i}]: Stats: joe 0 0 3 4567 client1 192.0.2.101",
                    f'pop1 popper[{4000 + i}]: (v4.0.5) POP login by user "joe" at (client1) 192.0.2.101',
                ),
                (
                    f"mx1 sm-mta[1]: g6F9{i:04}: from=<a@b>, size=2, class=0, nrcpts=1, msgid=<1@b>, "
                    "proto=ESMTP, daemon=MTA, relay=localhost [127.0.0.1]",
                    f"mx1 sendmail[2]: g6F0{i:04}: to=b@c, delay=00:00:00, mailer=relay, relay=[127.0.0.1] "
                    f"[127.0.0.1], dsn=2.0.0, stat=Sent (g6F9{i:04} Message accepted for delivery)",
                ),
                (
                    f"mx2 postfix/smtpd[1]: 6A{i:08X}: client=localhost[127.0.0.1]",
                    f"mx2 postfix/smtp[2]: 4F{i:08X}: to=<b@x>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, dsn=2.0.0, "
                    f"status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 6A{i:08X})",
                ),
                (
                    f"{rng.choice(('pop1', 'mx1'))} last message repeated 2 times",
                    "ns1 last message repeated 1 time",
                ),
            ]
        )
        made += [
            (at, f"{i}", line) for at, line in zip((first, second), pair, strict=True) if rng.random() < 0.8
        ]
    return [f"Jul 15 18:{at // 60:02}:{at % 60:02} {line}" for at, _, line in sorted(made)]


def test_relations_hold_over_the_parts_of_one_file(tmp_path: Path, related: list[str]) -> None:
    """A file large enough to be cut into parts gives what one thread gives, holds and repetitions included."""
    text = texts(related)
    padding = texts([f"Jul 15 18:05:00 mx1 weatherd[1]: {'x' * 900}"] * 38_000)
    half = text.index(b"\n", len(text) // 2) + 1
    path = tmp_path / "related.log"
    path.write_bytes(text[:half] + padding + text[half:])
    assert path.stat().st_size > 2 * (16 << 20)
    one = _core.scan([path], threads=1, **OPTIONS)
    two = _core.scan([path], threads=2, **OPTIONS)
    assert two.summary == one.summary
    same(two, tables(one))
