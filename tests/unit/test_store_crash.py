"""The store when a writer is killed and when the disk is full: before or after, never half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from seismolog.errors import StoreError
from seismolog.store import SourceEntry, Store
from tests.unit.store_fakes import Event, canonical, frames, merge_states

OLD: list[Event] = [(m, "1dns", "dns_query", f"10.0.0.{m % 7}", f"n{m}.example") for m in range(30)]
NEW: list[Event] = [(m, "1dns", "dns_query", f"10.0.0.{m % 5}", f"n{m}.example") for m in range(10, 60)]
OTHER: list[Event] = [(m, "1dns", "dns_query", "10.0.9.9", "x.example") for m in range(5)]

# A writer that replaces "old" by "new" and is killed at its n-th step. A step is a file written or a commit made;
# it dies once before and once after the step.
CHILD = """
import os, signal, sys
from tests.unit import test_store_crash as t
from seismolog.store.table import DeltaFiles

store, step, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
taken = 0

def watched(function):
    def call(*args, **kwargs):
        global taken
        taken += 1
        if taken == step and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if taken == step and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

DeltaFiles.write = watched(DeltaFiles.write)
DeltaFiles.commit = watched(DeltaFiles.commit)
t.write_new(t.Store(store, merger=t.merge_states))
print("done", taken)
"""


def entry(name: str) -> SourceEntry:
    return SourceEntry(source=name, generation=0, bytes=10_000, head_hash=name, full_hash=name)


def write(store: Store, name: str, events: list[Event], old: str | None = None) -> None:
    with store.writer() as writer:
        writer.add(frames([(0, e) for e in events]), [entry(name)])
        if old is not None:
            writer.replaces(old, name)
        writer.commit()


def write_new(store: Store) -> None:
    write(store, "new", NEW, old="old")


def content(store: Store) -> dict[str, object]:
    return {n: canonical(store.read(n).collect()) for n in ("traffic", "client_traffic")}


def assert_same(one: dict[str, object], other: dict[str, object]) -> None:
    for name in one:
        assert_frame_equal(one[name], other[name])  # type: ignore[arg-type]


def environment(root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "python"), str(root)])}


@pytest.fixture
def states(tmp_path: Path) -> tuple[dict[str, object], dict[str, object]]:
    """What the tables are before and after the writing."""
    store = Store(tmp_path / "reference", merger=merge_states)
    write(store, "other", OTHER)
    write(store, "old", OLD)
    before = content(store)
    write_new(store)
    return before, content(store)


# Two tables written, two tables committed, the journal written, the journal committed.
STEPS = [(n, w) for n in range(1, 7) for w in ("before", "after")]


@pytest.mark.parametrize(("step", "when"), STEPS, ids=[f"{w}-{n}" for n, w in STEPS])
def test_a_writer_killed_at_any_step_leaves_before_or_after(
    tmp_path: Path, root: Path, states: tuple[dict[str, object], dict[str, object]], step: int, when: str
) -> None:
    before, after = states
    url = tmp_path / "store"
    store = Store(url, merger=merge_states)
    write(store, "other", OTHER)
    write(store, "old", OLD)
    command = [sys.executable, "-c", CHILD, str(url), str(step), when]
    child = subprocess.run(
        command, env=environment(root), capture_output=True, text=True, timeout=120, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    survivor = Store(url, merger=merge_states)
    assert_same(content(survivor), after if (step, when) == (6, "after") else before)
    # The next writer is not kept out, does not revive the dead one's rows, and upkeep clears them away.
    write_new(survivor)
    assert_same(content(survivor), after)
    survivor.maintain(retention=timedelta(0))
    assert_same(content(survivor), after)
    for name in ("traffic", "client_traffic"):
        files = survivor.tables[name]
        files.open()
        listed = {f.path for f in files.files()}
        on_disk = {str(p.relative_to(url / name)) for p in (url / name).glob("date=*/*.parquet")}
        assert on_disk == listed


def test_the_steps_are_all_there_are(tmp_path: Path, root: Path) -> None:
    url = tmp_path / "store"
    write(Store(url, merger=merge_states), "old", OLD)
    command = [sys.executable, "-c", CHILD, str(url), "1000", "before"]
    child = subprocess.run(
        command, env=environment(root), capture_output=True, text=True, timeout=120, check=False
    )
    assert child.stdout.split() == ["done", "6"], child.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small tmpfs cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("room", [0, 4096, 16_384, 32_768, 65_536, 98_304])
def test_a_full_disk_is_told_and_leaves_the_store_as_it_was(
    small_disk: Path, states: tuple[dict[str, object], dict[str, object]], room: int
) -> None:
    before, after = states
    store = Store(small_disk / "store", merger=merge_states)
    write(store, "other", OTHER)
    write(store, "old", OLD)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    filler.write_bytes(b"\0" * max(0, free.f_bavail * free.f_frsize - room))
    told: StoreError | None = None
    try:
        write_new(store)
    except StoreError as error:
        told = error
    assert_same(content(Store(store.url, merger=merge_states)), before if told else after)
    assert told is not None or room > 0
    if told is not None:
        assert told.exit_code == 4
        assert "no space left" in str(told)
    filler.unlink()
    write_new(store)
    assert_same(content(store), after)


LIMITED = """
import resource, sys
from tests.unit import test_store_crash as t
from seismolog.errors import StoreError

store = t.Store(sys.argv[1], merger=t.merge_states)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    t.write_new(store)
except StoreError as error:
    print("told:", error)
else:
    print("done")
"""


@pytest.mark.parametrize("limit", [0, 500, 2_000])
def test_a_file_that_may_not_grow_is_told_and_leaves_the_store_as_it_was(
    tmp_path: Path, root: Path, states: tuple[dict[str, object], dict[str, object]], limit: int
) -> None:
    before, after = states
    url = tmp_path / "store"
    store = Store(url, merger=merge_states)
    write(store, "other", OTHER)
    write(store, "old", OLD)
    command = [sys.executable, "-c", LIMITED, str(url), str(limit)]
    child = subprocess.run(
        command, env=environment(root), capture_output=True, text=True, timeout=120, check=False
    )
    assert "told:" in child.stdout, child.stdout + child.stderr
    assert_same(content(Store(url, merger=merge_states)), before)
    write_new(store)
    assert_same(content(store), after)
