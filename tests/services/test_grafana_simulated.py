"""Dashboards and rules on a simulated campus, by commands alone: simulate, analyze, export, and what InfluxDB then says.

Nothing is made by hand here: logs of three days become the store with its models and incidents, the exporter writes
them to the real InfluxDB, and every panel is asked for the last day. What `test_grafana_queries.py` says of each panel by
hand holds here as well; what needs the daemon (its own numbers, what is open now) or a week before is left to it.

Rules are computed as they were at a moment of the simulation: ``now()`` in their queries becomes that moment.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seismolog.store import Store
from seismolog.store.schema import QTYPES
from tests.services.influxd.server import Influxd
from tests.services.influxql_frames import View, frames, judge, transform
from tests.services.test_grafana_queries import BOARDS, DAY, EXPECTED, PANELS, RULES, panel_of

pytestmark = [pytest.mark.service]

PROGRAM = str(Path(sys.executable).parent / "seismolog")
ROWS = "deferral_surge,login_attack,model_residual,synchronized_clients,cache_collapse"
#: They show the daemon's numbers, what is open now, or a week before, and there is none of these.
ELSEWHERE = {
    "Incidents open now", "Lines a second", "Lines understood", "Lag now", "Lost or delayed", "DNS queries, a week before",
    "Messages and sessions, a week before",
}  # fmt: skip
#: They show what this campus need not have.
MAY_BE_EMPTY = {"Critical", "Warnings", "Notices", "Bins predicted but absent", "Pairs and groups",
                "Incidents of the chosen clients"}  # fmt: skip


class Simulated:
    """The store, the truth, and the bucket."""

    def __init__(self, server: Influxd, folder: Path) -> None:
        self.server, self.bucket = server, f"simulated-{time.time_ns()}"
        server.make_bucket(self.bucket)
        self._run(folder, server, "simulate", "campus", ".", *(
            f"--param={p}" for p in ("clients=200", f"rows={ROWS}", "strength=1.6")
        ))  # fmt: skip
        config = folder / "site.toml"
        logs = sorted(str(p) for p in folder.glob("*.log"))
        store = str(folder / "store")
        with config.open("a") as file:
            file.write(
                f'\n[influxdb]\nurl = "{server.url}"\norg = "{server.org}"\nbucket = "{self.bucket}"\n'
                "clients_per_hour = 30\n"
            )
        self._run(
            folder, server, "analyze", *logs, "--config", str(config), "--store", store, "--format", "json"
        )
        self._run(
            folder,
            server,
            "export",
            "--config",
            str(config),
            "--store",
            store,
            "--state",
            str(folder / "state"),
        )
        self.truth = json.loads((folder / "truth.json").read_text())
        self.store = Store(store)
        self.end = datetime.fromisoformat(self.truth["end"])
        day = self.store.read("client_traffic").filter(
            pl.col("bin_start") >= self.end - timedelta(days=1), pl.col("kind") == "dns_query"
        )
        ranked = day.group_by("client").agg(pl.col("count").sum()).sort("count", descending=True).collect()
        #: The two that ask most: they have series of their own in every hour.
        self.clients = ranked["client"].head(2).to_list()

    def _run(self, folder: Path, server: Influxd, *arguments: str) -> None:
        environment = os.environ | {"SEISMOLOG_INFLUXDB_TOKEN": server.token}
        done = subprocess.run(
            [PROGRAM, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)

    def ask(self, query: str) -> dict[str, Any]:
        """InfluxDB's answer as the data source asks for it."""
        from urllib.parse import urlencode

        text = urlencode({"db": self.bucket, "q": query, "epoch": "ms"})
        return json.loads(self.server.request("GET", f"/query?{text}"))

    def ask_at(self, moment: datetime) -> Any:
        """The same of a rule's query as it was at a moment."""
        ms = f"{int(moment.timestamp() * 1000)}ms"

        def ask(query: str) -> dict[str, Any]:
            then, found = re.subn(r"time > now\(\) - (\w+)", rf"time > {ms} - \1 AND time <= {ms}", query)
            assert found and "now()" not in then, query
            return self.ask(then)

        return ask


