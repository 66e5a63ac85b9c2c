"""On which line of a TOML file a key stands, so that an error can name it.

``tomllib`` gives values without places. This walks over the text once and notes the line of every table
header, key and dotted key, counting the elements of arrays of tables; strings and arrays over several lines
are passed over. A key inside an inline table is found at the line of the inline table.

Limits: the text must be valid TOML (it was parsed before); for other text the lines may be wrong, nothing
else.
"""

from __future__ import annotations

import re
import tomllib

__all__ = ["key_lines", "line_of"]

Location = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)(.+?)(\]\]?)\s*(#.*)?$")
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'[^']*'"
_KEY = re.compile(rf"^\s*((?:[A-Za-z0-9_-]+|{_QUOTED})(?:\s*\.\s*(?:[A-Za-z0-9_-]+|{_QUOTED}))*)\s*=")
_PART = re.compile(rf"[A-Za-z0-9_-]+|{_QUOTED}")


def _parts(dotted: str) -> list[str]:
    parts = []
    for part in _PART.findall(dotted):
        if part[0] in "\"'":
            part = next(iter(tomllib.loads(f"{part} = 0")))
        parts.append(part)
    return parts


class _Value:
    """Follows a value until it ends: open brackets and multi-line strings."""

    def __init__(self) -> None:
        self.depth = 0
        self.quote = ""

    @property
    def open(self) -> bool:
        return self.depth > 0 or self.quote in ('"""', "'''")

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            if self.quote:
                if text[at] == "\\" and self.quote[0] == '"':
                    at += 2
                    continue
                if text.startswith(self.quote, at):
                    at += len(self.quote)
                    self.quote = ""
                    continue
            elif text[at] == "#":
                return
            elif text[at] in "\"'":
                self.quote = text[at] * 3 if text.startswith(text[at] * 3, at) else text[at]
                at += len(self.quote)
                continue
            elif text[at] in "[{":
                self.depth += 1
            elif text[at] in "]}":
                self.depth -= 1
            at += 1
        if len(self.quote) == 1:  # a one-line string ends with its line
            self.quote = ""


def key_lines(text: str) -> dict[Location, int]:
    """Lines, counted from 1, by location: ``("mail_server", 0, "name")`` for a key of the first ``[[mail_server]]``."""
    found: dict[Location, int] = {}
    elements: dict[Location, int] = {}
    table: Location = ()
    value = _Value()
    for number, line in enumerate(text.splitlines(), start=1):
        if value.open:
            value.feed(line)
            continue
        header = _HEADER.match(line)
        if header:
            table = ()
            parts = _parts(header[2])
            for i, part in enumerate(parts):
                table = (*table, part)
                last = i == len(parts) - 1
                if last and header[1] == "[[":
                    elements[table] = elements.get(table, -1) + 1
                    found.setdefault(table, number)
                if table in elements:
                    table = (*table, elements[table])
            found.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key:
            at = table
            for part in _parts(key[1]):
                at = (*at, part)
                found.setdefault(at, number)
            value = _Value()
            value.feed(line[key.end() :])
    return found


def line_of(lines: dict[Location, int], location: Location) -> int | None:
    """The line of a location, or of the nearest thing around it that has one."""
    for end in range(len(location), 0, -1):
        if location[:end] in lines:
            return lines[location[:end]]
    return None
