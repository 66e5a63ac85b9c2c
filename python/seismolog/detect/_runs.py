"""Runs of bins in which something holds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["runs_of"]


def runs_of(flags: npt.NDArray[np.bool_], gap: int = 0, least: int = 1) -> list[tuple[int, int]]:
    """Half-open runs of set flags; runs with at most `gap` clear ones between are one, short ones are dropped."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    found: list[list[int]] = []
    for low, high in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if found and low - found[-1][1] <= gap:
            found[-1][1] = high
        else:
            found.append([low, high])
    return [(low, high) for low, high in found if high - low >= least]
