"""Every panel and every alert rule against a real InfluxDB that holds what the exporter wrote of a simulated campus.

The queries come out of the checked-in files; `influxql_frames` fills their macros as Grafana does and makes frames of the
answers. What each panel must show stands below by hand; a panel that is not listed fails.
"""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from seismolog.sinks.grafana.dashboards.mail import _rare
from seismolog.sinks.grafana.influxql import equal, share, zero_where
from seismolog.sinks.grafana.measurements import MEASUREMENTS
from seismolog.sinks.grafana.thresholds import RESIDUAL
from seismolog.store.schema import QTYPES
from tests.services.campus_store import (
    CLIENTS,
    DNS_SERVERS,
    INCIDENTS,
    MAIL_SERVERS,
    Campus,
    export_campus,
)
from tests.services.influxd.server import Influxd
from tests.services.influxql_frames import (
    ALL,
    Frame,
    View,
    as_text,
    frames,
    interval,
    judge,
    reduced,
    transform,
)

pytestmark = [pytest.mark.service]

GRAFANA = Path(__file__).parents[2] / "grafana"
BOARDS = {p.stem: json.loads(p.read_text()) for p in sorted((GRAFANA / "dashboards").glob("*.json"))}
RULES = {
    rule["uid"].removeprefix("seismolog-"): rule
    for group in yaml.safe_load((GRAFANA / "provisioning/alerting/rules.yaml").read_text())["groups"]
    for rule in group["rules"]
}
DAY = 86_400_000

MX = {"1mx", "2mx"}
MODELS = {f"{what} {mx}" for what in ("observed", "calculated") for mx in MX}
FITS = {f"{mx} {what}" for what in ("estimate", "low", "high", "paper") for mx in MX}
INCIDENT = ["Time", "severity", "detector", "subject", "explanation", "cause", "subjects", "score", "threshold",
            "ended", "open", "view_from", "view_to"]  # fmt: skip
NOW = {"last bin", "a week before", "change of the range"}