@pytest.fixture(scope="module")
def simulated(influxd: Influxd, tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    return Simulated(influxd, tmp_path_factory.mktemp("simulated"))


def view(simulated: Simulated, board: str, **chosen: Any) -> View:
    end = int(simulated.end.timestamp() * 1000)
    if board == "clients":
        chosen["client"] = simulated.clients
    # A fit stands at the end of what was fitted.
    return View(BOARDS[board], end - DAY, end if board == "model" else end - 1, chosen)


@pytest.mark.parametrize(
    ("board", "panel"),
    [(b, p) for b, p in PANELS if b != "pipeline" and p["title"] not in ELSEWHERE],
    ids=lambda v: v if isinstance(v, str) else v["title"],
)
def test_a_panel_shows_the_simulated_campus(simulated: Simulated, board: str, panel: dict[str, Any]) -> None:
    looked = view(simulated, board)
    shown = []
    for target in panel["targets"]:
        shown += frames(simulated.ask(looked.fill(target["query"], panel)), target)
    shown = transform(shown, panel.get("transformations", []))
    _, names = EXPECTED[board, panel["title"]]
    title = panel["title"]
    if title in MAY_BE_EMPTY and not shown:
        return
    assert shown, "no frame"
    if isinstance(names, list):
        (table,) = shown
        assert list(table.columns) == names
        assert table.rows(), "no row"
        return
    found = {f.name for f in shown}
    if title == "Incidents by detector":
        detectors = simulated.store.read("incident").select("detector").unique().collect()["detector"]
        assert found <= set(detectors) and found
    elif title in ("DNS queries of each client", "Distinct names of each client"):
        assert found == set(simulated.clients)
    elif "${bin:text}" in title:
        assert "last bin" in found
    elif title == "Bins predicted but absent":
        assert found <= {"1mx", "2mx"}
    else:
        assert found == names
    for frame in shown:
        assert frame.present, f"{frame.name} has no value"
        assert all(isinstance(v, int | float) for v in frame.present)


@pytest.mark.parametrize("table", ["traffic", "traffic_10m", "traffic_1h"])
def test_counts_are_those_of_the_store(simulated: Simulated, table: str) -> None:
    panel = panel_of("overview", "DNS queries, now")
    looked = view(simulated, "overview", bin=table)
    shown = frames(simulated.ask(looked.fill(panel["targets"][0]["query"], panel)), panel["targets"][0])
    length = {"traffic": "1m", "traffic_10m": "10m", "traffic_1h": "1h"}[table]
    rows = (
        simulated.store.read("traffic")
        .filter(pl.col("kind") == "dns_query", pl.col("bin_start") >= simulated.end - timedelta(days=1))
        .group_by("server", pl.col("bin_start").dt.truncate(length).dt.epoch("ms").alias("time"))
        .agg(pl.col("count").sum())
        .collect()
    )
    assert {f.name for f in shown} == {"1dns", "2dns"}
    for frame in shown:
        wanted = {t: n for s, t, n in rows.iter_rows() if s == frame.name}
        assert {t: v for t, v in zip(frame.times, frame.values, strict=True) if v is not None} == wanted


def test_types_add_up_to_the_count(simulated: Simulated) -> None:
    panel = panel_of("clients", "DNS queries by type")
    looked = view(simulated, "clients")
    shown = frames(simulated.ask(looked.fill(panel["targets"][0]["query"], panel)), panel["targets"][0])
    assert {f.name for f in shown} == {q.upper() for q in QTYPES}
    wanted = (
        simulated.store.read("client_traffic")
        .filter(
            pl.col("kind") == "dns_query",
            pl.col("client").is_in(simulated.clients),
            pl.col("bin_start") >= simulated.end - timedelta(days=1),
        )
        .select(pl.col(*QTYPES).sum())
        .collect()
        .row(0, named=True)
    )
    assert {f.name.lower(): sum(f.present) for f in shown} == wanted


def test_every_incident_of_the_store_is_in_the_table(simulated: Simulated) -> None:
    panel = panel_of("incidents", "Incidents")
    end = int(simulated.end.timestamp() * 1000)
    looked = View(BOARDS["incidents"], end - 3 * DAY, end - 1, {})
    (table,) = transform(
        frames(simulated.ask(looked.fill(panel["targets"][0]["query"], panel)), panel["targets"][0]),
        panel.get("transformations", []),
    )
    wanted = simulated.store.read("incident").filter(pl.col("suppressed").is_null()).collect()
    assert sorted(r["id"] for r in table.rows()) == sorted(wanted["id"])
    planted = {i["detectors"][0] for i in simulated.truth["incidents"] if i["detectors"]}
    assert planted & set(table.columns["detector"]), "the detectors found nothing that was planted"


# -- rules, as they were at a moment


def test_a_rule_fires_while_its_incident_lasts(simulated: Simulated) -> None:
    for label, name, tag in (
        ("deferral_surge", "deferral-surge", "server"),
        ("model_residual", "model-residual", "model"),
        ("cache_collapse", "cache-collapse", "model"),
    ):
        (planted,) = [i for i in simulated.truth["incidents"] if i["label"] == label]
        start, end = (datetime.fromisoformat(planted[k]) for k in ("start", "end"))
        fired = set()
        for tens in range(4, int((end - start) / timedelta(minutes=10))):
            verdict = judge(RULES[name], simulated.ask_at(start + tens * timedelta(minutes=10)))
            fired |= {labels[tag] for labels in verdict.firing}
        assert planted["server"] in fired, (name, fired)


@pytest.mark.parametrize(
    "name", ["deferral-surge", "login-failures", "model-residual", "predicted-absent", "cache-collapse"]
)
def test_a_rule_is_silent_on_the_days_before(simulated: Simulated, name: str) -> None:
    # Two days without anything planted, night and noon.
    for hours in range(12, 48, 6):
        moment = datetime.fromisoformat(simulated.truth["start"]) + timedelta(hours=hours)
        verdict = judge(RULES[name], simulated.ask_at(moment))
        assert verdict.state == "Normal", (moment, verdict.values)
