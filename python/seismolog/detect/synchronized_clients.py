"""Clients whose curves rise and fall together: one hand moves them.

Series
    ``dns_query`` of clients that are above what they used to ask, in bins of ten minutes.
Statistic
    Rank correlation of every two curves, as they are and with the shape of their groups taken from them, at lags of −2 to
    2 bins, over the bins in which both are elevated (``bins`` at least, ``nonzero`` of them with counts), without the edges
    where both start and stop. It exceeds ``correlation``; the chance of its Fisher z with the number of bins
    corrected for autocorrelation, together with that of what is new in each bin (both whitened by their AR(1); Fisher's sum
    of logarithms), is below ``p_value`` over all pairs and lags. Pairs that share a client are one group.
Source
    IP-D and IP-E of the 2003 study, and the question whether clients outside attack the DNS server. Groups: the idea of
    BotGAD. Numbers are ours.
Cost
    Only elevated clients are paired, in blocks of matrix products: 5,000 of them take some seconds. Beyond ``most`` those
    that rose furthest are paired, and the evidence says so.
Limits
    Hosts that only start and stop together are not enough, and programs that update at one hour last too short.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seismolog.detect import base, common
from seismolog.detect.base import Raised

if TYPE_CHECKING:
    from seismolog.detect.common import Run
    from seismolog.detect.view import Curves, View

NAME = "synchronized_clients"
SUMMARY = "Curves of several clients rise and fall together."
TABLES: Mapping[str, Sequence[str]] = {"client_traffic": ("bin_start", "server", "kind", "client", "count")}
BLOCK = 1024
DOUBT = 0.01
"""Share of the chance of a false pair below which what is new in each bin speaks for itself: no shape is taken then."""
FRESH = 0.5
"""Rank correlation of what is new in each bin from which a pair is looked at whatever its levels do."""


class Settings(base.Settings):
    """When curves move together."""

    THRESHOLDS: ClassVar[Mapping[str, int]] = {"correlation": 1, "minimum": 1, "factor": 1}

    minimum: float = Field(
        default=20.0,
        gt=0,
        description="Queries in ten minutes, on average of half an hour and of the whole stretch.",
    )
    factor: float = Field(default=3.0, gt=1, description="Multiple of the expected.")
    novelty: float = Field(
        default=1.5, gt=0, description="Multiple of the busiest half hour of the client's past."
    )
    correlation: float = Field(default=0.6, gt=0, lt=1, description="Least rank correlation of two curves.")
    p_value: float = Field(default=0.05, gt=0, lt=1, description="Chance of a false pair a day.")
    rises_a_day: float = Field(
        default=5.0,
        gt=0,
        description="Rises like that of a client that are usual here: with more, it is not paired.",
    )
    bins: int = Field(default=30, ge=12, description="Bins of ten minutes in which both are elevated.")
    nonzero: int = Field(default=24, ge=6, description="How many of them have counts of both.")
    lag: int = Field(default=2, ge=0, le=6, description="Bins by which one may follow the other.")
    most: int = Field(default=8000, ge=2, description="Clients that are paired at most.")


def find(view: View, settings: Settings) -> list[Raised]:
    """Groups of clients in step."""
    shown = common.busy(view, view.curves(), settings.minimum, settings)
    runs = common.elevated(
        view,
        shown,
        minimum=settings.minimum,
        factor=settings.factor,
        novelty=settings.novelty,
        jumps_a_day=settings.rises_a_day,
        gap=9,
    )
    runs = [run for run in runs if run.bins >= settings.bins and run.level >= settings.minimum * shown.scale]
    if len(runs) < 2:
        return []
    left_out = max(0, len(runs) - settings.most)
    runs = sorted(runs, key=lambda run: run.log_p)[: settings.most]
    pairs = together(view, shown, runs, settings)
    found = []
    for members in _groups(pairs, len(runs)):
        chosen = [runs[i] for i in members]
        inner = [p for p in pairs if p[0] in members]
        weakest = min(p[2] for p in inner)
        middle = float(np.median([p[2] for p in inner]))
        names = tuple(dict.fromkeys(shown.names[run.row] for run in sorted(chosen, key=lambda r: -r.level)))
        if len(names) < 2:
            continue
        first = int(np.median([run.first for run in chosen]))
        stop = max(run.stop for run in chosen)
        inside = view.site.is_inside(names)
        where = "" if inside.all() else " outside" if not inside.any() else ", inside and outside,"
        level = sum(run.level for run in chosen) / len(chosen) / shown.scale
        shown_names = (
            " and ".join(names) if len(names) <= 2 else f"{', '.join(names[:4])} and {len(names) - 4} more"
        )
        if 2 < len(names) <= 4:
            shown_names = ", ".join(names)
        found.append(
            Raised(
                detector=NAME,
                cause="attack from outside" if not inside.any() else "remote-controlled",
                severity="critical" if len(names) >= 5 else "warning",
                subjects=names,
                server=None,
                start=shown.start(first),
                end=common.open_end(shown, stop),
                score=middle,
                threshold=settings.correlation,
                explanation=(
                    f"The curves of {len(names)} clients{where} rise and fall together since "
                    f"{view.local(shown.start(first))} (correlation {middle:.2f}; {shown_names}), each about "
                    f"{common.number(level)} queries in ten minutes: one hand seems to move them."
                ),
                evidence={
                    "clients": len(names),
                    "pairs": len(inner),
                    "correlation_median": round(middle, 3),
                    "correlation_least": round(weakest, 3),
                    "log10_p": round(max(p[3] for p in inner) / math.log(10), 1),
                    "lags_bins": sorted({p[4] for p in inner}),
                    "per_10_minutes": round(level, 1),
                    **({"clients_not_paired": left_out} if left_out else {}),
                },
            )
        )
    return found


Pair = tuple[int, int, float, float, int]


def together(view: View, shown: Curves, runs: Sequence[Run], settings: Settings) -> list[Pair]:
    """(run, run, correlation, log p, lag) of every two runs that move together."""
    groups = view.groups(shown)
    n = shown.bins

    def shape(i: int) -> npt.NDArray[np.float64]:
        row: npt.NDArray[np.float64] = groups.shapes[groups.member[shown.rows[runs[i].row]]]
        return row

    # Two faces of each curve, as ranks: without the shape of its group, and what is new in each bin.
    shaped, fresh, held = (np.zeros((len(runs), n), np.float32) for _ in range(3))
    # A gap of a server's log is the same line in the curves of all its clients.
    told = view.told(shown.where(np.array([run.row for run in runs], np.int64)))
    for i, run in enumerate(runs):
        low, high = run.first + 2, run.stop - 2  # the edges are cut
        span = np.arange(low, high)[told[i, low:high]]
        plain = np.log(shown.values[run.row, span].astype(np.float64) + 1)
        own = plain - np.log(np.maximum(shape(i)[span], 0.02))
        if len(span) < settings.bins - 4 or own.std() == 0:
            continue
        shaped[i, span] = common.ranks(own) * math.sqrt(len(span))
        fresh[i, span[1:]] = common.ranks(plain[1:] - common.lag_one(plain) * plain[:-1]) * math.sqrt(
            len(span) - 1
        )
        held[i, span] = 1.0
    common_bins = held @ held.T
    eligible = (int((common_bins >= settings.bins - 4).sum()) - len(runs)) / 2
    tests = max(1.0, eligible * (2 * settings.lag + 1))
    limit = math.log(settings.p_value / tests)
    doubtless = limit + math.log(DOUBT)
    some = np.where(held > 0, shown.values[[run.row for run in runs]] > 0, False).astype(np.float32)

    found: dict[tuple[int, int], Pair] = {}
    for lag in range(-settings.lag, settings.lag + 1):
        moved = [_shift(a, lag) for a in (shaped, fresh, held, some)]
        for start in range(0, len(runs), BLOCK):
            block = slice(start, start + BLOCK)
            chosen = _block((shaped[block], fresh[block], held[block], some[block]), moved, start, settings)
            for i, j in chosen:
                if shown.names[runs[i].row] == shown.names[runs[j].row]:
                    continue
                both = np.flatnonzero((held[i] > 0) & (moved[2][j] > 0))
                a, b = shown.values[runs[i].row, both], shown.values[runs[j].row, both - lag]
                r, log_p, _ = common.alike(a, b, shape(i)[both], shape(j)[both - lag], doubtless)
                if r < settings.correlation or log_p > limit:
                    continue
                known = found.get((i, j))
                if known is None or log_p < known[3]:
                    found[i, j] = (i, j, r, log_p, lag)
    return list(found.values())


def _block(
    mine: tuple[npt.NDArray[np.float32], ...],
    theirs: list[npt.NDArray[np.float32]],
    start: int,
    settings: Settings,
) -> list[tuple[int, int]]:
    """Pairs of a block of rows with later ones that are alike at a first look, by matrix products over common bins."""
    shaped, fresh, held, some = zip(mine, theirs, strict=True)
    count = held[0] @ held[1].T
    later = np.arange(len(held[1]))[None, :] > (start + np.arange(len(held[0])))[:, None]
    chosen = (
        later
        & (count >= settings.bins - 4)
        & (some[0] @ some[1].T >= settings.nonzero)
        & (
            (_correlation(shaped, held, count) >= settings.correlation - 0.1)
            | (_correlation(fresh, held, count) >= FRESH)
        )
    )
    first, second = np.nonzero(chosen)
    return list(zip((first + start).tolist(), second.tolist(), strict=True))


def _correlation(
    pair: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    held: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    count: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Correlation of every row of one block with every row of another, over the `count` bins that both hold."""
    (a, b), (ha, hb) = pair, held
    safe = np.maximum(count, 1.0)
    mean_a, mean_b = a @ hb.T / safe, ha @ b.T / safe
    cross = a @ b.T / safe - mean_a * mean_b
    var_a = np.maximum((a * a) @ hb.T / safe - mean_a**2, 1e-6)
    var_b = np.maximum(ha @ (b * b).T / safe - mean_b**2, 1e-6)
    result: npt.NDArray[np.float32] = cross / np.sqrt(var_a * var_b)
    return result


def _shift(values: npt.NDArray[np.float32], lag: int) -> npt.NDArray[np.float32]:
    if lag == 0:
        return values
    moved = np.zeros_like(values)
    if lag > 0:
        moved[:, lag:] = values[:, :-lag]
    else:
        moved[:, :lag] = values[:, -lag:]
    return moved


def _groups(pairs: Sequence[Pair], size: int) -> list[set[Any]]:
    """Connected components of the pairs."""
    parent = list(range(size))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j, *_ in pairs:
        parent[root(i)] = root(j)
    found: dict[int, set[Any]] = {}
    for i, j, *_ in pairs:
        found.setdefault(root(i), set()).update((i, j))
    return list(found.values())
