"""The generated files: no drift, no panel without explanation, no query that names what is not written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import yaml

from seismolog.detect import cache_collapse, deferral_surge, login_attack, model_residual
from seismolog.model.cache import MIN_DENOMINATOR
from seismolog.model.health import ABSENT_SHARE
from seismolog.sinks.grafana.alerts import RULES
from seismolog.sinks.grafana.dashboard import TAG, VARIABLES
from seismolog.sinks.grafana.dashboards import dashboards
from seismolog.sinks.grafana.files import render, runbook_page
from seismolog.sinks.grafana.influxql import Select, mentions, name, text
from seismolog.sinks.grafana.measurements import BINS, MEASUREMENTS
from seismolog.sinks.grafana.panels import COLORS, DATASOURCE
from seismolog.sinks.grafana.provisioning import Place
from seismolog.sinks.influxdb import measurements as written
from seismolog.sinks.influxdb import pipeline as numbers
from tests.services.influxql_frames import duration

ROOT = Path(__file__).parents[2]
BOARDS = {board.name: board.json() for board in dashboards()}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Every panel that is no row."""
    flat = [panel for row in board["panels"] for panel in (row, *row.get("panels", ()))]
    return [panel for panel in flat if panel["type"] != "row"]


ALL = [(name, panel) for name, board in BOARDS.items() for panel in panels(board)]
IDS = [f"{name}: {panel['title']}" for name, panel in ALL]
TARGETS = [(f"{n}: {p['title']} {t['refId']}", t, p) for n, p in ALL for t in p.get("targets", ())]


# -- the files


@pytest.mark.parametrize(("path", "wanted"), render().items(), ids=lambda v: v[:40])
def test_a_checked_in_file_is_what_the_code_says(path: str, wanted: str) -> None:
    assert (ROOT / "grafana" / path).read_text(encoding="utf-8") == wanted, "run: make docs"


def test_the_folder_holds_nothing_else() -> None:
    there = {str(p.relative_to(ROOT / "grafana")) for p in (ROOT / "grafana").rglob("*") if p.is_file()}
    assert there == set(render())


def test_the_runbook_is_what_the_rules_say() -> None:
    assert (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8") == runbook_page(), "run: make docs"


def test_the_six_dashboards_are_there() -> None:
    assert list(BOARDS) == ["overview", "mail", "model", "clients", "incidents", "pipeline"]


def test_rendering_is_a_function_of_the_place_alone() -> None:
    assert render() == render(Place())
    other = render(Place(url="http://127.0.0.1:8086", bucket="b2", token_file="/etc/token"))
    source = yaml.safe_load(other["provisioning/datasources/seismolog.yaml"])["datasources"][0]
    assert source["url"] == "http://127.0.0.1:8086"
    assert source["jsonData"]["dbName"] == source["database"] == "b2"
    assert source["secureJsonData"] == {"httpHeaderValue1": "Token $__file{/etc/token}"}
    assert [p for p in other if other[p] != render()[p]] == ["provisioning/datasources/seismolog.yaml"]


# -- dashboards


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_numbers_and_places_are_unique(board: dict[str, Any]) -> None:
    flat = [p for row in board["panels"] for p in (row, *row.get("panels", ()))]
    assert len({p["id"] for p in flat}) == len(flat)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_uids_are_stable_and_short_enough() -> None:
    assert {b["uid"] for b in BOARDS.values()} == {f"seismolog-{n}" for n in BOARDS}
    assert all(len(uid) <= 40 for uid in [*(b["uid"] for b in BOARDS.values()), *(r.uid for r in RULES)])
    assert len({r.uid for r in RULES}) == len(RULES)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_dashboard_carries_all_variables_and_links_to_the_others(board: dict[str, Any]) -> None:
    assert tuple(v["name"] for v in board["templating"]["list"]) == VARIABLES
    link, *spans = board["links"]
    assert link["keepTime"] and link["includeVars"] and link["tags"] == board["tags"] == [TAG]
    shown = {v["name"] for v in board["templating"]["list"] if v["hide"] == 0}
    # Links to other stretches set the bin that suits them, and keep every other choice.
    assert bool(spans) == ("bin" in shown)
    for span in spans:
        back, table = re.search(r"from=now-(\w+)&to=now&var-bin=(\w+)&", span["url"]).groups()
        length = next(k for k, v in BINS.items() if v == table)
        assert 100 <= duration(back) / duration(length) <= 2500
        assert span["url"].startswith(f"/d/{board['uid']}?")
        assert set(re.findall(r"\$\{(\w+):queryparam\}", span["url"])) == {*VARIABLES} - {"bin"}
    queries = json.dumps([p.get("targets", []) for p in panels(board)])
    for variable in VARIABLES:
        used = f"${{{variable}:" in queries
        assert used == (variable in shown), f"{variable}: used {used}, shown {variable in shown}"


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_incidents_are_drawn_into_every_dashboard(board: dict[str, Any]) -> None:
    drawn = [a for a in board["annotations"]["list"] if a["datasource"] == DATASOURCE]
    severities = re.findall(r'"severity" =~ /\^\((.*?)\)', " ".join(a["target"]["query"] for a in drawn))
    assert sorted("|".join(severities).split("|")) == ["critical", "notice", "warning"]
    for annotation in drawn:
        assert annotation["enable"]
        selected = annotation["target"]["query"].split(" FROM ")[0]
        for column in ("textColumn", "titleColumn", "timeEndColumn"):
            assert f'"{annotation["target"][column]}"' in selected
        # `replace` of Grafana 9.4 fills the first one only.
        assert annotation["target"]["query"].count("$timeFilter") == 1


@pytest.mark.parametrize(("board", "panel"), ALL, ids=IDS)
def test_a_panel_explains_itself(board: str, panel: dict[str, Any]) -> None:
    assert len(panel["description"]) >= 20 and panel["description"].endswith((".", ")"))
    if panel["type"] == "text":
        return
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert panel["targets"] and panel["datasource"] == DATASOURCE
    if panel["type"] == "timeseries":
        assert isinstance(defaults["custom"]["spanNulls"], bool)
        assert panel["options"]["legend"]["showLegend"]


@pytest.mark.parametrize(("board", "panel"), ALL, ids=IDS)
def test_titles_are_unique_within_a_dashboard(board: str, panel: dict[str, Any]) -> None:
    assert [p["title"] for p in panels(BOARDS[board])].count(panel["title"]) == 1


@pytest.mark.parametrize(("board", "panel"), ALL, ids=IDS)
def test_thresholds_that_are_drawn_are_named_in_the_description(board: str, panel: dict[str, Any]) -> None:
    custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom", {})
    if custom.get("thresholdsStyle", {}).get("mode") == "off" or panel["type"] != "timeseries":
        return
    steps = [s["value"] for s in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]][1:]
    assert steps
    if board in ("mail", "model"):
        shown = panel["description"]
        assert any(f"{s:g}" in shown or f"{s:.0%}" in shown for s in steps), steps


