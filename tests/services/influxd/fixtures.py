"""Fixtures: a real influxd for the whole run, and one of a test's own that may be stopped and killed.

Imported by tests/services/conftest.py. Where the daemon has not been built a test is skipped and says how to get it;
under CI, and where the tools to build it are there and $SEISMOLOG_BUILD_INFLUXD is set, it is built.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services.influxd import build
from tests.services.influxd.server import Influxd


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket of the shared server."""

    server: Influxd
    name: str
    id: str


@pytest.fixture(scope="session")
def influxd_binary() -> Path:
    """The daemon; the test is skipped where it is not built, and fails under CI."""
    found = build.binary()
    if found is None and (os.environ.get("CI") == "true" or os.environ.get("SEISMOLOG_BUILD_INFLUXD")):
        found = build.build()
    if found is None:
        pytest.skip(build.HOW_TO_GET)
    return found


@pytest.fixture(scope="session")
def influxd(influxd_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """The server that tests share; nobody stops it. Take a bucket of your own: `influx_bucket`."""
    server = Influxd(influxd_binary, tmp_path_factory.mktemp("influxd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def influx_bucket(influxd: Influxd) -> Bucket:
    """A fresh bucket of the shared server, kept for ever."""
    name = f"b{uuid.uuid4().hex[:12]}"
    return Bucket(influxd, name, influxd.make_bucket(name))


@pytest.fixture
def own_influxd(influxd_binary: Path, tmp_path: Path) -> Iterator[Influxd]:
    """A server of this test alone, started; it may be stopped, killed and started again."""
    server = Influxd(influxd_binary, tmp_path / "influxd")
    server.start()
    yield server
    server.stop()
