"""Reads the stored summaries of a few rows, where a detector asks more of them than the numbers beside them tell.

A summary (``target_state``, ``client_state``, …) is one byte with the sampling level, then for each item the
upper 32 bits of its hash and, with counts, the count as a varint; see ``rust/core/src/count/summary.rs``.
Addresses are hashed alike in every process, so that one can be looked for in a summary without asking the
core.

Limits: this is for tens or hundreds of rows that have passed all cheap tests, not for tables.
"""

from __future__ import annotations

import ipaddress

import numpy as np
import numpy.typing as npt

__all__ = ["address_hash", "hashes", "items", "top_share"]

_K0 = 0x9E37_79B9_7F4A_7C15
_K1 = 0xD6E8_FEB8_6659_FD93
_K2 = 0xA076_1D64_78BD_642F
_WORD = (1 << 64) - 1


def items(state: bytes | None) -> tuple[dict[int, int], int]:
    """Hash -> count of a stored summary, and its sampling level (0: exact); empty for null or damaged bytes."""
    if not state:
        return {}, 0
    level, counted = state[0] & 0x1F, not state[0] & 0x80
    found: dict[int, int] = {}
    at, end = 1, len(state)
    while at + 4 <= end:
        value = int.from_bytes(state[at : at + 4], "little")
        at += 4
        count = 1
        if counted:
            count, shift = 0, 0
            while at < end:
                byte = state[at]
                at += 1
                count |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
        found[value] = found.get(value, 0) + count
    return found, level


def hashes(state: bytes | None) -> tuple[npt.NDArray[np.uint32], int]:
    """The hashes alone, and the sampling level: fast where a summary holds no counts, as those of one client do."""
    if not state:
        return np.empty(0, np.uint32), 0
    if not state[0] & 0x80:
        held, level = items(state)
        return np.fromiter(held, np.uint32, len(held)), level
    whole = (len(state) - 1) // 4
    return np.frombuffer(state, "<u4", whole, 1), state[0] & 0x1F


def top_share(state: bytes | None, total: float, most: int) -> float | None:
    """Share of the `most` most frequent items in `total` events, None where there is no summary.

    Past the size of a summary the most frequent may have been left out: then a lower bound.
    """
    counts, _ = items(state)
    if not counts or total <= 0:
        return None
    return min(sum(sorted(counts.values(), reverse=True)[:most]) / total, 1.0)


def _fold(a: int, b: int) -> int:
    wide = (a & _WORD) * (b & _WORD)
    return (wide & _WORD) ^ (wide >> 64)


def address_hash(text: str) -> int | None:
    """The hash under which a client stands in summaries, None for what is no address."""
    prefix = 128
    if "/" in text:
        text, _, length = text.partition("/")
        prefix = int(length) if length.isdigit() else 128
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 4:
        high, low = 4, int(address)
    else:
        bits = int(address)
        high, low = (bits >> 64) ^ (prefix << 1), (bits & _WORD) ^ 6
    return _fold(_fold(high ^ _K2, _K0) ^ low ^ _K1, _K1) >> 32
