"""The March week of the study's cache figures: 11 to 16 March 2002, with a resolver cache on the mail server.

The model is that of :mod:`seismolog.simulate.scenarios.campus_2002`; only the defaults differ. The
observed queries lie clearly below 8.6 N_S + N_P, and the cache efficiency above 0, because names repeat.
"""

from __future__ import annotations

from pathlib import Path

from seismolog.simulate.scenarios import campus_2002
from seismolog.simulate.truth import Truth

NAME = "campus-2002-march"
SUMMARY = (
    "the campus from Monday 11 to Saturday 16 March 2002, when a resolver cache answered much of the look-ups"
)


def run(
    out_dir: Path,
    *,
    seed: int = 1,
    start: str = "2002-03-11",
    days: float = 6.0,
    scale: float = 1.0,
    cache: str = "on",
    dns_log: str = "iplog",
    compress: bool = False,
) -> Truth:
    """Write the week's logs; the parameters are those of ``campus-2002``."""
    truth = campus_2002.run(
        out_dir,
        seed=seed,
        start=start,
        days=days,
        scale=scale,
        cache=cache,
        dns_log=dns_log,
        compress=compress,
        worm=False,
        culprits=False,
    )
    truth.scenario = NAME
    truth.save(out_dir / "truth.json")
    return truth
