"""The settings of the configuration as the engine takes them, and what a reload changes.

The engine takes plain dictionaries; this is the one place that knows their keys. The state folder is found
here as well, because its default depends on who runs the daemon.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seismolog.errors import UsageError

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = [
    "LiveSettings",
    "changed_keys",
    "counting",
    "intake",
    "listeners",
    "source_of",
    "state_folder",
    "store_url",
]

#: Changes of these take a restart: they are of files and folders that stay open.
FIXED = ("live.state", "store.url", "live.metrics", "live.wal_segment", "live.remembered_ids")


@dataclass(frozen=True)
class LiveSettings:
    """What a running daemon needs of a configuration, and what it does not take from there."""

    config: Config
    state: Path
    #: Listeners in place of those of the configuration (`pipe` reads standard input only).
    only: tuple[Mapping[str, Any], ...] | None = None

    def intake(self) -> dict[str, Any]:
        """For the engine's receiving side."""
        return intake(self.config, self.state, self.only)

    def counting(self) -> dict[str, Any]:
        """For the engine's counting side."""
        return counting(self.config)


def state_folder(config: Config, environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the daemon's state: configured, else systemd's, else by who runs it."""
    environ = os.environ if environ is None else environ
    if config.live.state is not None:
        return config.path(config.live.state)
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given) / "live"
    if os.geteuid() == 0:
        return Path("/var/lib/seismolog/live")
    home = environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(home) / "seismolog" / "live"


def store_url(config: Config, state: Path) -> str:
    """Where closed bins are kept for good: configured, else beside the state."""
    return config.store_url or str(state.parent / "store")


def prepare_folder(folder: Path) -> None:
    """Make the state folder, readable for its owner only.

    Raises
    ------
    UsageError
        It cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"the state folder cannot be written: {error.strerror}",
            file=folder,
            key="live.state",
            mend="name a folder that this user may write to with --state, or in [live] state",
        ) from error


def source_of(state: Path) -> str:
    """The id of the live source that this state folder stands for; made at its first use.

    Revisions are positions in the write-ahead log, so a new log is a new source: with the folder, the id
    goes too.
    """
    path = state / "source"
    try:
        text = path.read_text(encoding="ascii").strip()
        if text:
            return text
    except FileNotFoundError:
        pass
    text = f"live-{uuid.uuid4().hex[:12]}"
    part = path.with_name("source.part")
    with part.open("w", encoding="ascii") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return text


def listeners(config: Config) -> list[dict[str, Any]]:
    """Where lines are taken from, as the engine takes them."""
    listen = config.listen
    mode = int(listen.unix_mode, 8)
    found: list[dict[str, Any]] = []
    if listen.relp is not None:
        found.append({"relp": {"address": listen.relp}})
    if listen.tcp is not None:
        found.append({"tcp": {"address": listen.tcp}})
    if listen.tls is not None:
        assert listen.tls_certificate is not None and listen.tls_key is not None
        ca = listen.tls_client_ca
        found.append(
            {
                "tls": {
                    "address": listen.tls,
                    "certificate": str(config.path(listen.tls_certificate)),
                    "key": str(config.path(listen.tls_key)),
                    "client_ca": None if ca is None else str(config.path(ca)),
                }
            }
        )
    if listen.udp is not None:
        found.append({"udp": {"address": listen.udp, "receive_buffer": listen.udp_receive_buffer}})
    if listen.unix is not None:
        found.append({"unix": {"path": str(config.path(listen.unix)), "mode": mode}})
    if listen.unix_datagram is not None:
        found.append({"unix_datagram": {"path": str(config.path(listen.unix_datagram)), "mode": mode}})
    if listen.files:
        patterns = [str(config.path(f)) for f in listen.files]
        found.append({"files": {"patterns": patterns, "from_start": listen.files_from_start}})
    if listen.journal:
        found.append({"journal": {"arguments": list(listen.journal_arguments)}})
    return found


def intake(config: Config, state: Path, only: Iterable[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The settings of reception: ``directory``, ``listeners``, ``allow``, ``limits``, ``wal``."""
    live = config.live
    return {
        "directory": str(state),
        "listeners": listeners(config) if only is None else [dict(o) for o in only],
        "allow": list(config.listen.allow),
        "limits": {
            "line_length": config.limits.line_length,
            "connections": live.connections,
            "idle_seconds": _seconds(live.idle),
            "partial_bytes": live.partial_size,
            "queue_bytes": live.queue_size,
            "logged_bytes": live.logged_size,
            "behind_bytes": live.behind_size,
            "readers": live.readers,
            "remembered_ids": live.remembered_ids,
            "files": live.followed_files,
            "rotated_seconds": _seconds(live.rotated_age),
            "relp_unanswered": live.relp_unanswered,
            "relp_unread_bytes": live.relp_unread_size,
            "datagram_patience_ms": live.datagram_patience_ms,
        },
        "wal": {
            "segment_bytes": live.wal_segment,
            "segment_seconds": _seconds(live.wal_segment_age),
            "max_bytes": live.wal_size,
            "sync_interval_ms": live.sync_interval_ms,
            "spare_segments": live.wal_spare_segments,
        },
    }


def counting(config: Config) -> dict[str, Any]:
    """The settings of counting: those of an archive's scan, lateness and skew, and when to write snapshots."""
    from seismolog.archive.scanning import ScanOptions, public_suffixes

    options = ScanOptions.from_config(config).arguments()
    # A live line is of the year that it came in.
    del options["threads"], options["year"]
    return {
        **options,
        "public_suffixes": public_suffixes(),
        "details": True,
        "lateness": _seconds(config.listen.lateness),
        "skew": _seconds(config.listen.clock_skew),
        "revise": _seconds(config.live.revise_interval),
        "closed_bytes": config.live.closed_limit,
        "nice": config.live.nice,
        "state_bytes": config.live.kept_size,
        "snapshot_bytes": config.live.snapshot_size,
        "snapshot_seconds": _seconds(config.live.snapshot_interval),
    }


def _seconds(length: timedelta) -> int:
    return int(length.total_seconds())


def changed_keys(old: Config, new: Config) -> list[str]:
    """Every key whose value differs, as ``section.key``, in the order of the file's models."""
    found: list[str] = []
    for section in type(new).model_fields:
        before, after = getattr(old, section), getattr(new, section)
        if before == after:
            continue
        if isinstance(before, list) or not hasattr(type(before), "model_fields"):
            found.append(section)
            continue
        found += [
            f"{section}.{key}"
            for key in type(before).model_fields
            if getattr(before, key) != getattr(after, key)
        ]
    return found
