"""Tests that start real daemons: left out where one is missing, except in CI, where it must be there."""

from __future__ import annotations

import os

import pytest

from tests.lab.capture.daemons import UnavailableError, check_available
from tests.services.influxd.fixtures import influx_bucket, influxd, influxd_binary, own_influxd

__all__ = ["influx_bucket", "influxd", "influxd_binary", "own_influxd"]


@pytest.fixture(scope="session")
def lab_available() -> None:
    """Skip, or under CI fail, when the capture cannot run on this machine."""
    try:
        check_available()
    except UnavailableError as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run the services: {reason}")
        pytest.skip(str(reason))
