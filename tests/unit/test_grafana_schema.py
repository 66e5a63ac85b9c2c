"""The dashboards against the types that Grafana publishes for 9.4, 10, 11, 12 and 13.

The published types are stricter than Grafana's reading: a property with a default counts as required, and what a data
source adds to an annotation is not foreseen. Each difference is listed below with its reason; one that is not listed
fails, and so does one that is listed and does not occur.
"""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from seismolog.sinks.grafana.dashboards import dashboards

DATA = Path(__file__).parents[1] / "data" / "grafana-schema"
RELEASES = ("9.4", "10.4", "11.6", "12.4", "13.2")
BOARDS = {board.name: board.json() for board in dashboards()}

#: Required by the published type because it has a default there; Grafana fills it in.
DEFAULTED = {
    "stat options: required showPercentChange",
    "stat options: required wideLayout",
    "stat options: required percentChangeColorMode",
}
#: What the influxdb data source reads in an annotation's target; the published type is that of Grafana's own annotations.
ANNOTATION = {
    f"dashboard annotations.list.target: additional {name}"
    for name in (
        "fromAnnotations", "name", "query", "queryType", "refId", "tagsColumn", "textColumn", "timeEndColumn", "titleColumn",
    )
}  # fmt: skip
#: 9.4 published its types before they were whole: variables have none of their properties, the time picker has no delay
#: (which its code reads), the first step of thresholds has no null (which its own exports have).
OLD = {
    *(
        f"dashboard templating.list: {what}"
        for what in (
            *(f"required {n}" for n in ("datasource", "error", "global", "id", "index", "rootStateKey", "state")),
            *(f"additional {n}" for n in ("allValue", "current", "includeAll", "multi", "options")),
            *(f"additional {n}" for n in ("refresh", "regex", "sort")),
        )
    ),
    *(f"dashboard annotations.list: required {n}" for n in ("builtIn", "showIn", "type")),
    *(f"dashboard timepicker: required {n}" for n in ("collapse", "enable", "hidden", "refresh_intervals", "time_options")),
    "dashboard timepicker: additional nowDelay",
    *(f"dashboard: required {n}" for n in ("revision", "style")),
    "panel fieldConfig.defaults.thresholds.steps.value: None is not of type 'number'",
    *(f"panel: required {n}" for n in ("repeatDirection", "transformations")),
}  # fmt: skip


@cache
def published(release: str) -> dict[str, Any]:
    return json.loads((DATA / f"{release}.json").read_text())


def quoted(message: str) -> list[str]:
    return re.findall(r"'(.*?)'", message)


def complaints(schema: dict[str, Any], value: Any, what: str) -> set[str]:
    """Every complaint as a sentence: where (without numbers), what."""
    found = set()
    for error in Draft7Validator(schema).iter_errors(value):
        while error.context:
            # Of several forms the one that the value comes nearest to.
            error = max(error.context, key=lambda e: (len(e.absolute_path), e.validator != "type"))
        path = ".".join(p for p in map(str, error.absolute_path) if not p.isdigit())
        place = f"{what} {path}".strip()
        if error.validator == "required":
            found.add(f"{place}: required {quoted(error.message)[0]}")
        elif error.validator == "additionalProperties":
            extra = error.message.split("(")[1].rsplit(" w", 1)[0]
            found |= {f"{place}: additional {name}" for name in quoted(extra)}
        else:
            found.add(f"{place}: {error.message}")
    return found


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for row in board["panels"] for panel in (row, *row.get("panels", ()))]


def all_complaints(release: str, board: dict[str, Any]) -> set[str]:
    schemas = published(release)
    definitions = schemas["dashboard"]["definitions"]

    def part(name: str) -> dict[str, Any]:
        """The schema of a panel or row by itself: in the union of all panels a complaint would be drowned."""
        return {**definitions[name], "definitions": definitions}

    found = complaints(schemas["dashboard"], {**board, "panels": []}, "dashboard")
    for panel in panels(board):
        if panel["type"] == "row":
            found |= complaints(part("RowPanel"), {**panel, "panels": []}, "row")
            continue
        found |= complaints(part("Panel"), panel, "panel")
        custom = panel["fieldConfig"]["defaults"].get("custom")
        for name, value in (("Options", panel["options"]), ("FieldConfig", custom)):
            schema = schemas.get(panel["type"] + name)
            if schema and value is not None:
                found |= complaints(schema, value, f"{panel['type']} {name.lower()}")
    return found


def expected(release: str) -> set[str]:
    return ANNOTATION | (OLD if release == "9.4" else DEFAULTED)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_has_the_published_form(release: str, name: str) -> None:
    assert all_complaints(release, BOARDS[name]) - expected(release) == set()


@pytest.mark.parametrize("release", RELEASES)
def test_no_difference_is_excused_that_does_not_occur(release: str) -> None:
    found = set().union(*(all_complaints(release, board) for board in BOARDS.values()))
    unused = expected(release) - found
    if release == "10.4":
        unused -= {"stat options: required percentChangeColorMode"}
    assert unused == set()


@pytest.mark.parametrize("release", RELEASES)
def test_a_misspelt_option_is_found(release: str) -> None:
    board = copy.deepcopy(BOARDS["mail"])
    chart = next(p for p in panels(board) if p["type"] == "timeseries")
    chart["options"]["legend"]["displayMod"] = "table"
    chart["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "lines"
    chart["gridPos"]["w"] = "12"
    board["tmplating"] = {}
    found = all_complaints(release, board) - expected(release)
    assert any("displayMod" in f for f in found)
    assert any("'lines' is not one of" in f for f in found)
    assert any("'12' is not of type 'number'" in f for f in found)
    assert any("tmplating" in f for f in found)


def test_the_releases_are_those_that_are_promised() -> None:
    versions = [published(r)["version"] for r in RELEASES]
    assert [v.split(".")[0] for v in versions] == ["9", "10", "11", "12", "13"]
    assert versions[0].startswith("9.4.")
