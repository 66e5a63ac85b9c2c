"""Provisioning files: their published forms, that they agree with one another, and what must not stand in them."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from seismolog.sinks.grafana.alerts import RULES, Rule
from seismolog.sinks.grafana.influxql import Select
from seismolog.sinks.grafana.panels import DATASOURCE
from seismolog.sinks.grafana.provisioning import MUTE, Place, documents, panel_numbers, rule_group

DATA = Path(__file__).parents[1] / "data" / "grafana-schema"
FILES = documents(Place())
RELEASES = ("10.2", "11.6", "newest")
GROUP = rule_group(Place())


@cache
def published(release: str) -> dict[str, Any]:
    return json.loads((DATA / f"alerting-{release}.json").read_text())


def complaints(release: str, kind: str, value: Any) -> list[str]:
    schema = published(release)[kind]
    return [
        f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}"
        for e in Draft7Validator(schema).iter_errors(value)
    ]


def as_api(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule of a file as the API has it: its folder and group stand in it."""
    made = copy.deepcopy(rule) | {"orgID": 1, "folderUID": "seismolog", "ruleGroup": GROUP["name"]}
    for node in made["data"]:
        del node["model"]  # judged by itself below: the published type is that of any data source
    return made


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("rule", GROUP["rules"], ids=lambda r: r["uid"])
def test_a_rule_has_the_published_form(release: str, rule: dict[str, Any]) -> None:
    assert complaints(release, "Rule", as_api(rule)) == []
    for node in rule["data"][1:]:
        kind = {"reduce": "TypeReduce", "threshold": "TypeThreshold"}[node["model"]["type"]]
        # The published type of an evaluator wants what the interface writes beside it.
        found = complaints(release, kind, node["model"])
        assert found == []


@pytest.mark.parametrize("release", RELEASES)
def test_a_wrong_rule_is_found(release: str) -> None:
    rule = as_api(GROUP["rules"][0])
    assert complaints(release, "Rule", rule | {"noDataState": "Ok"})
    assert complaints(release, "Rule", rule | {"forr": "5m"})
    model = copy.deepcopy(GROUP["rules"][0]["data"][1]["model"]) | {"reducer": "newest"}
    assert complaints(release, "TypeReduce", model)


@pytest.mark.parametrize("release", RELEASES)
def test_contact_point_policy_and_mute_timing_have_the_published_form(release: str) -> None:
    (point,) = FILES["alerting/contact-points.yaml"]["contactPoints"]
    for receiver in point["receivers"]:
        assert complaints(release, "ContactPoint", receiver | {"name": point["name"]}) == []
    (policy,) = FILES["alerting/policies.yaml"]["policies"]
    policy = copy.deepcopy({k: v for k, v in policy.items() if k != "orgId"})
    if release == "10.2":
        # It published its inner form of a matcher; files and API have lists of three, as 11 then published.
        for route in policy["routes"]:
            route["object_matchers"] = [
                dict(zip(("Name", "Type", "Value"), (label, how, value), strict=True))
                for label, how, value in route["object_matchers"]
            ]
    assert complaints(release, "NotificationPolicy", policy) == []
    (mute,) = FILES["alerting/mute-timings.yaml"]["muteTimes"]
    # The published type calls the ends of a time `from` and `to`; files and API have start_time and end_time.
    told = copy.deepcopy({k: v for k, v in mute.items() if k != "orgId"})
    for interval in told["time_intervals"]:
        interval["times"] = [{"from": t["start_time"], "to": t["end_time"]} for t in interval["times"]]
    assert complaints(release, "MuteTiming", told) == []


def test_files_agree_with_one_another() -> None:
    (point,) = FILES["alerting/contact-points.yaml"]["contactPoints"]
    (policy,) = FILES["alerting/policies.yaml"]["policies"]
    (mute,) = FILES["alerting/mute-timings.yaml"]["muteTimes"]
    assert mute["name"] == MUTE
    for route in (policy, *policy["routes"]):
        assert route["receiver"] == point["name"]
        assert set(route.get("mute_time_intervals", ())) <= {mute["name"]}
    # Every rule finds a route by its labels.
    for rule in GROUP["rules"]:
        assert any(
            all(rule["labels"].get(label) == value for label, _, value in route["object_matchers"])
            for route in policy["routes"]
        )
    # What is critical is never muted.
    critical = next(r for r in policy["routes"] if ["severity", "=", "critical"] in r["object_matchers"])
    assert "mute_time_intervals" not in critical
    (provider,) = FILES["dashboards/seismolog.yaml"]["providers"]
    assert provider["folder"] == GROUP["folder"] and provider["folderUid"] == "seismolog"
    (source,) = FILES["datasources/seismolog.yaml"]["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == DATASOURCE


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [s for v in value.values() for s in strings(v)]
    if isinstance(value, list):
        return [s for v in value for s in strings(v)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_left_for_the_expansion_of_variables_but_the_token(name: str) -> None:
    dollars = [s for s in strings(FILES[name]) if "$" in s]
    wanted = [f"Token $__file{{{Place().token_file}}}"] if name.startswith("datasources") else []
    assert dollars == wanted


def test_no_secret_stands_in_a_file() -> None:
    for name, document in FILES.items():
        text = yaml.safe_dump(document)
        assert not re.search(r"password|apikey|api_key|secret:", text, re.IGNORECASE), name
        assert "secureSettings" not in text


def test_a_rule_leads_to_its_panel_and_its_runbook() -> None:
    numbers = set(panel_numbers().values())
    runbook = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()
    for rule in GROUP["rules"]:
        notes = rule["annotations"]
        assert (notes["__dashboardUid__"], int(notes["__panelId__"])) in numbers
        anchor = notes["runbook_url"].removeprefix("docs/runbook.md#")
        assert f"\n## {anchor}\n" in runbook
    elsewhere = rule_group(Place(docs="https://wiki.example.org/s/"))["rules"][0]["annotations"][
        "runbook_url"
    ]
    assert elsewhere == "https://wiki.example.org/s/runbook.md#incident-critical"


def test_states_are_chosen() -> None:
    assert {r.name for r in RULES if r.no_data != "OK"} == {"no-lines"}
    assert {r.error for r in RULES} == {"Error"}
    with pytest.raises(ValueError, match="one limit"):
        Rule(
            name="x", title="x", query=Select("a", "b"), window=60, severity="warning", component="mail",
            panel=("mail", "x"), summary="", meaning="", check="", remedy="", above=1, below=1,
        )  # fmt: skip
