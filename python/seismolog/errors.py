"""The one family of errors, and how each becomes an exit status and a sentence.

Every error that a user can meet is a :class:`SeismologError`. It knows the exit status that it stands for
(2 bad usage or configuration, 3 input could not be read, 4 a service could not be reached), where it
happened (file, line, key), what was expected, and the mend. The command line catches this one class, prints
:meth:`SeismologError.render` and exits with :attr:`SeismologError.exit_code`; anything else that escapes is
a bug and keeps its traceback.

The counting core raises its own classes (``seismolog._core.InputError`` and ``UsageError``):
:func:`from_core` turns one into the matching member of this family, :func:`core_errors` does it for a
block.

Limits: an error text may quote names that came out of a log or a file system. They are escaped here
(control and bidirectional characters), because the text ends on a terminal.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "ConfigError",
    "InputError",
    "SeismologError",
    "ServiceError",
    "StoreError",
    "UsageError",
    "core_errors",
    "escape",
    "from_core",
]

#: Characters that a terminal obeys although they do not print: C0, DEL, C1, and the bidirectional controls.
_UNSAFE = {
    **{c: f"\\x{c:02x}" for c in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if c not in (0x09, 0x0A)},
    **{c: f"\\u{c:04x}" for c in (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))},
}


def escape(text: str) -> str:
    r"""Text with control and bidirectional characters made visible, for a terminal.

    Bytes of a file name that are no UTF-8 (surrogates in Python) become ``\xNN`` as well.
    """
    shown = text.translate(_UNSAFE)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")


class SeismologError(Exception):
    """The base of every error that a user can meet.

    Parameters
    ----------
    message
        What is wrong, without the place.
    file, line, key
        Where: a path, a line counted from 1, the dotted key of a setting. Each may be None.
    expected
        What would have been right.
    mend
        What to do about it, as an instruction.
    """

    #: The exit status of the command line.
    exit_code: int = 1

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        key: str | None = None,
        expected: str | None = None,
        mend: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else str(file)
        self.line = line
        self.key = key
        self.expected = expected
        self.mend = mend
        #: Further errors of the same kind that were found at once; they are rendered below this one.
        self.further: tuple[SeismologError, ...] = ()

    def render(self) -> str:
        """The error for a terminal: place and message, then ``expected:`` and ``mend:`` where known."""
        place = ""
        if self.file is not None:
            place = self.file if self.line is None else f"{self.file}:{self.line}"
            place += ": "
        if self.key is not None:
            place += f"{self.key}: "
        lines = [place + self.message]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.mend:
            lines.append(f"  mend: {self.mend}")
        return "\n".join([escape("\n".join(lines)), *(e.render() for e in self.further)])

    def __str__(self) -> str:
        return self.render()


class UsageError(SeismologError):
    """The command was called wrongly."""

    exit_code = 2


class ConfigError(UsageError):
    """The configuration holds something that cannot be used."""


class InputError(SeismologError):
    """Input (a log file, a folder) could not be read.

    Parameters
    ----------
    offset
        Where in the decompressed bytes reading ended, if it began at all.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        offset: int | None = None,
        expected: str | None = None,
        mend: str | None = None,
    ) -> None:
        if offset is not None:
            message = f"{message} (at byte {offset})"
        super().__init__(message, file=file, line=line, expected=expected, mend=mend)
        self.offset = offset


class ServiceError(SeismologError):
    """A service (InfluxDB, Grafana, object storage) could not be reached or refused."""

    exit_code = 4


class StoreError(SeismologError):
    """The store could not be read or written: a full disk, a lock held by another process, a damaged table.

    The store is the user's own disk or bucket, a service as the exit statuses count.
    """

    exit_code = 4


#: What to do about an error of the system that the core met, by its number.
_MENDS = {
    errno.ENOSPC: "make room on that disk (`df -h` shows it); nothing that was written before is touched",
    errno.EDQUOT: "raise the quota on that disk, or make room; nothing that was written before is touched",
    errno.EROFS: "choose a folder that can be written; that file system is mounted read-only",
    errno.EACCES: "run as a user who may use it, or change who may (`ls -l` shows it)",
    errno.EADDRINUSE: "stop what listens there (`ss -lntup` shows it), or choose another port",
    errno.EADDRNOTAVAIL: "choose an address of this machine (`ip address` shows them)",
}


def from_core(error: Exception) -> SeismologError:
    """The member of this family for an error of the counting core.

    The classes are told apart by name, so that this module does not load the core.
    """
    if isinstance(error, SeismologError):
        return error
    names = {cls.__name__ for cls in type(error).__mro__}
    message = str(getattr(error, "message", None) or error)
    if "UsageError" in names:
        return UsageError(message)
    file = getattr(error, "file", None)
    offset = getattr(error, "offset", None)
    mend = next((mend for code, mend in _MENDS.items() if message.endswith(f"(os error {code})")), None)
    if "InputError" in names:
        return InputError(
            message,
            file=None if file is None else str(file),
            offset=offset if isinstance(offset, int) else None,
            mend=mend,
        )
    return SeismologError(message, file=None if file is None else str(file), mend=mend)


@contextlib.contextmanager
def core_errors() -> Iterator[None]:
    """Within this block an error of the core is raised as its :class:`SeismologError`."""
    try:
        yield
    except SeismologError:
        raise
    except Exception as error:
        # The extension's classes call their module by its last name.
        if type(error).__module__.split(".")[0] not in ("seismolog", "_core"):
            raise
        raise from_core(error) from error