#: Dashboard and title -> unit, names of the series or columns of the table.
EXPECTED: dict[tuple[str, str], tuple[str, set[str] | list[str]]] = {
    ("overview", "DNS queries (D_q) in ${bin:text}"): ("short", NOW),
    ("overview", "Messages accepted (N_S) in ${bin:text}"): ("short", NOW),
    ("overview", "POP3 sessions (N_P) in ${bin:text}"): ("short", NOW),
    ("overview", "Incidents open now"): ("short", {"critical", "warning"}),
    ("overview", "Lines a second"): ("short", {"campus"}),
    ("overview", "Lines understood"): ("percentunit", {"understood"}),
    ("overview", "Lag now"): ("s", {"counting", "InfluxDB"}),
    ("overview", "Lost or delayed"): ("short", {"lines shed", "failed writes"}),
    ("overview", "DNS queries, now"): ("short", set(DNS_SERVERS)),
    ("overview", "DNS queries, a week before"): ("short", set(DNS_SERVERS)),
    ("overview", "Messages and sessions, now"): ("short", {"N_S", "N_P"}),
    ("overview", "Messages and sessions, a week before"): ("short", {"N_S", "N_P"}),
    ("overview", "Newest incidents"): ("short", INCIDENT),
    ("mail", "Accepted (N_from)"): ("short", {"N_from"}),
    ("mail", "Attempted (N_to = N_SS + N_SD)"): ("short", {"N_to"}),
    ("mail", "Deferred"): ("percentunit", {"N_SD / N_to"}),
    ("mail", "Refused"): ("short", {"rejected", "bounced"}),
    ("mail", "Accepted and attempted"): ("short", {"N_from", "N_to"}),
    ("mail", "Done and deferred"): ("short", {"N_SS", "N_SD"}),
    ("mail", "Deferral share of each server"): ("percentunit", MX),
    ("mail", "Deferrals in 10 minutes"): ("short", MX),
    ("mail", "Rejected and bounced"): ("short", {f"{w} {mx}" for w in ("rejected", "bounced") for mx in MX}),
    ("mail", "Failed logins in 10 minutes"): ("short", MX),
    ("mail", "Sessions that read mail"): ("short", {"N_P", "IMAP"}),
    ("mail", "Connections"): ("short", MX),
    ("mail", "Counts of the time range"): (
        "short",
        ["server", "accepted", "sent", "deferred", "deferral share", "bounced", "rejected", "POP3", "IMAP", "failed "
        "logins"],
    ),
    ("model", "Observed and calculated"): ("short", MODELS),
    ("model", "Residual and its band"): ("short", {f"{w} {mx}" for w in ("residual", "lower", "upper") for mx in MX}),
    ("model", "Standardized residual"): ("short", MX),
    ("model", "Cache efficiency"): ("percentunit", MX),
    ("model", "Share of the calculated queries that arrive"): ("percentunit", MX),
    ("model", "Bins predicted but absent"): ("short", {"2mx"}),
    ("model", "m_S: queries a message"): ("short", FITS),
    ("model", "m_P: queries a POP3 session"): ("short", FITS),
    ("model", "Newest fit and drift"): (
        "short", ["Time", "model", "term", "estimate", "std_error", "low", "high", "paper", "drift"],
    ),
    ("model", "Quality of the fit"): ("short", {f"{mx} {w}" for w in ("R²", "dispersion") for mx in MX}),
    ("clients", "Top 25 clients"): ("short", ["Time", "queries", "client", "names"]),
    ("clients", "Networks"): ("short", ["Network", "Queries", "Clients"]),
    ("clients", "Incidents of the chosen clients"): (
        "short", ["Time", "severity", "detector", "subject", "explanation", "view_from", "view_to"],
    ),
    ("clients", "DNS queries by type"): ("short", {q.upper() for q in QTYPES}),
    ("clients", "DNS queries of each client"): ("short", {"192.0.2.20", "198.51.100.4"}),
    ("clients", "Distinct names of each client"): ("short", {"192.0.2.20", "198.51.100.4"}),
    ("clients", "Pairs and groups"): ("short", INCIDENT),
    ("incidents", "Incidents open now"): ("short", {"critical", "warning"}),
    ("incidents", "Critical"): ("short", {"critical"}),
    ("incidents", "Warnings"): ("short", {"warning"}),
    ("incidents", "Notices"): ("short", {"notice"}),
    ("incidents", "Incidents by detector"): (
        "short", {*(i[0] for i in INCIDENTS if i[4] < 70), "deferral_surge", "login_attack"},
    ),
    ("incidents", "Incidents"): ("short", [*INCIDENT, "evidence", "id"]),
    ("pipeline", "Lines a second"): ("short", {"campus"}),
    ("pipeline", "Lines understood"): ("percentunit", {"understood"}),
    ("pipeline", "Lag now"): ("s", {"counting", "InfluxDB"}),
    ("pipeline", "Lost or delayed"): ("short", {"lines shed", "failed writes"}),
    ("pipeline", "Lines"): ("short", {f"{w} campus" for w in ("read", "events", "not understood", "late")}),
    ("pipeline", "Share of lines understood"): ("percentunit", {"understood"}),
    ("pipeline", "Shapes of unmatched lines"): ("short", ["Time", "hash", "instance", "lines", "shape"]),
    ("pipeline", "Lag"): ("s", {f"{w} campus" for w in ("counting", "InfluxDB", "store")}),
    ("pipeline", "Fill of the queue"): ("percentunit", {"campus"}),
    ("pipeline", "Lines shed"): ("short", {"campus"}),
    ("pipeline", "Write-ahead log"): ("bytes", {"campus"}),
    ("pipeline", "Points written"): ("short", {"campus"}),
    ("pipeline", "Writes and failures"): ("short", {f"{w} campus" for w in ("writes", "failed", "left out")}),
}  # fmt: skip
#: Choices that the views below are made with; everything else is as the dashboard opens.
CHOSEN = {"clients": {"client": ["192.0.2.20", "198.51.100.4"]}}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    flat = [p for row in board["panels"] for p in (row, *row.get("panels", ()))]
    return [p for p in flat if p.get("targets")]


PANELS = [(name, panel) for name, board in BOARDS.items() for panel in panels(board)]


def panel_of(board: str, title: str) -> dict[str, Any]:
    return next(p for p in panels(BOARDS[board]) if p["title"] == title)


