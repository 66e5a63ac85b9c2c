"""Who is on a simulated campus: clients with a class, a level and habits, and the addresses they have on a day.

*Devices* have habits, *addresses* stand in logs. Devices on wires keep theirs; those without take one of a pool, and each
day some of these change hands, so that an address can be quiet one day and busy the next.

Addresses are numbered: first those inside, then the world. Inside are 133.95.0.0/16 (wires) and 10.64.0.0/10 (pool, and
what does not fit); the world is 198.18.0.0/15, set aside for benchmarks (RFC 2544), so that no log ever names a real host.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seismolog.simulate.campus.parameters import CLASSES, Parameters

__all__ = ["INSIDE", "Population", "dotted", "populate"]

INSIDE = ("133.95.0.0/16", "10.64.0.0/10")
_WIRED, _POOL, _WORLD = 133 << 24 | 95 << 16, 10 << 24 | 64 << 16, 198 << 24 | 18 << 16

Ints = npt.NDArray[np.int64]


def dotted(number: int) -> str:
    """An IPv4 address as text."""
    return f"{number >> 24 & 255}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@dataclass(frozen=True)
class Population:
    """Devices by number, and addresses by number.

    ``of_class`` is the class of each device (and of each address inside: a device's own or that of its pool), ``level``
    the mean queries of a working day, ``late`` its own start of the day in minutes, ``night`` whether it stays on.
    ``mail`` and ``dns`` are the addresses of the servers, ``world`` the number of the first outside address.
    """

    of_class: npt.NDArray[np.int8]
    level: npt.NDArray[np.float32]
    late: npt.NDArray[np.float32]
    night: npt.NDArray[np.bool_]
    presence: npt.NDArray[np.float32]
    room: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.uint32]
    """Address number -> IPv4 address."""
    server: npt.NDArray[np.int8]
    """Address number -> which DNS server it asks."""
    world: int
    mail: tuple[int, ...]
    dns: tuple[int, ...]
    texts: list[str]

    @property
    def devices(self) -> int:
        """Number of devices; their own addresses have the same numbers."""
        return len(self.of_class)

    @property
    def addresses(self) -> int:
        """Number of addresses."""
        return len(self.numbers)

    def members(self, name: str) -> Ints:
        """Devices of a class."""
        return np.flatnonzero(self.of_class == CLASSES.index(name))

    def addresses_of(self, parameters: Parameters, day: int) -> Ints:
        """Address of each device on a day; those of phones change hands from day to day."""
        found = np.arange(self.devices)
        phones = self.members("phone")
        own = phones.copy()
        for one in range(-60, day + 1):
            rng = np.random.default_rng([parameters.seed, 2025, 2, one + 1000])
            moved = np.flatnonzero(rng.random(len(own)) < parameters.churn)
            own[moved] = own[rng.permutation(moved)]
        found[phones] = own
        return found


def populate(parameters: Parameters) -> Population:
    """The population of a campus."""
    p = parameters
    rng = np.random.default_rng([p.seed, 2025, 3])
    counts = np.maximum(np.round(np.array(p.people) * p.clients), [40, 40, 20, 8, 2, 10, 2, 3]).astype(int)
    counts[0] += p.clients - counts.sum()
    of_class = np.repeat(np.arange(len(CLASSES)), counts).astype(np.int8)
    devices = len(of_class)
    level = np.zeros(devices, np.float32)
    for number, count in enumerate(counts):
        # Zipf and Mandelbrot: the first of ten thousand PCs asks for a hundred times the mean, not for a thousand times.
        rank = rng.permutation(count) + 3 + count * rng.uniform(0.002, 0.015)
        # Machines of one kind differ less than people do.
        flat = CLASSES[number] in ("lab", "monitor", "gateway", "resolver")
        share = rank.astype(float) ** -(0.25 if flat else p.zipf)
        level[of_class == number] = (
            p.queries * p.volume[number] * share / share.sum() * np.exp(rng.normal(0, 0.2, count))
        )
    late = rng.normal(0, p.start_sd, devices).astype(np.float32)
    night = rng.random(devices) < p.night
    presence = np.clip(rng.beta(6, 1.2, devices), 0.1, 1).astype(np.float32)
    room = np.full(devices, -1, np.int32)
    lab = np.flatnonzero(of_class == CLASSES.index("lab"))
    size = int(rng.integers(20, 50))
    room[lab] = np.arange(len(lab)) // size

    # Wires first, phones in a pool of their own; networks of 200 hosts.
    wired = of_class != CLASSES.index("phone")
    place = np.where(wired, np.cumsum(wired) - 1, np.cumsum(~wired) - 1)
    high, low = place // 200, place % 200
    base = np.where(wired & (high < 230), _WIRED + (20 << 8), _POOL + np.where(wired, 0x200000, 0))
    inside = base + (high << 8) + 20 + low
    fixed = [_WIRED + (10 << 8) + n for n in (1, 2, 25, 26)]
    world = max(1500, p.clients // 5)
    outside = _WORLD + (7919 + np.arange(world) * 40503) % (1 << 17)
    numbers = np.concatenate([inside, fixed, outside]).astype(np.uint32)
    second = rng.random(len(numbers)) < p.second_server
    second[devices : devices + 4] = False
    second[devices + 4 :] = True
    return Population(
        of_class=of_class,
        level=level,
        late=late,
        night=night,
        presence=presence,
        room=room,
        numbers=numbers,
        server=second.astype(np.int8),
        world=devices + 4,
        mail=(devices + 2, devices + 3),
        dns=(devices, devices + 1),
        texts=[dotted(n) for n in numbers.tolist()],
    )
