"""A running Grafana, through its HTTP API by `grafana-client`: errors become ours, the token stays out of them.

Limits: `grafana-client` 3.11, whose transport is `requests`. From 4.0 on it stands on a fork of urllib3 that replaces the
urllib3 of everything else in the environment (the InfluxDB client's too) when the interpreter starts; see the decision of
2026-11-25 on Grafana.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from seismolog.errors import ConfigError, ServiceError

if TYPE_CHECKING:
    from seismolog.config import Config

__all__ = ["TOKEN_VARIABLE", "Grafana", "Place", "grafana_of"]

TOKEN_VARIABLE = "SEISMOLOG_GRAFANA_TOKEN"  # noqa: S105 - the name of a variable

Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """Where Grafana is and how it is spoken to."""

    url: str
    token: str = field(repr=False)
    ca_file: str | None = None
    timeout: float = 30.0


def grafana_of(config: Config, environ: Mapping[str, str] | None = None) -> Place:
    """The Grafana that a configuration names, with the token from its file or from ``$SEISMOLOG_GRAFANA_TOKEN``.

    Raises
    ------
    ConfigError
        There is none, or its token cannot be read.
    """
    environ = os.environ if environ is None else environ
    section = config.grafana
    if section.url is None:
        raise ConfigError(
            "no Grafana is configured",
            file=config.file,
            key="grafana.url",
            mend='add to [grafana]: url = "http://127.0.0.1:3000" and token_file',
        )
    token = environ.get(TOKEN_VARIABLE, "").strip()
    if section.token_file is not None:
        path = config.path(section.token_file)
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(
                f"the token cannot be read from {path}: {reason}",
                file=config.file,
                key="grafana.token_file",
                mend="name a file that holds a service account's token and that this user may read",
            ) from error
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigError(
            "no token for Grafana"
            if not token
            else "the token for Grafana is none: it has characters that no token has",
            file=config.file,
            key="grafana.token_file",
            mend=f"name a file that holds a service account's token, or set {TOKEN_VARIABLE}",
        )
    return Place(
        url=section.url,
        token=token,
        ca_file=None if section.ca_file is None else str(config.path(section.ca_file)),
        timeout=section.timeout.total_seconds(),
    )


class Grafana:
    """A running Grafana.

    Parameters
    ----------
    place
        Where it is.
    """

    def __init__(self, place: Place) -> None:
        from grafana_client import GrafanaApi

        self.place = place
        # Without the slash at its end the client would glue a path and `api` together.
        url = place.url.rstrip("/") + "/"
        self.api = GrafanaApi.from_url(url, credential=place.token, timeout=place.timeout)
        if place.ca_file is not None:
            self.api.client.verify = place.ca_file

    def call(self, what: str, function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """Call one function of the API.

        Raises
        ------
        ServiceError
            Grafana cannot be reached or refuses; `what` says what was being done.
        """
        from grafana_client.client import GrafanaException
        from requests import RequestException

        try:
            return function(*arguments, **options)
        except GrafanaException as error:
            mend = {
                401: "the token is none that this Grafana knows: make one for a service account",
                403: "give the service account the role Editor (Admin for the data source)",
                404: "is the URL that of Grafana, with its path?",
                412: "somebody else changed it at the same moment: try again",
            }.get(error.status_code)
            raise ServiceError(
                f"{self.place.url}: {what}: status {error.status_code}: {_message(error)}", mend=mend
            ) from error
        except (RequestException, ValueError) as error:
            raise ServiceError(
                f"{self.place.url}: {what}: {type(error).__name__}",
                mend="is it running, and is the URL right?",
            ) from error

    def find(
        self, what: str, function: Callable[..., Result], *arguments: Any, **options: Any
    ) -> Result | None:
        """The same for something that may not be there: None for status 404."""
        from grafana_client.client import GrafanaException

        try:
            return self.call(what, function, *arguments, **options)
        except ServiceError as error:
            cause = error.__cause__
            if isinstance(cause, GrafanaException) and cause.status_code == 404:
                return None
            raise


def _message(error: Any) -> str:
    """What Grafana says, at most a line of it."""
    response = error.response
    text = response.get("message") if isinstance(response, dict) else None
    return str(text or error.message).splitlines()[0][:300] if (text or error.message) else "no message"
