"""seismolog: a seismograph for DNS and e-mail servers.

It reads the syslog stream that name servers and mail servers already write, counts who asks what,
explains the DNS traffic by the mail traffic, and reports when a curve stops making sense.

The package opens with nothing imported: ``seismolog --version`` must answer at once, and a program that
only wants the counting core should not pay for the report. Import the part you need:

- :mod:`seismolog.pipeline`  archived logs in, an :class:`~seismolog.report.analysis.Analysis` out
- :mod:`seismolog.report`    an analysis as one HTML file, a terminal summary or JSON
- :mod:`seismolog._core`     the counting core (Rust)
"""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for; the core knows it in 10 ms, package metadata in 100."""
    if name == "__version__":
        try:
            from seismolog._core import VERSION
        except ImportError:  # a source tree whose core is not built
            from importlib.metadata import version

            return version("seismolog")
        return VERSION
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
