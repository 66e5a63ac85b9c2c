"""Any bytes in: never a panic, never an unbounded buffer, every line accounted for."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from seismolog import _core
from tests.unit.core_support import balanced, by_minute, counts, of, query, scan_text, texts, utc

GOOD = query("Jul 15 18:00:01")


def tally(scan: _core.Scan) -> tuple[int, int, int, int]:
    s = scan.summary
    assert balanced(s)
    return s["lines"], s["matched"], s["ignored"], s["unmatched"]


class TestLines:
    def test_binary_junk(self, tmp_path: Path) -> None:
        junk = random.Random(1).randbytes(1 << 20)
        scan = scan_text(tmp_path, junk)
        lines, matched, _, _ = tally(scan)
        assert lines == junk.count(b"\n") + (not junk.endswith(b"\n"))
        assert matched == 0

    def test_a_line_between_junk(self, tmp_path: Path) -> None:
        junk = random.Random(2).randbytes(5000)
        scan = scan_text(tmp_path, junk + b"\n" + GOOD.encode() + b"\n" + junk)
        assert tally(scan)[1] == 1

    def test_nul_bytes(self, tmp_path: Path) -> None:
        """A crash of the machine leaves runs of zeros in a log."""
        lines = [
            GOOD,
            b"\0" * 4000 + GOOD.encode(),
            GOOD.encode() + b"\0",
            GOOD.replace("www", "w\0w"),
            b"\0",
        ]
        scan = scan_text(tmp_path, texts(lines))
        assert tally(scan)[0] == 5
        assert of(scan)["dns_query"] >= 2

    def test_carriage_returns(self, tmp_path: Path) -> None:
        lines = [GOOD.encode() + b"\r", b"\r", GOOD.encode() + b"\r\r"]
        scan = scan_text(tmp_path, texts(lines))
        assert tally(scan)[0] == 3
        assert of(scan) == {"dns_query": 2}
        unix = scan_text(tmp_path, texts([GOOD] * 2))
        assert counts(scan).rows() == counts(unix).rows()

    def test_old_mac_line_ends_are_one_line(self, tmp_path: Path) -> None:
        assert tally(scan_text(tmp_path, b"\r".join([GOOD.encode()] * 3)))[0] == 1

    @pytest.mark.parametrize("text", [b"", b"\n", b"\n\n\n"])
    def test_empty_lines(self, tmp_path: Path, text: bytes) -> None:
        scan = scan_text(tmp_path, text)
        assert tally(scan) == (len(text), 0, 0, len(text))
        assert scan.summary["reasons"] == ({"empty line": len(text)} if text else {})

    def test_invalid_utf8(self, tmp_path: Path) -> None:
        lines = [
            GOOD.encode().replace(b"www", b"\xff\xfe"),
            GOOD.encode().replace(b"ns1", b"ns\xe9"),
            GOOD.encode().replace(b"192.0.2.7", b"\xc3\x28"),
        ]
        scan = scan_text(tmp_path, texts(lines))
        assert tally(scan)[0] == 3
        frame = counts(scan)
        assert frame["count"].sum() == tally(scan)[1]
        assert all(s == s.encode().decode() for s in frame["server"])

    def test_a_half_line_at_the_end(self, tmp_path: Path) -> None:
        """It was not finished when the file was read; the whole lines before it count."""
        text = texts([GOOD, GOOD])
        assert tally(scan_text(tmp_path, text[:-1]))[1] == 2
        half = scan_text(tmp_path, text[: len(text) - len(GOOD) // 2])
        assert tally(half)[0] == 2
        assert of(half)["dns_query"] >= 1

    @pytest.mark.parametrize(
        "stamp",
        [
            "Feb 30 10:00:00", "Jul 32 10:00:00", "Jul  0 10:00:00", "Jul 15 25:00:00", "Jul 15 24:00:00",
            "Jul 15 10:60:00", "Jul 15 10:00:61", "Foo 15 10:00:00", "2002-13-01T10:00:00Z", "2002-02-29T10:00:00Z",
            "2002-07-15T10:00:00+25:00", "99999999999999999999", "15-Foo-2002 10:00:00.000", "Jul 15 1:2:3",
        ],
    )  # fmt: skip
    def test_a_time_that_does_not_exist(self, tmp_path: Path, stamp: str) -> None:
        scan = scan_text(tmp_path, texts([GOOD, query(stamp), GOOD]))
        assert tally(scan) == (3, 2, 0, 1)
        assert by_minute(scan) == [(utc(2002, 7, 15, 18, 0), 2)]

    @pytest.mark.parametrize(
        "stamp", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
    )
    def test_times_at_the_ends_of_the_calendar(self, tmp_path: Path, stamp: str) -> None:
        """A wrong clock makes no line vanish and moves no other line."""
        scan = scan_text(tmp_path, texts([GOOD, query(stamp), GOOD]))
        lines, matched, _, _ = tally(scan)
        assert lines == 3
        assert matched >= 2
        assert counts(scan)["count"].sum() == matched
        assert (utc(2002, 7, 15, 18, 0), 2) in by_minute(scan)

    def test_a_clock_that_jumps_loses_nothing(self, tmp_path: Path) -> None:
        rng = random.Random(4)
        lines = [
            query(f"Jul {rng.randrange(1, 29):2} {rng.randrange(24):02}:{rng.randrange(60):02}:00")
            for _ in range(9000)
        ]
        scan = scan_text(tmp_path, texts(lines), limits={"open_bins": 20})
        assert counts(scan)["count"].sum() == len(lines)
        # That bins had to be opened again is told.
        assert set(scan.summary["shed"]) == {"late", "open_bins"}

    def test_repetitions_of_any_size(self, tmp_path: Path) -> None:
        lines = [GOOD] + [
            f"Jul 15 18:00:02 ns1 last message repeated {n} times" for n in (0, 2**32 - 1, 2**32 - 1, 2**70)
        ]
        scan = scan_text(tmp_path, texts(lines))
        assert tally(scan)[0] == 5
        # Counts stop at the largest number, and say so.
        assert counts(scan)["count"].sum() == 2**32 - 1
        assert scan.summary["shed"]["saturated"] == 1


class TestLongLines:
    def test_a_line_past_the_bound_is_unmatched(self, tmp_path: Path) -> None:
        long = GOOD.encode().replace(b"www", b"w" * (1 << 20))
        scan = scan_text(tmp_path, texts([GOOD, long, GOOD]))
        assert tally(scan) == (3, 2, 0, 1)
        assert scan.summary["reasons"] == {"line too long": 1}
        assert scan.summary["shed"] == {"line_length": 1}

    @pytest.mark.parametrize("size", [(1 << 18) - 1, 1 << 18, (1 << 18) + 1, (1 << 20) - 200])
    def test_lines_around_the_size_of_a_block(self, tmp_path: Path, size: int) -> None:
        long = GOOD.encode() + b" " * (size - len(GOOD))
        scan = scan_text(tmp_path, texts([GOOD, long, GOOD, long]), threads=1)
        assert tally(scan)[0] == 4
        assert scan.summary["shed"] == {}

    def test_the_bound_is_a_setting(self, tmp_path: Path) -> None:
        lines = texts([GOOD, b"x" * 700_000, GOOD])
        assert scan_text(tmp_path, lines, limits={"line_length": 1 << 19}).summary["shed"] == {
            "line_length": 1
        }
        assert scan_text(tmp_path, lines).summary["shed"] == {}

    def test_a_line_of_100_mb_takes_little_memory(self, tmp_path: Path) -> None:
        path = tmp_path / "long.log"
        with path.open("wb") as file:
            file.write(GOOD.encode() + b"\n")
            for _ in range(100):
                file.write(b"x" * 1_000_000)
            file.write(b"\n" + GOOD.encode() + b"\n")
        peak, summary = peak_of(path)
        assert (summary["lines"], summary["matched"], summary["unmatched"]) == (3, 2, 1)
        assert peak < 60 * 2**20
        for call in (_core.shapes, lambda paths: list(_core.explain(paths[0]))):
            assert call([path])


def peak_of(path: Path, **options: Any) -> tuple[int, dict[str, Any]]:
    """Peak of what a scan adds to the memory of a process of its own, in bytes, and the summary."""
    code = (
        "import json, resource, sys\n"
        "from seismolog import _core\n"
        "options = json.loads(sys.argv[2])\n"
        "status = lambda: int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) * 1024\n"
        "before = status()\n"
        "scan = _core.scan([sys.argv[1]], **options)\n"
        "rows = scan.table('client_traffic')\n"
        "print(json.dumps([status() - before, scan.summary, scan.servers[:1]]))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, path, json.dumps({"timezone": "UTC", "year": 2002, **options})],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    peak, summary, _ = json.loads(out)
    return peak, summary


class TestFloods:
    """What an attacker can make many of is bounded; what is shed is counted and shown."""

    def test_a_million_servers(self, tmp_path: Path) -> None:
        path = tmp_path / "servers.log"
        rest = GOOD.split(" ns1 ")[1].encode()
        path.write_bytes(b"".join(b"Jul 15 18:00:01 h%x %b\n" % (i, rest) for i in range(1_000_000)))
        start = time.process_time()
        wall = time.monotonic()
        peak, summary = peak_of(path, threads=2)
        assert time.monotonic() - wall < 40
        assert time.process_time() - start < 40
        assert (summary["lines"], summary["matched"]) == (1_000_000, 1_000_000)
        assert summary["shed"]["servers"] >= 900_000
        assert peak < 400 * 2**20

    def test_a_bound_of_servers(self, tmp_path: Path) -> None:
        lines = texts([query("Jul 15 18:00:01", host=f"h{i}") for i in range(5000)])
        scan = scan_text(tmp_path, lines, limits={"servers": 100})
        assert scan.summary["shed"]["servers"] == 4900
        assert len(scan.servers) == 101
        assert counts(scan)["count"].sum() == 5000

    def test_a_million_clients(self, tmp_path: Path) -> None:
        path = tmp_path / "clients.log"
        rng = random.Random(6)
        addresses = rng.sample(range(1 << 24), 1_000_000)
        rest = GOOD.encode().split(b"192.0.2.7")
        path.write_bytes(
            b"".join(
                rest[0] + b"10.%d.%d.%d" % (a >> 16, a >> 8 & 255, a & 255) + rest[1] + b"\n"
                for a in addresses
            )
        )
        peak, summary = peak_of(path, threads=1, limits={"clients": 1000})
        assert (summary["lines"], summary["matched"]) == (1_000_000, 1_000_000)
        assert summary["shed"]["clients"] == pytest.approx(
            999_000, abs=2
        )  # lines without a client share a place
        assert peak < 150 * 2**20

    def test_the_shed_clients_share_one_row(self, tmp_path: Path) -> None:
        lines = texts([query("Jul 15 18:00:01", f"10.0.{i // 250}.{i % 250}") for i in range(5000)])
        frame = counts(scan_text(tmp_path, lines, threads=1, limits={"clients": 1000}))
        assert frame["count"].sum() == 5000
        assert frame.height <= 1002
        assert frame.sort("count")["count"][-1] == pytest.approx(4000, abs=2)

    def test_all_names_different(self, tmp_path: Path) -> None:
        many = 100_000
        lines = texts([query("Jul 15 18:00:01", name=f"n{i:x}.example.org") for i in range(many)])
        exact = pl.DataFrame(scan_text(tmp_path, lines).table("traffic"))
        # Summaries of more than 4096 items are sketches with an error of about 1.6 % (one sigma).
        assert exact["distinct_names"][0] == pytest.approx(many, rel=0.06)
        scan = scan_text(tmp_path, lines, limits={"names_per_bin": 5000})
        assert scan.summary["shed"] == {"names_per_bin": 1}
        bounded = pl.DataFrame(scan.table("traffic"))
        assert bounded["count"].to_list() == [many]
        # A sample estimates what cannot be kept.
        assert bounded["distinct_names"][0] == pytest.approx(many, rel=0.15)
        assert bounded["name_entropy"][0] == pytest.approx(exact["name_entropy"][0], abs=0.5)

    def test_names_of_a_million_bytes_in_all(self, tmp_path: Path) -> None:
        lines = texts([query("Jul 15 18:00:01", name="a." * 30_000 + "example.org")] * 20)
        assert of(scan_text(tmp_path, lines)) == {"dns_query": 20}

    def test_waiting_halves_and_repetitions_are_bounded(self, tmp_path: Path) -> None:
        stats = [f"Jul 15 18:00:01 pop1 popper[{i}]: Stats: joe 0 0 0 0 c 192.0.2.1" for i in range(5000)]
        scan = scan_text(tmp_path, texts(stats), limits={"held_events": 100})
        assert of(scan) == {"pop_access": 5000}
        assert scan.summary["shed"]["held_events"] >= 4900
        repeats = ["Jul 15 18:00:01 ns1 last message repeated 3 times"] * 500
        scan = scan_text(tmp_path, texts(repeats), limits={"pending_repeats": 10})
        assert tally(scan) == (500, 0, 0, 500)
        assert scan.summary["shed"]["pending_repeats"] == 490

    def test_a_bound_must_have_a_name_and_a_size(self, tmp_path: Path) -> None:
        for limits in ({"moons": 7}, {"clients": 0}):
            with pytest.raises(_core.UsageError, match=r"^limits: "):
                scan_text(tmp_path, b"", limits=limits)


# --- Random bytes, and bytes that nearly are log lines.

FRAGMENTS = [
    GOOD.encode(), b"Jul 15 18:00:01 ", b"2002-07-15T18:00:01+09:00 ", b"15-Jul-2002 18:00:01.123 ", b"<22>", b"<22>1 ",
    b"mx1 ", b"named[77]: ", b"sm-mta[1]: ", b"postfix/smtpd[1]: ", b"popper[1]: ", b"dovecot: ", b"kernel: ",
    b"client 192.0.2.7#53 (a): query: a IN A +", b"4F1A2B3C4D: client=a[192.0.2.1]", b"4F1A2B3C4D: to=<a@b>, status=sent (",
    b"g6F900Qx002101: from=<a@b>, nrcpts=1, relay=[127.0.0.1]", b"Stats: a 0 0 0 0 c 192.0.2.1",
    b"last message repeated ", b"3 times", b"message repeated 2 times: [ ", b"]", b"imap-login: Login: user=<a>, rip=::1, ",
    b"IN=eth0 OUT= SRC=::1 DST=",
    b"UDP: dgram to domain from 192.0.2.1:53 (40 data bytes)", b'{"__REALTIME_TIMESTAMP":"1026723601000000","MESSAGE":',
    b"\n", b"\r\n", b"\0", b"\xff", b"  ", b"[", b"(", b"<", b'"', b"=", b"%", b"\xef\xbb\xbf", b"{", b"}",
    b"99999999999999999999",
]  # fmt: skip
MESS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=12)), max_size=40).map(b"".join)


@settings(max_examples=300)
@given(text=st.one_of(MESS, st.binary(max_size=2000)), threads=st.integers(1, 2), state=st.booleans())
@example(b"Jul 15 18:00:01 last message repeated 3 times", 1, True)
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, text: bytes, threads: int, state: bool) -> None:
    """Nothing is raised, every line is one of the three, and what was counted stands in the tables."""
    folder = tmp_path_factory.mktemp("mess")
    (folder / "part0.log").write_bytes(text)
    assume(_core.identify([folder / "part0.log"])[0]["compression"] == "plain")
    scan = scan_text(folder, text, threads=threads, state=state, digest=True, inside=["192.0.2.0/24"])
    lines, matched, _, _ = tally(scan)
    assert lines == text.count(b"\n") + (len(text) > 0 and not text.endswith(b"\n"))
    assert scan.sources[0]["error"] is None
    assert scan.sources[0]["bytes"] == len(text)
    frame = pl.DataFrame(scan.table("traffic"))
    assert (counts(scan)["count"].sum() > 0) <= (matched > 0)
    assert frame["count"].sum() == counts(scan)["count"].sum()
    explained = list(_core.explain(folder / "part0.log", timezone="UTC", year=2002))
    assert [e["line"] for e in explained] == list(range(1, lines + 1))
    unmatched = sum(s["count"] for s in _core.shapes([folder / "part0.log"]))
    # What only neighbouring lines decide is the one thing in which they may differ.
    repeats = sum("last message repeated" in e["text"].decode(errors="replace") for e in explained)
    assert abs(unmatched - scan.summary["unmatched"]) <= repeats


@settings(max_examples=60)
@given(texts_=st.lists(MESS, max_size=4), threads=st.integers(1, 4))
def test_any_files_on_any_threads(
    tmp_path_factory: pytest.TempPathFactory, texts_: list[bytes], threads: int
) -> None:
    one = scan_text(tmp_path_factory.mktemp("one"), *texts_, threads=1)
    other = scan_text(tmp_path_factory.mktemp("other"), *texts_, threads=threads)
    assert counts(one).equals(counts(other))
    assert one.summary == other.summary
