"""Summaries in the stored form of the counting core, made for many rows at once with numpy.

The form is that of ``rust/core/src/count/summary.rs``: a byte for the level (bit 7: a set without counts), then for each
item in rising order of its hash the 32 bits of it and, with counts, the count as a LEB128 varint. Past a size, items are
kept whose hash falls below 2^(32 − level).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Summaries", "binary", "lists", "summaries"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Summaries:
    """Numbers and stored forms of summaries, a row for each group."""

    distinct: Ints
    entropy: npt.NDArray[np.float64]
    top_share: npt.NDArray[np.float64]
    state: pl.Series | None


def binary(content: npt.NDArray[np.uint8], ends: Ints) -> pl.Series:
    """Byte strings that lie one behind the other, cut at `ends`."""
    return lists(content, ends).cast(pl.Binary)


def lists(values: npt.NDArray[np.generic], ends: Ints) -> pl.Series:
    """Lists of values that lie one behind the other, cut at `ends`."""
    from arro3.core import Array, list_array

    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends
    return pl.Series(list_array(Array.from_numpy(offsets), Array.from_numpy(np.ascontiguousarray(values))))


def summaries(
    key: npt.NDArray[np.uint64], rows: int, size: int, *, counts: bool = True, state: bool = True
) -> Summaries:
    """Summaries of sorted keys ``row << 32 | hash``, one item for each appearance of a key.

    Parameters
    ----------
    key
        Sorted.
    rows
        Number of groups; each has at least one key.
    size
        Items that a summary holds at most.
    counts
        Whether the stored form holds counts, or is a set.
    state
        Whether the stored form is wanted.
    """
    if not len(key):
        empty = np.zeros(rows)
        return Summaries(
            empty.astype(np.int64), empty, empty, pl.Series([b""] * rows, dtype=pl.Binary) if state else None
        )
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    count = np.diff(np.append(first, len(key)))
    item = key[first]
    row = (item >> np.uint64(32)).astype(np.int64)
    total = np.bincount(row, count, minlength=rows)
    items = np.bincount(row, minlength=rows)
    level = np.zeros(rows, np.int64)
    if items.max() > size:
        hashed = (item & np.uint64(0xFFFFFFFF)).astype(np.int64)
        while (over := items > size).any():
            level[over] += 1
            keep = hashed < (np.int64(1) << (32 - level[row]))
            hashed, row, count, item = hashed[keep], row[keep], count[keep], item[keep]
            items = np.bincount(row, minlength=rows)
    scale = (1 << level).astype(float)
    c_log_c = np.bincount(row, count * np.log2(count), minlength=rows) * scale
    top = np.zeros(rows, np.int64)
    np.maximum.at(top, row, count)
    entropy = np.maximum(np.log2(np.maximum(total, 1)) - c_log_c / np.maximum(total, 1), 0.0)
    return Summaries(
        distinct=items << level,
        entropy=entropy,
        top_share=np.minimum(top / np.maximum(total, 1), 1.0),
        state=_stored(item, row, count, level, items, counts) if state else None,
    )


def _stored(
    item: npt.NDArray[np.uint64], row: Ints, count: Ints, level: Ints, items: Ints, counts: bool
) -> pl.Series:
    extra = np.zeros(len(item), np.int64)
    if counts:
        extra = 1 + (count >= 1 << 7).astype(np.int64) + (count >= 1 << 14) + (count >= 1 << 21)
    width = 4 + extra
    ends = np.cumsum(width) + row + 1  # each row has begun with its level
    begin = ends - width
    size = np.bincount(row, width, minlength=len(items)).astype(np.int64) + 1
    stop = np.cumsum(size)
    content = np.zeros(int(stop[-1]), np.uint8)
    content[stop - size] = level | (0 if counts else 0x80)
    hashed = item & np.uint64(0xFFFFFFFF)
    for byte in range(4):
        content[begin + byte] = ((hashed >> np.uint64(8 * byte)) & np.uint64(0xFF)).astype(np.uint8)
    if counts:
        left = count.copy()
        at = begin + 4
        more = extra.copy()
        chosen = np.arange(len(item))
        while len(chosen):
            content[at[chosen]] = (left[chosen] & 0x7F) | np.where(more[chosen] > 1, 0x80, 0)
            left[chosen] >>= 7
            more[chosen] -= 1
            at[chosen] += 1
            chosen = chosen[more[chosen] > 0]
    return binary(content, stop)
