"""Archived logs: files found, told apart, counted once, and kept.

:func:`count` counts files and gives a table; :func:`analyze_into_store` counts them into a store, where
counting a source again replaces only that source. Both name what they passed over and why, and collect what
could not be read instead of stopping at it: the caller decides about the exit status.

- :mod:`~seismolog.archive.discover`  paths, folders and globs become a list of files
- :mod:`~seismolog.archive.scanning`  the counting core behind a small protocol, and its frames made plain
- :mod:`~seismolog.archive.sources`   digests read, plan made: what to scan, skip, replace
- :mod:`~seismolog.archive.batches`   how many files are counted at once
- :mod:`~seismolog.archive.stretches` a log that is longer than memory, put into the store piece by piece
- :mod:`~seismolog.archive.jobs`      the two jobs

Limits: files are counted in batches bounded by their size (``[archive] batch_size``), and a longer file in stretches of that
size, so the counts of one batch must fit in memory (a day of 10 million queries by 20,000 clients: 0.7 GiB).
"""

from __future__ import annotations

from seismolog.archive.discover import Found, PassedOver, discover
from seismolog.archive.jobs import Archived, Counted, analyze_into_store, count
from seismolog.archive.scanning import Scanner, ScanOptions, Summary

__all__ = [
    "Archived",
    "Counted",
    "Found",
    "PassedOver",
    "ScanOptions",
    "Scanner",
    "Summary",
    "analyze_into_store",
    "count",
    "discover",
]
