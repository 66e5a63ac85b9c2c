"""From counts by minute to curves that fit a screen: the time axis, mean lines and min–max bands.

A month has 43,200 minutes and a screen about a thousand columns. :func:`choose_axis` takes the shortest
round bin that leaves at most :data:`MAX_POINTS` of them, and :meth:`Axis.band` gives for each bin the mean of
its minutes and the lowest and the highest one. The mean is drawn as a line, the range as a band around it, so
that a peak of one minute stays visible however long the time is, and no point is invented or smoothed.

Minutes of the axis without a row are minutes without events and count as zero; minutes before the first and
after the last event are outside the record and count for nothing. A bin with no minute in the record is a gap.

Limits: bins are aligned in the time zone shown, with the offset that holds at the start of the record, so
that bins of six hours and more shift by an hour against the clock when daylight saving begins or ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    import polars as pl

MAX_POINTS = 1500
"""No curve is drawn with more points than this."""

TARGET_POINTS = 480
"""Bins that a reader can tell apart on a page a thousand pixels wide."""

_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 20160, 43200)
_TICK_MINUTES = (5, 10, 15, 30, 60, 120, 180, 360, 720)

Values = list[float | None]


@dataclass(frozen=True, slots=True)
class Band:
    """One curve: per bin the mean, the lowest and the highest value; ``None`` where there is no record."""

    mean: Values
    low: Values
    high: Values

    @property
    def top(self) -> float:
        """The highest mean."""
        return max((value for value in self.mean if value is not None), default=0.0)

    @property
    def peak(self) -> float:
        """The highest single value."""
        return max((value for value in self.high if value is not None), default=0.0)

    @property
    def floor(self) -> float:
        """The lowest mean."""
        return min((value for value in self.mean if value is not None), default=0.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """A regular time axis: ``count`` bins of length ``step`` from ``start``, and the record inside it."""

    start: datetime
    step: timedelta
    count: int
    first: datetime
    last: datetime
    timezone: str

    @property
    def end(self) -> datetime:
        """End of the last bin."""
        return self.start + self.count * self.step

    def position(self, moment: datetime) -> float:
        """Where a moment lies between the start (0) and the end (1) of the axis, clamped."""
        share = (moment - self.start) / (self.count * self.step)
        return min(1.0, max(0.0, share))

    def local(self, moment: datetime) -> datetime:
        """A moment in the time zone of the axis."""
        return moment.astimezone(ZoneInfo(self.timezone))

    def band(
        self, frame: pl.DataFrame, value: str, base: timedelta, *, rate: timedelta | None = None
    ) -> Band:
        """The curve of a counted column: missing bins of the frame are zeros.

        Parameters
        ----------
        frame
            ``bin_start`` (UTC, multiples of ``base``) and the column ``value``; rows of one bin are summed.
        base
            Length of the frame's bins.
        rate
            Scale to events per this length of time; without it the values stay per ``base``.
        """
        size = max(1, round((self.end - self.start) / base))
        sums = np.zeros(size)
        places = self._places(frame, base)
        inside = (places >= 0) & (places < size)
        np.add.at(sums, places[inside], frame[value].cast(float).to_numpy()[inside])
        begin = int((self.first - self.start) // base)
        finish = -int((self.start - self.last) // base)
        sums[:begin] = np.nan
        sums[finish:] = np.nan
        if rate is not None:
            sums *= rate / base
        return self._fold(sums, base)

    def fold(self, frame: pl.DataFrame, value: str, base: timedelta, *, scale: float = 1.0) -> Band:
        """The curve of a measured column: missing bins of the frame, and nulls, are gaps."""
        size = max(1, round((self.end - self.start) / base))
        values = np.full(size, np.nan)
        places = self._places(frame, base)
        inside = (places >= 0) & (places < size)
        column = frame[value].cast(float).fill_null(float("nan")).to_numpy()
        values[places[inside]] = column[inside] * scale
        values[~np.isfinite(values)] = np.nan
        return self._fold(values, base)

    def _places(self, frame: pl.DataFrame, base: timedelta) -> npt.NDArray[np.int64]:
        micros = frame["bin_start"].dt.epoch("us").to_numpy()
        origin = int(self.start.timestamp() * 1_000_000)
        places: npt.NDArray[np.int64] = (micros - origin) // int(base / timedelta(microseconds=1))
        return places

    def _fold(self, values: npt.NDArray[np.float64], base: timedelta) -> Band:
        per_bin = max(1, round(self.step / base))
        padded = np.full(self.count * per_bin, np.nan)
        padded[: min(len(values), len(padded))] = values[: len(padded)]
        grid = padded.reshape(self.count, per_bin)
        known = np.isfinite(grid)
        amount = known.sum(axis=1)
        total = np.where(known, grid, 0.0).sum(axis=1)
        low = np.where(known, grid, np.inf).min(axis=1)
        high = np.where(known, grid, -np.inf).max(axis=1)
        empty = amount == 0
        mean = total / np.maximum(amount, 1)

        def listed(array: npt.NDArray[np.float64]) -> Values:
            return [None if gap else float(value) for value, gap in zip(array, empty, strict=True)]

        return Band(listed(mean), listed(low), listed(high))

    def ticks(self) -> Iterator[tuple[float, str, bool]]:
        """Tick marks as (position, label, whether it begins a day), at round local times, at most a dozen."""
        span = self.end - self.start
        begin, finish = self.local(self.start), self.local(self.end)
        midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        minutes = next((m for m in _TICK_MINUTES if span / timedelta(minutes=m) <= 13), None)
        if minutes is not None:
            moments = self._marks(midnight, finish, timedelta(minutes=minutes))
            for moment in moments:
                day = moment.hour == 0 and moment.minute == 0
                label = f"{moment.day} {moment:%b}" if day else f"{moment:%H:%M}"
                yield self.position(moment), label, day
            return
        days = next((d for d in (1, 2, 7, 14, 28, 56, 182, 365) if span / timedelta(days=d) <= 13), 730)
        if days == 7:  # weeks begin on Monday
            midnight -= timedelta(days=midnight.weekday())
        for moment in self._marks(midnight, finish, timedelta(days=days)):
            yield self.position(moment), f"{moment.day} {moment:%b}", True

    def _marks(self, midnight: datetime, finish: datetime, step: timedelta) -> Iterator[datetime]:
        # Wall-clock steps, so that ticks stay on round hours across a change of offset.
        zone = ZoneInfo(self.timezone)
        wall = midnight
        while (moment := wall.replace(tzinfo=zone)) < finish:
            # In a spring gap the wall time does not exist; the round trip through UTC says so.
            if moment >= self.start and moment.astimezone(UTC).astimezone(zone).hour == moment.hour:
                yield moment
            wall += step


def choose_axis(
    first: datetime,
    last: datetime,
    timezone: str,
    base: timedelta = timedelta(minutes=1),
    target: int = TARGET_POINTS,
) -> Axis:
    """The axis for a record from ``first`` to ``last`` (half open): the shortest round bin with ≤ target bins."""
    span = max(last - first, base)
    target = min(target, MAX_POINTS)
    choices = [timedelta(minutes=m) for m in _MINUTES if timedelta(minutes=m) >= base]
    step = next((s for s in choices if s % base == timedelta() and span / s <= target), choices[-1])
    offset = first.astimezone(ZoneInfo(timezone)).utcoffset() or timedelta()
    epoch = datetime(1970, 1, 1, tzinfo=UTC) - offset % timedelta(days=1)
    start = first - (first - epoch) % step
    count = -int((start - last) // step)
    while count > MAX_POINTS:  # decades of logs: keep the promise rather than the round bin
        step *= 2
        start = first - (first - epoch) % step
        count = -int((start - last) // step)
    return Axis(start, step, max(1, count), first, last, timezone)
