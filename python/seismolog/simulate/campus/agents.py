"""Programs that ask by themselves: telemetry, updates, time, antivirus, and rarer ones on one host or a few.

They make look-alikes of beacons without anybody's doing: most have a period, with some jitter, whenever their host is on.
What asks every few minutes for one domain on many hosts is no remote control; what does so on a single host and has done
so for weeks is none either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seismolog.simulate.campus.events import AAAA, TXT, A, Queries
from seismolog.simulate.campus.names import Names, domain_words
from seismolog.simulate.campus.parameters import Parameters
from seismolog.simulate.campus.population import Population

__all__ = ["Agent", "agents", "asked"]


@dataclass(frozen=True)
class Agent:
    """One program: the names it asks for, how often (minutes), how exactly, and the devices that run it."""

    names: npt.NDArray[np.int64]
    period: float
    jitter: float
    devices: npt.NDArray[np.int64]
    phase: npt.NDArray[np.float64]
    at_once: int
    txt: bool = False


def agents(parameters: Parameters, people: Population, names: Names) -> list[Agent]:
    """The programs of a campus; adds their names."""
    rng = np.random.default_rng([parameters.seed, 2025, 9])
    made = []
    for number, (period, jitter, prevalence, at_once) in enumerate(_common(rng)):
        use = ("telemetry", "update", "time", "sync", "push", "metrics")[number % 6]
        domain = f"{use}-{domain_words(rng, 1)[0]}{number}.example"
        own = names.add([f"{h}.{domain}" for h in ("v10", "a1", "eu", "settings")[: int(rng.integers(1, 5))]])
        kinds = ("pc", "lab", "phone", "device")[: int(rng.integers(1, 5))]
        pool = np.concatenate([people.members(k) for k in kinds])
        chosen = np.sort(pool[rng.random(len(pool)) < prevalence])
        made.append(Agent(own, period, jitter, chosen, rng.uniform(0, period, len(chosen)), at_once))
    everybody = np.concatenate([people.members(k) for k in ("pc", "server", "device")])
    for number in range(int(rng.integers(20, 60) * max(1, parameters.clients / 20_000))):
        domain = f"{domain_words(rng, 1)[0]}-{number}.example"
        own = names.add([f"{h}.{domain}" for h in ("www", "api", "poll")[: int(rng.integers(1, 4))]])
        chosen = np.unique(rng.choice(everybody, int(rng.integers(1, 5))))
        period = float(rng.choice([1, 2, 5, 10, 10, 15, 20, 30, 60, 60, 120]))
        jitter = float(rng.choice([0.0, 0.02, 0.1]))
        made.append(
            Agent(
                own, period, jitter, chosen, rng.uniform(0, period, len(chosen)), 1, bool(rng.random() < 0.1)
            )
        )
    return made


def _common(rng: np.random.Generator) -> list[tuple[float, float, float, int]]:
    """Period in minutes, jitter as a share of it, share of the hosts, names at once."""
    kinds = [
        (17.07, 0.0, 0.35, 1),
        (60.0, 0.05, 0.6, 2),
        (240.0, 0.2, 0.6, 3),
        (30.0, 0.1, 0.4, 1),
        (15.0, 0.3, 0.15, 1),
        (10.0, 0.02, 0.04, 1),
        (5.0, 0.05, 0.015, 1),
        (64.0, 0.5, 0.5, 2),
        (90.0, 0.25, 0.3, 2),
        (720.0, 0.3, 0.7, 4),
        (2.0, 0.05, 0.003, 1),
        (30.0, 0.0, 0.01, 1),
    ]
    return [
        (
            period * float(np.exp(rng.normal(0, 0.15))) if jitter else period,
            jitter,
            share * float(rng.uniform(0.4, 1.4)),
            n,
        )
        for period, jitter, share, n in kinds
    ]


def asked(
    programs: list[Agent],
    rng: np.random.Generator,
    awake: npt.NDArray[np.bool_],
    address: npt.NDArray[np.int64],
    day: int,
) -> Queries:
    """The look-ups of all programs on a day; `awake` is (devices, 144), whether a device is on."""
    parts = []
    for program in programs:
        turns = int(np.ceil(1440 / program.period)) + 1
        first = np.floor(day * 1440 / program.period)
        # Periods run on over midnight.
        times = (first + np.arange(turns))[None, :] * program.period + program.phase[:, None] - day * 1440
        if program.jitter:
            times = times + rng.normal(0, program.jitter * program.period / 2, times.shape)
        row, turn = np.nonzero((times >= 0) & (times < 1440))
        minute = times[row, turn].astype(np.int64)
        device = program.devices[row]
        on = awake[device, minute // 10]
        minute, device = minute[on], device[on]
        for k in range(program.at_once):
            name = program.names[k % len(program.names)]
            kind = TXT if program.txt else (A if k % 2 == 0 else AAAA)
            parts.append(Queries.of(minute, address[device], name, kind))
    return Queries.join(parts)
