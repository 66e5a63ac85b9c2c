"""What all tests share: the folder of the project, its sample data, and steady settings for hypothesis."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Two busy cores make single examples slow at times: a deadline would only report the neighbours.
settings.register_profile("seismolog", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("seismolog"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "seismolog")


# Files whose tests share something of the machine, and run one after the other: /dev/log and Postfix's queues, one InfluxDB,
# one browser, or simply both cores.
TOGETHER = {
    r"tests/(lab/live/test_end_to_end|services/test_capture)": "system-log",
    r"tests/lab/live/test_(crash|real_loggers|rsyslog_kills|same_numbers)": "live-lab",
    r"tests/lab/live/test_(archive_over_live|bad_input|full_disk)": "live-lab-2",
    r"tests/services/test_influxdb_": "influxd",
    r"tests/services/test_grafana_": "grafana-influxd",
    r"tests/services/test_report_chromium": "browser",
}


def group_of(nodeid: str) -> str | None:
    """The group that a test runs in, None where it may run beside any other."""
    return next((group for pattern, group in TOGETHER.items() if re.match(pattern, nodeid)), None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a group on one worker.

    The marks of xdist 3.8 do not reach its scheduler under pytest 9.2, where a test keeps its id.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class ByFile(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid) or nodeid

    return ByFile(config, log)


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
