"""Files looked at and told apart before anything is counted.

:func:`plan_files` asks the core for heads and, where the plan wants them, for digests, until
:func:`seismolog.store.identity.plan_sources` has no more questions. Reading a digest costs one pass over
the file, so it is done only for files that share their first 4 KiB with another or with a known source.

Limits: standard input and pipes cannot be looked at before they are read; they are counted, and compared
after.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from seismolog.archive.scanning import Scanner
from seismolog.errors import InputError, SeismologError, core_errors
from seismolog.store.identity import FileIdentity, Plan, plan_sources
from seismolog.store.journal import SourceEntry

__all__ = ["PlannedFiles", "absolute", "plan_files"]

#: A plan asks at most: for digests, for prefixes at lengths then known, for prefixes of known files.
_ROUNDS = 6


@dataclass
class PlannedFiles:
    """What is to be done with files, by path as the user gave it."""

    plan: Plan
    identities: dict[str, FileIdentity] = field(default_factory=dict)
    #: Standard input and pipes: to be scanned without a plan.
    streams: list[str] = field(default_factory=list)
    failures: list[InputError] = field(default_factory=list)
    #: Absolute path -> path as given.
    given: dict[str, str] = field(default_factory=dict)


def plan_files(
    files: Sequence[str],
    known: Iterable[SourceEntry],
    scanner: Scanner,
    *,
    fingerprint: str = "",
    again: bool = False,
) -> PlannedFiles:
    """Look at files and decide what to scan, skip and replace; a file that cannot be opened is a failure."""
    known = list(known)
    planned = PlannedFiles(Plan())
    identities: dict[str, FileIdentity] = {}
    for path in files:
        identity = _identify(path, scanner, planned)
        if identity is not None:
            identities[identity.path] = identity
            planned.given[identity.path] = path
    prefixes: dict[tuple[str, int], str | None] = {}
    by_source = {k.source: k for k in known}
    for _ in range(_ROUNDS):
        plan = plan_sources(
            list(identities.values()), known, fingerprint=fingerprint, again=again, known_prefixes=prefixes
        )
        if not plan.probe and not plan.probe_known:
            break
        for path, lengths in plan.probe.items():
            identities[path] = _probe(identities[path], lengths, scanner)
        for source, lengths in plan.probe_known.items():
            prefixes.update(_probe_known(by_source[source], lengths, scanner))
    else:
        raise SeismologError(
            "the plan of sources does not settle; this is a bug", mend="report it with the list of files"
        )
    planned.plan = plan
    planned.identities = identities
    return planned


def absolute(path: str) -> str:
    """The path from the root, links not followed: a rotated log keeps its name, not its target."""
    return os.path.abspath(path)  # noqa: PTH100 - pathlib would follow links or keep `..`


def _identify(path: str, scanner: Scanner, planned: PlannedFiles) -> FileIdentity | None:
    if path == "-":
        planned.streams.append(path)
        return None
    try:
        with core_errors():
            seen = scanner.identify([path])[0]
        status = Path(path).stat()
    except InputError as error:
        planned.failures.append(error)
        return None
    except OSError as error:
        planned.failures.append(InputError(f"cannot be read: {error.strerror}", file=path))
        return None
    if not seen.get("regular", True):
        planned.streams.append(path)
        return None
    if seen.get("head_hash") is None:
        planned.failures.append(InputError(str(seen.get("error") or "cannot be read"), file=path))
        return None
    return FileIdentity(
        path=absolute(path),
        compressed_bytes=int(seen["compressed_bytes"]),
        mtime_ns=status.st_mtime_ns,
        head_hash=str(seen["head_hash"]),
        compression=seen.get("compression"),
    )


def _probe(file: FileIdentity, lengths: Iterable[int], scanner: Scanner) -> FileIdentity:
    wanted = sorted(lengths)
    try:
        with core_errors():
            found = scanner.digest(file.path, wanted)
    except InputError:
        # The scan will read up to the damage, and report it with its offset.
        return replace(file, damaged=True)
    length = int(found["bytes"])
    new = {n: p for n, p in zip(wanted, found["prefixes"], strict=True) if p is not None and n < length}
    # A length past the end is answered too: by its absence, which must not be asked for again.
    return replace(file, bytes=length, full_hash=found["full_hash"], prefixes={**file.prefixes, **new})


def _probe_known(
    entry: SourceEntry, lengths: Iterable[int], scanner: Scanner
) -> dict[tuple[str, int], str | None]:
    wanted = sorted(lengths)
    for path in entry.paths:
        try:
            with core_errors():
                seen = scanner.identify([path])[0]
                if seen.get("head_hash") != entry.head_hash or not seen.get("regular", True):
                    continue  # another file has that name by now
                found = scanner.digest(path, wanted)
        except InputError:
            continue
        return {(entry.source, n): p for n, p in zip(wanted, found["prefixes"], strict=True)}
    return {(entry.source, n): None for n in wanted}
