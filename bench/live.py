"""Measure the live paths: what the daemon takes in, as a ratio to a sink that only reads, in one run.

    python -m bench.live --dir DIR [--lines 2000000] [--rows tcp,omfwd,…] [--runs 3]

Each row alternates the real daemon with a sink that discards (or only answers), behind the same sender on the same
machine. Where rsyslog or syslog-ng stand between, they are the real ones on loopback. A row's rate is that at which lines
are taken and logged, as whoever sends sees it; a note says how long after the last one all were counted. Counted lines are
compared with what was sent: a row whose lines are not all there is an error, not a figure. A program that a logger starts
with its first line is up before the clock runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .inputs import ROOT, Inputs, build_programs, default_folder
from .measure import machine, middle

SEISMOLOG = ROOT / ".venv" / "bin" / "seismolog"
TICKS = os.sysconf("SC_CLK_TCK")
LOGGED, COUNTED = "seismolog_logged_lines_total", "seismolog_counted_lines_total"


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """Processor time of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid: int, what: str = "VmHWM") -> float:
    """Peak (VmHWM) or present (VmRSS) resident memory."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def metric(port: int, name: str) -> float:
    """The sum of a metric over its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    samples = (line.rsplit(" ", 1) for line in text.splitlines())
    return sum(float(value) for full, value in samples if full.split("{")[0] == name)


