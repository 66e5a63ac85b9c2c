"""How many files are counted at once: as many as bytes of text and rows of tables fit into memory.

Counting several files together keeps all threads busy; what they count is held until it is written. A batch ends by the
bytes of its files, and how many bytes these are follows from the rows that the batches before it made of theirs: quiet
logs of many clients make more rows from a byte than busy ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seismolog.archive.scanning import ScanOptions
from seismolog.archive.sources import PlannedFiles
from seismolog.store.identity import FileIdentity

__all__ = ["Pace", "batches"]

#: Text is taken to be this many times longer than its compressed form.
_EXPANSION = 10
#: Bytes of text of the first batch; by its rows the sizes of the others are chosen.
_FIRST = 128 * 2**20


class Pace:
    """How many bytes of text a batch takes."""

    def __init__(self, options: ScanOptions) -> None:
        self._most, self._rows = options.batch_size, options.batch_rows
        self.size = min(self._most, _FIRST)

    def made(self, text: int, rows: int) -> None:
        """A batch of so many bytes made so many rows."""
        if text and rows:
            self.size = min(self._most, max(self._rows * text // rows, 1))


def batches(todo: Sequence[str], planned: PlannedFiles, pace: Pace) -> Iterator[list[str]]:
    """Files in order, in batches of about as many bytes of text as the pace says; a stream is a batch of its own."""
    by_given = {planned.given[p]: f for p, f in planned.identities.items()}
    batch: list[str] = []
    held = 0
    for path in todo:
        identity = by_given.get(path)
        length = pace.size if identity is None else _text_length(identity)
        if batch and held + length > pace.size:
            yield batch
            batch, held = [], 0
        batch.append(path)
        held += length
    if batch:
        yield batch


def _text_length(file: FileIdentity) -> int:
    if file.bytes is not None:
        return file.bytes
    return file.compressed_bytes * (1 if file.compression in (None, "plain") else _EXPANSION)