#: Panel -> what its limit is in the detector, read from the detector itself and not from the code of the dashboards.
LIMITS: dict[tuple[str, str], float] = {
    ("mail", "Deferrals in 10 minutes"): deferral_surge.Settings().minimum,
    ("mail", "Failed logins in 10 minutes"): login_attack.Settings().failures,
    ("model", "Standardized residual"): NormalDist().inv_cdf(1 - model_residual.Settings().p_value),
    ("model", "Share of the calculated queries that arrive"): ABSENT_SHARE,
}


@pytest.mark.parametrize(("board", "title"), LIMITS)
def test_a_limit_that_is_drawn_is_the_detectors(board: str, title: str) -> None:
    written = json.loads((ROOT / "grafana" / "dashboards" / f"{board}.json").read_text())
    (panel,) = [p for p in panels(written) if p["title"] == title]
    steps = [
        s["value"] for s in panel["fieldConfig"]["defaults"]["thresholds"]["steps"] if s["value"] is not None
    ]
    assert any(s == pytest.approx(LIMITS[board, title], abs=0.006) for s in steps), steps
    assert panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed"


def test_a_rule_judges_by_the_limits_of_the_detector_that_it_stands_under() -> None:
    group = yaml.safe_load((ROOT / "grafana/provisioning/alerting/rules.yaml").read_text())["groups"][0]
    found = {}
    for rule in group["rules"]:
        query, _, threshold = (node["model"] for node in rule["data"])
        (limit,) = threshold["conditions"][0]["evaluator"]["params"]
        found[rule["uid"].removeprefix("seismolog-")] = (limit, query["query"])
    residual, cache = model_residual.Settings(), cache_collapse.Settings()
    assert f'"part" - {deferral_surge.Settings().minimum - 0.5:g}' in found["deferral-surge"][1]
    assert found["login-failures"][0] == 10 * login_attack.Settings().failures
    assert found["model-residual"][0] == pytest.approx(NormalDist().inv_cdf(1 - residual.p_value), abs=0.006)
    for of_model in ("model-residual", "predicted-absent"):
        assert f'"bins" >= {residual.bins}' in found[of_model][1]
    assert found["predicted-absent"][0] == ABSENT_SHARE
    assert f'"calculated" >= {MIN_DENOMINATOR:g}' in found["predicted-absent"][1]
    assert found["cache-collapse"][0] == cache.share
    assert f'"usual" >= {cache.least:g}' in found["cache-collapse"][1]
    assert f'"bins" >= {cache.bins}' in found["cache-collapse"][1]
    deviations = re.search(r'"usual" - "now" > ([\d.]+) \* \("high" - "low"\)', found["cache-collapse"][1])
    assert float(deviations[1]) == pytest.approx(cache.z / 1.349, rel=0.01)
    assert f"now() - {10 * (cache.bins + 1) + 9}m" in found["cache-collapse"][1]


