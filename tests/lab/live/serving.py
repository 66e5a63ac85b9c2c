"""Start, kill, and stop the real daemon, and read what it has in its store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from seismolog.store import Store
from tests.lab.capture.daemons import free_port, wait_for

PROGRAM = str(Path(sys.executable).parent / "seismolog")


class Serving:
    """A daemon with its own folder; `listen` are the keys of `[listen]`, further sections are given as text."""

    def __init__(
        self,
        root: Path,
        listen: dict[str, Any],
        more: str = "",
        live: dict[str, Any] | None = None,
        store: Path | None = None,
    ) -> None:
        self.root = root
        self.metrics_port = free_port()
        self.store = Store(store or root / "store")
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        settings = {"state": str(root / "state"), "metrics": f"127.0.0.1:{self.metrics_port}", **(live or {})}
        # Ports of its own unless some are asked for.
        listen = {"tcp": f"127.0.0.1:{free_port()}", "relp": f"127.0.0.1:{free_port()}", **listen}
        self.listen = listen
        self.config = root / "site.toml"
        root.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            "[listen]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in listen.items() if value is not None)
            + "[live]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
            + f'[store]\nurl = "{store or root / "store"}"\ncommit_interval = "1s"\n'
            + more
        )

    def port(self, name: str) -> int:
        """The port of a listener."""
        return int(str(self.listen[name]).rsplit(":", 1)[1])

    @property
    def said(self) -> str:
        """What the daemon has printed, for messages."""
        return (self.root / "serve.out").read_text(errors="replace")[-3000:]

    def start(self, wait: float = 60.0) -> None:
        """Start it and wait until it is healthy."""
        with (self.root / "serve.out").open("ab") as out:
            self.process = subprocess.Popen(
                [PROGRAM, "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TZ": "UTC"},
            )
        self.starts += 1
        wait_for("the daemon", self._healthy, wait)

    def _healthy(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"serve ended with {self.process.returncode}: {self.said}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)
        self.process = None

    def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM: it drains, and ends."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"no end {seconds} s after SIGTERM: {self.said}") from None
        self.process = None
        return status

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its name with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def rows(self, table: str = "client_traffic") -> pl.DataFrame:
        """The table as readers see it."""
        return Store(self.store.url).read(table).collect()

    def wait_total(self, kind: str, count: int, seconds: float = 60.0) -> None:
        """Wait until the store has so many events of a kind."""
        seen = -1
        deadline = time.monotonic() + seconds
        while seen < count:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{seen} of {count} {kind} in the store after {seconds:.0f} s: {self.said}"
                )
            time.sleep(0.2)
            rows = self.rows("traffic")
            seen = int(rows.filter(pl.col("kind") == kind)["count"].sum() or 0) if rows.height else 0


@contextmanager
def serving(root: Path, listen: dict[str, Any], more: str = "", **live: Any) -> Iterator[Serving]:
    """A running daemon for the time of the block, which is ended however the block ends."""
    daemon = Serving(root, listen, more, live)
    daemon.start()
    try:
        yield daemon
    finally:
        if daemon.process is not None:
            daemon.kill()


def query_line(
    number: int, when: datetime, client: str, *, uuid: str | None = None, host: str = "ns1"
) -> bytes:
    """One query as our rsyslog template sends it: RFC 5424 with the message id."""
    stamp = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    data = f'[seismolog@32473 id="{uuid}"]' if uuid else "-"
    name = f"n{number}.example"
    return (
        f"<30>1 {stamp} {host} named 812 - {data} client @0x7f1 {client}#4711 ({name}): query: {name} IN A + (127.0.0.1)"
    ).encode()
