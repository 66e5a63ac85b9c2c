"""A real influxd on a free loopback port: started, stopped, killed and started again where it was.

Its organisation, first bucket and token are set up at the first start. Reading back goes over both languages that
the dashboards' readers use: InfluxQL (:meth:`Influxd.influxql`) and Flux (:meth:`Influxd.flux`).

Limits: one process on this machine; its folder is the test's own and goes with it.
"""

from __future__ import annotations

import csv
import io
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ORG = "site"
BUCKET = "seismolog"
TOKEN = "token-of-the-tests"


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Influxd:
    """One server with a folder of its own."""

    def __init__(self, binary: Path, folder: Path, port: int | None = None) -> None:
        self.binary = binary
        self.folder = folder
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.org, self.bucket, self.token = ORG, BUCKET, TOKEN

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    # -- life

    def start(self, wait: float = 60.0) -> None:
        """Start it and wait until it is healthy; the first time, set it up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(self.binary),
                    "run",
                    f"--engine-path={self.folder / 'engine'}",
                    f"--bolt-path={self.folder / 'influxd.bolt'}",
                    f"--sqlite-path={self.folder / 'influxd.sqlite'}",
                    f"--http-bind-address=127.0.0.1:{self.port}",
                    "--reporting-disabled",
                    "--log-level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + wait
        while not self.healthy():
            if self.process.poll() is not None or time.monotonic() > end:
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"influxd does not come up on port {self.port}:\n{tail}")
            time.sleep(0.1)
        if json.loads(self.request("GET", "/api/v2/setup", token=False))["allowed"]:
            self.request(
                "POST",
                "/api/v2/setup",
                {
                    "username": "tests",
                    "password": "of-the-tests",
                    "org": ORG,
                    "bucket": BUCKET,
                    "token": TOKEN,
                },
                token=False,
            )

    def healthy(self) -> bool:
        """Whether `/health` says pass."""
        try:
            return json.loads(self.request("GET", "/health", token=False))["status"] == "pass"
        except (OSError, ValueError):
            return False

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, or kill it as a power cut would; what it wrote stays."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self.process.wait(30)
            self.process = None

    # -- its HTTP interface

    def request(
        self, method: str, path: str, body: Any = None, *, token: bool | str = True, accept: str | None = None
    ) -> bytes:
        """One request; HTTPError where it is refused."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Token {self.token if token is True else token}"
        if accept:
            headers["Accept"] = accept
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def write(self, text: str | bytes, bucket: str | None = None, precision: str = "s") -> None:
        """Write line protocol as it is."""
        query = urllib.parse.urlencode(
            {"org": self.org, "bucket": bucket or self.bucket, "precision": precision}
        )
        self.request("POST", f"/api/v2/write?{query}", text.encode() if isinstance(text, str) else text)

    def influxql(self, query: str, bucket: str | None = None, epoch: str = "s") -> list[dict[str, Any]]:
        """Rows of an InfluxQL query as dicts: the columns, the tags of `GROUP BY`, and `_measurement`."""
        text = urllib.parse.urlencode({"db": bucket or self.bucket, "q": query, "epoch": epoch})
        answer = json.loads(self.request("GET", f"/query?{text}"))
        rows = []
        for result in answer["results"]:
            if "error" in result:
                raise RuntimeError(f"{query}: {result['error']}")
            for series in result.get("series", ()):
                fixed = {"_measurement": series["name"], **series.get("tags", {})}
                rows += [
                    fixed | dict(zip(series["columns"], v, strict=True)) for v in series.get("values", ())
                ]
        return rows

    def flux(self, query: str) -> list[dict[str, str]]:
        """Rows of a Flux query, all values as text."""
        body = {"query": query, "type": "flux", "dialect": {"header": True, "annotations": []}}
        query_path = f"/api/v2/query?{urllib.parse.urlencode({'org': self.org})}"
        text = self.request("POST", query_path, body, accept="application/csv").decode()
        rows: list[dict[str, str]] = []
        for part in text.replace("\r\n", "\n").split("\n\n"):
            if part.strip():
                rows += list(csv.DictReader(io.StringIO(part.strip("\n"))))
        return rows

    # -- buckets and tokens

    def org_id(self) -> str:
        """Id of the organisation."""
        return str(json.loads(self.request("GET", f"/api/v2/orgs?org={self.org}"))["orgs"][0]["id"])

    def make_bucket(self, name: str, retention_seconds: int = 0) -> str:
        """A new bucket; returns its id."""
        rules = [{"type": "expire", "everySeconds": retention_seconds}] if retention_seconds else []
        body = {"orgID": self.org_id(), "name": name, "retentionRules": rules}
        return str(json.loads(self.request("POST", "/api/v2/buckets", body))["id"])

    def make_token(self, bucket_id: str, *actions: str) -> str:
        """A token that may only do these things (read, write) with a bucket."""
        org = self.org_id()
        permissions = [
            {"action": a, "resource": {"type": "buckets", "id": bucket_id, "orgID": org}} for a in actions
        ]
        body = {"orgID": org, "permissions": permissions}
        return str(json.loads(self.request("POST", "/api/v2/authorizations", body))["token"])
