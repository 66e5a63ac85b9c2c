"""A campus of today, simulated: up to 200,000 clients with what they ask for, their mail, and what a firewall drops.

- :mod:`~.parameters`  what differs from one world to the next, drawn from the seed
- :mod:`~.population`  clients of eight kinds, their levels and addresses
- :mod:`~.names`       names and registered domains, with what the tables need to know of each
- :mod:`~.activity`    how much each client asks in each ten minutes
- :mod:`~.ordinary`    which names and types these look-ups are of
- :mod:`~.agents`      programs that ask by themselves
- :mod:`~.mail`        mail servers, and the look-ups that mail causes
- :mod:`~.events`      a day in arrays; incidents add to it
- :mod:`~.world`       all of it, day by day
- :mod:`~.tables`      the store's tables of a day, without a line of text
- :mod:`~.lines`       the same day as log lines

>>> from seismolog.simulate import campus
>>> world = campus.World(seed=1, clients=2000)
>>> tables = campus.count(world.day(0))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from seismolog.simulate.campus.events import Day, Injected
from seismolog.simulate.campus.tables import count, count_coarsely
from seismolog.simulate.campus.world import World

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Day", "Injected", "World", "count", "count_coarsely", "day", "history"]


def day(
    seed: int,
    clients: int = 20_000,
    number: int = 0,
    *,
    wanted: Mapping[str, Sequence[str]] | None = None,
    world: World | None = None,
) -> dict[str, pl.DataFrame]:
    """The tables of a clean day.

    Parameters
    ----------
    seed, clients
        Of the world, unless `world` is given.
    number
        Day 0 is the first one; days before it are its past.
    wanted
        Table -> columns that will be read; by default all, with their states.
    """
    world = world or World(seed, clients)
    return count(world.day(number), wanted=wanted)


def history(
    world: World, days: int, *, wanted: Mapping[str, Sequence[str]] | None = None
) -> dict[str, pl.DataFrame]:
    """The tables of the days before day 0, in bins of ten minutes and without names of ordinary look-ups.

    About a second a day of 20,000 clients.
    """
    import polars as pl

    parts = [count_coarsely(world.day(-n), wanted=wanted) for n in range(days, 0, -1)]
    return {name: pl.concat([p[name] for p in parts]) for name in parts[0]} if parts else {}
