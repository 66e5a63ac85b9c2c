"""The configuration: one TOML file for everything, each setting defined once.

:func:`load` finds and checks the file: the one that was named, else ``$SEISMOLOG_CONFIG``, else
``./site.toml``, else ``/etc/seismolog/site.toml``, else none, which is the same as an empty one. Every key
has a default but the site's own facts. What cannot be used is a :class:`~seismolog.errors.ConfigError` with
file, line, key, what was expected and the mend; all mistakes of a file are told at once.

- :mod:`~seismolog.config.models`    the settings, with defaults and descriptions (pydantic)
- :mod:`~seismolog.config.values`    durations, sizes, zones, networks
- :mod:`~seismolog.config.lines`     on which line of a TOML file a key stands
- :mod:`~seismolog.config.reading`   finding and checking the file; errors with line and mend
- :mod:`~seismolog.config.document`  the sample file and docs/configuration.md, generated from the models

This package loads pydantic only when a configuration is loaded: ``seismolog --version`` does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seismolog.config.document import markdown, sample_toml
    from seismolog.config.models import Config
    from seismolog.config.reading import find, load, parse

__all__ = ["Config", "find", "load", "markdown", "parse", "sample_toml"]

_HOMES = {
    "Config": "models",
    "find": "reading",
    "load": "reading",
    "parse": "reading",
    "markdown": "document",
    "sample_toml": "document",
}


def __getattr__(name: str) -> Any:
    """Load the module behind a name when the name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
