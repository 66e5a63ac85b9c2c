"""The sample file and the documentation of the configuration, generated from the models.

Both are checked in (docs/configuration.md) and a test compares them with what the models give, so that
neither can drift. ``python -m seismolog.config.document docs/configuration.md`` writes the page again.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from seismolog.config.models import Config
from seismolog.config.reading import _inner_model
from seismolog.config.values import duration_text, size_text

__all__ = ["markdown", "sample_toml"]


def _toml(value: Any, field: FieldInfo | None = None) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return f'"{duration_text(value)}"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, int) and field is not None and _is_size(field):
        text = size_text(value)
        return text if text.isdigit() else f'"{text}"'
    return str(value)


def _is_size(field: FieldInfo) -> bool:
    return any(getattr(getattr(m, "func", None), "__name__", "") == "_size" for m in field.metadata)


def _shown(field: FieldInfo) -> tuple[str, bool]:
    """The value to show for a setting, and whether it is the default (else an example)."""
    if not field.is_required() and field.default not in (None, []):
        return _toml(field.default, field), True
    example = (field.examples or [""])[0]
    return _toml(example, field), False


def _all_sections() -> Iterator[tuple[str, str, type[BaseModel], bool]]:
    """Name, description and model of each section, and whether it may stand more than once; detectors after detect."""
    from seismolog.detect.registry import detectors

    for name, field in Config.model_fields.items():
        model = _inner_model(field.annotation)
        if model is None:
            continue
        yield name, field.description or "", model, get_origin(field.annotation) is list
        for key, inner in model.model_fields.items():
            nested = _inner_model(inner.annotation)
            if nested is not None and get_origin(inner.annotation) is not list:
                yield f"{name}.{key}", inner.description or "", nested, False
        if name == "detect":
            for detector, module in detectors().items():
                yield f"detect.{detector}", module.SUMMARY, module.Settings, False


def _settings(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """The settings of a section, without the sections in it."""
    return [
        (key, field)
        for key, field in model.model_fields.items()
        if _inner_model(field.annotation) is None or get_origin(field.annotation) is list
    ]


def sample_toml() -> str:
    """A configuration file with every setting, its description and its default; all of it commented out.

    A line ``#key = value`` is a setting: taking away the ``#`` sets it. Where there is no default, the
    value is an example and the line says so.
    """
    lines = [
        "# seismolog: one file configures everything. Each line below that begins with # and a key is a setting",
        "# with its default; take the # away to change it. Durations: s, m, h, d, w. Sizes: KiB, MiB, GiB.",
    ]
    for name, description, model, many in _all_sections():
        lines += ["", *(f"# {line}" for line in textwrap.wrap(description, 108))]
        # A detector's section is taken out as a whole: to name it would load the detector.
        lines.append(f"#[[{name}]]" if many else f"#[{name}]" if "." in name else f"[{name}]")
        for key, setting in _settings(model):
            value, default = _shown(setting)
            note = setting.description or ""
            if setting.is_required():
                note += " Required."
            elif not default:
                note += " Not set by default; the value is an example."
            lines += [f"# {line}" for line in textwrap.wrap(note, 108)]
            lines.append(f"#{key} = {value}")
    return "\n".join(lines) + "\n"


def _type_name(field: FieldInfo) -> str:
    names = [getattr(getattr(m, "func", None), "__name__", "").lstrip("_") for m in field.metadata]
    text = str(field.annotation)
    for word, shown in (
        ("_duration", "duration"),
        ("_size", "size"),
        ("_zone", "time zone"),
        ("_network", "network"),
        ("_address", "address"),
        ("_listener", "address:port"),
    ):
        if word in text or word.lstrip("_") in names:
            return f"list of {shown.replace('address', 'addresse')}s" if "list[" in text else shown
    if "list[" in text:
        return "list of strings"
    for word, shown in (("bool", "true or false"), ("float", "number"), ("int", "whole number")):
        if word in text:
            return shown
    return "string"


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = []
    for meta in field.metadata:
        for attribute, sign in signs.items():
            bound = getattr(meta, attribute, None)
            if bound is not None:
                found.append(f"{sign} {size_text(bound) if _is_size(field) else bound}")
    return ", ".join(found)


def markdown() -> str:
    """The page docs/configuration.md."""
    from seismolog.detect.registry import names

    lines = [
        "# Configuration",
        "",
        "<!-- Generated from python/seismolog/config/models.py by `python -m seismolog.config.document`; "
        "do not edit. -->",
        "",
        "One TOML file configures everything, and every key has a default but the site's own facts. It is looked for",
        "in this order: `--config FILE`, the file named by `$SEISMOLOG_CONFIG`, `./site.toml`,",
        "`/etc/seismolog/site.toml`. Without any, all defaults hold. `seismolog init` writes one from your logs.",
        "",
        '- A *duration* is a number and one of `s m h d w` (`"10m"`), or a number of seconds.',
        '- A *size* is a number of bytes, or such as `"64 KiB"`, `"300 MiB"`.',
        '- A *network* is an address or a prefix without host bits (`"192.0.2.0/24"`, `"2001:db8::/32"`).',
        "- Paths are relative to the folder of the file.",
        "- An unknown key is an error. An error names file, line and key, what was expected, and the mend:",
        "",
        "```text",
        "site.toml:2: site.timezon: unknown key",
        "  expected: one of timezone, inside, holidays, client_prefix_v6, reinjection",
        "  mend: did you mean timezone?",
        "```",
    ]
    for name, description, model, many in _all_sections():
        lines += ["", f"## `{'[[' if many else '['}{name}{']]' if many else ']'}`", "", description]
        if many:
            lines[-1] += " The section may stand any number of times."
        if name == "detect":
            lines[-1] += f" They are {', '.join(f'`{n}`' for n in names())}."
        lines += ["", "| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for key, setting in _settings(model):
            lines.append("| " + " | ".join(_row(key, setting)) + " |")
    lines += ["", "## A file with every setting", "", "```toml", sample_toml().rstrip("\n"), "```", ""]
    return "\n".join(lines)


def _row(key: str, setting: FieldInfo) -> list[str]:
    value, default = _shown(setting)
    if setting.is_required():
        shown = "required"
    elif default:
        shown = f"`{value}`"
    else:
        shown = "none"
    meaning = setting.description or ""
    if not default:
        meaning += f" Example: `{value}`."
    kind = _type_name(setting)
    bounds = _bounds(setting)
    return [f"`{key}`", f"{kind}, {bounds}" if bounds else kind, shown, meaning.replace("|", "\\|")]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
