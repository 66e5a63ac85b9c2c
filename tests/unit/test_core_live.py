"""The engine that counts lines as they come, through the compiled core."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from seismolog import _core
from tests.unit.live_support import Child, Relp, counted, engine, kills, send, some_lines, told, until


def _lately(minutes: int = 50) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def _same(found: dict[str, pl.DataFrame], expected: dict[str, pl.DataFrame]) -> None:
    assert sorted(found) == sorted(expected)
    for name, frame in expected.items():
        assert_frame_equal(found[name].select(frame.columns), frame, check_exact=False, rel_tol=1e-12)


def test_live_counts_are_those_of_an_archive(tmp_path: Path) -> None:
    lines = some_lines(1, 4000, _lately(), step=0.7)
    with engine(tmp_path / "state", lateness=30, revise=0) as live:
        for at in range(0, len(lines), 500):
            send(live, lines[at : at + 500])
            time.sleep(0.06)
        assert live.wait(10.0), "bins close by event time"
        assert live.drain(30.0)
        rounds = live.closed_after(0, 10_000)
        assert len(rounds) > 1
        found = told(rounds)
    log = tmp_path / "log"
    log.write_text("".join(x + "\n" for x in lines))
    _same(found, counted(log))
    assert set(found) >= {"account_activity", "ptr_target", "drop_target", "domain", "client_domain"}


def test_lines_that_no_dialect_knows_are_told_by_shape(tmp_path: Path) -> None:
    stamp = _lately(5).strftime("%b %e %H:%M:%S")
    lines = [f"{stamp} host cron[{n}]: (user{n % 3}) CMD (run {n})" for n in range(30)]
    lines += [f"{stamp} host app[7]: hello 192.0.2.{n} <a{n}@example.org>" for n in range(10)]
    lines += [f"no time at all {n}" for n in range(5)] + ["", f"{stamp} host named[1]: something new {9}"]
    with engine(tmp_path / "state") as live:
        send(live, lines)
        until(lambda: live.metrics()["seismolog_counted_lines_total"] == len(lines))
        until(
            lambda: (
                sum(n for _, n in live.unmatched_shapes())
                == live.metrics()["seismolog_unmatched_lines_total"] - 1
            )
        )
        shapes = dict(live.unmatched_shapes())
        assert shapes["cron: (user#) CMD (run #)"] == 30
        assert shapes["app: hello ADDR <MAIL>"] == 10
        assert shapes["no time at all #"] == 5
        assert shapes.keys() <= {s["shape"] for s in _core.shapes([_written(tmp_path, lines)])}
        assert live.metrics()["seismolog_unshaped_lines_total"] == 0


def _written(folder: Path, lines: list[str]) -> Path:
    path = folder / "unmatched.log"
    path.write_text("".join(x + "\n" for x in lines))
    return path


def test_killed_at_any_moment_nothing_is_lost_and_nothing_doubled(tmp_path: Path) -> None:
    pick = random.Random(5)
    rounds = kills(8)
    lines = some_lines(2, 700 * (rounds + 1), _lately(), step=2400 / (700 * (rounds + 1)))
    sender = Relp(lines)
    intake = {"listeners": [{"relp": {"address": "127.0.0.1:0"}}]}
    counting = {"lateness": 30, "revise": 1, "snapshot_bytes": 1 << 17}
    replayed = 0
    for life in range(1, rounds + 1):
        child = Child(tmp_path / "state", intake, counting)
        replayed += child.started["replayed_lines"]
        # It dies while lines come, a moment after so many were confirmed.
        timer = threading.Timer(pick.uniform(0, 0.1), child.kill)
        most = 600 * life

        def reached(timer: threading.Timer = timer, most: int = most) -> bool:
            if len(sender.sent) >= most - 300 and not timer.is_alive() and not timer.finished.is_set():
                timer.start()
            return len(sender.sent) >= most

        sender.pump(child.address, stop=reached, window=pick.choice([1, 4, 16, 64]))
        if not timer.is_alive() and not timer.finished.is_set():
            timer.start()
        timer.join()
    assert sender.waiting, "the lines must outlast the kills"
    child = Child(tmp_path / "state", intake, counting)
    replayed += child.started["replayed_lines"]
    sender.pump(child.address, stop=lambda: False, window=256)
    assert not sender.waiting
    assert child.ask("drain") == {"drained": True}
    child.close()
    assert replayed > 0
    with engine(tmp_path / "state") as live:
        found = told(live.closed_after(0, 100_000))
    log = tmp_path / "log"
    log.write_text("".join(x + "\n" for x in lines))
    _same(found, counted(log))


def test_a_minute_closes_by_the_clock_when_nothing_comes(tmp_path: Path) -> None:
    at = datetime.now(UTC) - timedelta(minutes=2)
    with engine(tmp_path, lateness=1) as live:
        send(live, [f"{at:%Y-%m-%dT%H:%M:%SZ} ns1 named[7]: client 192.0.2.1#53: query: a.example IN A +"])
        begun = time.monotonic()
        assert live.wait(10.0)
        assert time.monotonic() - begun < 4
        [closed] = live.closed_after(0)
        assert closed.servers == ["ns1"]
        assert pl.DataFrame(closed.table("traffic"))["count"].to_list() == [1]
        # Domains are told when their ten minutes are over, which may have happened since the line; never before.
        minutes = timedelta(minutes=at.minute % 10, seconds=at.second, microseconds=at.microsecond)
        if datetime.now(UTC) < at - minutes + timedelta(minutes=10):
            assert "domain" not in closed.tables()
        with pytest.raises(_core.UsageError, match='no table "domains"'):
            closed.table("domains")
        live.release(closed.revision)
        assert live.closed_after(0) == []
        assert live.wait(0.0) == []


def test_a_late_line_tells_its_minute_again(tmp_path: Path) -> None:
    at = datetime.now(UTC) - timedelta(minutes=3)
    line = at.strftime("%Y-%m-%dT%H:%M:%SZ") + " ns1 named[7]: client 192.0.2.%d#53: query: a.example IN A +"
    with engine(tmp_path, lateness=1, revise=0, details=False) as live:
        send(live, [line % 1])
        first = live.wait(10.0)
        send(live, [line % 1, line % 2])
        second = live.wait(10.0)
        assert len(first) == 1 and second > first
        found = told(live.closed_after(0))["client_traffic"]
        assert dict(found.select("client", "count").iter_rows()) == {"192.0.2.1": 2, "192.0.2.2": 1}


def test_times_of_the_future_are_those_of_receipt(tmp_path: Path) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=2)
    line = (
        ahead.strftime("%Y-%m-%dT%H:%M:%SZ") + " ns1 named[7]: client 192.0.2.1#53: query: a.example IN A +"
    )
    with engine(tmp_path, lateness=1, details=False) as live:
        begun = datetime.now(UTC)
        send(live, [line] * 3)
        assert live.drain(10.0)
        found = told(live.closed_after(0))["traffic"]
        assert found["count"].sum() == 3
        assert all(abs(b - begun) < timedelta(minutes=2) for b in found["bin_start"])
        assert live.metrics()["seismolog_future_lines_total"] == 3


def test_the_newest_minutes_and_the_numbers(tmp_path: Path) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with engine(tmp_path) as live:
        send(
            live,
            [f"{now} ns1 named[7]: client 192.0.2.{n % 7 % 3}#53: query: a.example IN A +" for n in range(70)]
            + [
                f"{now} ns1 dovecot[1]: imap-login: Login: user=<u>, method=PLAIN, rip=192.0.2.2, lip=192.0.2.9, mpid=3"
            ],
        )
        until(lambda: live.metrics()["seismolog_counted_lines_total"] == 71)
        top = live.top(2)
        assert [(c["client"], c["total"]) for c in top["clients"]] == [("192.0.2.0", 30), ("192.0.2.2", 21)]
        assert top["clients"][1]["kinds"] == {"dns_query": 20, "imap_access": 1}
        assert top["distinct_clients"] == 3
        metrics = live.metrics()
        assert metrics["seismolog_open_bins"] == 1
        assert metrics["troubles"] == {}
        assert "seismolog_counted_lines_total" in metrics["counters"]


@pytest.mark.parametrize(
    ("intake", "counting", "message"),
    [
        ({"x": 1}, {}, "intake: unknown field `x`"),
        ({}, {"latenes": 1}, "counting: unknown field `latenes`"),
        ({}, {"lateness": -1}, "lateness: -1: 0 to 86400 seconds"),
        ({}, {"timezone": "Mars/Olympus"}, "timezone: unknown time zone"),
        ({}, {"inside": ["10.0.0.0/99"]}, "inside: "),
        ({}, {"limits": {"clientz": 3}}, 'limits: unknown bound "clientz"'),
        ({}, {"snapshot_bytes": object()}, "counting: plain values"),
    ],
)
def test_settings_without_meaning_are_named(
    tmp_path: Path, intake: dict[str, object], counting: dict[str, object], message: str
) -> None:
    with pytest.raises(_core.UsageError) as error:
        _core.Live(tmp_path, intake=intake, counting=counting)
    assert str(error.value).startswith(message)


def test_a_reload_takes_bounds_and_refuses_zones(tmp_path: Path) -> None:
    with engine(tmp_path) as live:
        intake = {"listeners": []}
        live.reload(intake, {"lateness": 5, "state_bytes": 1 << 20})
        assert live.addresses() == {}
        with pytest.raises(_core.UsageError, match="restart"):
            live.reload(intake, {"timezone": "Asia/Tokyo"})
    with pytest.raises(_core.UsageError, match="not running"):
        live.wait(0.1)


def test_a_damaged_snapshot_is_told(tmp_path: Path) -> None:
    with engine(tmp_path) as live:
        send(live, some_lines(1, 50, _lately(5)))
        assert live.drain(10.0)
    snapshot = tmp_path / "snapshot"
    whole = snapshot.read_bytes()
    snapshot.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(_core.InputError, match=r"snapshot: unreadable.*move it away"), engine(tmp_path):
        pass
    snapshot.unlink()
    with engine(tmp_path):
        pass


@pytest.mark.parametrize("segment", [1 << 20, 64 << 20])
def test_a_log_smaller_than_what_comes_makes_room_by_itself(segment: int, tmp_path: Path) -> None:
    """Long before a snapshot is due by size or time, and however large a file of the log may be."""
    wal = {"max_bytes": 4 << 20, "segment_bytes": segment}
    intake = {"listeners": [{"tcp": {"address": "127.0.0.1:0"}}], "wal": wal}
    live = _core.Live(tmp_path / "state", intake=intake, counting={})
    live.start()
    try:
        lines = some_lines(7, 1000, _lately(), step=0.1)
        begun = time.monotonic()
        for _ in range(120):
            send(live, lines)
        assert time.monotonic() - begun < 60
        assert live.metrics()["seismolog_wal_appended_bytes_total"] > 2 * wal["max_bytes"]
        assert live.metrics()["seismolog_wal_bytes"] <= wal["max_bytes"]
        assert live.metrics()["troubles"] == {}
    finally:
        live.stop()


#: Takes RELP through sockets that hold a few answers only, so that some wait while the sender reads none.
NARROW = """
import os, socket, sys
from seismolog import _core
live = _core.Live(sys.argv[1], intake={"listeners": [{"relp": {"address": "127.0.0.1:0"}}]}, counting={})
live.start()
for number in os.listdir("/proc/self/fd"):
    try:
        listener = socket.socket(fileno=os.dup(int(number)))
    except OSError:
        continue
    with listener:
        if listener.family == socket.AF_INET:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # those accepted inherit it
