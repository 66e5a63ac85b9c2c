"""The list of scenarios: every module in ``seismolog.simulate.scenarios`` is one.

A scenario module has ``NAME`` (as on the command line), ``SUMMARY`` (one sentence) and ``run(out_dir, *,
seed, ...) -> Truth`` whose keyword parameters all have defaults; or a function ``scenarios()`` that lists several. Adding a
scenario is adding that one file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seismolog.simulate import scenarios as package
from seismolog.simulate.truth import Truth

__all__ = ["Scenario", "run", "scenarios"]


@dataclass(frozen=True)
class Scenario:
    """One entry: its name, one sentence, and the function that writes its logs."""

    name: str
    summary: str
    run: Callable[..., Truth]

    def parameters(self) -> dict[str, Any]:
        """Names and defaults of the parameters that :func:`run` takes."""
        return {
            name: parameter.default
            for name, parameter in inspect.signature(self.run).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }


def scenarios() -> dict[str, Scenario]:
    """All scenarios by name."""
    found: dict[str, Scenario] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        several = getattr(module, "scenarios", None)
        made = several() if several else [Scenario(module.NAME, module.SUMMARY, module.run)]
        found.update({one.name: one for one in made})
    return found


def run(scenario: str, out_dir: str | Path, *, seed: int = 1, **parameters: Any) -> Truth:
    """Write the logs of a scenario and its ``truth.json`` into a folder.

    Parameters
    ----------
    scenario
        A name from :func:`scenarios`, such as ``campus-2002``.
    out_dir
        The folder; made when it does not exist. Files of the same names are replaced.
    seed
        The same seed and parameters give the same bytes.
    **parameters
        See the scenario's own ``run``.

    Returns
    -------
    Truth
        What is in the logs.

    Raises
    ------
    ValueError
        For an unknown scenario or parameter, or a value out of range.
    OSError
        When the folder or a file cannot be written.
    """
    known = scenarios()
    if scenario not in known:
        raise ValueError(f"no scenario {scenario!r}: expected one of {', '.join(known)}")
    chosen = known[scenario]
    accepted = chosen.parameters()
    for name in parameters:
        if name not in accepted:
            raise ValueError(
                f"scenario {scenario!r} has no parameter {name!r}: expected one of {', '.join(accepted)}"
            )
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return chosen.run(folder, seed=seed, **parameters)
