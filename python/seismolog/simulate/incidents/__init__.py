"""Incidents and their look-alikes, one file for each row of the detectors; see :mod:`~.base`.

:func:`rows` lists them; :func:`plan` gives a day its share of each, apart in client and time; :func:`put` puts them in.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, partial
from types import ModuleType

import numpy as np

from seismolog.simulate.campus.events import Day
from seismolog.simulate.campus.world import World
from seismolog.simulate.incidents.base import Cast, NoRoomError, Planned

__all__ = ["Planned", "plan", "put", "row", "rows"]


@cache
def rows() -> tuple[str, ...]:
    """Names of all rows, sorted."""
    return tuple(
        sorted(
            i.name for i in pkgutil.iter_modules(__path__) if i.name != "base" and not i.name.startswith("_")
        )
    )


def row(name: str) -> ModuleType:
    """The module of a row; ValueError names those that exist."""
    if name not in rows():
        raise ValueError(f"no row {name!r}; there are {', '.join(rows())}")
    return importlib.import_module(f"{__name__}.{name}")


def plan(
    world: World,
    day: Day,
    *,
    strength: float = 1.0,
    lookalikes: int = 1,
    names: Iterable[str] | None = None,
    taken: Iterable[int] = (),
    turn: int = 0,
) -> list[Planned]:
    """What a day is given of each row: a positive of a strength, and look-alikes.

    Clients and accounts are given out once; what concerns a whole server has a stretch of time of its own, and is left out
    where the day has no room for it.

    Parameters
    ----------
    names
        Rows; all by default.
    taken
        Devices and addresses that are not to be cast: those of another plan for the same day.
    turn
        Tells apart several plans of one day and strength.
    """
    code = round(strength * 1000) + 1_000_000 * turn
    cast = Cast(world, day, np.random.default_rng([world.parameters.seed, 2025, 20, day.number + 1000, code]))
    cast.taken.update(taken)
    made: list[Planned] = []
    for name in names if names is not None else rows():
        module = row(name)
        own = np.random.default_rng(
            [world.parameters.seed, 2025, 21, day.number + 1000, code, rows().index(name)]
        )
        cast.rng = own
        wanted = [partial(module.positive, cast, own, strength)]
        if hasattr(module, "lookalike"):
            wanted += [partial(module.lookalike, cast, own)] * lookalikes
        for one in wanted:
            # What finds no room is left out; the truth does not name it.
            with suppress(NoRoomError):
                made.append(one())
    return made


def put(planned: Iterable[Planned], day: Day, *, habits_only: bool = False) -> Day:
    """The day with what is planned, its truth included; of other days (`habits_only`) what is there every day."""
    made = day.copy()
    chosen = [one for one in planned if one.habit or not habits_only]
    for one in sorted(chosen, key=lambda one: one.follows):
        one.put(made)
    made.truth += [one.truth(made) for one in chosen]
    return made
