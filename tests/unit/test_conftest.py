"""Tests that share something of the machine do not run at the same time."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT, TOGETHER, group_of


@pytest.mark.parametrize("folder", ["tests/lab/live", "tests/services"])
def test_every_file_with_real_daemons_is_in_a_group(folder: str) -> None:
    files = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / folder).glob("test_*.py"))]
    assert files
    assert {
        name: group_of(f"{name}::test_x[a@b]") for name in files if group_of(f"{name}::test") is None
    } == {}


def test_every_group_has_files() -> None:
    names = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
    assert {group_of(name) for name in names} - {None} == set(TOGETHER.values())


def test_other_tests_run_anywhere() -> None:
    assert group_of("tests/unit/test_store.py::test_x") is None