class World:
    """A bucket of the real InfluxDB, and the campus whose store the exporter wrote into it."""

    def __init__(self, server: Influxd, name: str, campus: Campus | None, folder: Path | None = None) -> None:
        self.server, self.bucket, self.campus = server, name, campus
        server.make_bucket(name)
        self.tables: dict[str, pl.DataFrame] = {}
        if campus is not None:
            assert folder is not None
            store, done = export_campus(server, name, campus, folder)
            assert done.written.refused == 0
            self.tables = {n: store.read(n).collect() for n in ("traffic", "client_traffic")}

    def run(self, query: str) -> dict[str, Any]:
        """InfluxDB's answer as the data source asks for it, at the campus's end: tests may take their time."""
        from urllib.parse import urlencode

        if self.campus is not None:
            query = query.replace("now()", f"{int(self.campus.end.timestamp() * 1000)}ms")
        text = urlencode({"db": self.bucket, "q": query, "epoch": "ms"})
        return json.loads(self.server.request("GET", f"/query?{text}"))

    def show(self, view: View, panel: dict[str, Any]) -> list[Frame]:
        """What the panel shows."""
        made: list[Frame] = []
        for target in panel["targets"]:
            made += frames(self.run(view.fill(target["query"], panel)), target)
        return transform(made, panel.get("transformations", []))


@pytest.fixture(scope="module")
def trouble(influxd: Influxd, tmp_path_factory: pytest.TempPathFactory) -> World:
    campus = Campus(datetime.now(UTC), depth=8.2, scenario="trouble")
    return World(influxd, f"trouble-{time.time_ns()}", campus, tmp_path_factory.mktemp("trouble"))


@pytest.fixture(scope="module")
def calm(influxd: Influxd, tmp_path_factory: pytest.TempPathFactory) -> World:
    campus = Campus(datetime.now(UTC), depth=8.2, seed=1)
    return World(influxd, f"calm-{time.time_ns()}", campus, tmp_path_factory.mktemp("calm"))


@pytest.fixture
def empty(influxd: Influxd) -> World:
    return World(influxd, f"empty-{time.time_ns()}", None)


def view(world: World, board: str, days: float = 1, **chosen: Any) -> View:
    end = int(world.campus.end.timestamp() * 1000)
    return View(BOARDS[board], end - int(days * DAY), end, {**CHOSEN.get(board, {}), **chosen})


# -- every panel


def test_every_panel_is_listed() -> None:
    assert {(board, p["title"]) for board, p in PANELS} == set(EXPECTED)


@pytest.mark.parametrize("days", [1, 3])
@pytest.mark.parametrize(("board", "panel"), PANELS, ids=[f"{b}: {p['title']}" for b, p in PANELS])
def test_a_panel_shows_what_it_should(trouble: World, board: str, panel: dict[str, Any], days: int) -> None:
    unit, names = EXPECTED[board, panel["title"]]
    # The pair that is looked at has its incident two days ago.
    if days == 1 and panel["title"] in ("Incidents of the chosen clients", "Pairs and groups"):
        days = 3
    shown = trouble.show(view(trouble, board, days), panel)
    assert panel["fieldConfig"]["defaults"]["unit"] == unit
    assert shown, "no frame"
    if isinstance(names, list):
        (table,) = shown
        assert list(table.columns) == names
        assert table.rows(), "no row"
        return
    if panel["title"] == "Incidents by detector" and days == 1:
        names = names - {"step_change"}
    assert {f.name for f in shown} == names
    for frame in shown:
        assert frame.present, f"{frame.name} has no value"
        assert all(isinstance(v, int | float) for v in frame.present)


@pytest.mark.parametrize("table", ["traffic", "traffic_10m", "traffic_1h"])
def test_the_bin_chooses_the_measurement(trouble: World, table: str) -> None:
    length = {"traffic": 60_000, "traffic_10m": 600_000, "traffic_1h": 3_600_000}[table]
    looked = view(trouble, "overview", 0.4, bin=table)
    for frame in trouble.show(looked, panel_of("overview", "DNS queries, now")):
        assert {b - a for a, b in zip(frame.times, frame.times[1:], strict=False)} == {length}
        wanted = (pl.col("server") == frame.name) & (pl.col("kind") == "dns_query")
        summed = stored(trouble, table, wanted)
        shown = {t: v for t, v in zip(frame.times, frame.values, strict=True) if v is not None}
        assert shown == {t: n for t, n in summed.items() if looked.start <= t <= looked.end}
        assert len(shown) > 5


