"""Secrets of channels: from a file or the environment, never from the configuration."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from seismolog.errors import ConfigError

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = ["secret"]


def secret(config: Config, named: str | None, key: str, variable: str) -> str | None:
    """The secret in the file that a setting names, else in the environment variable; None where neither is.

    Raises
    ------
    ConfigError
        The file cannot be read, is empty, or everybody may read it.
    """
    if named is None:
        return os.environ.get(variable) or None
    file = config.path(named)
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(
            f"cannot read the secret: {reason}",
            file=file,
            key=key,
            mend=f"write it there, or set ${variable}",
        ) from error
    if mode & stat.S_IROTH:
        raise ConfigError("everybody may read the secret", file=file, key=key, mend=f"chmod 600 {file}")
    if not text:
        raise ConfigError("the file is empty", file=file, key=key, mend="write the secret there")
    return text
