"""Requests to one bucket, until they have come through.

Each text of line protocol is one request through ``influxdb-client``. What can go wrong is told apart by what must be
done about it:

========================================  ==========================================================================
no connection, a timeout, 5xx, 429, 408   wait and try again, for ever in the daemon; the pause grows by chance up to
                                          twice each time, and is at least what ``Retry-After`` asks for
a timeout, or 413                         besides, ask less at once: half of the points
400 that names lines                      set these lines aside, send the rest
400 and 422 otherwise                     halve, until the points that are refused stand alone; set those aside
401, 403, 404 and whatever else           :class:`MisplacedError`: a person must mend it
========================================  ==========================================================================

Points that must go are deleted by the same rules (:meth:`Writer.erase`); a target without such a call is told from one
that is away.

A request that timed out may have been carried out: sending it again changes nothing, because points are absolute.

Limits: one request at a time. Halving is bounded (:data:`MOST_HALVINGS` requests for one text); past it a whole part
is set aside as one, of which some points were taken.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from seismolog.errors import ServiceError, escape
from seismolog.sinks.influxdb.refused import Aside, dropped, message_of, named_lines, too_old
from seismolog.sinks.influxdb.target import Target

__all__ = ["MisplacedError", "StoppedError", "Writer", "Written"]

log = logging.getLogger(__name__)

#: First pause between two tries, seconds.
FIRST_PAUSE = 1.0
#: Requests to find the refused points of one text.
MOST_HALVINGS = 200
#: Points of one request at least, however slow the server is.
FEWEST_POINTS = 250
#: A `Retry-After` beyond this is a mistake, seconds.
LONGEST_ASKED = 3600.0


class MisplacedError(ServiceError):
    """The target refuses us altogether: its address, bucket or token is wrong. Waiting does not mend it."""


class StoppedError(ServiceError):
    """The exporter is stopping; what was not sent is sent after the next start."""


@dataclass
class Written:
    """What a writer has done since it was made."""

    points: int = 0
    requests: int = 0
    bytes: int = 0
    retries: int = 0
    errors: int = 0
    refused: int = 0
    too_old: int = 0
    seconds: float = 0.0
    #: Why the target cannot be written to now, None where it can.
    trouble: str | None = None


class _Refusal(Exception):  # noqa: N818 - it ends no request: it is an answer
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class _TooMuch(Exception):  # noqa: N818
    """The request is too large, or took too long."""


class _Undeletable(Exception):  # noqa: N818
    """The target has no call that deletes, or not this."""

    def __init__(self, ever: bool) -> None:
        super().__init__()
        self.ever = ever


class Writer:
    """Writes line protocol to a target.

    Parameters
    ----------
    target
        Where to.
    aside
        Where refused points go.
    stop
        When set, waiting ends with :class:`StoppedError`.
    patience
        Seconds of trying the same request, None for ever.
    waiting
        Called with (seconds left, why) before each pause and every ten seconds of it.
    """

    def __init__(
        self,
        target: Target,
        aside: Aside,
        *,
        stop: threading.Event | None = None,
        patience: float | None = None,
        waiting: Callable[[float, str], None] | None = None,
    ) -> None:
        self.target = target
        self.written = Written()
        self._aside = aside
        self._stop = stop or threading.Event()
        self._patience = patience
        self._waiting = waiting
        self._most = target.batch_points
        self._deletes = True
        self._client: Any = None
        self._api: Any = None

    # -- the client

    def _connected(self) -> Any:
        if self._api is None:
            from influxdb_client.client.influxdb_client import InfluxDBClient
            from influxdb_client.client.write_api import SYNCHRONOUS

            options: dict[str, Any] = {}
            if self.target.ca_file is not None:
                options["ssl_ca_cert"] = self.target.ca_file
            self._client = InfluxDBClient(
                url=self.target.url,
                token=self.target.token,
                org=self.target.org,
                timeout=round(self.target.timeout * 1000),
                enable_gzip=self.target.gzip,
                **options,
            )
            self._api = self._client.write_api(write_options=SYNCHRONOUS)
        return self._api

    @property
    def client(self) -> Any:
        """The ``influxdb_client.InfluxDBClient``, for what is no writing."""
        self._connected()
        return self._client

    def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            self._client.close()
            self._client = self._api = None

    # -- writing

    def write(self, texts: Iterable[bytes], precision: str = "s") -> None:
        """Write texts of line protocol, each of whole lines that end in a line feed.

        Raises
        ------
        MisplacedError
            The target refuses us altogether.
        StoppedError
            The stop event was set while we waited.
        ServiceError
            Patience has run out.
        """
        for text in texts:
            self._write(text, precision)

    def _write(self, text: bytes, precision: str) -> None:
        """One text, in as many requests as it takes."""
        waiting = [text]
        while waiting:
            part = waiting.pop()
            if part.count(b"\n") > self._most:
                waiting += reversed(_parts(part, self._most))
                continue
            try:
                self._send(part, precision)
                self._faster()
            except _TooMuch:
                lines = part.splitlines()
                if len(lines) == 1:
                    self._refuse(lines, "too large for one request")
                    continue
                self._most = max(1, len(lines) // 2)
                waiting.append(part)
            except _Refusal as refusal:
                self._sort_out(part.splitlines(), refusal, precision, [MOST_HALVINGS])

    def _faster(self) -> None:
        if self._most < self.target.batch_points:
            self._most = min(self.target.batch_points, self._most + self._most // 8 + 1)

    def _sort_out(self, lines: list[bytes], refusal: _Refusal, precision: str, budget: list[int]) -> None:
        """Find the points of a text that are refused, set them aside and send the rest."""
        message = refusal.message
        named = named_lines(message, lines)
        if named:
            for at, reason in named.items():
                self._refuse([lines[at]], f"cannot be read: {reason}")
            self._again([line for i, line in enumerate(lines) if i not in named], precision, budget)
            return
        count = dropped(message)
        if count is not None and too_old(message):
            # The rest is written. The oldest are those that are left out: they need no looking for.
            oldest = sorted(lines, key=_time_of)[:count]
            self.written.too_old += len(oldest)
            self._refuse(oldest[:1], f"{len(oldest)} points like this one: {message}", len(oldest))
            return
        if len(lines) == 1 or (count is not None and count >= len(lines)):
            self._refuse(lines, message)
            return
        if budget[0] <= 0:
            self._refuse(lines, f"some of these: {message}", count or len(lines))
            return
        half = (len(lines) + 1) // 2
        for part in (lines[:half], lines[half:]):
            self._again(part, precision, budget)

    def _again(self, lines: list[bytes], precision: str, budget: list[int]) -> None:
        if not lines:
            return
        budget[0] -= 1
        text = b"\n".join(lines) + b"\n"
        try:
            self._send(text, precision)
        except _Refusal as refusal:
            self._sort_out(lines, refusal, precision, budget)
        except _TooMuch:
            self._write(text, precision)

    def _refuse(self, lines: list[bytes], reason: str, count: int | None = None) -> None:
        number = len(lines) if count is None else count
        if self.written.refused == 0 or number > 1:
            shown = escape(lines[0][:200].decode("utf-8", "replace")) if lines else ""
            log.warning(
                "%s refused %d points, such as %s (%s); they are set aside in %s",
                self.target.place,
                number,
                shown,
                escape(reason[:300]),
                self._aside.path,
            )
        self.written.refused += number
        self._aside.add(reason, lines)

    # -- deleting

    def erase(self, measurement: str, first: int, last: int, tags: Mapping[str, str]) -> bool:
        """Delete the points of a series, or of all that have these tags, from one moment to another.

        Parameters
        ----------
        measurement, tags
            Whose; a tag without a value cannot be asked for and is left out.
        first, last
            Nanoseconds since 1970, both included.

        Returns
        -------
        bool
            Whether they are gone. A target that cannot delete (InfluxDB 1.8 and 3 have no such call) says False.

        Raises
        ------
        ServiceError
            As :meth:`write`.
        """
        if not self._deletes:
            return False
        conditions = [f'_measurement="{_quoted(measurement)}"']
        conditions += [f'{k}="{_quoted(v)}"' for k, v in tags.items() if v]

        def delete() -> None:
            from influxdb_client.rest import ApiException

            try:
                self._client.delete_api().delete(
                    _rfc3339(first), _rfc3339(last), " AND ".join(conditions),
                    bucket=self.target.bucket, org=self.target.org,
                )  # fmt: skip
            except ApiException as error:
                if error.status in (400, 404, 405, 501):
                    raise _Undeletable(error.status != 400) from None
                raise

        try:
            self._until_answered(delete, 0)
        except _Undeletable as error:
            self._deletes = not error.ever
            return False
        return True

    # -- one request, until there is an answer

    def _send(self, text: bytes, precision: str) -> None:
        """Send until the server takes or refuses it."""
        points = text.count(b"\n")

        def write() -> None:
            self._api.write(self.target.bucket, self.target.org, text, write_precision=precision)

        self._until_answered(write, points)
        self.written.points += points
        self.written.bytes += len(text)

    def _until_answered(self, request: Callable[[], None], points: int) -> None:
        """Make a request of so many points until it is carried out or refused."""
        began = time.monotonic()
        pause = FIRST_PAUSE
        while True:
            if self._stop.is_set():
                raise StoppedError("the exporter is stopping")
            asked, why, slow = self._try(request)
            if why is None:
                return
            self.written.errors += 1
            self._trouble(why)
            if slow and points > FEWEST_POINTS:
                self.written.retries += 1
                raise _TooMuch
            wait = max(asked, pause * random.uniform(0.5, 1.0))
            if self._patience is not None and time.monotonic() + wait - began > self._patience:
                raise ServiceError(
                    f"{self.target.place} cannot be written to: {why}",
                    mend="nothing that was sent is lost: the same command goes on where this one ends",
                )
            self.written.retries += 1
            self._wait(wait, why)
            pause = min(pause * 2, self.target.retry_longest)

    def _wait(self, seconds: float, why: str) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._waiting is not None:
                self._waiting(left, why)
            if self._stop.wait(min(left, 10.0)):
                raise StoppedError("the exporter is stopping")

    def _try(self, request: Callable[[], None]) -> tuple[float, str | None, bool]:
        """One request: (seconds that the server asks us to wait, why it failed or None, whether it was too slow)."""
        import urllib3.exceptions
        from influxdb_client.rest import ApiException

        began = time.monotonic()
        self._connected()
        try:
            request()
        except ApiException as error:
            return self._answered(error)
        except urllib3.exceptions.LocationParseError as error:
            raise self._misplaced(str(error)) from None
        except urllib3.exceptions.HTTPError as error:
            slow = isinstance(error, urllib3.exceptions.TimeoutError) and not isinstance(
                error, urllib3.exceptions.ConnectTimeoutError
            )
            return 0.0, _reason(error), slow
        except OSError as error:
            return 0.0, _reason(error), False
        finally:
            self.written.requests += 1
            self.written.seconds += time.monotonic() - began
        self._recovered()
        return 0.0, None, False

    def _answered(self, error: Any) -> tuple[float, str, bool]:
        """What an answer that is no success calls for."""
        status = int(error.status or 0)
        message = message_of(error.body if isinstance(error.body, str) else None)
        if status in (400, 422):
            self._recovered()
            raise _Refusal(status, message or f"status {status}")
        if status == 413:
            raise _TooMuch
        if status in (408, 429) or status >= 500:
            told = f"status {status}" + (f": {message[:200]}" if message else "")
            return _asked(error.headers), told, status in (408, 504)
        if status == 0:  # what the client makes of an error of TLS
            raise self._misplaced(str(error.reason))
        raise self._misplaced(f"status {status}: {message[:300]}", status)

    def _misplaced(self, why: str, status: int = 0) -> MisplacedError:
        mends = {
            401: "the token is not known there: check the file that [influxdb] token_file names",
            403: "the token may not write to this bucket: make one that may",
            404: "make the bucket with `seismolog export setup`, or mend org and bucket in [influxdb]",
        }
        self.written.errors += 1
        self._trouble(why)
        return MisplacedError(
            f"{self.target.place} refuses to be written to: {why}",
            key="influxdb",
            mend=mends.get(status, "check url, org, bucket and token in [influxdb]"),
        )

    def _trouble(self, why: str) -> None:
        if self.written.trouble is None:
            log.warning("%s cannot be written to, it is tried again: %s", self.target.place, escape(why))
        self.written.trouble = why

    def _recovered(self) -> None:
        if self.written.trouble is not None:
            log.info("%s can be written to again", self.target.place)
        self.written.trouble = None


def _reason(error: BaseException) -> str:
    """The innermost cause in words: urllib3 wraps what the operating system said."""
    for _ in range(8):
        inner = getattr(error, "reason", None) or error.__cause__
        if not isinstance(inner, BaseException) or inner is error:
            break
        error = inner
    return f"{type(error).__name__}: {error}"[:300]


def _asked(headers: Any) -> float:
    """Seconds that `Retry-After` asks for, as a number or as a date; 0 without."""
    value = None if headers is None else headers.get("Retry-After")
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_ASKED) if seconds == seconds else 0.0


def _time_of(line: bytes) -> int:
    try:
        return int(line.rpartition(b" ")[2])
    except ValueError:
        return 0


def _parts(text: bytes, lines: int) -> list[bytes]:
    """Parts of at most so many lines."""
    whole = text.splitlines(keepends=True)
    return [b"".join(whole[i : i + lines]) for i in range(0, len(whole), lines)]


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _rfc3339(nanos: int) -> str:
    seconds, rest = divmod(nanos, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:09d}Z"
