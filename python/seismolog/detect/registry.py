"""The list of detectors: every module of this package with a ``NAME`` and a ``find`` is one.

Adding a detector is adding its file (``detect/<name>.py``, see :mod:`seismolog.detect.base`) and its page
(``docs/detectors/<name>.md``). The names are read from the folder without loading anything; a detector's module is
loaded when its settings or its function are wanted.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from seismolog import detect as package
from seismolog.detect.base import Detector, Settings

__all__ = ["FRAMEWORK", "check", "detector", "detectors", "names", "sections", "settings_of"]

FRAMEWORK = frozenset(
    {
        "base",
        "baseline",
        "backtest",
        "common",
        "groups",
        "incidents",
        "kept",
        "recent",
        "registry",
        "residuals",
        "run",
        "site",
        "view",
    }
)
"""Modules of this package that are no detectors. Names that begin with _ are none either."""


@cache
def names() -> tuple[str, ...]:
    """Names of all detectors, sorted."""
    found = (info.name for info in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(n for n in found if n not in FRAMEWORK and not n.startswith("_")))


@cache
def detector(name: str) -> Detector:
    """The detector of that name; ValueError names those that exist."""
    if name not in names():
        raise ValueError(f"no detector {name!r}; there are {', '.join(names())}")
    module = importlib.import_module(f"{package.__name__}.{name}")
    missing = [a for a in ("NAME", "SUMMARY", "TABLES", "Settings", "find") if not hasattr(module, a)]
    if missing:
        raise TypeError(f"{module.__name__} is no detector: it lacks {', '.join(missing)}")
    if name != module.NAME:
        raise TypeError(f"{module.__name__} calls itself {module.NAME!r}")
    return cast(Detector, module)


def detectors() -> dict[str, Detector]:
    """All detectors by name."""
    return {name: detector(name) for name in names()}


def sections() -> dict[str, type[Settings]]:
    """Name of each detector -> its settings, for the configuration and its documentation."""
    return {name: module.Settings for name, module in detectors().items()}


def check(given: Mapping[str, Any]) -> None:
    """Check the sections ``[detect.<name>]`` of a configuration.

    Raises
    ------
    pydantic.ValidationError
        For an unknown detector or key, or a value that cannot be used; its locations begin with the detector's name.
    """
    from pydantic import ConfigDict, create_model

    fields: dict[str, Any] = {name: (detector(name).Settings, ...) for name in given if name in names()}
    create_model("Detectors", __config__=ConfigDict(extra="forbid"), **fields).model_validate(dict(given))


def settings_of(given: Mapping[str, Any]) -> dict[str, Settings]:
    """The settings of every detector: those given (a Settings or a plain dict) over the defaults."""
    made: dict[str, Settings] = {}
    for name, module in detectors().items():
        value = given.get(name, {})
        made[name] = value if isinstance(value, Settings) else module.Settings.model_validate(value)
    return made