def stored(world: World, measurement: str, wanted: pl.Expr) -> dict[int, int]:
    """Time in ms -> count, straight from the rows of the store, in the measurement's bins."""
    table, _, length = measurement.partition("_1")
    bins = pl.col("bin_start").dt.truncate({"": "1m", "0m": "10m", "h": "1h"}[length])
    rows = world.tables[table].filter(wanted).group_by(bins.dt.epoch("ms")).agg(pl.col("count").sum())
    return dict(sorted(rows.iter_rows()))


# -- what single panels compute


def test_the_week_before_is_the_same_curve_a_week_earlier(trouble: World) -> None:
    looked = view(trouble, "overview")
    stat = panel_of("overview", "Messages accepted (N_S) in ${bin:text}")
    now, before, change = trouble.show(looked, stat)
    summed = stored(trouble, "traffic_10m", pl.col("kind") == "smtp_accepted")
    assert reduced("lastNotNull", now.values) == summed[max(summed)]
    inside = [n for t, n in summed.items() if looked.start <= t <= looked.end]
    week = 7 * DAY
    earlier = [n for t, n in summed.items() if looked.start <= t + week <= looked.end]
    assert len(earlier) >= 143 and reduced("lastNotNull", before.values) == earlier[-1]
    assert change.present == [pytest.approx(sum(inside) / sum(earlier) - 1)]
    shifted = trouble.show(looked, panel_of("overview", "Messages and sessions, a week before"))
    assert next(f for f in shifted if f.name == "N_S").present == earlier


def test_rare_events_are_zero_where_the_log_is_read_and_null_where_it_is_not(influxd: Influxd) -> None:
    world = World(influxd, f"rare-{time.time_ns()}", None)
    start = 1_700_000_400
    points = {0: "smtp_accepted", 1: "smtp_accepted", 2: "smtp_deferred", 4: "smtp_sent"}
    lines = [
        f"traffic,server=1mx,kind={kind},query_type=none,side=inside count=7i {start + 60 * n}"
        for n, kind in points.items()
    ]
    influxd.write("\n".join(lines), world.bucket, "s")
    looked = View(BOARDS["mail"], start * 1000, (start + 299) * 1000, {"bin": "traffic"})
    target = {"query": str(_rare("smtp_deferred")), "resultFormat": "time_series", "refId": "A"}
    (frame,) = frames(world.run(looked.fill(target["query"])), target)
    assert frame.values == [0, 0, 7, None, 0]
    between = str(
        share(
            "traffic", (equal("kind", "smtp_deferred"),), (equal("kind", "smtp_sent"),), every="5m", label="s"
        )
    )
    (frame,) = frames(world.run(looked.fill(between)), {**target, "query": between})
    assert [v for v in frame.values if v is not None] == [0.5]
    assert str(zero_where("traffic", ("1 = 1",), (), every=None)).count("GROUP BY") == 0


def test_the_ranking_is_by_count_and_networks_add_up(trouble: World) -> None:
    looked = view(trouble, "clients")
    (ranking,) = trouble.show(looked, panel_of("clients", "Top 25 clients"))
    counts = {
        client: sum(
            n
            for t, n in stored(trouble, "client_traffic_10m", pl.col("client") == client).items()
            if looked.start <= t <= looked.end
        )
        for client in CLIENTS
    }
    wanted = sorted(counts.values(), reverse=True)[:25]
    assert sorted(ranking.columns["queries"], reverse=True) == wanted
    assert (
        dict(zip(ranking.columns["client"], ranking.columns["queries"], strict=True)).items()
        <= counts.items()
    )
    (networks,) = trouble.show(looked, panel_of("clients", "Networks"))
    rows = {r["Network"]: (r["Queries"], r["Clients"]) for r in networks.rows()}
    assert set(rows) == {"192.0.2.0/24", "198.51.100.0/24", "2001:db8:1::/48"}
    assert rows["192.0.2.0/24"] == (sum(n for c, n in counts.items() if c.startswith("192.0.2.")), 26)
    assert sum(n for n, _ in rows.values()) == sum(counts.values())


