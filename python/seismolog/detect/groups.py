"""Clients that work alike: the expected shape of a client's curve is that of its own group.

PCs follow office hours, servers and resolvers run around the clock, and a campus has more kinds than that. The clients'
activity by hour is sorted into a few groups by a mixture of multinomials (expectation–maximisation from a fixed start,
so the same curves give the same groups). A client counts with the shape of its curve, hardly with its volume: heavy
clients would otherwise make groups of their own, and one that is hijacked would be what is expected of itself.

Limits: at most :data:`MOST` groups; a client with few counts goes with the likeliest group, which says little, but then
little is expected of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["MOST", "Groups", "grouped"]

MOST = 4
_CAP = 60.0
"""Counts that a client's shape weighs as at most."""
_ROUNDS = 12
_FITTED = 20_000
"""Rows that the mixture is fitted to at most; of more, evenly spaced ones: four shapes are known well by then."""


@dataclass(frozen=True)
class Groups:
    """Groups of the rows of a matrix.

    Parameters
    ----------
    member
        Group of each row.
    shapes
        (groups, bins): expected shape of each, mean 1 over the bins that are covered.
    sizes
        Rows of each group.
    """

    member: npt.NDArray[np.int64]
    shapes: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]

    @property
    def of_rows(self) -> npt.NDArray[np.float64]:
        """(rows, bins): the shape that each row is expected to have."""
        result: npt.NDArray[np.float64] = self.shapes[self.member]
        return result


def grouped(
    values: npt.NDArray[np.float32],
    covered: npt.NDArray[np.bool_],
    *,
    bins_an_hour: int = 6,
    most: int = MOST,
    profile: npt.NDArray[np.float64] | None = None,
) -> Groups:
    """Sort the rows of a matrix of counts into groups.

    Parameters
    ----------
    values
        (clients, bins) counts.
    covered
        Bins that the log covers.
    bins_an_hour
        Bins that are taken together to tell clients apart.
    profile
        (clients, n) counts by which to tell them apart instead, such as the hours of the days before: a client whose
        day is not like its past is then compared with those that it was like.
    """
    rows, bins = values.shape
    member = np.zeros(rows, dtype=np.int64)
    coarse = profile if profile is not None else _coarse(values, bins_an_hour)
    coarse = np.asarray(coarse, dtype=np.float64)
    total = coarse.sum(axis=1)
    if rows >= 4 * most and coarse.shape[1] >= 4:
        # Square roots hold bursts down; the cap makes a client's weight that of its shape.
        damped = np.sqrt(coarse)
        weight = np.minimum(total, _CAP) / np.maximum(damped.sum(axis=1), 1e-9)
        member = _mixture(damped * weight[:, None], most)
    names, member = np.unique(member, return_inverse=True)
    shapes = np.ones((len(names), bins))
    sizes = np.bincount(member, minlength=len(names))
    level = values[:, covered].mean(axis=1) if covered.any() else np.zeros(rows)
    # Each client counts about alike: its curve over its level, and quiet ones less than that. A bin where one
    # client dwarfs its own level counts up to 20 times the level only.
    damped_level = level + 0.05
    for g in range(len(names)):
        chosen = member == g
        part = values[chosen]
        own = damped_level[chosen]
        scaled = np.minimum(part, 20 * own[:, None] + 3) / own[:, None]
        busy = np.minimum(own / (own + 0.3), 1.0)
        curve = (scaled * busy[:, None]).sum(axis=0) / max(float(busy.sum()), 1e-9)
        curve = _smooth(curve, covered)
        mean = float(curve[covered].mean()) if covered.any() else 0.0
        shapes[g] = np.maximum(curve / mean, 0.01) if mean > 0 else 1.0
    return Groups(member.astype(np.int64), shapes, sizes)


def _coarse(values: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.float64]:
    rows, bins = values.shape
    whole = bins // step * step
    if whole == 0:
        return values.astype(np.float64)
    summed = values[:, :whole].reshape(rows, whole // step, step).sum(axis=2, dtype=np.float64)
    # Days lie over each other, so that several days tell hours of the day.
    hours = summed.shape[1]
    if hours >= 48 and hours % 24 == 0:
        summed = summed.reshape(rows, hours // 24, 24).sum(axis=1)
    hourly: npt.NDArray[np.float64] = summed
    return hourly


def _mixture(counts: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.int64]:
    """Most likely group of each row under a mixture of multinomials."""
    everyone = counts
    counts = np.ascontiguousarray(everyone[:: max(1, -(-len(everyone) // _FITTED))])
    rows, hours = counts.shape
    overall = counts.sum(axis=0) + 0.5
    overall /= overall.sum()
    flat = np.full(hours, 1 / hours)
    # The start: the campus, the flat line, and the campus leaning to its quiet and to its busy half.
    quiet = overall < np.median(overall)
    starts = [
        overall,
        flat,
        np.where(quiet, 3 * overall + 1e-3, overall),
        np.where(quiet, 0.1 * overall, overall),
    ]
    centres = np.array([s / s.sum() for s in starts[:most]])
    share = np.full(len(centres), 1 / len(centres))
    chosen = np.zeros(rows, dtype=np.int64)
    for _ in range(_ROUNDS):
        likelihood = counts @ np.log(centres).T + np.log(share)
        likelihood -= likelihood.max(axis=1, keepdims=True)
        belief = np.exp(likelihood)
        belief /= belief.sum(axis=1, keepdims=True)
        before, chosen = chosen, belief.argmax(axis=1)
        weight = belief.sum(axis=0)
        centres = belief.T @ counts + 2.0 * overall
        centres /= centres.sum(axis=1, keepdims=True)
        share = np.maximum(weight / rows, 1e-3)
        share /= share.sum()
        if (before == chosen).all():
            break
    if rows < len(everyone):
        chosen = (everyone @ np.log(centres).T + np.log(share)).argmax(axis=1)
    # A group of a handful is no population: its members go with the next likely one.
    sizes = np.bincount(chosen, minlength=len(centres))
    small = sizes < max(8, len(everyone) // 200)
    if small.any() and not small.all():
        likelihood = everyone @ np.log(centres).T + np.log(share)
        likelihood[:, small] = -np.inf
        chosen = likelihood.argmax(axis=1)
    return chosen.astype(np.int64)


def _smooth(curve: npt.NDArray[np.float64], covered: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Weighted mean of each bin and its neighbours (1, 2, 1), over the bins that are covered."""
    held = np.where(covered, curve, 0.0)
    weight = covered.astype(np.float64)
    kernel = np.array([1.0, 2.0, 1.0])
    top = np.convolve(held, kernel, mode="same")
    bottom = np.convolve(weight, kernel, mode="same")
    return np.where(bottom > 0, top / np.maximum(bottom, 1e-9), 0.0)
