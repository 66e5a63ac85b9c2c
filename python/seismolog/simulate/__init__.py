"""Simulated logs with known truth, in the formats that real servers write.

- :func:`run` writes the logs of a scenario and ``truth.json`` into a folder and returns the :class:`Truth`;
- :func:`scenarios` lists what there is;
- :mod:`seismolog.simulate.worlds` makes frames in memory for statistics over hundreds of seeds.

Everything follows from the seed: the same call gives the same bytes.
"""

from __future__ import annotations

from seismolog.simulate.registry import Scenario, run, scenarios
from seismolog.simulate.truth import Incident, Truth

__all__ = ["Incident", "Scenario", "Truth", "run", "scenarios"]