def test_links_lead_to_dashboards_that_exist_and_keep_time_and_client() -> None:
    found = set()
    for _, panel in ALL:
        for url in re.findall(r'"url": "(/d/.*?)"', json.dumps(panel)):
            uid = url.split("/")[2].split("?")[0]
            assert uid in {b["uid"] for b in BOARDS.values()}
            assert "${__url_time_range}" in url or "from=${__data.fields." in url
            found.add(uid)
            if uid == "seismolog-clients":
                column = re.search(r"var-client=\$\{__data\.fields\.(\w+)\}", url)[1]
                queries = " ".join(t["query"] for t in panel["targets"])
                assert f'"{column}"' in queries
    assert found == {"seismolog-clients", "seismolog-incidents"}


def test_colours_can_be_told_apart_by_the_colour_blind() -> None:
    okabe_ito = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(COLORS.values()) - okabe_ito == {"#999999", "#808080"}  # greys


# -- queries


def named(query: str) -> tuple[set[str], set[str]]:
    """Measurements, and every other quoted name that is no alias."""
    aliases = set(re.findall(r'AS "([^"]+)"', query))
    sources = set(re.findall(r'FROM "([^"]+)"', query))
    others = set(re.findall(r'"([^"]+)"', query)) - aliases - sources
    return sources, others


RULE_QUERIES = [(r.name, str(r.query)) for r in RULES]
QUERIES = [(i, t["query"]) for i, t, _ in TARGETS] + RULE_QUERIES


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[q[0] for q in QUERIES])
def test_a_query_names_only_what_is_written(where: str, query: str) -> None:
    sources, names = named(query)
    chosen = [s.replace("${bin:raw}", table) for s in sources for table in BINS.values()]
    assert chosen
    known: set[str] = set()
    for source in chosen:
        measurement = MEASUREMENTS[source]
        known |= {*measurement.tags, *measurement.fields}
    assert names <= known, names - known


@pytest.mark.parametrize(("where", "target", "panel"), TARGETS, ids=[t[0] for t in TARGETS])
def test_a_query_is_influxql_with_chosen_fill(
    where: str, target: dict[str, Any], panel: dict[str, Any]
) -> None:
    query = target["query"]
    assert target["rawQuery"] is True and target["resultFormat"] in ("time_series", "table")
    assert ("fill(" in query) == ("GROUP BY time(" in query)
    assert any(time in query for time in ("$timeFilter", "now()", "${__from}ms", "${__to}ms"))
    # Variables always with a format: what a bare one becomes depends on Grafana's version.
    assert not re.search(r"\$(?!\{|timeFilter|__interval|\)|/)\w", query.replace(")$", ""))
    for inner in re.findall(r"\$\{(.*?)\}", query):
        assert re.fullmatch(r"(server|client|query_type):regex|bin:(text|raw)|__from|__to", inner), inner
    if "$__interval" in query:
        assert panel["interval"], "a shorter interval than the bin breaks a line into points"


def test_what_dashboards_name_is_what_the_exporter_writes() -> None:
    ours = {m.name: (m.tags, set(m.fields)) for m in MEASUREMENTS.values()}
    theirs = {m.name: (m.tags, set(m.fields)) for m in written.MEASUREMENTS.values()}
    for measurement in (numbers.PIPELINE, numbers.UNMATCHED_SHAPE):
        theirs[measurement.name] = (measurement.tags, set(measurement.fields))
    assert ours == theirs


def test_text_and_names_are_quoted() -> None:
    assert text("a'b\\c") == "'a\\'b\\\\c'"
    assert name("a b") == '"a b"'
    with pytest.raises(ValueError, match="no name"):
        name('a" OR 1=1')
    with pytest.raises(ValueError, match="groups of time"):
        str(Select("x", "t", fill="null"))


def test_a_client_is_found_among_others_and_not_within_another() -> None:
    pattern = (
        mentions("subjects", "client").split(" =~ ")[1][1:-1].replace("${client:regex}", r"192\.0\.2\.1")
    )
    for subjects in ("192.0.2.1", "10.0.0.1, 192.0.2.1", "192.0.2.1, 2001:db8::1"):
        assert re.search(pattern, subjects)
    for subjects in ("192.0.2.10", "1192.0.2.1", "192.0.2.1:25"):
        assert not re.search(pattern, subjects)