def test_incidents_are_those_of_the_chosen_client_alone(trouble: World) -> None:
    panel = panel_of("incidents", "Incidents")
    everything = trouble.show(view(trouble, "incidents", 8), panel)[0].rows()
    assert len(everything) == 7  # one is older, two are open
    # 192.0.2.2 is within 192.0.2.20 to 192.0.2.23, which have incidents.
    assert trouble.show(view(trouble, "incidents", 8, client=["192.0.2.2"]), panel) == []
    (table,) = trouble.show(view(trouble, "incidents", 8, client=["2001:db8:1::2", "198.51.100.4"]), panel)
    assert {r["subject"] for r in table.rows()} == {"192.0.2.20", "192.0.2.22"}
    row = next(r for r in table.rows() if r["subject"] == "192.0.2.20")
    assert row["ended"] - row["Time"] == pytest.approx(3 * 3_600_000, abs=2000)
    assert json.loads(row["evidence"])["bins"] == 3
    assert row["view_from"] == pytest.approx(row["Time"] - 6 * 3_600_000, abs=2000)


def test_the_band_is_the_limit_in_units_of_the_deviation(trouble: World) -> None:
    # A bin of the model each: residual / standardized is the deviation.
    looked = view(trouble, "model", 0.5)
    shown = {f.name: f for f in trouble.show(looked, panel_of("model", "Residual and its band"))}
    single = {f.name: f for f in trouble.show(looked, panel_of("model", "Standardized residual"))}
    residual, upper, z = shown["residual 1mx"].values, shown["upper 1mx"].values, single["1mx"].values
    pairs = [(r / s * RESIDUAL, u) for r, u, s in zip(residual, upper, z, strict=True) if s and abs(s) > 0.1]
    assert len(pairs) > 20
    for wanted, got in pairs:
        assert got == pytest.approx(wanted, rel=0.02)
    lower = shown["lower 1mx"].present
    assert lower == [-u for u in shown["upper 1mx"].present]


def test_every_variable_offers_what_is_there(trouble: World) -> None:
    wanted = {
        "server": {*DNS_SERVERS, *MAIL_SERVERS},
        "client": set(CLIENTS),
        "query_type": set(QTYPES),
    }
    for variable in BOARDS["overview"]["templating"]["list"]:
        if variable["type"] == "query":
            (series,) = trouble.run(variable["query"])["results"][0]["series"]
            assert {value for _, value in series["values"]} == wanted[variable["name"]]


@pytest.mark.parametrize("board", BOARDS)
def test_annotations_are_the_incidents(trouble: World, board: str) -> None:
    every = board != "clients"
    looked = view(trouble, board, 8, client=[ALL] if every else list(CLIENTS))
    found = []
    for annotation in BOARDS[board]["annotations"]["list"]:
        target = annotation["target"]
        if "query" not in target:
            continue
        (result,) = trouble.run(looked.fill(target["query"]))["results"]
        (series,) = result["series"]
        rows = [dict(zip(series["columns"], v, strict=True)) for v in series["values"]]
        for row in rows:
            assert row[target["textColumn"]] and row[target["titleColumn"]]
            assert all(row[t] for t in target["tagsColumn"].split(","))
            # Grafana makes a region of what has an end.
            assert row[target["timeEndColumn"]] == 0 or row[target["timeEndColumn"]] > row["time"]
        found += rows
    # Two of them are of servers, and one of these is open.
    assert len(found) == (7 if every else 5)
    assert sum(r["end_ms"] == 0 for r in found) == (2 if every else 1)


