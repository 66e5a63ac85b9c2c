"""Which files are the same log, and what is to be done with each: a pure function of what is known.

A source is told by its content (hash of the first 4 KiB, length, hash of all, of the *decompressed* bytes)
and by the servers that wrote it, never by its name: rotation renames files, compresses them and appends to
them.

:func:`plan_sources` answers for a set of files and a set of known sources: scan it, skip it (and why), or
scan it and let it replace a known source. Most files are settled by size, time and head alone. Where the
head is shared, more must be known: the answer then asks (``probe``) for digests of the content or of its
first *n* bytes, the caller reads them and calls again. The function reads no file itself, so every case is
a test of a few lines.

The rules:

- a file that is unchanged since it was counted (size, time, head, options) is skipped without being
  read;
- equal content is the same source: one of the files is scanned, the others are skipped;
- content that begins with all of another's content is that log grown: the longer one is kept;
- a file that was counted under other options (time zone, names of servers, version) is counted again and
  replaced;
- a damaged file is told by its head alone: a whole file with that head takes its place;
- an empty file is nothing.

Limits: a shorter copy of a log of which only the digest is left (the longer file is gone) can be compared
by its first 4 KiB only; it is taken for a copy and skipped, and the reason says so. Two halves of a cut log
are two sources; a whole log beside its *second* half is not recognised, since nothing in the bytes tells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from seismolog.store.journal import SourceEntry

__all__ = ["HEAD_BYTES", "FileIdentity", "Plan", "Skip", "may_replace", "plan_sources", "source_id"]

#: Length of the head that is hashed, decompressed bytes.
HEAD_BYTES = 4096


@dataclass(frozen=True)
class FileIdentity:
    """What is known of a file before it is counted.

    Parameters
    ----------
    path
        Absolute path.
    compressed_bytes, mtime_ns
        Size and modification time of the file as it lies on the disk.
    head_hash
        Hash of the first 4 KiB of its decompressed bytes.
    bytes, full_hash
        Length and hash of all decompressed bytes; None until probed.
    prefixes
        Hashes of the first *n* decompressed bytes for some *n* below its length, as probed.
    """

    path: str
    compressed_bytes: int
    mtime_ns: int
    head_hash: str
    compression: str | None = None
    bytes: int | None = None
    full_hash: str | None = None
    prefixes: Mapping[int, str] = field(default_factory=dict)
    #: It cannot be read to its end, so that length and hash are those of nothing and only the head is known.
    damaged: bool = False


@dataclass(frozen=True)
class Skip:
    """A file that is not counted, and why; ``same_as`` is the path or source that stands for it."""

    path: str
    reason: str
    same_as: str | None = None
    known: str | None = None
    #: All of it was read and is that of the known source: under this name it need not be read again.
    equal: bool = False


@dataclass(frozen=True)
class Plan:
    """What to do. While ``probe`` or ``probe_known`` hold anything the rest is not final."""

    scan: tuple[FileIdentity, ...] = ()
    skip: tuple[Skip, ...] = ()
    #: Path to scan -> ids of the known sources that it replaces.
    replace: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Path -> lengths: its length and full hash are wanted, and the hash of its first n bytes for each
    #: length.
    probe: Mapping[str, frozenset[int]] = field(default_factory=dict)
    #: Known source -> lengths: hashes of the first n bytes of its file are wanted, if that is still there.
    probe_known: Mapping[str, frozenset[int]] = field(default_factory=dict)


def source_id(servers: Iterable[str], head_hash: str, length: int, full_hash: str | None) -> str:
    """The identity of a source: 32 hexadecimal digits over its servers and content (no full hash: damaged)."""
    text = "\0".join([*sorted(set(servers)), "", head_hash, str(length), full_hash or "damaged"])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def may_replace(old: SourceEntry, path: str, servers: Collection[str]) -> bool:
    """Whether a file whose content is an old source's, or that and more, takes its place.

    Not where the servers differ: two servers that log without a host name can write equal lines. The same
    path decides for a file that is counted again because the names of its servers were set wrongly.
    """
    return path in old.paths or set(old.servers) <= set(servers)


def _unchanged(file: FileIdentity, entry: SourceEntry, fingerprint: str) -> bool:
    """Whether this is the very file that was counted; rotation renames it and keeps its time."""
    return (
        entry.compressed_bytes == file.compressed_bytes
        and entry.mtime_ns == file.mtime_ns
        and entry.head_hash == file.head_hash
        and entry.fingerprint == fingerprint
    )


def plan_sources(
    files: Sequence[FileIdentity],
    known: Iterable[SourceEntry],
    *,
    fingerprint: str = "",
    again: bool = False,
    known_prefixes: Mapping[tuple[str, int], str | None] | None = None,
) -> Plan:
    """Decide for each file whether to scan it, skip it, or let it replace a known source.

    Parameters
    ----------
    files
        The files of one command, no path twice.
    known
        The current sources of the store (none where nothing is stored).
    fingerprint
        Stands for the options that change what is counted.
    again
        Count unchanged files again.
    known_prefixes
        (source, n) -> hash of the first n bytes of that source's file, None where it could not be read.

    Returns
    -------
    Plan
        Every file is in exactly one of ``scan``, ``skip`` and ``probe``.
    """
    entries = [
        k for k in known if k.origin == "archive" and k.state == "current" and k.bytes > 0 and not k.is_part
    ]
    prefixes = dict(known_prefixes or {})
    skip: list[Skip] = []
    open_files: list[FileIdentity] = []
    for file in files:
        if file.bytes == 0 or (file.compressed_bytes == 0 and file.bytes is None):
            skip.append(Skip(file.path, "empty file"))
            continue
        same = next((k for k in entries if _unchanged(file, k, fingerprint)), None)
        if same is not None and not again:
            skip.append(Skip(file.path, "counted before and unchanged", file.path, same.source))
        else:
            open_files.append(file)

    probe = _wanted(open_files, entries)
    if probe:
        settled = tuple(f for f in open_files if f.path not in probe)
        return Plan(scan=settled, skip=tuple(skip), probe=probe)
    return _settle(open_files, entries, skip, fingerprint, again, prefixes)


def _short(file: FileIdentity) -> bool:
    """Whether its content may be shorter than the head, so that growing changes its head hash."""
    return file.compressed_bytes < 2 * HEAD_BYTES if file.bytes is None else file.bytes < HEAD_BYTES


def _wanted(files: Sequence[FileIdentity], entries: Sequence[SourceEntry]) -> dict[str, frozenset[int]]:
    """The digests that are missing to compare each file with all that it may be related to."""
    by_head: dict[str, list[FileIdentity]] = {}
    for file in files:
        by_head.setdefault(file.head_hash, []).append(file)
    whole = [e for e in entries if e.full_hash is not None]
    known_by_head: dict[str, list[SourceEntry]] = {}
    for entry in entries:
        known_by_head.setdefault(entry.head_hash, []).append(entry)
    short_known = {e.bytes for e in whole if e.bytes < HEAD_BYTES}
    short_files = {f.bytes for f in files if f.bytes is not None and 0 < f.bytes < HEAD_BYTES}

    probe: dict[str, frozenset[int]] = {}
    for file in files:
        relatives = [f for f in by_head[file.head_hash] if f is not file]
        lengths = {f.bytes for f in relatives if f.bytes} | short_known | short_files
        related = known_by_head.get(file.head_hash, [])
        lengths |= {e.bytes for e in related if e.full_hash is not None}
        if not relatives and not related and not lengths and not _short(file):
            continue
        if file.damaged:
            continue
        if file.bytes is None or file.full_hash is None:
            probe[file.path] = frozenset(n for n in lengths if n)
            continue
        missing = {n for n in lengths if n and n < file.bytes and n not in file.prefixes}
        if missing:
            probe[file.path] = frozenset(missing)
    return probe


def _begins_with(longer: FileIdentity, length: int, full_hash: str | None) -> bool:
    return full_hash is not None and longer.prefixes.get(length) == full_hash


def _settle(
    files: list[FileIdentity],
    entries: list[SourceEntry],
    skip: list[Skip],
    fingerprint: str,
    again: bool,
    prefixes: Mapping[tuple[str, int], str | None],
) -> Plan:
    order = {f.path: i for i, f in enumerate(files)}

    # The longest first: what it begins with is then skipped. Among equals the one named first is read.
    # Damaged ones come last, the one that holds the most first.
    def rank(file: FileIdentity) -> tuple[bool, int, int]:
        return file.damaged, -(file.compressed_bytes if file.damaged else file.bytes or 0), order[file.path]

    longest_first = sorted(files, key=rank)
    chosen: list[FileIdentity] = []
    replace: dict[str, tuple[str, ...]] = {}
    ask_known: dict[str, set[int]] = {}
    for file in files:  # ask for all at once, so that the answers end the asking
        if file.full_hash is not None and not file.damaged:
            _against_known(file, entries, fingerprint, again, prefixes, ask_known)
    for file in longest_first:
        if file.damaged:
            damaged = _settle_damaged(file, chosen, entries)
            if isinstance(damaged, Skip):
                skip.append(damaged)
                continue
            chosen.append(file)
            if damaged:
                replace[file.path] = damaged
            continue
        if file.bytes is None or file.full_hash is None:  # related to nothing
            chosen.append(file)
            continue
        copy = _copy_among(file, chosen)
        if copy is not None:
            skip.append(copy)
            continue
        verdict = _against_known(file, entries, fingerprint, again, prefixes, ask_known)
        if isinstance(verdict, Skip):
            skip.append(verdict)
            continue
        chosen.append(file)
        if verdict:
            replace[file.path] = verdict
    chosen.sort(key=lambda f: order[f.path])
    skip.sort(key=lambda s: order.get(s.path, -1))
    return Plan(
        scan=tuple(chosen),
        skip=tuple(skip),
        replace=replace,
        probe_known={s: frozenset(n) for s, n in ask_known.items()},
    )


def _settle_damaged(
    file: FileIdentity, chosen: Sequence[FileIdentity], entries: Sequence[SourceEntry]
) -> Skip | tuple[str, ...]:
    """What becomes of a file that cannot be read to its end: only the head can be compared."""
    reason = "damaged, and begins as another file that is read"
    other = next((f for f in chosen if f.head_hash == file.head_hash), None)
    if other is not None:
        return Skip(file.path, reason, other.path)
    known = [e for e in entries if e.head_hash == file.head_hash]
    whole = next((e for e in known if e.full_hash is not None), None)
    if whole is not None:
        return Skip(
            file.path,
            "damaged, and begins as a file that was counted before",
            (*whole.paths, "")[0],
            whole.source,
        )
    return tuple(e.source for e in known)


def _copy_among(file: FileIdentity, chosen: Sequence[FileIdentity]) -> Skip | None:
    for other in chosen:
        if other.bytes is None or file.bytes is None:
            continue
        if other.bytes == file.bytes and other.full_hash == file.full_hash:
            return Skip(file.path, "the same content as another file named", other.path)
        if _begins_with(other, file.bytes, file.full_hash):
            return Skip(file.path, "a shorter copy of another file named", other.path)
    return None


def _against_known(
    file: FileIdentity,
    entries: Sequence[SourceEntry],
    fingerprint: str,
    again: bool,
    prefixes: Mapping[tuple[str, int], str | None],
    ask_known: dict[str, set[int]],
) -> Skip | tuple[str, ...]:
    """Why the file is skipped, or the sources that it replaces."""
    length = file.bytes or 0
    replaced: list[str] = []
    for entry in entries:
        if entry.full_hash is None:  # a damaged file: this one is whole
            if entry.head_hash == file.head_hash:
                replaced.append(entry.source)
        elif entry.bytes == length and entry.full_hash == file.full_hash:
            if entry.fingerprint == fingerprint and not again:
                shown = entry.paths[0] if entry.paths else entry.source
                return Skip(file.path, "the same content was counted before", shown, entry.source, equal=True)
            replaced.append(entry.source)
        elif entry.bytes < length:
            if _begins_with(file, entry.bytes, entry.full_hash):
                replaced.append(entry.source)
        elif entry.head_hash == file.head_hash or length < HEAD_BYTES:  # the known one is longer
            shown = entry.paths[0] if entry.paths else entry.source
            if (entry.source, length) not in prefixes:
                ask_known.setdefault(entry.source, set()).add(length)
                continue
            begin = prefixes[entry.source, length]
            if begin is None and entry.head_hash == file.head_hash:
                return Skip(
                    file.path,
                    "begins as a longer file counted before (that one is gone: only 4 KiB were compared)",
                    shown,
                    entry.source,
                )
            if begin == file.full_hash:
                return Skip(
                    file.path, "a shorter copy of a file that was counted before", shown, entry.source
                )
    return tuple(replaced)
