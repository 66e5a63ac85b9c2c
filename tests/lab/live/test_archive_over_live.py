"""Logs analysed over a stretch that was counted live take its place, in every table, without a seam."""

from __future__ import annotations

import random
import shutil
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.lab.live.comparing import LATENESS, analyze, analyzed, assert_same, settled, tables
from tests.lab.live.lines import Line, site
from tests.lab.live.relp import Sender
from tests.lab.live.serving import serving

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    """Four hours and some minutes, somewhat out of order, up to the hour before this one."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    dice = random.Random(5)
    made = site(5, minutes=260, lines=5000, end=hour + timedelta(minutes=1))
    return sorted(made, key=lambda line: line.time.timestamp() + dice.uniform(0, LATENESS / 2))


def write(path: Path, lines: list[Line]) -> Path:
    """A file as rsyslog writes it."""
    path.write_text("".join(line.in_file() + "\n" for line in lines))
    return path


def count_live(root: Path, lines: list[Line]) -> Path:
    """A daemon counts the lines; its store."""
    with serving(root, {"lateness": f"{LATENESS:.0f}s"}) as daemon:
        Sender(daemon.port("relp")).send([line.rfc5424(uuid.uuid4().hex).encode() for line in lines])
        settled(daemon, len(lines))
    return root / "store"


@pytest.fixture(scope="module")
def counted(lines: list[Line], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a daemon that has counted all lines."""
    return count_live(tmp_path_factory.mktemp("counted"), lines)


def copy_of(store: Path, folder: Path) -> Path:
    """The store as it was, to write into."""
    shutil.copytree(store, folder / "store")
    return folder / "store"


def test_the_same_lines_analysed_change_nothing(lines: list[Line], counted: Path, tmp_path: Path) -> None:
    store = copy_of(counted, tmp_path)
    whole = write(tmp_path / "whole.log", lines)
    alone = analyzed(whole, tmp_path / "alone" / "store")
    assert_same(tables(store), alone)
    analyze(store, whole)
    assert_same(tables(store), alone)


def test_files_cut_in_the_middle_of_an_hour_change_nothing(
    lines: list[Line], counted: Path, tmp_path: Path
) -> None:
    """As logrotate leaves them. What the cut parts, live has whole."""
    store = copy_of(counted, tmp_path)
    live = tables(store)
    half = len(lines) // 3
    analyze(store, write(tmp_path / "site.log.1", lines[:half]), write(tmp_path / "site.log", lines[half:]))
    # But for the steps between two look-ups: a file begins without the one before, whoever else knows it.
    steps = pl.selectors.by_name("interval_histogram", "distance_histogram", require_all=False)
    assert_same(
        {name: frame.drop(steps) for name, frame in tables(store).items()},
        {name: frame.drop(steps) for name, frame in live.items()},
    )


def test_lines_that_live_has_missed_are_there_after_the_archive(lines: list[Line], tmp_path: Path) -> None:
    first = lines[0].time.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    last = lines[-1].time.replace(minute=0, second=0, microsecond=0)
    dice = random.Random(6)
    heard = [
        line for line in lines if not first <= line.time < first + timedelta(hours=2) or dice.random() < 0.8
    ]
    assert first + timedelta(hours=2) < last and len(heard) < len(lines) - 300
    store = count_live(tmp_path, heard)
    live = tables(store)
    whole = write(tmp_path / "whole.log", lines)
    alone = analyzed(whole, tmp_path / "alone" / "store")
    analyze(store, whole)
    # Strictly inside, the archive holds; in its first and last hour, of which it may have a part only, live does.
    inside = (pl.col("bin_start") >= first) & (pl.col("bin_start") < last)
    found = tables(store)
    assert_same(those(found, inside), those(alone, inside))
    assert_same(those(found, ~inside), those(live, ~inside))
    with pytest.raises(AssertionError):
        assert_same(those(live, inside), those(alone, inside))


def those(frames: dict[str, pl.DataFrame], which: pl.Expr) -> dict[str, pl.DataFrame]:
    """The rows of every table that are so."""
    return {name: frame.filter(which) for name, frame in frames.items()}
