"""Points that the server refuses: which ones, and why.

InfluxDB refuses in two ways. A line that it cannot read makes it refuse the whole request, and it names the line
(400, ``unable to parse '…': …``). A point that it can read and not keep (a field of another type, a time before the
retention, too many series) is dropped, the rest is written, and only the number is told (422 or 400, ``partial write: …
dropped=N``). :func:`named_lines` finds the lines in the first case; in the second the text is halved until the lines
are found (:mod:`~seismolog.sinks.influxdb.writer`).

What is refused is set aside in a file, each line under the reason, so that nobody has to guess. The file is bounded:
past its size the oldest half goes.

Limits: messages are those of InfluxDB 1.8, 2 and 3 as of 2026. One that is not understood is halved like any other.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from pathlib import Path

from seismolog.errors import escape

__all__ = ["Aside", "dropped", "message_of", "named_lines", "too_old"]

log = logging.getLogger(__name__)

_PARSE = "unable to parse '"
_DROPPED = re.compile(r"dropped=(\d+)")


def message_of(body: str | None) -> str:
    """What an error answer says; its text as it is where it is no JSON."""
    import json

    text = (body or "").strip()
    try:
        found = json.loads(text)
    except ValueError:
        return text
    if isinstance(found, dict):
        for key in ("message", "error"):
            if isinstance(found.get(key), str):
                return str(found[key])
    return text


def named_lines(message: str, lines: list[bytes]) -> dict[int, str]:
    """The lines (by position) that a message says it cannot read, and why."""
    wanted: dict[bytes, str] = {}
    for part in message.split("\n"):
        at = part.find(_PARSE)
        if at < 0:
            continue
        line, _, reason = part[at + len(_PARSE) :].rpartition("': ")
        if line:
            wanted[line.encode("utf-8", "surrogateescape")] = reason
    if not wanted:
        return {}
    return {i: wanted[line] for i, line in enumerate(lines) if line in wanted}


def dropped(message: str) -> int | None:
    """How many points a partial write left out, None where it was none."""
    found = _DROPPED.search(message)
    return int(found[1]) if found and "partial write" in message else None


def too_old(message: str) -> bool:
    """Whether they were left out because they are older than the bucket keeps."""
    return "retention policy" in message.lower()


class Aside:
    """The file of refused points.

    Parameters
    ----------
    path
        Line protocol; reasons are comments, so that the file can be written to a bucket as it is.
    size
        Bytes at most.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.failed = False

    def add(self, reason: str, lines: list[bytes]) -> None:
        """Set lines aside; a disk that is full costs the lines, not the export."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        head = f"# {now} {escape(reason.replace(chr(10), ' '))[:500]}\n".encode("utf-8", "replace")
        text = head + b"".join(line[: self.size // 4] + b"\n" for line in lines)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            if self.path.exists() and self.path.stat().st_size + len(text) > self.size:
                kept = self.path.read_bytes()[-self.size // 2 :]
                self.path.write_bytes(kept[kept.find(b"\n") + 1 :])
            with self.path.open("ab") as file:
                file.write(text[: self.size // 2])
            self.path.chmod(0o600)
            self.failed = False
        except OSError as error:
            if not self.failed:
                log.warning("refused points cannot be set aside in %s: %s", self.path, error.strerror)
            self.failed = True
