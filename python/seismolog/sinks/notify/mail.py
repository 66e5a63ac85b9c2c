"""A mail for each message, over SMTP.

Plain text, one line a fact. ``Message-ID`` is made of the message's id, so a mail that was sent twice (the
answer was lost) is one to most readers; ``In-Reply-To`` ties what happens to an incident later to the mail of
its opening. Headers are built by the standard library, which refuses line breaks in them.

A temporary answer (4xx), or none, means later; 5xx means never, except for the login: a wrong password is
worth mending, so the mail waits.
"""

from __future__ import annotations

import hashlib
import logging
import smtplib
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from seismolog.errors import ConfigError
from seismolog.sinks.notify.failure import Refused, Unreachable
from seismolog.sinks.notify.message import Message
from seismolog.sinks.notify.secret import secret

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = ["Mail", "letter"]

_log = logging.getLogger(__name__)
_PORTS = {"none": 25, "starttls": 587, "tls": 465}


def letter(message: Message, sender: str, recipients: list[str]) -> EmailMessage:
    """The mail of a message."""
    mail = EmailMessage()
    mail["Subject"] = f"[seismolog] {message.title}"
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = format_datetime(datetime.now(UTC))
    place = sender.rsplit("@", 1)[-1]
    mail["Message-ID"] = f"<{message.id}@{place}>"
    first = hashlib.sha256(f"{message.incident}\nopened\n\n".encode()).hexdigest()[:32]
    if message.id != first:
        mail["In-Reply-To"] = mail["References"] = f"<{first}@{place}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Seismolog-Incident"] = message.incident
    lines = [
        message.explanation,
        "",
        f"event:     {message.event}",
        f"severity:  {message.severity}",
        f"cause:     {message.cause}",
        f"subjects:  {', '.join(message.subjects[:20])}{' …' if len(message.subjects) > 20 else ''}",
        f"start:     {message.start}",
        f"end:       {message.end or 'goes on'}",
        f"score:     {message.score:g} (threshold {message.threshold:g})",
        f"detectors: {', '.join(message.detectors)}",
        f"incident:  {message.incident}",
        "",
        *_evidence(message.evidence),
    ]
    mail.set_content("\n".join(lines) + "\n")
    return mail


def _evidence(evidence: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in list(evidence.items())[:60]:
        if isinstance(value, dict) and not indent:
            lines += [f"{name}:", *_evidence(value, "  ")]
        else:
            lines.append(f"{indent}{name}: {str(value)[:300]}")
    return lines


class Mail:
    """A mail server that is told."""

    def __init__(
        self,
        server: str,
        sender: str,
        recipients: list[str],
        *,
        security: str = "starttls",
        user: str | None = None,
        password: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        host, _, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "")
        self._host, self._port = host, int(port) if port else _PORTS[security]
        self._sender, self._recipients, self._security = sender, recipients, security
        self._user, self._password, self._timeout = user, password, timeout

    @classmethod
    def of(cls, config: Config) -> Mail:
        """The mail of a configuration."""
        section = config.notify.mail
        for key in ("sender", "recipients"):
            if not getattr(section, key):
                raise ConfigError(
                    "mail needs it", file=config.file, key=f"notify.mail.{key}", mend="name an address"
                )
        for address in (section.sender or "", *section.recipients):
            if "@" not in address or any(c.isspace() or c in "<>," for c in address):
                raise ConfigError(
                    "no address", file=config.file, key="notify.mail", expected="name@example.org"
                )
        password = secret(
            config, section.password_file, "notify.mail.password_file", "SEISMOLOG_MAIL_PASSWORD"
        )
        if section.user is not None and section.security == "none":
            raise ConfigError(
                "a password would go over the line in the clear",
                file=config.file,
                key="notify.mail.security",
                expected='"starttls" or "tls"',
            )
        return cls(
            section.server or "",
            section.sender or "",
            section.recipients,
            security=section.security,
            user=section.user,
            password=password,
            timeout=section.timeout.total_seconds(),
        )

    def send(self, message: Message) -> None:
        """Hand it over."""
        mail = letter(message, self._sender, self._recipients)
        try:
            connection = self._connected()
            try:
                lost = connection.send_message(mail, self._sender, self._recipients)
            finally:
                # What was taken is taken, however the server says good-bye.
                with suppress(smtplib.SMTPException, OSError):
                    connection.quit()
                connection.close()
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            if any(code < 500 for code in codes):
                raise Unreachable(f"{self._host}: recipients are put off") from error
            raise Refused(f"{self._host} refuses all recipients") from error
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
            raise Unreachable(f"{self._host}: {error}") from error
        except smtplib.SMTPResponseException as error:
            text = f"{self._host} answers {error.smtp_code}"
            raise (Refused(text) if error.smtp_code >= 500 else Unreachable(text)) from error
        except (OSError, smtplib.SMTPException) as error:
            raise Unreachable(f"{self._host}: {error or type(error).__name__}") from error
        if lost:
            # The others have it; a second mail would reach them twice.
            _log.warning("%s does not take %s", self._host, ", ".join(sorted(lost)))

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout, context=context
            )
        else:
            connection = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
        try:
            if self._security == "starttls":
                connection.starttls(context=context)
            if self._user is not None:
                connection.login(self._user, self._password or "")
        except BaseException:
            connection.close()
            raise
        return connection
