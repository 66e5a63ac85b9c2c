"""The analysis as JSON: one stable document, and the schemas that the stable shapes keep to.

Nothing in a document is ever renamed or removed; fields are added. The schemas (JSON Schema 2020-12) stand under
``schemas/``, named after the command: ``analyze.json``, ``explain.json``, ``explain-unmatched.json``, ``count.json``,
``fit.json``, ``plan.json``; :func:`schema` reads one.

Limits: a number that does not exist (no interval, no correlation) is ``null``, never NaN.
"""

from __future__ import annotations

import json
import math
from datetime import UTC
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from seismolog.report.analysis import Analysis, Coefficient, Finding, Incident, ModelResult, SourceFile

__all__ = ["analysis_document", "analysis_json", "models_json", "schema"]

MAX_CLIENTS = 100_000
"""Rows of ``clients`` in the document; ``seismolog count --by client`` has all."""


def analysis_json(analysis: Analysis) -> str:
    """The document as indented JSON."""
    return json.dumps(analysis_document(analysis), indent=2, allow_nan=False)


def models_json(analysis: Analysis) -> str:
    """What ``seismolog fit --format json`` prints: the models, and the input they rest on."""
    document = analysis_document(analysis)
    return json.dumps({"input": document["input"], "models": document["models"]}, indent=2, allow_nan=False)


def analysis_document(analysis: Analysis) -> dict[str, Any]:
    """The stable document of ``seismolog analyze --format json``."""
    summary = analysis.input
    return {
        "schema_version": 1,
        "site": analysis.site,
        "timezone": analysis.timezone,
        "start": _time(analysis.start),
        "end": _time(analysis.end),
        "input": {
            "files": [_file(file) for file in summary.files],
            "lines": summary.lines,
            "matched": summary.matched,
            "ignored": summary.ignored,
            "unmatched": summary.unmatched,
            "guesses": list(summary.guesses),
            "shed": dict(summary.shed),
            "reasons": dict(summary.reasons),
            "shapes": [
                {"shape": s.shape, "count": s.count, "example": s.example, "file": s.path, "line": s.line}
                for s in summary.shapes
            ],
            "passed_over": [{"path": path, "reason": reason} for path, reason in summary.passed_over],
        },
        "counts": analysis.counts(),
        "clients": [
            {"client": client, "kind": kind, "count": count}
            for client, kind, count in analysis.clients.select("client", "kind", "count")
            .head(MAX_CLIENTS)
            .iter_rows()
        ],
        "client_count": analysis.client_count,
        "models": [_model(model) for model in analysis.models],
        "findings": [_finding(finding) for finding in analysis.findings],
        "incidents": [_incident(incident) for incident in analysis.incidents],
    }


def schema(name: str) -> dict[str, Any]:
    """A JSON Schema by name, such as ``analyze``."""
    text = (files("seismolog.report") / "schemas" / f"{name}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _file(file: SourceFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "compression": file.compression,
        "bytes": file.bytes,
        "lines": file.lines,
        "matched": file.matched,
        "ignored": file.ignored,
        "unmatched": file.unmatched,
        "servers": list(file.servers),
        "first_time": _time(file.first_time),
        "last_time": _time(file.last_time),
        "years": list(file.years) if file.years else None,
        "year_guessed": file.year_guessed,
        "timezone_guessed": file.timezone_guessed,
        "dialects": dict(file.dialects),
        "state": file.state,
        "error": {"offset": file.error[0], "message": file.error[1]} if file.error else None,
    }


def _coefficient(term: Coefficient) -> dict[str, Any]:
    return {
        "estimate": _number(term.estimate),
        "std_error": _number(term.std_error),
        "low": _number(term.low),
        "high": _number(term.high),
        "paper": _number(term.paper),
    }


def _model(model: ModelResult) -> dict[str, Any]:
    test = model.residual_vs_deferred
    return {
        "name": model.name,
        "server": model.server,
        "client": model.client,
        "coefficients": {kind: _coefficient(term) for kind, term in model.coefficients.items()},
        "baseline": _coefficient(model.baseline) if model.baseline else None,
        "r_squared": _number(model.r_squared),
        "dispersion": _number(model.dispersion),
        "cache_efficiency": _number(model.cache_efficiency),
        "residual_vs_deferred": (
            {"r": _number(test.r), "low": _number(test.low), "high": _number(test.high)} if test else None
        ),
        "n_one_minus_q": _number(model.receive_product),
        "bin_seconds": int(model.bin.total_seconds()),
        "bins": model.bins,
        "left_out": model.left_out,
        "rejected": model.rejected,
        "method": model.method,
        "notes": list(model.notes),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "severity": finding.severity,
        "title": finding.title,
        "text": finding.text,
        "start": _time(finding.start),
        "end": _time(finding.end),
        "subjects": list(finding.subjects),
        "numbers": {name: _number(value) for name, value in finding.numbers.items()},
        "trace": list(finding.trace),
    }


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "detector": incident.detector,
        "cause": incident.cause,
        "severity": incident.severity,
        "subjects": list(incident.subjects),
        "start": _time(incident.start),
        "end": _time(incident.end),
        "score": _number(incident.score),
        "threshold": _number(incident.threshold),
        "explanation": incident.explanation,
        "evidence": dict(incident.evidence),
        "server": incident.server,
        "suppressed": incident.suppressed,
    }


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
