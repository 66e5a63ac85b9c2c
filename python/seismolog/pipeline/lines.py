"""What becomes of each line, and what no dialect knows: ``seismolog explain``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from seismolog.errors import core_errors
from seismolog.pipeline.reading import Reading, configuration, files_of, line_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seismolog.report.analysis import UnmatchedShape


__all__ = ["explain", "unmatched_shapes"]


def explain(paths: Sequence[str], reading: Reading) -> Iterator[dict[str, Any]]:
    """How each line parses, a dict a line.

    Keys: ``line``, ``dialect``, ``kind``, ``server``, ``client``, ``time``, ``count``, ``reason``, ``text``, and
    ``file`` where there is more than one.
    """
    from seismolog import _core

    config = configuration(reading)
    options = line_options(reading, config)
    files = files_of(paths, config)
    for file in files:
        with core_errors():
            for item in _core.explain(file, **options):
                found = dict(item)
                if isinstance(found.get("time"), int):
                    found["time"] = datetime.fromtimestamp(found["time"], UTC)
                found["text"] = _text(found.get("text"))
                if found.get("kind") is None and found.get("reason") is None and found.get("ignored"):
                    found["reason"] = "known, not counted"
                if len(files) > 1:
                    found["file"] = file
                yield found


def unmatched_shapes(paths: Sequence[str], reading: Reading) -> list[UnmatchedShape]:
    """Lines that no dialect knows, grouped by shape, the most frequent first."""
    from seismolog import _core
    from seismolog.report.analysis import UnmatchedShape

    with core_errors():
        found = _core.shapes(files_of(paths, configuration(reading)))
    return [
        UnmatchedShape(str(s["shape"]), int(s["count"]), _text(s["example"]), str(s["path"]), int(s["line"]))
        for s in found
    ]


def _text(value: object) -> str:
    """Bytes of a log as text; what is no UTF-8 stays as surrogates, which :func:`visible` shows as bytes."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value or "")
