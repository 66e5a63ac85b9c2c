"""The scenarios of the campus: logs that count to their truth, with a configuration that fits them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from seismolog import _core, config, simulate
from seismolog.archive.scanning import plain_frames
from seismolog.detect import registry
from seismolog.detect.site import Site
from seismolog.simulate.campus.world import World


def test_a_scenario_counts_to_its_truth(tmp_path: Path) -> None:
    truth = simulate.run("mass_mailer", tmp_path, seed=4, clients=250, history=1)
    scan = _core.scan(sorted(tmp_path.glob("*.log")))
    assert scan.summary["unmatched"] == 0
    assert scan.summary["lines"] == sum(f["lines"] for f in truth.files.values())
    frame = plain_frames(scan, _core.KINDS, ("client_traffic",))["client_traffic"]
    counted = frame.group_by("server", "kind").agg(pl.col("count").cast(pl.Int64).sum())
    assert {(s, k): n for s, k, n in counted.rows()} == {
        (server, kind): n for server, kinds in truth.totals.items() for kind, n in kinds.items()
    }
    assert [i.label for i in truth.incidents] == ["mass_mailer"]
    assert simulate.Truth.load(tmp_path / "truth.json") == truth
    site = Site.from_config(config.load(tmp_path / "site.toml"))
    assert site.timezone == truth.timezone
    assert {h.name for h in site.mail_servers} == {"1mx", "2mx"}
    assert site.holidays == frozenset(World(4, 250).parameters.holidays)


def test_every_row_is_a_scenario_and_so_is_its_lookalike() -> None:
    known = simulate.scenarios()
    assert {"campus", "campus-2002", *registry.names()} <= set(known)
    assert {f"{name}-lookalike" for name in registry.names()} - set(known) == {"log_gap-lookalike"}
    assert all(one.summary and len(one.summary) < 125 for one in known.values())
    assert set(known["ripple-lookalike"].parameters()) == {"seed", "clients", "history", "strength"}


def test_values_out_of_range_are_named(tmp_path: Path) -> None:
    for changes, told in (
        ({"rows": "nothing"}, "no row 'nothing'"),
        ({"days": 0}, "days = 0"),
        ({"strength": 0.0}, "strength = 0"),
        ({"clients": 5}, "clients = 5"),
    ):
        with pytest.raises(ValueError, match=told):
            simulate.run("campus", tmp_path, **changes)
