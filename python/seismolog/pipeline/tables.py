"""A store that is opened for one command, and the sums over it that models and views are made from."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from seismolog.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from seismolog.config import Config
    from seismolog.store import Snapshot, Store


__all__ = ["Tables", "known_store", "opened_store"]


def known_store(store: str | None, config: Config) -> str:
    """Where the store is that a command looks into; an error where none is known, or there."""
    url = store or config.store_url
    if url is None:
        raise UsageError(
            "no store is known",
            mend="name one with --store, or set url in the section [store] of the configuration",
        )
    if "://" not in url and not Path(url).is_dir():
        raise InputError(
            "there is no store", file=url, mend=f"seismolog analyze PATH --store {url} makes one"
        )
    return url


@contextmanager
def opened_store(url: str | None) -> Iterator[tuple[Store, bool]]:
    """A store, and whether it lasts: without a place it lives in a temporary folder."""
    from seismolog.store import Store

    if url is not None:
        yield Store(url), True
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="seismolog-") as folder:
        yield Store(folder), False


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows of a stretch of time and of some servers, read from one moment of the store.

    Rows of one key that meet from two sources need not be joined first: only sums are taken here.
    """

    snapshot: Snapshot
    since: datetime | None
    until: datetime | None
    servers: tuple[str, ...]

    def _rows(self, table: str, columns: list[str]) -> pl.LazyFrame:
        import polars as pl

        where = pl.col("server").is_in(list(self.servers)) if self.servers else None
        return self.snapshot.read(table, self.since, self.until, columns, where, summed=False)

    def traffic(self) -> pl.DataFrame:
        """Counts by minute, server and kind."""
        import polars as pl

        keys = ["bin_start", "server", "kind"]
        rows = (
            self._rows("traffic", [*keys, "count"]).group_by(keys).agg(pl.col("count").cast(pl.UInt64).sum())
        )
        return rows.sort(keys).collect(engine="streaming")

    def clients(self) -> pl.DataFrame:
        """Counts by client and kind, most first."""
        import polars as pl

        rows = self._rows("client_traffic", ["client", "kind", "count"]).filter(
            pl.col("client").is_not_null()
        )
        summed = rows.group_by("client", "kind").agg(pl.col("count").cast(pl.UInt64).sum())
        return summed.sort("count", "client", "kind", descending=[True, False, False]).collect(
            engine="streaming"
        )

    def curves(self, clients: Sequence[str], kind: str, step: timedelta) -> pl.DataFrame:
        """Counts of these clients by bin."""
        import polars as pl

        rows = self._rows("client_traffic", ["bin_start", "client", "kind", "count"])
        rows = rows.filter(pl.col("client").is_in(list(clients)), pl.col("kind") == kind)
        keys = [pl.col("bin_start").dt.truncate(step), pl.col("client"), pl.col("kind")]
        summed = rows.group_by(keys).agg(pl.col("count").cast(pl.UInt64).sum())
        return summed.sort("client", "bin_start").collect(engine="streaming")

    def queries(
        self, clients: Sequence[str], step: timedelta, *, mx: bool, since: datetime | None = None
    ) -> pl.DataFrame:
        """DNS queries of these clients by bin and DNS server."""
        import polars as pl

        columns = ["bin_start", "server", "client", "kind", "count", *(["mx"] if mx else [])]
        rows = self._rows("client_traffic", columns)
        rows = rows.filter(pl.col("client").is_in(list(clients)), pl.col("kind") == "dns_query")
        if since is not None:
            rows = rows.filter(pl.col("bin_start") >= since)
        keys = [pl.col("bin_start").dt.truncate(step), pl.col("server"), pl.col("client"), pl.col("kind")]
        sums = [pl.col(name).cast(pl.Int64).sum() for name in columns[4:]]
        return rows.group_by(keys).agg(sums).sort("bin_start", "server", "client").collect(engine="streaming")