@dataclass
class Daemon:
    """A running `seismolog serve` in a folder of its own."""

    folder: Path
    listen: dict[str, Any]
    #: More of its configuration.
    more: str = ""
    metrics_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        config = self.folder / "site.toml"
        listen = {"tcp": f"127.0.0.1:{free_port()}", "relp": f"127.0.0.1:{free_port()}", **self.listen}
        self.listen = listen
        config.write_text(
            "[listen]\n"
            + "".join(f"{k} = {json.dumps(v)}\n" for k, v in listen.items())
            + f'[live]\nstate = "{self.folder / "state"}"\nmetrics = "127.0.0.1:{self.metrics_port}"\n'
            + f'[store]\nurl = "{self.folder / "store"}"\n'
            + self.more
        )
        out = (self.folder / "serve.out").open("wb")
        self.process = subprocess.Popen(
            [str(SEISMOLOG), "serve", "--config", str(config)], stdout=out, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 30
        while not self.healthy():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError((self.folder / "serve.out").read_text())
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.process is not None
        return self.process.pid

    def healthy(self) -> bool:
        """Whether /healthz says so."""
        with contextlib.suppress(OSError), self._get("healthz") as answer:
            return bool(answer.status == 200)
        return False

    def _get(self, page: str) -> Any:
        return urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/{page}", timeout=5)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        return metric(self.metrics_port, name)

    def wait_logged(self, count: int) -> float:
        """Wait until so many lines were logged; returns the moment."""
        return wait_lines(self.metrics_port, LOGGED, count)

    def wait_counted(self, count: int) -> float:
        """Wait until so many lines were counted; returns the moment."""
        return wait_lines(self.metrics_port, COUNTED, count)

    def stop(self) -> None:
        """SIGTERM, then the hard way."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self.process.kill()


def wait_lines(port: int, name: str, count: int, seconds: float = 300.0) -> float:
    """Wait until a metric is so high, while the page answers or until it does; returns the moment."""
    deadline = time.monotonic() + seconds
    seen = 0.0
    while seen < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name}: {seen:.0f} of {count} after {seconds:.0f} s")
        # Each look costs the machine a millisecond, which whoever sends does not have.
        time.sleep(0.02)
        with contextlib.suppress(OSError):
            seen = metric(port, name)
    return time.monotonic()


@contextlib.contextmanager
def daemon(**listen: Any) -> Iterator[Daemon]:
    """A daemon for the time of the block."""
    with tempfile.TemporaryDirectory(
        prefix="seismolog-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")
    ) as folder:
        running = Daemon(Path(folder), listen)
        running.start()
        try:
            yield running
        finally:
            running.stop()


@dataclass
class Row:
    """One measured row."""

    work: str
    against: str
    rate: float
    base: float
    target: float | None
    notes: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Our rate as a share of the other's."""
        return self.rate / self.base

    def line(self) -> str:
        """A line of the table."""
        met = "" if self.target is None else ("met" if self.ratio >= self.target else "missed")
        target = "" if self.target is None else f"{self.target:.2f}"
        return (
            f"| {self.work} | {self.against} | {self.rate:,.0f}/s | {self.base:,.0f}/s | {self.ratio:.2f} | {target} "
            f"| {met} | {'; '.join(self.notes)} |"
        )


@dataclass
class Bench:
    """Inputs and programs of all rows.

    The lines of `day` tell the times of a simulated day; they are sent with the present time in its place, as lines
    come live, for else hundreds of minutes would open and close each second.
    """

    peers: Path
    day: Path
    lines: int
    runs: int

    @property
    def file(self) -> Path:
        """The lines, stamped with the present time."""
        present = self.day.with_name("live-now.log")
        stamp = time.strftime("%b %e %H:%M:%S").encode()
        with self.day.open("rb") as read, present.open("wb") as write:
            write.writelines(stamp + line[len(stamp) :] for line in read)
        return present

    def peer(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start one of the peers."""
        return subprocess.Popen([str(self.peers), *words], stdout=subprocess.PIPE, text=True, **options)

    def result(self, peer: subprocess.Popen[str]) -> tuple[int, float]:
        """Lines and seconds that a peer prints at its end."""
        out, _ = peer.communicate(timeout=600)
        lines, seconds = out.split()[-2:]
        return int(lines), float(seconds)

    def sink(self) -> tuple[subprocess.Popen[str], str]:
        """A TCP sink that discards."""
        sink = self.peer("discard-tcp", "127.0.0.1:0")
        assert sink.stdout is not None
        return sink, sink.stdout.readline().strip()

    def send(self, address: str, file: Path) -> tuple[int, float]:
        """Send a file over TCP, as fast as it is taken, until the receiver has closed."""
        return self.result(self.peer("send-tcp", address, str(file), "1"))

    # -- rows

    def tcp(self, simulated: bool = False) -> Row:
        """Straight into the daemon, with the present time or with that of the simulated day."""
        ours, base, cpu, after, peak = [], [], [], [], 0.0
        for _ in range(self.runs):
            file = self.day if simulated else self.file
            sink, address = self.sink()
            lines, seconds = self.send(address, file)
            sink.wait()
            base.append(lines / seconds)
            with daemon() as running:
                before = cpu_seconds(running.pid)
                start = time.monotonic()
                lines, _ = self.send(str(running.listen["tcp"]), file)
                end = running.wait_logged(lines)
                ours.append(lines / (end - start))
                after.append(running.wait_counted(lines) - end)
                cpu.append((cpu_seconds(running.pid) - before) / lines * 1e6)
                peak = max(peak, memory_mib(running.pid))
        notes = [
            f"counted {middle(after):.1f} s later",
            f"{middle(cpu):.2f} µs of processor a line (at most 0.5)",
            f"peak {peak:.0f} MiB (at most 300)",
        ]
        return Row(
            "TCP straight in, a day's minutes at once" if simulated else "TCP straight in",
            "the same sender into a discarding sink",
            middle(ours),
            middle(base),
            None if simulated else 0.9,
            notes,
        )

    def through(
        self,
        logger: str,
        action: str,
        wait: Callable[[int], float],
        ready: Callable[[], object] | None = None,
    ) -> float:
        """Lines a second from the sender through a real logger and `action` to whoever ends it.

        Parameters
        ----------
        logger
            "rsyslog" or "syslog-ng".
        action
            What it does with each line, in its own language.
        wait
            Waits for so many lines at the end of the way and tells the moment (`time.monotonic`).
        ready
            Where the action starts a program with the first line: waits for it, after a line was sent. That line is one
            of those that `wait` waits for.
        """
        with tempfile.TemporaryDirectory(prefix="seismolog-bench-", dir="/var/tmp") as name:
            folder = Path(name)
            port, file = free_port(), self.file
            start = _rsyslog if logger == "rsyslog" else _syslog_ng
            with start(folder, port, action):
                if ready is not None:
                    with file.open("rb") as lines, socket.create_connection(("127.0.0.1", port)) as first:
                        first.sendall(lines.readline())
                    ready()
                begun = time.monotonic()
                sender = self.peer("send-tcp", f"127.0.0.1:{port}", str(file), "1")
                try:
                    end = wait(self.lines + (ready is not None))
                finally:
                    sender.kill()
                    sender.wait()
            return self.lines / (end - begun)

    def forwarded(self, logger: str) -> Row:
        """A real logger forwards over TCP."""
        ours, base, after = [], [], []
        for _ in range(self.runs):
            sink = self.peer("discard-tcp", "127.0.0.1:0", str(self.lines))
            assert sink.stdout is not None
            action = _forward(logger, sink.stdout.readline().strip())
            base.append(self.through(logger, action, lambda _, s=sink: _ended(s)))  # type: ignore[misc]
            with daemon() as running:
                action = _forward(logger, str(running.listen["tcp"]))
                ours.append(self.through(logger, action, running.wait_logged))
                end = time.monotonic()
                after.append(running.wait_counted(self.lines) - end)
        way = f"{logger} → {'omfwd' if logger == 'rsyslog' else 'network()'}"
        notes = [f"counted {middle(after):.1f} s after the logger has ended"]
        return Row(way, f"{way} → discard", middle(ours), middle(base), 0.95, notes)

    def piped(self, logger: str, confirm: str) -> Row:
        """A real logger writes to a program of its own."""
        ours, base = [], []
        peer = ["discard-stdin"] if confirm == "none" else ["answer"]
        for _ in range(self.runs):
            with tempfile.TemporaryDirectory(prefix="seismolog-bench-", dir="/var/tmp") as name:
                log = Path(name) / "log"
                command = [str(self.peers), *peer, str(log), str(self.lines + 1)]
                action = _program(logger, command, confirm)
                base.append(
                    self.through(logger, action, lambda _, p=log: _written(p), lambda: time.sleep(1))  # type: ignore[misc]
                )
            with tempfile.TemporaryDirectory(prefix="seismolog-bench-", dir="/var/tmp") as name:
                pipe = Pipe(Path(name), confirm)
                action = _program(logger, pipe.command, confirm)
                ours.append(self.through(logger, action, pipe.wait_logged, lambda p=pipe: p.wait_logged(1)))  # type: ignore[misc]
        way = f"{logger} → {'omprog' if logger == 'rsyslog' else 'program()'} → `pipe`"
        if confirm == "none":
            return Row(way, "the same into a program that discards", middle(ours), middle(base), 0.95)
        against = "the same into a Rust program that only answers"
        return Row(f"{way}, confirmed by {confirm}, on disk", against, middle(ours), middle(base), 0.9)

    def udp(self) -> Row:
        """Datagrams: what was counted and what the kernel dropped is what was sent."""
        rates, notes = [], []
        with daemon(udp=f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}") as running:
            for rate in (50_000, 100_000, 200_000, 300_000):
                lines, drops = "seismolog_counted_lines_total", "seismolog_udp_dropped_total"
                before = running.metric(lines), running.metric(drops)
                file = self.file
                # A datagram costs its sender three microseconds: one alone does not reach the highest rates.
                share = rate // 2
                pair = [
                    self.peer("send-udp", str(running.listen["udp"]), str(file), str(share), str(share * 3))
                    for _ in range(2)
                ]
                both = [self.result(peer) for peer in pair]
                sent, seconds = sum(lines for lines, _ in both), max(seconds for _, seconds in both)
                time.sleep(3)
                came, lost = running.metric(lines) - before[0], running.metric(drops) - before[1]
                if came + lost != sent:
                    raise RuntimeError(
                        f"UDP at {rate}/s: {sent} sent, {came:.0f} counted, {lost:.0f} dropped"
                    )
                notes.append(f"{sent / seconds:,.0f}/s: {lost / sent:.3%} lost")
                if lost / sent <= 0.001:
                    rates.append(sent / seconds)
        return Row(
            "UDP, received + dropped = sent",
            "300,000 datagrams/s",
            max(rates, default=0),
            300_000,
            0.999,
            notes,
        )

    def rows(self) -> dict[str, Callable[[], Row]]:
        """Every row by a short name."""
        return {
            "tcp": self.tcp,
            "day": lambda: self.tcp(simulated=True),
            "omfwd": lambda: self.forwarded("rsyslog"),
            "omprog": lambda: self.piped("rsyslog", "none"),
            "transactions": lambda: self.piped("rsyslog", "transactions"),
            "program": lambda: self.piped("syslog-ng", "none"),
            "network": lambda: self.forwarded("syslog-ng"),
            "udp": self.udp,
        }


class Pipe:
    """`seismolog pipe` as a logger starts it."""

    def __init__(self, folder: Path, confirm: str) -> None:
        self.metrics_port = free_port()
        config = folder / "site.toml"
        config.write_text(f'[store]\nurl = "{folder / "store"}"\n')
        self.command = [str(SEISMOLOG), "pipe", "--confirm", confirm, "--config", str(config)]
        self.command += ["--state", str(folder / "state"), "--metrics", f"127.0.0.1:{self.metrics_port}"]

    def wait_logged(self, count: int) -> float:
        """Wait until so many lines were logged; the process is the logger's."""
        return wait_lines(self.metrics_port, LOGGED, count)


@contextlib.contextmanager
def _running(command: list[str], out: Path, port: int, environment: dict[str, str]) -> Iterator[None]:
    with out.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | environment)
    try:
        deadline = time.monotonic() + 20
        while not _listens(port):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(out.read_text(errors="replace"))
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _rsyslog(folder: Path, port: int, action: str) -> contextlib.AbstractContextManager[None]:
    program = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")
    if program is None:
        raise RuntimeError("rsyslogd is missing: sudo apt-get install rsyslog")
    (folder / "r.conf").write_text(
        f"""global(workDirectory="{folder}" maxMessageSize="8k")
module(load="imptcp")
module(load="omprog")
input(type="imptcp" address="127.0.0.1" port="{port}")
template(name="raw" type="string" string="%rawmsg%\\n")
main_queue(queue.type="FixedArray" queue.size="200000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
{action}
"""
    )
    command = [program, "-n", "-f", str(folder / "r.conf"), "-i", str(folder / "r.pid")]
    return _running(command, folder / "r.out", port, {})


def _syslog_ng(folder: Path, port: int, action: str) -> contextlib.AbstractContextManager[None]:
    from tests.services.daemons import unpack_syslog_ng

    home = unpack_syslog_ng()
    (folder / "s.conf").write_text(
        f"""@version: 3.38
options {{ keep-hostname(yes); stats-freq(0); }};
source s {{ network(ip("127.0.0.1") port({port}) transport("tcp") flags(no-parse)
  log-iw-size(100000) log-fetch-limit(1000)); }};
destination d {{ {action} }};
log {{ source(s); destination(d); flags(flow-control); }};
"""
    )
    library = home / "lib" / "x86_64-linux-gnu"
    modules = next(iter(sorted((home / "lib" / "syslog-ng").glob("[0-9]*"))), home / "lib" / "syslog-ng")
    command = [
        str(home / "sbin" / "syslog-ng"),
        "-F",
        "-e",
        "-f",
        str(folder / "s.conf"),
        f"--module-path={modules}",
    ]
    command += ["-R", str(folder / "persist"), "-c", str(folder / "ctl"), "-p", str(folder / "pid")]
    return _running(
        command, folder / "s.out", port, {"LD_LIBRARY_PATH": f"{library}:{home / 'lib' / 'syslog-ng'}"}
    )


def _forward(logger: str, address: str) -> str:
    host, port = address.rsplit(":", 1)
    if logger == "rsyslog":
        return f'action(type="omfwd" target="{host}" port="{port}" protocol="tcp" template="raw")'
    return f'network("{host}" port({port}) transport("tcp") template("$MSG\\n"));'


def _program(logger: str, command: list[str], confirm: str) -> str:
    words = " ".join(command)
    if logger == "rsyslog":
        confirmed = {
            "none": "",
            "lines": ' confirmMessages="on"',
            "transactions": ' confirmMessages="on" useTransactions="on"',
        }[confirm]
        return f'action(type="omprog" binary="{words}" template="raw"{confirmed} confirmTimeout="60000")'
    return f'program("{words}" template("$MSG\\n"));'


def _ended(process: subprocess.Popen[str]) -> float:
    process.wait(timeout=600)
    return time.monotonic()


def _written(path: Path) -> float:
    deadline = time.monotonic() + 600
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing came to {path}")
        time.sleep(0.01)
    return time.monotonic()


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="bench.live", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=default_folder())
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", default="")
    arguments = parser.parse_args()
    programs = build_programs()
    inputs = Inputs(arguments.dir, programs.generate, arguments.lines / 10_000_000)
    bench = Bench(programs.peers, inputs.dns(), inputs.dns_lines, arguments.runs)
    wanted = [name for name in arguments.rows.split(",") if name] or list(bench.rows())
    print(f"{machine()}")
    for name in wanted:
        print(bench.rows()[name]().line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
