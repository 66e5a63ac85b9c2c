"""What is driven through real daemons equals what seismolog counts in their logs, event by event."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seismolog import _core
from tests.lab.capture.capture import capture

QUERY_TYPES = ("a", "aaaa", "mx", "ptr", "txt", "ns", "srv", "https", "any", "other")


def counted(paths: list[Path]) -> dict[str, Any]:
    """What seismolog counts in these files, in the shape of `counts.json`."""
    year = dt.datetime.fromtimestamp(paths[0].stat().st_mtime, tz=dt.UTC).year
    scan = _core.scan([str(path) for path in paths], year=year)
    # The core hands over kinds as their positions.
    names = pl.Series(_core.KINDS)
    table = pl.DataFrame(scan.table("client_traffic")).with_columns(
        pl.col("kind").map_batches(lambda kind: names.gather(kind), return_dtype=pl.String)
    )
    kinds = table.group_by("kind").agg(pl.col("count").sum()).sort("kind")
    queries = table.filter(pl.col("kind") == "dns_query").select(pl.col(QUERY_TYPES).cast(pl.Int64).sum())
    clients: dict[str, dict[str, int]] = {}
    by_client = table.drop_nulls("client").group_by("client", "kind").agg(pl.col("count").sum())
    for client, kind, count in by_client.sort("client", "kind").iter_rows():
        clients.setdefault(client, {})[kind] = count
    return {
        "kinds": dict(kinds.iter_rows()),
        "query_types": {name: count for name, count in queries.row(0, named=True).items() if count},
        "clients": clients,
    }


def driven(folder: Path) -> dict[str, Any]:
    """What the clients did, as they counted it themselves."""
    counts: dict[str, Any] = json.loads((folder / "counts.json").read_text())
    return {key: counts[key] for key in ("kinds", "query_types", "clients")}


def test_shipped_capture_is_counted_exactly(captured: Path) -> None:
    assert counted([captured / "syslog/named.log", captured / "syslog/mail.log"]) == driven(captured)


def test_named_file_channel_tells_the_same_as_syslog(captured: Path) -> None:
    channel = counted([captured / "channel/queries.log"])
    syslog = counted([captured / "syslog/named.log"])
    assert channel == syslog
    assert channel["kinds"]["dns_query"] == driven(captured)["kinds"]["dns_query"]


@pytest.mark.service
@pytest.mark.slow
def test_fresh_capture_is_counted_exactly(tmp_path: Path, lab_available: None) -> None:
    rounds = 4
    capture(tmp_path, rounds=rounds)
    kinds = driven(tmp_path)["kinds"]
    # Five clients ask twelve questions a round, two refused ones three; six single queries come on top.
    assert kinds["dns_query"] == rounds * (5 * 12 + 2 * 3) + 6
    assert kinds["smtp_accepted"] == 36 + 24 + 10 + 3 + 6 + 4 + 5
    assert counted([tmp_path / "syslog/named.log", tmp_path / "syslog/mail.log"]) == driven(tmp_path)
