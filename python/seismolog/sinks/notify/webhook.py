"""A signed POST for each message.

The body is the message as JSON (:meth:`Message.document`). Headers:

``X-Seismolog-Id``         the message's id: a repetition has the same one ``X-Seismolog-Timestamp``  seconds
since 1970 of this attempt ``X-Seismolog-Signature``  ``v1=`` and the hexadecimal HMAC-SHA256, under the
shared secret, of timestamp, a dot and the body

A receiver computes the same over the raw body, compares in constant time, and refuses timestamps that are
minutes old. 200 to 299 means taken; 408, 425, 429 and 500 to 599 mean later (``Retry-After`` in seconds is
kept to); all others never. Redirects are not followed: the signature is for the one who was named.

Limits: certificates are checked against the system's authorities. Without a secret there is no signature, and
no header of it.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from seismolog.errors import ConfigError
from seismolog.sinks.notify.failure import Refused, Unreachable
from seismolog.sinks.notify.message import Message
from seismolog.sinks.notify.secret import secret

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = ["Webhook", "signature"]

_LATER = frozenset({408, 425, 429})


def signature(key: str, timestamp: str, body: bytes) -> str:
    """The value of the header ``X-Seismolog-Signature``."""
    return "v1=" + hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Webhook:
    """A URL that is told."""

    def __init__(
        self, url: str, key: str | None = None, timeout: float = 10.0, clock: Callable[[], float] = time.time
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError(
                "a URL that begins with http:// or https:// and names a host, without a password in it"
            )
        self._https, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._key, self._timeout, self._clock = key, timeout, clock

    @classmethod
    def of(cls, config: Config) -> Webhook:
        """The webhook of a configuration."""
        section = config.notify.webhook
        key = secret(config, section.secret_file, "notify.webhook.secret_file", "SEISMOLOG_WEBHOOK_SECRET")
        try:
            return cls(section.url or "", key, section.timeout.total_seconds())
        except ValueError as error:
            raise ConfigError(
                "no URL that can be told", file=config.file, key="notify.webhook.url", expected=str(error)
            ) from error

    def send(self, message: Message) -> None:
        """POST it."""
        body = json.dumps(message.document(), ensure_ascii=True).encode()
        timestamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "seismolog",
            "X-Seismolog-Id": message.id,
            "X-Seismolog-Timestamp": timestamp,
        }
        if self._key is not None:
            headers["X-Seismolog-Signature"] = signature(self._key, timestamp, body)
        connection = (
            http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=ssl.create_default_context()
            )
            if self._https
            else http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        )
        try:
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
            answer.read(65536)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self._host}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if 200 <= answer.status < 300:
            return
        if answer.status in _LATER or answer.status >= 500:
            after = answer.getheader("Retry-After", "")
            raise Unreachable(
                f"{self._host} answers {answer.status}", float(after) if after.isdigit() else None
            )
        raise Refused(f"{self._host} answers {answer.status}")
