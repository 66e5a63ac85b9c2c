"""Where to, with which token, and how the exporter's files are named after it.

The token comes from the file that ``[influxdb] token_file`` names or from ``$SEISMOLOG_INFLUXDB_TOKEN``, never from the
configuration itself, and stands in no message.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from seismolog.errors import ConfigError

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = ["TOKEN_VARIABLE", "Target", "target_of"]

TOKEN_VARIABLE = "SEISMOLOG_INFLUXDB_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True)
class Target:
    """One bucket of one InfluxDB, and how it is written to."""

    url: str
    org: str
    bucket: str
    token: str = field(repr=False)
    instance: str = "seismolog"
    gzip: bool = False
    ca_file: str | None = None
    timeout: float = 30.0
    retry_longest: float = 300.0
    batch_points: int = 10_000
    refused_size: int = 16 * 2**20

    @property
    def name(self) -> str:
        """Stands for it in file names: the bucket, made harmless, and a hash of where it is."""
        plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in self.bucket)[:40]
        place = f"{self.url.rstrip('/')} {self.org} {self.bucket}"
        return f"{plain}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"

    @property
    def place(self) -> str:
        """As messages name it."""
        return f"{self.url}, bucket {self.bucket}"


def on_loopback(url: str) -> bool:
    """Whether requests to this URL stay on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def target_of(config: Config, environ: Mapping[str, str] | None = None) -> Target:
    """The target that a configuration names.

    Raises
    ------
    ConfigError
        There is none, or its token cannot be read.
    """
    environ = os.environ if environ is None else environ
    section = config.influxdb
    if section.url is None or section.org is None or section.bucket is None:
        raise ConfigError(
            "no InfluxDB is configured",
            file=config.file,
            key="influxdb.url",
            mend='add to [influxdb]: url = "http://127.0.0.1:8086", org, bucket and token_file',
        )
    return Target(
        url=section.url,
        org=section.org,
        bucket=section.bucket,
        token=_token(config, environ),
        instance=section.instance or socket.gethostname(),
        gzip=not on_loopback(section.url) if section.gzip is None else section.gzip,
        ca_file=None if section.ca_file is None else str(config.path(section.ca_file)),
        timeout=section.timeout.total_seconds(),
        retry_longest=section.retry_longest.total_seconds(),
        batch_points=section.batch_points,
        refused_size=section.refused_size,
    )


def _token(config: Config, environ: Mapping[str, str]) -> str:
    named = config.influxdb.token_file
    if named is None:
        token = environ.get(TOKEN_VARIABLE, "").strip()
        if token:
            return token
        raise ConfigError(
            "no token for InfluxDB",
            file=config.file,
            key="influxdb.token_file",
            mend=f"name a file that holds it, or set {TOKEN_VARIABLE}",
        )
    path: Path = config.path(named)
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"the token cannot be read from {path}: {reason}",
            file=config.file,
            key="influxdb.token_file",
            mend="make a token in InfluxDB that may write to the bucket, and put it into that file",
        ) from error
    if not token or "\n" in token:
        raise ConfigError(
            f"{path} holds no token",
            file=config.file,
            key="influxdb.token_file",
            expected="one line",
        )
    return token
