"""``seismolog doctor``: what is wrong, and the mend."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def doctor(*, config: Path | None = None, format: Literal["text", "json"] = "text") -> int:
    """Look for what is wrong with this installation: configuration, folders, ports, clock, loggers, services.

    Run it as the user that runs the daemon. Exit status: 2 the configuration or a folder is wrong, 3 files cannot be
    read, 4 a service does not answer.

    Parameters
    ----------
    config
        The site's configuration.
    format
        text: a line for each check. json: one stable document.
    """
    import json

    from seismolog.config import load
    from seismolog.live.doctor import examine
    from seismolog.report.text import visible

    findings = []
    for one in examine(lambda: load(config)):
        findings.append(one)
        if format == "text":
            mark = {"ok": "ok     ", "warning": "warning", "wrong": "WRONG  "}[one.level]
            lines = [visible(t) for t in one.text.splitlines()] or [""]
            print(f"{mark}  {one.check}: {lines[0]}")
            for line in lines[1:]:
                print(f"{'':9}{line}")
            if one.mend and one.level != "ok":
                print(f"{'':9}mend: {visible(one.mend)}")
    if format == "json":
        shown = [{"check": f.check, "level": f.level, "text": f.text, "mend": f.mend} for f in findings]
        print(json.dumps({"checks": shown}, indent=2))
    return max((f.status for f in findings if f.level == "wrong"), default=0)
