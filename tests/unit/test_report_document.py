"""The JSON documents keep to their schemas, and the schemas hold the shapes that were promised."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seismolog.report.analysis import Analysis, Incident
from seismolog.report.document import analysis_json, models_json, schema
from seismolog.report.findings import find
from seismolog.report.lines import explain_object

jsonschema = pytest.importorskip("jsonschema")
SAMPLE = runpy.run_path(str(Path(__file__).with_name("report_evening.py")))
NAMES = ("analyze", "fit", "count", "explain", "explain-unmatched", "plan")


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    evening = SAMPLE["evening"]()
    incident = Incident(
        "deferral_surge-1", "deferral_surge", "outbreak", "critical", ("1mx",), datetime(2002, 7, 15, 9, tzinfo=UTC),
        datetime(2002, 7, 15, 15, tzinfo=UTC), 9.5, 5.0, "Deferrals climbed.", {"n_sd": 359},
    )  # fmt: skip
    return replace(evening, findings=find(evening), incidents=(incident,))


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_the_analysis_keeps_to_its_schema(analysis: Analysis) -> None:
    document = json.loads(analysis_json(analysis))
    jsonschema.validate(document, schema("analyze"))
    assert document["counts"]["dns_query"] == analysis.counts()["dns_query"]
    assert document["clients"][0]["client"] == SAMPLE["MAIL"]


def test_the_promised_names_are_there(analysis: Analysis) -> None:
    document = json.loads(analysis_json(analysis))
    assert {"input", "counts", "clients", "models", "incidents"} <= set(document)
    assert {"files", "lines", "matched", "unmatched", "guesses"} <= set(document["input"])
    model = document["models"][0]
    assert {
        "name", "server", "client", "coefficients", "r_squared", "dispersion", "cache_efficiency", "residual_vs_deferred",
    } <= set(model)  # fmt: skip
    assert set(model["coefficients"]["smtp_accepted"]) == {"estimate", "std_error", "low", "high", "paper"}
    assert set(model["residual_vs_deferred"]) == {"r", "low", "high"}
    assert set(document["incidents"][0]) == {
        "id", "detector", "cause", "severity", "subjects", "start", "end", "score", "threshold", "explanation", "evidence",
        "server", "suppressed",
    }  # fmt: skip


def test_numbers_that_do_not_exist_are_null(analysis: Analysis) -> None:
    model = replace(analysis.models[0], r_squared=float("nan"), residual_vs_deferred=None)
    document = json.loads(models_json(replace(analysis, models=(model,))))
    jsonschema.validate(document, schema("fit"))
    assert document["models"][0]["r_squared"] is None
    assert document["models"][0]["residual_vs_deferred"] is None


def test_an_explained_line_keeps_to_its_schema() -> None:
    item = {
        "line": 3, "dialect": "sendmail", "kind": "smtp_accepted", "server": "1mx", "client": None,
        "time": datetime(2002, 7, 15, 9, tzinfo=UTC), "count": 1, "reason": None, "text": "…",
    }  # fmt: skip
    document = explain_object(item)
    jsonschema.validate(document, schema("explain"))
    assert list(document) == ["line", "dialect", "kind", "server", "client", "time", "count", "reason"]
    assert document["time"] == "2002-07-15T09:00:00Z"
