"""One writer at a time on a local store.

A lock file in the store's folder is held with ``flock`` while rows are written. The system lets go of it
when the process ends, however it ends, so a killed writer leaves nothing to clean up.

Limits: object storage has no such lock. There the numbered commits (see :mod:`seismolog.store.table`) make
the second of two writers fail instead of doubling anything; it is to be run again. ``flock`` does not reach
over every network file system either, and the same holds there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from seismolog.errors import StoreError

__all__ = ["write_lock"]


@contextlib.contextmanager
def write_lock(folder: Path | None, wait: float = 10.0) -> Iterator[None]:
    """Hold the store's write lock within this block.

    Parameters
    ----------
    folder
        The store's folder, None for object storage (no lock).
    wait
        Seconds to wait for another writer before giving up with :class:`StoreError`.
    """
    if folder is None:
        yield
        return
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(
            f"cannot write to the store: {error.strerror}",
            file=path,
            mend="choose a folder that this user may write to: [store] url, or --store",
        ) from error
    try:
        _acquire(handle, path, wait)
        with contextlib.suppress(OSError):  # the number is for a human; a full disk must not stop us here
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, wait: float) -> None:
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
                raise StoreError(
                    f"process {holder} is writing to this store",
                    file=path,
                    mend="wait until it is done and run the command again",
                ) from None
            time.sleep(0.05)
        else:
            return
