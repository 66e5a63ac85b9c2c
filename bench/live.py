"""Measure the live paths: what the daemon takes in, as a ratio to a sink that only reads, in one run.

    python -m bench.live --dir DIR [--lines 2000000] [--rows tcp,omfwd,…] [--runs 3]

Each row alternates the real daemon with a sink that discards (or only answers), behind the same sender on the same
machine. Where rsyslog or syslog-ng stand between, they are the real ones on loopback. Counted lines are compared with
what was sent: a row whose lines are not all there is an error, not a figure.
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


@dataclass
class Daemon:
    """A running `seismolog serve` in a folder of its own."""

    folder: Path
    listen: dict[str, Any]
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
        text = self._get("metrics").read().decode()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.split("{")[0].split(" ")[0] == name
        )

    def wait_lines(self, count: int, name: str = "seismolog_lines_total", seconds: float = 300.0) -> float:
        """Wait until so many lines were counted; returns the moment."""
        deadline = time.monotonic() + seconds
        while (seen := self.metric(name)) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{seen:.0f} of {count} lines after {seconds:.0f} s")
            time.sleep(0.02)
        return time.monotonic()

    def stop(self) -> None:
        """SIGTERM, then the hard way."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self.process.kill()


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
    """Inputs and programs of all rows."""

    peers: Path
    file: Path
    lines: int
    runs: int

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

    def send(self, address: str) -> tuple[int, float]:
        """Send the file over TCP, as fast as it is taken, until the receiver has closed."""
        return self.result(self.peer("send-tcp", address, str(self.file), "1"))

    # -- rows

    def tcp(self) -> Row:
        """Straight into the daemon."""
        ours, base, cpu, peak = [], [], [], 0.0
        for _ in range(self.runs):
            sink, address = self.sink()
            lines, seconds = self.send(address)
            sink.wait()
            base.append(lines / seconds)
            with daemon() as running:
                before = cpu_seconds(running.pid)
                start = time.monotonic()
                lines, _ = self.send(str(running.listen["tcp"]))
                end = running.wait_lines(lines)
                ours.append(lines / (end - start))
                cpu.append((cpu_seconds(running.pid) - before) / lines * 1e6)
                peak = max(peak, memory_mib(running.pid))
        notes = [
            f"{middle(cpu):.2f} µs of processor a line (at most 0.5)",
            f"peak {peak:.0f} MiB (at most 300)",
        ]
        return Row(
            "TCP straight in",
            "the same sender into a discarding sink",
            middle(ours),
            middle(base),
            0.9,
            notes,
        )

    def through_rsyslog(self, action: Callable[[Path], tuple[str, Callable[[int], float]]]) -> float:
        """Lines a second from the sender through rsyslog and `action` to whoever ends it.

        `action` gives rsyslog's action and a function that waits for so many lines and tells the moment.
        """
        with tempfile.TemporaryDirectory(prefix="seismolog-bench-", dir="/var/tmp") as name:
            folder = Path(name)
            port = free_port()
            text, wait = action(folder)
            (folder / "r.conf").write_text(
                f"""global(workDirectory="{folder}" maxMessageSize="8k")
module(load="imptcp")
input(type="imptcp" address="127.0.0.1" port="{port}")
template(name="raw" type="string" string="%rawmsg%\\n")
main_queue(queue.type="FixedArray" queue.size="200000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
{text}
"""
            )
            out = (folder / "r.out").open("wb")
            rsyslog = subprocess.Popen(
                [
                    shutil.which("rsyslogd", path="/usr/sbin:/usr/bin") or "rsyslogd",
                    "-n",
                    "-f",
                    str(folder / "r.conf"),
                    "-i",
                    str(folder / "r.pid"),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            try:
                deadline = time.monotonic() + 20
                while True:
                    with socket.socket() as probe:
                        if probe.connect_ex(("127.0.0.1", port)) == 0:
                            break
                    if time.monotonic() > deadline or rsyslog.poll() is not None:
                        raise RuntimeError((folder / "r.out").read_text())
                    time.sleep(0.05)
                start = time.monotonic()
                sender = self.peer("send-tcp", f"127.0.0.1:{port}", str(self.file), "1")
                lines = self.lines
                end = wait(lines)
                sender.kill()
                return lines / (end - start)
            finally:
                rsyslog.terminate()
                rsyslog.wait(timeout=60)

    def omfwd(self) -> Row:
        """Through rsyslog, which forwards over TCP."""
        ours, base = [], []
        for _ in range(self.runs):
            sink = self.peer("discard-tcp", "127.0.0.1:0", str(self.lines))
            assert sink.stdout is not None
            address = sink.stdout.readline().strip()
            base.append(self.through_rsyslog(lambda _, a=address, s=sink: (_omfwd(a), lambda _n: _ended(s))))
            with daemon() as running:
                address = str(running.listen["tcp"])
                ours.append(self.through_rsyslog(lambda _, a=address, r=running: (_omfwd(a), r.wait_lines)))
        return Row("rsyslog → omfwd", "rsyslog → omfwd → discard", middle(ours), middle(base), 0.95)

    def rows(self) -> dict[str, Callable[[], Row]]:
        """Every row by a short name."""
        return {"tcp": self.tcp, "omfwd": self.omfwd}


def _omfwd(address: str) -> str:
    host, port = address.rsplit(":", 1)
    return f'action(type="omfwd" target="{host}" port="{port}" protocol="tcp" template="raw")'


def _ended(process: subprocess.Popen[str]) -> float:
    process.wait(timeout=600)
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
