"""What is usual for each client: learnt day by day, by slot of the week, kept in the store. See docs/incidents.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from seismolog.detect.view import Before, Curves

__all__ = ["Baseline", "PastMean"]


@dataclass(frozen=True)
class PastMean:
    """Expected counts of curves from their own past, and the days that they rest on."""

    mean: npt.NDArray[np.float64]
    days: npt.NDArray[np.float64]


class Baseline:
    """What is usual; an empty one knows nothing."""

    def profile(self, kind: str, names: Sequence[str]) -> npt.NDArray[np.float64] | None:
        """(clients, 24) counts by hour of the day, None where nothing is known."""
        return None

    def expected(self, curves: Curves, zone: ZoneInfo, holidays: frozenset[date]) -> PastMean | None:
        """Expected counts of curves."""
        return None

    def past(self, curves: Curves) -> Before | None:
        """Level and highest bin of curves in the days before."""
        return None
