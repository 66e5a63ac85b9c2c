"""What clients ask for without an incident: counts by ten minutes become look-ups with minutes, names and types.

Look-ups come in bursts (a page is many names), so a client's minutes are few; web names are partly the client's own
favourites and partly what everybody asks for, by Zipf's law. A look-up that the client's own cache would answer does not
reach the server: it is replaced by one for a rarer name, so that the counts of :mod:`~.activity` stay what they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seismolog.simulate.campus.events import (
    AAAA,
    ANY,
    HTTPS,
    MX,
    NS,
    OTHER,
    PTR,
    SRV,
    TXT,
    A,
    Day,
    Queries,
)
from seismolog.simulate.campus.names import Names, hash32
from seismolog.simulate.campus.parameters import CLASSES
from seismolog.store.schema import QTYPES

__all__ = ["Mixture", "coarse_types", "hour"]

CATEGORIES = ("own", "web", "cdn", "antivirus", "campus", "srv", "pointer", "mx", "txt", "rare", "probe")
_MIX = {
    "pc": (0.40, 0.33, 0.07, 0.015, 0.08, 0.03, 0.012, 0.0008, 0.004, 0.05, 0.01),
    "phone": (0.40, 0.40, 0.09, 0.0, 0.03, 0.0, 0.002, 0.0001, 0.004, 0.07, 0.004),
    "lab": (0.25, 0.42, 0.09, 0.02, 0.12, 0.05, 0.01, 0.0, 0.003, 0.03, 0.01),
    "server": (0.45, 0.08, 0.01, 0.0, 0.15, 0.01, 0.26, 0.006, 0.01, 0.03, 0.0),
    "monitor": (0.5, 0.0, 0.0, 0.0, 0.3, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0),
    "device": (0.85, 0.02, 0.0, 0.0, 0.12, 0.0, 0.005, 0.0, 0.0, 0.005, 0.0),
    "gateway": (0.2, 0.55, 0.1, 0.01, 0.03, 0.0, 0.01, 0.0005, 0.01, 0.09, 0.0),
    "resolver": (0.12, 0.52, 0.1, 0.01, 0.05, 0.02, 0.06, 0.006, 0.02, 0.09, 0.0),
}
# Share of each query type within a category.
_TYPES: dict[str, dict[int, float]] = {
    "own": {A: 0.64, AAAA: 0.25, HTTPS: 0.11},
    "web": {A: 0.62, AAAA: 0.25, HTTPS: 0.128, ANY: 0.0004, NS: 0.0006, OTHER: 0.001},
    "cdn": {A: 0.66, AAAA: 0.26, HTTPS: 0.08},
    "antivirus": {A: 0.6, TXT: 0.4},
    "campus": {A: 0.75, AAAA: 0.25},
    "srv": {SRV: 1.0},
    "pointer": {PTR: 1.0},
    "mx": {MX: 1.0},
    "txt": {TXT: 0.9, NS: 0.1},
    "rare": {A: 0.66, AAAA: 0.24, HTTPS: 0.1},
    "probe": {A: 1.0},
}
_MINUTES_TO_LIVE = np.array([1, 5, 5, 5, 15, 60], np.int64)
_HOUR_BLOCKS = 6


@dataclass(frozen=True)
class Mixture:
    """Tables that names and types are drawn from, made once a world."""

    category: npt.NDArray[np.uint8]
    """(classes, 1024): category of an even draw."""
    kind: npt.NDArray[np.uint8]
    """(categories, 4096): query type of an even draw."""
    share: npt.NDArray[np.float64]
    """(classes, types): share of each type."""

    @classmethod
    def of(cls, seed: int) -> Mixture:
        """The mixture of a world: that of each class, shaken a little."""
        rng = np.random.default_rng([seed, 2025, 7])
        mix = np.array([_MIX[c] for c in CLASSES])
        mix = mix * np.exp(rng.normal(0, 0.2, mix.shape))
        mix /= mix.sum(axis=1, keepdims=True)
        types = np.zeros((len(CATEGORIES), len(QTYPES)))
        for i, name in enumerate(CATEGORIES):
            for kind, share in _TYPES[name].items():
                types[i, kind] = share
        types /= types.sum(axis=1, keepdims=True)
        category = np.stack([_even(row, 8192) for row in mix])
        drawn = np.stack([_even(row, 4096) for row in types])
        return cls(category, drawn, mix @ types)


def _even(weights: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.uint8]:
    at = (np.arange(size) + 0.5) / size
    return np.searchsorted(np.cumsum(weights), at).clip(0, len(weights) - 1).astype(np.uint8)


def hour(day: Day, which: int, names: Names, mixture: Mixture) -> Queries:
    """The ordinary look-ups of one hour of the day, in order of client and ten minutes."""
    world = day.world
    counts = day.counts[:, which * _HOUR_BLOCKS : (which + 1) * _HOUR_BLOCKS]
    rng = np.random.default_rng([world.parameters.seed, 2025, 8, day.number + 1000, which])
    device, block = np.nonzero(counts)
    each = counts[device, block]
    size = int(each.sum())
    cell = np.repeat(np.arange(len(each), dtype=np.int32), each)
    draw = rng.integers(0, 1 << 63, size, dtype=np.int64)
    own_device = device[cell]

    # Bursts of about eight: the burst of a look-up has one minute of the ten, drawn by a hash.
    steady = np.isin(world.people.of_class[device], world.steady_classes)
    bursts = np.where(steady, 10, 1 + each // 8)
    burst = (draw & 0xFFFF) % bursts[cell]
    turn = hash32((cell.astype(np.int64) * 131 + burst) * 1009 + which * 7919 + day.number) % np.uint32(10)
    minute = which * 60 + block[cell] * 10 + np.where(steady[cell], burst, turn)

    of_class = world.people.of_class[own_device]
    category = mixture.category[of_class, (draw >> 16) & 8191]
    qtype = mixture.kind[category, (draw >> 30) & 4095]
    pick = draw >> 42  # 21 bits
    name = np.empty(size, np.int32)
    groups = names.groups
    by_rank = groups["web_by_rank"]
    for number, label in enumerate(CATEGORIES):
        chosen = np.flatnonzero(category == number)
        if not len(chosen):
            continue
        low = pick[chosen]
        if label == "own":
            # A client has some forty favourites, the first ones more than the last.
            favourite = (40 * (low / (1 << 21)) ** 2).astype(np.int64)
            at = hash32(own_device[chosen] * 64 + favourite) & np.uint32(len(by_rank) - 1)
            name[chosen] = by_rank[at]
        elif label == "web":
            name[chosen] = by_rank[low & (len(by_rank) - 1)]
        elif label == "pointer":
            name[chosen] = visitors(own_device[chosen], low, groups["pointer"], world.people.devices)
        else:
            pool = groups[{"mx": "apex", "txt": "apex", "rare": "web"}.get(label, label)]
            name[chosen] = pool[
                (hash32(low * 3 + number) * np.uint64(len(pool)) >> np.uint64(32)).astype(np.int64)
            ]
    client = day.address[own_device]
    _replace_repeated(rng, client, name, qtype, minute, names)
    return Queries(minute.astype(np.int64), client, name.astype(np.int64), qtype.astype(np.int64))


def visitors(
    device: npt.NDArray[np.int64], draw: npt.NDArray[np.int64], pointers: npt.NDArray[np.int64], inside: int
) -> npt.NDArray[np.int64]:
    """Whom a device looks up in reverse: those who come to it, some far more often than others, three in four from inside.

    `draw` holds 21 random bits for each.
    """
    # Each has some 400 regulars; one look-up in ten is of a stranger.
    regular = (400 * (draw / (1 << 21)) ** 3).astype(np.int64)
    seed = np.where(
        draw % 10 == 0, hash32(draw).astype(np.int64), hash32(device * 4096 + regular).astype(np.int64)
    )
    reach = np.where(seed & 3, inside, len(pointers))
    found: npt.NDArray[np.int64] = pointers[(seed >> 2) % reach]
    return found


def _replace_repeated(
    rng: np.random.Generator,
    client: npt.NDArray[np.int64],
    name: npt.NDArray[np.int32],
    qtype: npt.NDArray[np.uint8],
    minute: npt.NDArray[np.int64],
    names: Names,
) -> None:
    """What a client's cache still holds is asked for under another name."""
    life = _MINUTES_TO_LIVE[hash32(name) % np.uint32(len(_MINUTES_TO_LIVE))]
    window = minute // life
    key = (client << np.int64(34)) | (name.astype(np.int64) << np.int64(12)) | (qtype.astype(np.int64) << 8)
    key = (key << np.int64(0)) ^ (window & 0xFF)
    order = np.argsort(key)
    again = np.zeros(len(key), bool)
    again[order[1:]] = key[order[1:]] == key[order[:-1]]
    # Programs without a cache ask again all the same, and so do those who look up addresses.
    again &= qtype != PTR
    again = np.flatnonzero(again & (rng.random(len(key)) < 0.85))
    pool = names.groups["web_by_rank"]
    name[again] = pool[rng.integers(len(pool) // 8, len(pool), len(again))]


def coarse_types(
    rng: np.random.Generator, counts: npt.NDArray[np.int64], of_class: npt.NDArray[np.int8], mixture: Mixture
) -> npt.NDArray[np.int64]:
    """(rows, types): how counts split by query type, for days that are only counted by ten minutes."""
    made = np.zeros((len(counts), len(QTYPES)), np.int64)
    left = counts.copy()
    for kind in (PTR, MX, AAAA, HTTPS, SRV, TXT, NS, ANY, OTHER):
        expected = counts * mixture.share[of_class, kind]
        made[:, kind] = np.minimum(np.floor(expected + rng.random(len(counts))).astype(np.int64), left)
        left -= made[:, kind]
    made[:, A] = left
    return made
