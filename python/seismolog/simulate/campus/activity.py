# ruff: noqa: ARG001 - shapes share one signature
"""How much each device asks in each ten minutes of a day.

A device's rate is its level, the shape of its class (with its own start of the day), a factor for the day, and a gamma
factor of shape k that remembers the ten minutes before: a sum of squares of autoregressive normal numbers, which is
exactly gamma, with correlation ρ² where the normal ones have ρ. Given the rate, counts are Poisson; so they are negative
binomial with shape k and autocorrelated, as counts of real clients are.

Limits: shapes are drawn by hand. A gateway or a resolver is drawn as one device with a steadier factor.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seismolog.simulate.campus.parameters import CLASSES, Parameters
from seismolog.simulate.campus.population import Population
from seismolog.simulate.shape import day_shape

__all__ = ["BLOCKS", "gamma_factor", "rates"]

BLOCKS = 144
Floats = npt.NDArray[np.float32]

_OFFICE = np.interp(
    np.arange(BLOCKS) / 6,
    [0, 7, 8.5, 9.5, 11.5, 12.5, 13.5, 16, 18, 20, 24],
    [0.5, 0.6, 0.9, 1.2, 1.15, 0.75, 1.15, 1.1, 0.9, 0.6, 0.5],
).astype(np.float32)


def gamma_factor(rng: np.random.Generator, rows: int, degrees: int, memory: float) -> Floats:
    """(rows, 144) factors of mean 1 and variance 2 / degrees, correlated by `memory` from bin to bin."""
    rho = np.float32(np.sqrt(memory))
    fresh = np.float32(np.sqrt(1 - memory))
    state = rng.standard_normal((degrees, rows), dtype=np.float32)
    made = np.empty((rows, BLOCKS), np.float32)
    for block in range(BLOCKS):
        if block:
            state *= rho
            state += fresh * rng.standard_normal((degrees, rows), dtype=np.float32)
        made[:, block] = np.einsum("ij,ij->j", state, state)
    made /= degrees
    return made


def rates(parameters: Parameters, people: Population, day: int) -> Floats:
    """(devices, 144) mean queries of each device in each ten minutes of a day, all factors included."""
    p = parameters
    rng = np.random.default_rng([p.seed, 2025, 4, day + 1000])
    free = p.is_free(day)
    made = np.zeros((people.devices, BLOCKS), np.float32)
    hours = np.arange(BLOCKS) / 6
    for number, name in enumerate(CLASSES):
        rows = np.flatnonzero(people.of_class == number)
        if not len(rows):
            continue
        shape = _SHAPES[name](rng, p, people, rows, hours, free)
        level = people.level[rows] / BLOCKS * np.exp(rng.normal(-(p.day_sd**2) / 2, p.day_sd, len(rows)))
        steady = name in ("gateway", "resolver", "monitor")
        degrees = {"gateway": 60, "resolver": 80, "monitor": 400}.get(name, p.degrees)
        if steady:
            factor = rng.gamma(degrees / 2, 2 / degrees, (len(rows), BLOCKS)).astype(np.float32)
        else:
            factor = gamma_factor(rng, len(rows), degrees, p.memory)
        made[rows] = shape * level[:, None].astype(np.float32) * factor
    _busy_stretches(rng, p, people, made)
    return made


def _pc(
    rng: np.random.Generator,
    p: Parameters,
    people: Population,
    rows: npt.NDArray[np.int64],
    hours: npt.NDArray[np.float64],
    free: bool,
) -> Floats:
    """On from the start of the day to its end, busiest after being switched on; some stay on by night."""
    count = len(rows)
    here = rng.random(count) < people.presence[rows] * (p.weekend if free else 1.0)
    start = (
        p.start
        + (people.late[rows] + rng.normal(0, 10, count)) / 60
        + np.where(rng.random(count) < 0.12, 3, 0)
    )
    start = start + (rng.exponential(2.0, count) if free else 0)
    stop = np.maximum(start + 1, 17.8 + people.late[rows] / 60 + rng.normal(0, 1.2, count))
    stop += np.where(rng.random(count) < 0.08, rng.exponential(2, count), 0)
    from_start = hours[None, :] - start[:, None]
    # A bin that the switch falls in counts in part.
    on = (
        np.clip(from_start * 6 + 1, 0, 1)
        * np.clip((stop[:, None] - hours[None, :]) * 6, 0, 1)
        * here[:, None]
    )
    boot = 1 + 1.5 * np.exp(-np.maximum(from_start, 0) * 5) * (from_start > -0.17)
    idle = np.where(people.night[rows], 0.06, 0.0)[:, None]
    made: Floats = (2.2 * on * boot * _OFFICE[None, :] + idle).astype(np.float32)
    return made


def _phone(
    rng: np.random.Generator,
    p: Parameters,
    people: Population,
    rows: npt.NDArray[np.int64],
    hours: npt.NDArray[np.float64],
    free: bool,
) -> Floats:
    """Two stays or three between morning and evening."""
    made = np.zeros((len(rows), len(hours)), np.float32)
    for chance, begin, spread, length in (
        (0.8, 8.9, 1.0, 2.5),
        (0.75, 13.2, 1.5, 3.0),
        (0.3, 18.5, 1.5, 2.0),
    ):
        here = rng.random(len(rows)) < chance * people.presence[rows] * (p.weekend if free else 1.0)
        start = begin + rng.normal(0, spread, len(rows))
        stop = start + np.maximum(rng.exponential(length, len(rows)), 0.3)
        on = np.clip((hours - start[:, None]) * 6 + 1, 0, 1) * np.clip((stop[:, None] - hours) * 6, 0, 1)
        made = np.maximum(made, on * here[:, None])
    return (3.4 * made).astype(np.float32)


def _lab(
    rng: np.random.Generator,
    p: Parameters,
    people: Population,
    rows: npt.NDArray[np.int64],
    hours: npt.NDArray[np.float64],
    free: bool,
) -> Floats:
    """Rooms that are switched on together for a lesson and off after it."""
    rooms = people.room[rows]
    made = np.zeros((len(rows), len(hours)), np.float32)
    for begin in (9.0, 10.67, 13.0, 14.67, 16.33):
        held = rng.random(rooms.max() + 1) < (0.03 if free else 0.5)
        start = begin + rng.normal(0, 0.05, rooms.max() + 1)[rooms] + rng.normal(0, 0.02, len(rows))
        on = np.clip((hours - start[:, None]) * 6 + 1, 0, 1) * np.clip(
            (start[:, None] + 1.5 - hours) * 6, 0, 1
        )
        boot = 1 + 2 * np.exp(-np.maximum(hours - start[:, None], 0) * 6)
        made += (on * boot * held[rooms][:, None] * (rng.random(len(rows)) < 0.9)[:, None]).astype(np.float32)
    return 6.0 * made


def _server(
    rng: np.random.Generator,
    p: Parameters,
    people: Population,
    rows: npt.NDArray[np.int64],
    hours: npt.NDArray[np.float64],
    free: bool,
) -> Floats:
    """Around the clock, some of it with the campus, and jobs at fixed hours of each server's own."""
    own = np.random.default_rng([p.seed, 2025, 5])
    with_day = own.random(people.devices)[rows][:, None] * 0.7
    flat = (1 - with_day) + with_day * day_shape(hours * 3600)[None, :] * (0.5 if free else 1.0)
    job = own.integers(0, 144, people.devices)[rows]
    strength = np.where(own.random(people.devices)[rows] < 0.4, own.uniform(1, 6, people.devices)[rows], 0.0)
    made = flat.astype(np.float32)
    made[np.arange(len(rows)), job] += strength
    hourly = own.random(people.devices)[rows] < 0.15
    made[np.ix_(hourly, np.arange(0, len(hours), 6))] += 1.0
    return made


