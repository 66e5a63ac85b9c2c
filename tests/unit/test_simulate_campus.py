"""The simulated campus: its tables are what the counting core makes of its lines, and its days look like days."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from seismolog import _core
from seismolog.archive.scanning import detail_frames, plain_frames, public_suffixes
from seismolog.simulate import campus
from seismolog.simulate.campus import lines
from seismolog.simulate.campus.population import INSIDE
from seismolog.store.schema import TABLES

CLIENTS = 300


@pytest.fixture(scope="module")
def world() -> campus.World:
    return campus.World(3, CLIENTS)


@pytest.fixture(scope="module")
def tables(world: campus.World) -> dict[str, pl.DataFrame]:
    return campus.count(world.day(0))


@pytest.fixture(scope="module")
def counted(world: campus.World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("campus")
    written = lines.write(world.day(0), folder)
    scan = _core.scan(
        sorted(folder.glob("*.log")),
        state=True,
        details=True,
        inside=list(INSIDE),
        public_suffixes=public_suffixes(),
    )
    assert scan.summary["unmatched"] == 0
    assert scan.summary["lines"] == sum(f["lines"] for f in written.values())
    return plain_frames(scan, _core.KINDS) | detail_frames(scan)


SAME = {
    "traffic": [
        "count",
        "recipients",
        "distinct_clients",
        "client_entropy",
        "distinct_names",
        "name_entropy",
        "top_name_share",
    ],
    "client_traffic": [
        *("count", "a", "aaaa", "mx", "ptr", "txt", "ns", "srv", "https", "any", "other"),
        "distinct_names",
    ],
    "domain": ["count", "a", "aaaa", "mx", "ptr", "txt", "distinct_names", "distinct_clients"],
    "client_domain": [
        *("count", "distinct_names", "names_measured", "label_entropy_sum", "mean_label_entropy"),
        *(
            "median_name_length",
            "mail_label_bits",
            "mail_labels",
            "interval_histogram",
            "name_length_histogram",
        ),
    ],
    "client_names": ["mx_names", "mail_domains", "probed_domains", "unlikely_domains"],
    "ptr_target": ["count", "distinct_targets", "distance_histogram"],
    "drop_target": ["count", "distinct_targets", "distance_histogram", "distinct_endpoints"],
    "account_activity": [
        "logins",
        "failures",
        "authenticated_sends",
        "distinct_clients",
        "distinct_networks",
    ],
}


@pytest.mark.parametrize("name", SAME)
def test_the_tables_are_those_of_the_lines(
    name: str, tables: dict[str, pl.DataFrame], counted: dict[str, pl.DataFrame]
) -> None:
    keys = list(TABLES[name].keys)
    columns = [c for c in SAME[name] if name not in counted or c in counted[name].columns]
    if name not in counted:
        pytest.skip(f"the core that is installed counts no {name}")

    def plain(frame: pl.DataFrame) -> pl.DataFrame:
        made = frame.select(*keys, *columns).with_columns(pl.col(pl.Enum).cast(pl.String))
        texts = [k for k in keys if k in ("server", "kind", "query_type", "side")]
        made = made.with_columns(pl.col(texts).cast(pl.String))
        whole = [c for c, t in made.schema.items() if t.is_integer()]
        lists = [c for c, t in made.schema.items() if isinstance(t, pl.List)]
        return made.with_columns(pl.col(whole).cast(pl.Int64), pl.col(lists).cast(pl.List(pl.Int64))).sort(
            keys
        )

    mine, theirs = plain(tables[name]), plain(counted[name])
    assert mine.select(keys).equals(theirs.select(keys))
    most = {"client_domain": "distinct_names", "client_names": "mx_names"}.get(name)
    if most is not None:
        # Past 256 names the core measures a sample.
        whole = (mine[most] < 200) & (theirs[most] < 200)
        assert (~whole).sum() <= 60
        mine, theirs = mine.filter(whole), theirs.filter(whole)
    for column in columns:
        if mine[column].dtype == pl.Float64:
            assert (mine[column].is_null() == theirs[column].is_null()).all(), column
            difference = (mine[column] - theirs[column]).abs().max()
            assert difference is None or difference < 1e-6, (column, difference)
        else:
            different = (mine[column] != theirs[column]).fill_null(False) | (
                mine[column].is_null() != theirs[column].is_null()
            )
            assert not different.any(), (
                column,
                mine.filter(different).head(3),
                theirs.filter(different).head(3),
            )


def test_columns_are_those_of_the_store(tables: dict[str, pl.DataFrame]) -> None:
    for name, frame in tables.items():
        assert frame.columns == list(TABLES[name].names)
    assert timedelta(hours=23) < tables["traffic"]["bin_start"].max() - tables["traffic"]["bin_start"].min()