def test_a_post_is_answered_like_a_get(trouble: World) -> None:
    # The data source posts: several long queries in one URL are more than some proxies pass.
    from urllib.parse import urlencode
    from urllib.request import Request, urlopen

    query = "SHOW MEASUREMENTS"
    request = Request(
        f"{trouble.server.url}/query?{urlencode({'db': trouble.bucket, 'epoch': 'ms'})}",
        urlencode({"q": query}).encode(),
        {
            "Authorization": f"Token {trouble.server.token}",
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )
    with urlopen(request, timeout=30) as answer:
        posted = json.loads(answer.read())
    assert posted == trouble.run(query)
    assert {v for (v,) in posted["results"][0]["series"][0]["values"]} == set(MEASUREMENTS)


def test_the_written_fields_are_those_that_are_listed(trouble: World) -> None:
    for name, measurement in MEASUREMENTS.items():
        (fields,) = trouble.run(f'SHOW FIELD KEYS FROM "{name}"')["results"][0]["series"]
        assert {f for f, _ in fields["values"]} == set(measurement.fields), name
        (tags,) = trouble.run(f'SHOW TAG KEYS FROM "{name}"')["results"][0]["series"]
        assert {t for (t,) in tags["values"]} == set(measurement.tags), name


# -- the macros themselves


def test_macros_are_filled_as_grafana_fills_them() -> None:
    looked = View(BOARDS["mail"], 0, DAY, {"server": ["a.b", "c"]})
    assert looked.fill("${server:regex} ${bin:text} ${bin:raw}") == "(a\\.b|c) 10m traffic_10m"
    looked.chosen = {"server": ["a.b"]}
    assert looked.fill("/^${server:regex}$/") == "/^a\\.b$/"
    looked.chosen = {}
    assert looked.fill("/^${server:regex}$/") == "/^.*$/"
    assert looked.fill("$timeFilter") == f"time >= 0ms and time <= {DAY}ms"
    assert looked.fill("$timeFilter", {"timeShift": "7d"}) == f"time >= {-7 * DAY}ms and time <= {-6 * DAY}ms"
    with pytest.raises(NotImplementedError):
        looked.fill("$unknown")
    assert as_text(interval(0, DAY, "1m")) == "1m"
    assert as_text(interval(0, DAY, "10m")) == "10m"
    assert as_text(interval(0, 90 * DAY, "10m")) == "2h"


# -- alert rules

#: The labels of the series that fire in the hour of trouble.
FIRES: dict[str, list[dict[str, str]]] = {
    "incident-critical": [{"detector": "deferral_surge"}],
    "incident-warning": [{"detector": "login_attack"}],
    "deferral-surge": [{"server": "1mx"}],
    "login-failures": [{"server": "1mx"}],
    "model-residual": [{"model": "1mx"}],
    "predicted-absent": [{"model": "2mx"}],
    "cache-collapse": [{"model": "1mx"}],
    "no-lines": [{"instance": "campus"}],
    "unmatched-lines": [{"instance": "campus"}],
    "export-lag": [{"instance": "campus"}],
    "export-errors": [{"instance": "campus"}],
    "lines-shed": [{"instance": "campus"}],
}


def test_every_rule_has_its_trouble() -> None:
    assert set(FIRES) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_fires_in_trouble(trouble: World, name: str) -> None:
    verdict = judge(RULES[name], trouble.run)
    assert verdict.state == "Firing"
    fired = verdict.firing
    if name == "cache-collapse":  # the small server has few bins with enough queries by night
        fired = [labels for labels in fired if labels == {"model": "1mx"}]
    assert fired == FIRES[name]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_silent_on_a_calm_day(calm: World, name: str) -> None:
    verdict = judge(RULES[name], calm.run)
    assert verdict.state == "Normal", verdict.values


@pytest.mark.parametrize("name", RULES)
def test_a_rule_without_data_has_the_state_that_was_chosen(empty: World, name: str) -> None:
    # Without the daemon's own numbers somebody must be told; everything else has nothing to judge.
    assert judge(RULES[name], empty.run).state == ("Firing" if name == "no-lines" else "Normal")


@pytest.mark.parametrize("name", RULES)
def test_a_failing_query_is_an_error_and_not_silence(name: str) -> None:
    assert judge(RULES[name], lambda _query: {"results": [{"error": "timeout"}]}).state == "Error"


@pytest.mark.parametrize("name", RULES)
def test_a_template_names_only_labels_that_the_series_have(trouble: World, name: str) -> None:
    rule = RULES[name]
    verdict = judge(rule, trouble.run)
    labels = {key for key, _ in next(iter(verdict.values))}
    for template in rule["annotations"].values():
        assert set(re.findall(r"\.Labels\.(\w+)", template)) <= labels
        assert set(re.findall(r"\.Values\.(\w+)", template)) <= {"B", "C"}
