"""Counts printed: CSV and JSON for programs, a table for people, Parquet for both.

The CSV shape is stable: ``bin_start`` (left out without bins), the ``--by`` columns in the order given, ``count``;
times are ISO 8601 in UTC (``2002-07-15T09:00:00Z``), a missing value is empty. JSON is an array of objects with the
same names, one a line; a missing value is ``null``. In the table, text from logs is made visible.

A :class:`Table` holds plain rows or a polars frame: counts by kind are a few hundred rows, and loading polars to
print them would take longer than counting.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seismolog.errors import UsageError
from seismolog.report.text import integer, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    import polars as pl

__all__ = ["Table", "paper_table", "write"]

CHUNK = 50_000


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns and their rows, or a frame that holds both."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]] | None = None
    frame: pl.DataFrame | None = None

    def iterate(self) -> Iterator[tuple[Any, ...]]:
        """The rows."""
        if self.frame is not None:
            yield from self.frame.iter_rows(buffer_size=CHUNK)
        else:
            yield from self.rows or ()

    def to_frame(self) -> pl.DataFrame:
        """The table as a polars frame."""
        import polars as pl

        if self.frame is not None:
            return self.frame
        types: dict[str, Any] = dict.fromkeys(self.columns, pl.String)
        types["count"] = pl.UInt64
        if "bin_start" in types:
            types["bin_start"] = pl.Datetime("us", "UTC")
        return pl.DataFrame(self.rows or [], schema=types, orient="row")


def paper_table(counts: Mapping[str, int]) -> Table:
    """The paper's five quantities, in its order."""
    order = ("D_q", "N_from", "N_SS", "N_SD", "N_P")
    return Table(("quantity", "count"), [(name, counts[name]) for name in order])


def write(table: Table, format: str, output: str | None) -> None:  # noqa: A002
    """Write a table in a format to a file, or to standard output."""
    if format == "table" and output is None:
        _write_table(table)
        return
    with _target(output) as out:
        if format == "csv":
            _write_csv(table, out)
        elif format == "json":
            _write_json(table, out)
        elif format == "parquet":
            buffer = io.BytesIO()  # standard output cannot seek
            table.to_frame().write_parquet(buffer)
            out.write(buffer.getbuffer())
        else:
            for line in _lines(table):
                out.write((line + "\n").encode("utf-8", "backslashreplace"))
        out.flush()


@contextlib.contextmanager
def _target(output: str | None) -> Iterator[BinaryIO]:
    if output is None or output == "-":
        yield sys.stdout.buffer
        return
    try:
        with Path(output).open("wb") as file:
            yield file
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(
            f"cannot be written: {error.strerror}", file=output, mend="name another place with --output"
        ) from error


def _write_csv(table: Table, out: BinaryIO) -> None:
    if table.frame is not None:
        out.write((",".join(table.columns) + "\n").encode())
        for low in range(0, table.frame.height, 20 * CHUNK):
            piece = table.frame.slice(low, 20 * CHUNK)
            out.write(piece.write_csv(include_header=False, datetime_format="%Y-%m-%dT%H:%M:%SZ").encode())
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(["" if v is None else _plain(v) for v in row] for row in table.iterate())
    out.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _write_json(table: Table, out: BinaryIO) -> None:
    out.write(b"[")
    for place, row in enumerate(table.iterate()):
        item = {name: _plain(value) for name, value in zip(table.columns, row, strict=True)}
        out.write(b",\n " if place else b"\n ")
        out.write(json.dumps(item).encode())
    out.write(b"\n]\n")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


def _write_table(table: Table) -> None:
    for line in _lines(table):
        print(line)


def _lines(table: Table) -> Iterable[str]:
    """Aligned columns; widths come from the first rows, so that a long table starts at once."""
    shown = [tuple(_cell(v) for v in row) for row in _first(table, CHUNK)]
    widths = [
        max([len(name), *(len(row[place]) for row in shown)]) for place, name in enumerate(table.columns)
    ]
    yield _aligned(table.columns, widths)
    for row in shown:
        yield _aligned(row, widths)
    if len(shown) == CHUNK:
        for place, row in enumerate(table.iterate()):
            if place >= CHUNK:
                yield _aligned(tuple(_cell(v) for v in row), widths)


def _first(table: Table, limit: int) -> Iterator[tuple[Any, ...]]:
    for place, row in enumerate(table.iterate()):
        if place >= limit:
            return
        yield row


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return integer(value)
    return visible(_plain(value))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    last = len(row) - 1  # the count
    cells = [
        cell.rjust(width) if place == last else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