def _flat(
    rng: np.random.Generator,
    p: Parameters,
    people: Population,
    rows: npt.NDArray[np.int64],
    hours: npt.NDArray[np.float64],
    free: bool,
) -> Floats:
    return np.ones((len(rows), len(hours)), np.float32)


def _crowd(
    rng: np.random.Generator,
    p: Parameters,
    people: Population,
    rows: npt.NDArray[np.int64],
    hours: npt.NDArray[np.float64],
    free: bool,
) -> Floats:
    """Many users behind one address: the shape of the campus."""
    wander = np.exp(rng.normal(0, 0.08, (len(rows), 1)))
    base = day_shape(hours * 3600) * (0.35 if free else 1.0)
    made: Floats = ((0.15 + 0.85 * base)[None, :] * wander).astype(np.float32)
    return made


_SHAPES = {
    "pc": _pc,
    "phone": _phone,
    "lab": _lab,
    "server": _server,
    "monitor": _flat,
    "device": _flat,
    "gateway": _crowd,
    "resolver": _crowd,
}


def _busy_stretches(rng: np.random.Generator, p: Parameters, people: Population, made: Floats) -> None:
    """A few people a day do a multiple of what they do otherwise, for half an hour or so."""
    pcs = people.members("pc")
    for row in pcs[rng.random(len(pcs)) < p.busy].tolist():
        awake = np.flatnonzero(made[row] > 0.5 * made[row].max()) if made[row].max() > 0 else np.empty(0, int)
        if len(awake):
            begin = int(rng.choice(awake))
            stretch = slice(begin, begin + int(rng.integers(2, 7)))
            made[row, stretch] *= np.exp(rng.normal(1.8, 0.5))
