"""``seismolog detect``: incidents of what the store holds; and what thresholds would have raised."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations at run time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from seismolog.cli.options import SpanOptions, words
from seismolog.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime


def detect(
    *,
    store: str | None = None,
    only: str | None = None,
    backtest: Annotated[bool, Parameter(negative=())] = False,
    suggest: float | None = None,
    format: Literal["text", "json"] = "text",
    tz: str | None = None,
    config: Path | None = None,
    fail_on: Literal["info", "warning", "critical"] | None = None,
    span: SpanOptions = SpanOptions(),  # noqa: B008 - frozen
) -> int:
    """Find the incidents in what the store holds, or try thresholds on it.

    Parameters
    ----------
    store
        Folder or URL of the store; the one of --config without it.
    only
        Names of detectors, separated by commas. Default: all that are enabled.
    backtest
        Say for each detector and threshold how many incidents a day it would have raised, with examples.
    suggest
        With so many incidents a day wanted of each detector, say which threshold keeps to it. Implies --backtest.
    format
        text or json.
    tz
        Time zone in which times are given and shown.
    config
        The site's configuration.
    fail_on
        Exit 1 if an incident of at least this severity is found.
    """
    from seismolog import pipeline
    from seismolog.detect.registry import names as detectors
    from seismolog.pipeline import Reading

    chosen = words(only) if only is not None else None
    for name in chosen or ():
        if name not in detectors():
            raise UsageError(
                f"--only: no detector is called {name!r}", expected=f"one of {', '.join(detectors())}"
            )
    if suggest is not None and not suggest >= 0:
        raise UsageError(f"--suggest: {suggest} is no number of incidents a day", expected="zero or more")
    since, until = span.span(tz)
    reading = Reading(timezone=tz, config=config)
    if backtest or suggest is not None:
        answer = pipeline.backtest(
            reading, store=store, since=since, until=until, names=chosen, wanted=suggest
        )
        _print_backtest(answer, format)
        return 0
    incidents, zone = pipeline.detect(reading, store=store, since=since, until=until, names=chosen)
    if span.server:
        incidents = [i for i in incidents if i.server is None or i.server in span.server]
    _print_incidents(incidents, zone, format)
    if fail_on is None:
        return 0
    order = {"notice": 0, "info": 0, "warning": 1, "critical": 2}
    return 1 if any(order[i.severity] >= order[fail_on] and i.suppressed is None for i in incidents) else 0


def _print_incidents(incidents: list[Any], zone: str, format: str) -> None:
    import json

    from seismolog.report.text import visible

    if format == "json":
        for i in incidents:
            print(
                json.dumps(
                    {
                        **{k: getattr(i, k) for k in ("id", "detector", "cause", "severity", "server")},
                        "subjects": list(i.subjects),
                        "start": i.start.isoformat(),
                        "end": i.end.isoformat() if i.end else None,
                        **{
                            k: getattr(i, k)
                            for k in ("score", "threshold", "explanation", "evidence", "suppressed")
                        },
                    },
                    default=float,
                )
            )
        return
    if not incidents:
        print("No incident.")
    for i in sorted(incidents, key=lambda i: i.suppressed is not None):
        first, last = _local(i.start, zone), _local(i.end, zone) if i.end else "goes on"
        note = f"  (not told: {visible(i.suppressed)})" if i.suppressed else ""
        print(
            f"{i.severity:8}  {first} – {last}  {visible(i.cause)}: {', '.join(map(visible, i.subjects[:4]))}{note}"
        )
        print(f"          {visible(i.explanation)}  [{i.id}]")


def _local(moment: datetime, zone: str) -> str:
    from zoneinfo import ZoneInfo

    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def _print_backtest(answer: Any, format: str) -> None:
    import json

    from seismolog.report.text import visible

    if format == "json":
        for t in answer.trials:
            row = {"detector": t.detector, "setting": t.setting or None, "value": t.value, "days": t.days}
            examples = [i.explanation for i in t.incidents[:3]]
            print(json.dumps({**row, "incidents": len(t.incidents), "rate": t.rate, "examples": examples}))
        for s in answer.suggestions:
            print(
                json.dumps({"suggest": f"detect.{s.detector}.{s.setting}", "value": s.value, "rate": s.rate})
            )
        return
    print(f"Over {answer.days:.3g} days:")
    for t in answer.trials:
        if not t.setting:
            print(f"\n{t.detector}: {t.rate:.3g} incidents a day as configured ({len(t.incidents)} in all)")
            for incident in t.incidents[:3]:
                print(f"    e.g. {visible(incident.explanation)}")
        else:
            print(f"    {t.setting} = {t.value:<10.4g} {t.rate:.3g} a day")
    if answer.suggestions:
        print("\nThe least strict values that keep the wanted rate:")
    for s in answer.suggestions:
        if s.value is None:
            print(
                f"    [detect.{s.detector}] {s.setting}: none of those tried; the strictest leaves {s.rate:.3g} a day"
            )
        else:
            print(f"    [detect.{s.detector}] {s.setting} = {s.value:.4g}    # {s.rate:.3g} a day")
