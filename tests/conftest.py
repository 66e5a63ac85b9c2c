"""What all tests share: the folder of the project, its sample data, and steady settings for hypothesis."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Two busy cores make single examples slow at times: a deadline would only report the neighbours.
settings.register_profile("seismolog", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("seismolog"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "seismolog")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of sample data."""
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def captured(data: Path) -> Path:
    """Logs captured from named, Postfix and Dovecot, with `counts.json` telling what was driven."""
    return data / "captured-2026"
