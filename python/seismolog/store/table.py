"""One Delta Lake table: its files and its commits, nothing of sources or meaning.

Parquet files are written by polars and then made part of the table by one Delta commit that lists them.
That is how a commit of many days is one atomic step, how memory stays bounded by one frame whatever the
length of the archive, and it takes a third of the time of letting Delta write the rows (docs/store.md has
the figures). Until its commit a file is nothing to a reader; a crash leaves it behind for the vacuum.

On a local folder every file and every commit is flushed to the disk before the next step begins, so that
the order of the steps holds across a power cut as well as across ``kill -9``.

Limits: object storage is written through the same calls, and its own put is the flush.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from seismolog.errors import StoreError
from seismolog.store.schema import GENERATION, REVISION, SCHEMA_VERSION, Table

__all__ = ["APP", "DataFile", "DeltaFiles", "NewFile", "storage_errors"]

#: Application id of the transactions that number our commits.
APP = "seismolog"

# Measured on a day of client_traffic (docs/store.md): level 1 takes 1.1 s for 68 MB, level 9 takes 3 s for
# 65 MB. What is left is hashes of names, which no level makes smaller.
COMPRESSION_LEVEL = 1
ROW_GROUP_ROWS = 262_144
#: Rows after which a day's rows are cut into another file: bounds what compaction has to hold.
FILE_ROWS = 4_000_000
#: Runs of rows of one date above which a frame is sorted before it is cut by date.
_MANY_RUNS = 1_000


@contextlib.contextmanager
def storage_errors(doing: str, where: str) -> Iterator[None]:
    """Within this block an error of polars, deltalake or the system is raised as :class:`StoreError`."""
    try:
        yield
    except StoreError:
        raise
    except CommitFailedError as error:
        raise StoreError(
            f"cannot {doing}: another process wrote to the store at the same time ({error})",
            file=where,
            mend="run the command again; let one process at a time write to a store",
        ) from error
    except (DeltaError, pl.exceptions.PolarsError, OSError) as error:
        text = str(error)
        full = "space left" in text or "os error 28" in text or "File too large" in text
        full = full or getattr(error, "errno", None) in (27, 28)
        raise StoreError(
            f"cannot {doing}: {'no space left' if full else text}",
            file=where,
            mend="make room on that disk and run the command again; nothing of this step has become visible"
            if full
            else None,
        ) from error


@dataclass(frozen=True)
class DataFile:
    """A file that is part of a table, as the Delta log describes it (what is unknown is None)."""

    path: str
    size: int
    day: date
    rows: int | None
    first: datetime | None
    last: datetime | None
    low_generation: int | None
    high_generation: int | None
    #: None where it has no live row, or where the log does not tell.
    high_revision: int | None = None


@dataclass(frozen=True)
class NewFile:
    """A file that is written and not yet part of its table."""

    action: AddAction
    rows: int


class DeltaFiles:
    """One table as files.

    Parameters
    ----------
    root
        Folder or URL of the store.
    table
        Its declaration.
    storage_options
        Credentials and options for object storage, as deltalake and polars take them.
    """

    def __init__(self, root: str, table: Table, storage_options: Mapping[str, str] | None = None) -> None:
        self.table = table
        self.options = dict(storage_options or {})
        self.local = Path(root) if "://" not in root else None
        self.uri = f"{root.rstrip('/')}/{table.name}"
        self._delta: DeltaTable | None = None

    def open(self) -> DeltaTable | None:
        """The table at its newest version, None where nothing was ever written to it."""
        with storage_errors("read the table", self.uri):
            if self._delta is None:
                try:
                    self._delta = DeltaTable(self.uri, storage_options=self.options or None)
                except TableNotFoundError:
                    return None
            else:
                self._delta.update_incremental()
        return self._delta

    @property
    def version(self) -> int:
        """Version of the last :meth:`open`, -1 where the table does not exist."""
        return -1 if self._delta is None else self._delta.version()

    @property
    def _indexed(self) -> list[str]:
        """The columns whose range stands in the log for each file."""
        return [self.table.time, *((GENERATION, REVISION) if self.table.sourced else ())]

    @cached_property
    def _schema(self) -> Schema:
        return Schema.from_arrow(self.table.delta_schema)

    def create(self) -> DeltaTable:
        """The table, created if it does not exist and with the columns added that it lacks."""
        delta = self.open()
        with storage_errors("create the table", self.uri):
            if delta is None:
                if self.local is not None:
                    (self.local / self.table.name).mkdir(parents=True, exist_ok=True)
                DeltaTable.create(
                    self.uri,
                    schema=self._schema,
                    mode="ignore",
                    partition_by=["date"],
                    name=self.table.name,
                    configuration={
                        "seismolog.schema_version": str(SCHEMA_VERSION),
                        # Statistics would be of the states as well; we write our own for what is filtered by.
                        "delta.dataSkippingStatsColumns": ",".join(self._indexed),
                    },
                    storage_options=self.options or None,
                    raise_if_key_not_exists=False,
                )
                delta = self.open()
            if delta is None:
                raise StoreError("the table was created and cannot be found", file=self.uri)
            have = {f.name for f in delta.schema().fields}
            missing = [f for f in self._schema.fields if f.name not in have]
            stored = int(delta.metadata().configuration.get("seismolog.schema_version") or 0)
            if stored > SCHEMA_VERSION:
                raise StoreError(
                    f"written by a newer seismolog (schema {stored}, this one knows {SCHEMA_VERSION})",
                    file=self.uri,
                    mend="install the newer version, or use another store",
                )
            if missing:
                delta.alter.add_columns(missing)
                delta.update_incremental()
            indexed = ",".join(self._indexed)
            if delta.metadata().configuration.get("delta.dataSkippingStatsColumns") != indexed:
                delta.alter.set_table_properties(
                    {"delta.dataSkippingStatsColumns": indexed}, raise_if_not_exists=False
                )
                delta.update_incremental()
            if missing:
                delta.alter.set_table_properties(
                    {"seismolog.schema_version": str(SCHEMA_VERSION)}, raise_if_not_exists=False
                )
                delta.update_incremental()
        return delta

    def last_number(self, app: str = APP) -> int:
        """The highest number that a commit of this application to this table carries, 0 where there is none."""
        delta = self.open()
        if delta is None:
            return 0
        return delta.transaction_version(app) or 0

    def files(self) -> list[DataFile]:
        """The files of the version last opened."""
        if self._delta is None:
            return []
        with storage_errors("read the table", self.uri):
            frame = pl.DataFrame(self._delta.get_add_actions(flatten=True))
        time_column = self.table.time
        return [
            DataFile(
                path=row["path"],
                size=row["size_bytes"],
                day=row["partition.date"],
                rows=row.get("num_records"),
                first=row.get(f"min.{time_column}"),
                last=row.get(f"max.{time_column}"),
                low_generation=row.get(f"min.{GENERATION}"),
                high_generation=row.get(f"max.{GENERATION}"),
                high_revision=row.get(f"max.{REVISION}"),
            )
            for row in frame.iter_rows(named=True)
        ]

    def scan(self, files: Sequence[DataFile]) -> pl.LazyFrame:
        """Rows of these files, with a null where a file is older than a column."""
        schema = self.table.file_schema
        if not files:
            return pl.LazyFrame(schema=schema)
        return pl.scan_parquet(
            [f"{self.uri}/{f.path}" for f in files],
            schema=schema,
            missing_columns="insert",
            extra_columns="ignore",
            hive_partitioning=False,
            glob=False,
            storage_options=self.options or None,
        )

    def write(self, frame: pl.DataFrame, columns: Sequence[pl.Expr] | None = None) -> list[NewFile]:
        """Write rows into new files, one or more for each UTC date; they are not part of the table yet.

        They are not sorted: the counting core hands over runs that rise by time, sorting fully costs as much as the
        writing, and it saves 3 % of the space.

        Parameters
        ----------
        frame
            The rows, with the table's time column.
        columns
            The columns of ``table.file_schema`` in its order, computed piece by piece while the file is written;
            without them the frame has these columns.
        """
        if frame.is_empty():
            return []
        when = self.table.time
        columns = columns or [pl.col(n) for n in self.table.file_schema.names()]
        runs = frame.select(pl.col(when).dt.date().rle().struct.unnest())
        if runs.height > _MANY_RUNS:
            frame = frame.sort(when, maintain_order=True)
            runs = frame.select(pl.col(when).dt.date().rle().struct.unnest())
        slices: dict[date, list[pl.DataFrame]] = {}
        offset = 0
        for length, day in runs.iter_rows():
            slices.setdefault(day, []).append(frame.slice(offset, length))
            offset += length
        written: list[NewFile] = []
        try:
            for day in sorted(slices):
                rows = pl.concat(slices[day])
                for start in range(0, rows.height, FILE_ROWS):
                    # One by one: what is written must be known when the next one fails.
                    written.append(self._write_file(rows.slice(start, FILE_ROWS), day, columns))  # noqa: PERF401
        except BaseException:
            self.discard(written)
            raise
        return written

    def _write_file(self, frame: pl.DataFrame, day: date, columns: Sequence[pl.Expr]) -> NewFile:
        stats = self._statistics(frame, columns)
        return self._sink(frame.lazy(), day, columns, frame.height, stats)

    def _sink(
        self, frame: pl.LazyFrame, day: date, columns: Sequence[pl.Expr], rows: int, stats: str
    ) -> NewFile:
        folder = f"date={day.isoformat()}"
        path = f"{folder}/{uuid.uuid4().hex}.parquet"
        target = f"{self.uri}/{path}"
        with storage_errors("write rows", target):
            if self.local is not None:
                parent = Path(target).parent
                made = not parent.exists()
                parent.mkdir(parents=True, exist_ok=True)
                if made:
                    _flush(parent.parent)
            try:
                frame.select(columns).sink_parquet(
                    target,
                    compression="zstd",
                    compression_level=COMPRESSION_LEVEL,
                    row_group_size=ROW_GROUP_ROWS,
                    storage_options=self.options or None,
                )
                if self.local is not None:
                    _flush(Path(target))
                    _flush(Path(target).parent)
            except BaseException:
                self._unlink(path)
                raise
            size = Path(target).stat().st_size if self.local is not None else 0
        action = AddAction(
            path=path,
            size=size,
            partition_values={"date": day.isoformat()},
            modification_time=int(time.time() * 1000),
            data_change=True,
            stats=stats,
        )
        return NewFile(action, rows)

    def concatenate(self, files: Sequence[DataFile]) -> NewFile:
        """The rows of files of one date as one new file, streamed: memory does not grow with their number.

        Each file's statistics must be known (:attr:`DataFile.rows` and so on).
        """
        columns = [pl.col(n) for n in self.table.file_schema.names()]
        firsts = [f.first for f in files if f.first is not None]
        lasts = [f.last for f in files if f.last is not None]
        low: dict[str, Any] = {self.table.time: min(firsts, default=None)}
        high: dict[str, Any] = {self.table.time: max(lasts, default=None)}
        if self.table.sourced:
            low[GENERATION] = min(
                (f.low_generation for f in files if f.low_generation is not None), default=None
            )
            high[GENERATION] = max(
                (f.high_generation for f in files if f.high_generation is not None), default=None
            )
            high[REVISION] = max(
                (f.high_revision for f in files if f.high_revision is not None), default=None
            )
        rows = sum(f.rows or 0 for f in files)
        return self._sink(self.scan(files), files[0].day, columns, rows, _stats_text(rows, low, high))

    def _statistics(self, frame: pl.DataFrame, columns: Sequence[pl.Expr]) -> str:
        names = self._indexed
        values = frame.lazy().select(columns).select(names)
        low, high = values.min().collect().row(0), values.max().collect().row(0)
        return _stats_text(
            frame.height, dict(zip(names, low, strict=True)), dict(zip(names, high, strict=True))
        )

    def _unlink(self, path: str) -> None:
        """Remove a file that no commit names; what stays behind is left to the vacuum."""
        if self.local is not None:
            with contextlib.suppress(OSError):
                Path(f"{self.uri}/{path}").unlink(missing_ok=True)

    def discard(self, files: Sequence[NewFile]) -> None:
        """Remove files that will not be committed."""
        for file in files:
            self._unlink(file.action.path)

    def commit(
        self,
        add: Sequence[NewFile],
        remove: Sequence[DataFile] = (),
        *,
        numbers: tuple[int, int] | None = None,
        transaction: tuple[str, int] | None = None,
    ) -> None:
        """Make files part of the table and take others out, in one atomic step.

        Parameters
        ----------
        numbers
            The highest number (generation or revision) that was in use when ours were taken, and the
            highest of ours. Where another writer has committed since, this one fails: it may have taken the
            same numbers.
        transaction
            An application and a number of its own that the commit carries, for :meth:`last_number`.

        Raises
        ------
        StoreError
            The disk is full or another process wrote at the same time; the table is as it was.
        """
        if not add and not remove:
            return
        delta = self.create()
        if remove and not {f.path for f in remove} <= {f.path for f in self.files()}:
            # Delta would take this as done; rows that replace what another process replaced would be doubled.
            raise StoreError(
                "another process replaced the same files",
                file=self.uri,
                mend="run the command again; let one process at a time write to a store",
            )
        now = int(time.time() * 1000)
        actions: list[AddAction | RemoveAction] = [f.action for f in add]
        actions += [RemoveAction(f.path, True, now, f.size, {"date": f.day.isoformat()}) for f in remove]
        transactions = [] if transaction is None else [Transaction(*transaction, now)]
        if numbers is not None:
            before, highest = numbers
            if (delta.transaction_version(APP) or 0) > before:
                raise StoreError(
                    "another process wrote to the store at the same time",
                    file=self.uri,
                    mend="run the command again; let one process at a time write to a store",
                )
            transactions.append(Transaction(APP, highest, now))
        properties = CommitProperties(app_transactions=transactions or None)
        with storage_errors("commit rows", self.uri):
            delta.create_write_transaction(
                actions, "append", delta.schema(), ["date"], commit_properties=properties
            )
            if self.local is not None:
                log = Path(self.uri) / "_delta_log"
                _flush(log / f"{delta.version():020}.json")
                _flush(log)

    def tidy_log(self, keep: timedelta) -> None:
        """Write a checkpoint, and delete entries of the log that are older than `keep` and that it stands for.

        Many small commits otherwise leave one small file each, for the thirty days that Delta keeps them.
        """
        delta = self.open()
        if delta is None:
            return
        wanted = f"interval {max(1, round(keep.total_seconds() / 3600))} hours"
        with storage_errors("tidy the log", self.uri):
            if delta.metadata().configuration.get("delta.logRetentionDuration") != wanted:
                delta.alter.set_table_properties({"delta.logRetentionDuration": wanted})
                delta.update_incremental()
            delta.create_checkpoint()
            delta.cleanup_metadata()

    def vacuum(self, hours: int) -> int:
        """Delete files that no version younger than that many hours names; returns how many."""
        delta = self.open()
        if delta is None:
            return 0
        with storage_errors("vacuum", self.uri):
            return len(delta.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True))


def _stats_text(rows: int, low: Mapping[str, Any], high: Mapping[str, Any]) -> str:
    return json.dumps(
        {
            "numRecords": rows,
            "minValues": {n: _plain(v) for n, v in low.items() if v is not None},
            "maxValues": {n: _plain(v) for n, v in high.items() if v is not None},
            "nullCount": {},
        }
    )


def _plain(value: Any) -> Any:
    """A value as Delta statistics write it."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value


def _flush(path: Path) -> None:
    """Have the system write a file or folder to the disk now."""
    if not path.exists():  # a checkpoint may have taken the place of a log entry
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
