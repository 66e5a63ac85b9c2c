"""From what a user names to a list of files.

A file that is named is read, whatever it is called. A folder is walked, with all folders in it; a glob is
expanded (``**`` for any depth). In a folder some things are no logs: hidden files, login records and
journals in binary form, packed archives, and what does not begin as text. They are passed over *and named*,
so that nothing is lost in silence; name such a file itself and it is read. ``-`` is standard input.

The order is that of the names given and, inside a folder or glob, of the names found. One file under two
names (a symbolic link, a folder named twice) is taken once.

Limits: symbolic links to folders are named and not followed, for they can run in circles.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seismolog.errors import InputError, UsageError

__all__ = ["STDIN", "Found", "PassedOver", "discover"]

STDIN = "-"

#: Packed and compressed forms that the core reads; their first bytes are no text and need not be.
_MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh")
#: Control characters that do not occur in text.
_CONTROL = bytes(c for c in range(32) if c not in (7, 8, 9, 10, 12, 13, 27))
#: A zeroed block after a crash is still a log; half of a head is not.
_MOST_CONTROL = 0.3


@dataclass(frozen=True)
class PassedOver:
    """Something that was found and is not read, and why."""

    path: str
    reason: str


@dataclass
class Found:
    """What there is to read."""

    files: list[str] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    #: Found in a folder and not readable; one that was named itself is an exception at once.
    failures: list[InputError] = field(default_factory=list)


def discover(paths: Sequence[str | os.PathLike[str]], skip: Sequence[str] = ()) -> Found:
    """The files that these paths, folders and globs stand for.

    Parameters
    ----------
    paths
        As the user gave them.
    skip
        Patterns of names that are no logs when found in a folder.

    Raises
    ------
    UsageError
        Nothing was named.
    InputError
        A path does not exist, a glob matches nothing, a folder holds no log.
    """
    if not paths:
        raise UsageError(
            "no log file was named", mend="name files, folders or globs, or - for standard input"
        )
    found = Found()
    seen: dict[tuple[int, int] | str, str] = {}
    for given in [os.fspath(p) for p in paths]:
        before = len(found.files) + len(found.passed_over) + len(found.failures)
        for path, named in _expand(given, skip, found):
            _take(path, named, found, seen)
        if len(found.files) + len(found.passed_over) + len(found.failures) == before:
            raise InputError(
                "the folder is empty", file=given, mend="name a folder or file that holds log lines"
            )
    if not found.files and not found.failures:
        shown = "; ".join(f"{p.path}: {p.reason}" for p in found.passed_over[:3])
        raise InputError(
            "nothing there is a log to read",
            file=os.fspath(paths[0]),
            expected=f"log files ({shown})" if shown else None,
            mend="name the files themselves to have them read all the same",
        )
    return found


def _expand(given: str, skip: Sequence[str], found: Found) -> Iterator[tuple[str, bool]]:
    """(path, whether the user named it) of each file that a path, folder or glob stands for."""
    if given == STDIN:
        yield STDIN, True
    elif Path(given).is_dir():
        yield from _walk(given, skip, found)
    elif os.path.lexists(given):
        yield given, True
    elif glob.has_magic(given):
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - absolute patterns too
        if not matches:
            raise InputError(
                "no file matches", file=given, mend="check the pattern; ** stands for folders of any depth"
            )
        for match in matches:
            if Path(match).is_dir():
                # `logs/**` matches the folders too; their files match themselves
                if "**" not in given:
                    yield from _walk(match, skip, found)
            else:
                yield match, True
    else:
        raise InputError("there is no such file or folder", file=given, mend=_near(given))


def _near(given: str) -> str | None:
    """A name in the same folder that looks like the one given."""
    import difflib

    folder, name = os.path.split(given)
    try:
        names = [p.name for p in Path(folder or ".").iterdir()]
    except OSError:
        return f"there is no folder {folder} either" if folder else None
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {Path(folder, close[0])}?" if close else None


def _walk(folder: str, skip: Sequence[str], found: Found) -> Iterator[tuple[str, bool]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        failure = InputError(
            f"cannot read the folder: {error.strerror}", file=folder, mend=_permission(error)
        )
        found.failures.append(failure)
        return
    for entry in entries:
        if entry.name.startswith("."):
            found.passed_over.append(PassedOver(entry.path, "hidden"))
        elif entry.is_dir():
            if entry.is_symlink():
                found.passed_over.append(PassedOver(entry.path, "a link to a folder"))
            else:
                yield from _walk(entry.path, skip, found)
        elif any(fnmatch.fnmatch(entry.name, pattern) for pattern in skip):
            found.passed_over.append(PassedOver(entry.path, "not a log by its name"))
        else:
            yield entry.path, False


def _permission(error: OSError) -> str | None:
    if isinstance(error, PermissionError):
        return "run as a user that may read it (group adm on Debian), or leave it out"
    return None


def _take(path: str, named: bool, found: Found, seen: dict[tuple[int, int] | str, str]) -> None:
    if path == STDIN:
        if STDIN in seen:
            found.passed_over.append(PassedOver(path, "named twice"))
            return
        seen[STDIN] = path
        found.files.append(path)
        return
    try:
        status = Path(path).stat()
        readable = os.access(path, os.R_OK)
        if not readable:
            raise PermissionError(13, "Permission denied")
        regular = stat.S_ISREG(status.st_mode)
        if not regular and not named:
            found.passed_over.append(PassedOver(path, "not a regular file"))
            return
        if regular and not named and not _begins_as_text(path):
            found.passed_over.append(PassedOver(path, "not text"))
            return
    except OSError as error:
        failure = InputError(f"cannot be read: {error.strerror}", file=path, mend=_permission(error))
        if named:
            raise failure from error
        found.failures.append(failure)
        return
    key = (status.st_dev, status.st_ino)
    if key in seen:
        same = seen[key]
        reason = (
            "named twice" if Path(same).absolute() == Path(path).absolute() else f"the same file as {same}"
        )
        found.passed_over.append(PassedOver(path, reason))
        return
    seen[key] = path
    found.files.append(path)


def _begins_as_text(path: str) -> bool:
    with Path(path).open("rb") as file:
        head = file.read(4096)
    if not head or head.startswith(_MAGIC):
        return True
    return len(head) - len(head.translate(None, _CONTROL)) <= _MOST_CONTROL * len(head)
