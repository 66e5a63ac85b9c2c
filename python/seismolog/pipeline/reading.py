"""How logs are read, whatever is done with them: the configuration, the options of lines, the files that paths name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seismolog.archive import ScanOptions
    from seismolog.config import Config

__all__ = ["Progress", "Reading", "configuration", "files_of", "line_options", "loaded", "scan_options"]

Progress = Callable[[int, int, int], None] | None
"""Told bytes done, bytes in all, and lines."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How logs are read, whatever is done with them.

    ``timezone`` and ``year`` hold for lines that name none and win over the config; ``threads`` 0 is one a core.
    """

    timezone: str | None = None
    year: int | None = None
    keep_going: bool = False
    threads: int = 0
    config: Path | None = None


def configuration(reading: Reading) -> Config | None:
    """The site's configuration, ``None`` where there is none: then pydantic need not be loaded."""
    places = (Path("site.toml"), Path("/etc/seismolog/site.toml"))
    if (
        reading.config is None
        and not os.environ.get("SEISMOLOG_CONFIG")
        and not any(p.is_file() for p in places)
    ):
        return None
    from seismolog.config import load

    return load(reading.config)


def line_options(reading: Reading, config: Config | None) -> dict[str, Any]:
    """What the core must be told to make events of lines."""
    options: dict[str, Any] = {"timezone": reading.timezone, "year": reading.year}
    if config is not None:
        site = config.site
        options |= {
            "timezone": reading.timezone or site.timezone,
            "server_timezones": config.server_timezones,
            "server_names": config.server_names,
            "inside": [str(network) for network in site.inside],
            "reinjection": [str(network) for network in site.reinjection],
            "client_prefix_v6": site.client_prefix_v6,
        }
    return {name: value for name, value in options.items() if value is not None}


def scan_options(reading: Reading, config: Config) -> ScanOptions:
    """How the archive is read: the configuration, and what the command line says instead."""
    from seismolog.archive import ScanOptions

    return ScanOptions.from_config(
        config, timezone=reading.timezone, year=reading.year, threads=reading.threads or None
    )


def files_of(paths: Sequence[str], config: Config | None) -> list[str]:
    """The files that paths, folders and globs name; see :func:`seismolog.archive.discover`."""
    if all(path == "-" or Path(path).is_file() for path in paths):
        return list(dict.fromkeys(paths))
    from seismolog.archive import discover

    if config is None:
        from seismolog.config import Config

        config = Config()
    found = discover(paths, config.archive.skip)
    if found.failures:
        raise found.failures[0]
    return found.files


def loaded(reading: Reading) -> Config:
    """The site's configuration, the defaults where there is none."""
    from seismolog.config import load

    return load(reading.config)