print(*live.addresses().values(), flush=True)
for line in sys.stdin:
    print(live.metrics()[line.strip()], flush=True)
live.stop()
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds its own socket in /proc (Linux)")
def test_what_a_sender_sent_before_it_was_killed_is_taken_though_it_hears_no_answer(tmp_path: Path) -> None:
    """rsyslog takes a message off its queue when omrelp has sent it, so here may be its only copy."""
    with subprocess.Popen(
        [sys.executable, "-c", NARROW, str(tmp_path / "state")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        host, _, port = child.stdout.readline().strip().rpartition(":")

        def number(name: str) -> int:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(f"seismolog_{name}\n")
            child.stdin.flush()
            return int(child.stdout.readline())

        def unread() -> int:
            return int.from_bytes(fcntl.ioctl(sender, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)

        with socket.socket() as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sender.connect((host, int(port)))
            frames = [b"%d syslog 5 <30>x\n" % at for at in range(2, 6002)]
            sender.sendall(b"1 open 30 relp_version=0\ncommands=syslog\n" + b"".join(frames[:5000]))
            until(lambda: number("logged_lines_total") == 5000 and number("waiting_confirmations") == 0)
            until(lambda: unread() > 1000)
            # Answers wait at the other end for this one to read, which it does not. Then the rest arrives unread.
            child.send_signal(signal.SIGSTOP)
            os.waitpid(child.pid, os.WUNTRACED)
            sender.sendall(b"".join(frames[5000:]))
            until(lambda: fcntl.ioctl(sender, termios.TIOCOUTQ, b"\0\0\0\0") == b"\0\0\0\0")
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        child.send_signal(signal.SIGCONT)
        until(lambda: number("logged_lines_total") == 6000)
        child.stdin.close()
