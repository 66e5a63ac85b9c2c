"""Options that several commands share, each defined once, and the values they stand for.

Limits: a moment without an offset is local time of ``--tz`` (UTC without one) and, in the hour that a clock
change repeats, the first of the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from seismolog.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from seismolog.pipeline import Reading

__all__ = ["Output", "Paths", "ReadOptions", "SpanOptions", "bin_length", "moment", "path_words", "words"]


def _no_option(_: object, value: object) -> None:
    """Let ``-`` pass, which means standard input or output, and no other word that looks like an option."""
    for word in value if isinstance(value, list | tuple) else (value,):
        if isinstance(word, str) and len(word) > 1 and word.startswith("-"):
            raise UsageError(
                f"{word}: no such option, or the value before it is missing",
                mend=f"see `--help`; for a file of that name write ./{word}",
            )


Paths = Parameter(allow_leading_hyphen=True, validator=_no_option)
"""Files, folders, globs, and ``-`` for standard input."""

Output = Parameter(name=["--output", "-o"], allow_leading_hyphen=True, validator=_no_option)
"""Where something is written; ``-`` has a meaning of its own."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How log files are read."""

    tz: Annotated[str | None, Parameter(help="Time zone of lines that name none, such as Asia/Tokyo.")] = None
    year: Annotated[int | None, Parameter(help="Year of the first line, where lines name none.")] = None
    keep_going: Annotated[
        bool, Parameter(negative=(), help="Exit 0 although a file could not be read to its end.")
    ] = False
    threads: Annotated[int, Parameter(help="Threads that read; 0 is one for each core.")] = 0
    config: Annotated[
        Path | None, Parameter(help="The site's configuration, as `seismolog init` writes it.")
    ] = None

    def reading(self) -> Reading:
        """The options as the pipeline takes them."""
        from seismolog.pipeline import Reading

        if self.threads < 0:
            raise UsageError(
                "--threads: a negative number of threads", mend="give 0 for one thread for each core"
            )
        if self.year is not None and not 1970 <= self.year <= 2261:
            raise UsageError(f"--year: {self.year} is no year a log can be from", expected="1970 to 2261")
        zone(self.tz)
        return Reading(
            timezone=self.tz,
            year=self.year,
            keep_going=self.keep_going,
            threads=self.threads,
            config=self.config,
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class SpanOptions:
    """Which part of what was counted is looked at."""

    since: Annotated[
        str | None, Parameter(help="From this moment on, such as 2002-07-15T18:00 (whole minutes).")
    ] = None
    until: Annotated[str | None, Parameter(help="Up to this moment, itself left out.")] = None
    server: Annotated[
        list[str] | None,
        Parameter(help="Only lines of this server; may be given more than once.", negative=()),
    ] = None

    def span(self, timezone: str | None) -> tuple[datetime | None, datetime | None]:
        """Both ends in UTC."""
        low = moment(self.since, timezone, "--since") if self.since else None
        high = moment(self.until, timezone, "--until") if self.until else None
        if low and high and low >= high:
            raise UsageError(
                f"--until {self.until} is not after --since {self.since}",
                mend="exchange them, or name a later end",
            )
        return low, high


def zone(name: str | None) -> Any:
    """A time zone by its IANA name; UTC for none."""
    from zoneinfo import ZoneInfo

    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(
            f"--tz: no time zone is called {name!r}",
            expected="a name of the tz database, such as Asia/Tokyo or UTC",
        ) from None


def moment(text: str, timezone: str | None, option: str) -> datetime:
    """A moment as a user writes it, in UTC: a date, a date and time, with or without an offset."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option}: {text!r} is no moment",
            expected="2002-07-15, 2002-07-15T18:00 or 2002-07-15T18:00+09:00",
        ) from None
    if value.second or value.microsecond:
        raise UsageError(f"{option}: {text!r} is not at a whole minute", expected="a time such as 18:00")
    if value.tzinfo is None:
        value = value.replace(tzinfo=zone(timezone))
    return value.astimezone(UTC)


_LENGTHS = {"m": 60, "h": 3600, "d": 86400}


def bin_length(text: str, option: str = "--bin") -> timedelta:
    """A length such as ``10m``, ``1h`` or ``1d``: whole minutes that divide a day, or whole days."""
    match = re.fullmatch(r"([1-9][0-9]{0,3})([mhd])", text)
    seconds = int(match[1]) * _LENGTHS[match[2]] if match else 0
    if not seconds or (86400 % seconds and seconds % 86400):
        raise UsageError(
            f"{option}: {text!r} is no length of a bin",
            expected="1m, 10m, 1h, 1d or another that divides a day",
        )
    return timedelta(seconds=seconds)


def words(text: str) -> list[str]:
    """A comma-separated list; blanks and empty words are dropped."""
    return [word for word in (part.strip() for part in text.split(",")) if word]


def path_words(paths: Iterable[str]) -> Sequence[str]:
    """Paths as they were given; none is an error that says what to do."""
    given = [path for path in paths if path]
    if not given:
        raise UsageError(
            "no log file was named", mend="name files, folders or globs, or - for standard input"
        )
    return given
