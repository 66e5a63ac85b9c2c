"""The command line: parse, call one function, print.

``main`` is the entry point of the ``seismolog`` script. It answers ``--version`` before anything is imported,
runs the command, and turns what went wrong into one sentence on stderr and an exit status:

====  =======================================================================
0     done
1     done, and something at or above ``--fail-on`` was found
2     bad usage or configuration
3     input could not be read
4     a service (a store in a bucket, InfluxDB, Grafana) could not be reached
70    a bug: please report it, with ``SEISMOLOG_DEBUG=1`` set
130   interrupted
====  =======================================================================

A closed pipe (``seismolog count … | head``) is not an error. With ``SEISMOLOG_DEBUG=1`` every error keeps its
traceback.

The commands stand one a file beside this one. Their modules import nothing heavy at the top: a command pays for
what it uses.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

EXIT_FOUND = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_SERVICE = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status.

    Parameters
    ----------
    argv
        Arguments without the program's name; ``sys.argv[1:]`` by default.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["--version"], ["-V"]):
        from seismolog import __version__

        print(f"seismolog {__version__}")
        return 0
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone. Python would complain once more when it closes stdout: give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        if _debug():
            raise
        print("\nseismolog: interrupted; nothing was left half written", file=sys.stderr)
        return EXIT_INTERRUPTED
    return status


def _run(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    from seismolog.cli.app import app

    try:
        result = app(arguments)
    except CycloptsError as error:
        if _debug():
            raise
        return complain(str(error), EXIT_USAGE, mend=_help_hint(arguments))
    except BrokenPipeError:
        raise
    except Exception as error:
        if _debug():
            raise
        return _explain_failure(error)
    return result if isinstance(result, int) else 0


def _explain_failure(error: Exception) -> int:
    """The sentence and the exit status of an exception that reached the top."""
    from seismolog.errors import SeismologError, from_core

    module = type(error).__module__
    if module.partition(".")[0] in ("seismolog", "_core") and not isinstance(error, SeismologError):
        error = from_core(error)
    if isinstance(error, SeismologError):
        return complain(error.render(), error.exit_code)
    if isinstance(error, OSError) and error.filename is not None:
        return complain(f"{error.filename}: {error.strerror}", EXIT_INPUT)
    if isinstance(error, OSError):
        return complain(str(error), EXIT_INPUT)
    return complain(
        f"unexpected {type(error).__name__}: {error}",
        EXIT_BUG,
        mend="this is a bug: run the command again with SEISMOLOG_DEBUG=1 and report the traceback",
    )


def complain(message: str, status: int, *, mend: str | None = None) -> int:
    """Print an error as ``seismolog: …`` on stderr, its text made harmless, and give back the status."""
    from seismolog.report.text import visible

    lines = [visible(line) for line in message.strip().splitlines()] or ["failed"]
    if mend:
        lines.append(f"  mend: {visible(mend)}")
    print("seismolog: " + "\n".join(lines), file=sys.stderr)
    return status


def _help_hint(arguments: list[str]) -> str:
    from seismolog.cli.app import COMMANDS

    command = next((word for word in arguments if not word.startswith("-")), "")
    return f"see `seismolog {command} --help`" if command in COMMANDS else "see `seismolog --help`"


def _debug() -> bool:
    return os.environ.get("SEISMOLOG_DEBUG", "") not in ("", "0")
