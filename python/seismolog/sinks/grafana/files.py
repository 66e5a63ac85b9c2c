"""The generated files: what they should hold, writing them, and which of them have drifted.

How: dashboards as JSON, provisioning as YAML, each with a note on top where the format has room for one. The output is a
function of the code and of :class:`~seismolog.sinks.grafana.provisioning.Place` alone, so that drift can be tested.

Limits: a file that is written is replaced whole; other files in the folder are left alone.
"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - in a signature that is evaluated by tests

from seismolog.errors import UsageError
from seismolog.sinks.grafana.alerts import runbook
from seismolog.sinks.grafana.dashboards import dashboards
from seismolog.sinks.grafana.provisioning import Place, documents

__all__ = ["drift", "render", "runbook_page", "write"]

_NOTE = "# Made by `seismolog grafana render`; change the code, not this file.\n"

_RUNBOOK = """# Runbook

<!-- Made by `seismolog grafana render`; change the rules, not this file. -->

What each alert means, how to check it, what to do. The rules are in `grafana/provisioning/alerting/rules.yaml`;
[Grafana](grafana.md) says how they are installed and tested.

"""


def render(place: Place | None = None) -> dict[str, str]:
    """Path below the folder to the text of the file."""
    import yaml

    place = place or Place()
    made = {
        f"dashboards/{board.name}.json": json.dumps(board.json(), indent=2, ensure_ascii=False) + "\n"
        for board in dashboards()
    }
    for path, document in documents(place).items():
        # Aliases would save lines and cost readers.
        dumper = type("Plain", (yaml.SafeDumper,), {"ignore_aliases": lambda _self, _data: True})
        text = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110)
        made[f"provisioning/{path}"] = _NOTE + text
    return made


def runbook_page() -> str:
    """docs/runbook.md."""
    return _RUNBOOK + runbook()


def write(folder: Path, files: dict[str, str]) -> list[Path]:
    """Write the files that differ; gives those written."""
    written = []
    for name, text in files.items():
        path = folder / name
        try:
            if path.exists() and path.read_text(encoding="utf-8") == text:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        except OSError as error:
            raise UsageError(
                f"cannot be written: {error.strerror}", file=path, mend="name a folder that can be written"
            ) from error
        written.append(path)
    return written


def drift(folder: Path, files: dict[str, str]) -> list[str]:
    """One sentence for each file that is missing or differs."""
    found = []
    for name, text in files.items():
        path = folder / name
        if not path.exists():
            found.append(f"{name}: missing")
        elif path.read_text(encoding="utf-8") != text:
            found.append(f"{name}: differs")
    return found
