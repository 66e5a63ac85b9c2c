"""The kinds of values in a configuration that TOML has no type for: durations, sizes, zones, networks.

Each is a pydantic type whose error says what was expected. A duration is written ``"10m"``, a size ``"300
MiB"``; both may be written as a plain number of seconds or bytes too. Networks are kept as the text that
the counting core takes, checked and in their canonical form.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

__all__ = ["Address", "Duration", "Listener", "Network", "Size", "Zone", "duration_text", "size_text"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,9})\s*([smhdw])\s*", value)
        if match:
            return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**11:
        return timedelta(seconds=value)
    raise ValueError('a duration: a number and one of s, m, h, d, w, such as "10m" or "28d"')


def duration_text(value: timedelta) -> str:
    """A duration as it is written in the configuration: the largest unit that divides it."""
    seconds = round(value.total_seconds())
    for unit in ("w", "d", "h", "m"):
        # 28d reads better than 4w: weeks are never written
        if unit != "w" and seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def _size(value: Any) -> Any:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,15})\s*([kmg]i?b)?\s*", value.lower())
        if match:
            return int(match[1]) * _BYTES[match[2] or ""]
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError('a size: a number of bytes, or such as "64 KiB", "300 MiB"')


def size_text(value: int) -> str:
    """A size as it is written in the configuration: the largest binary unit that divides it."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value and value % factor == 0:
            return f"{value // factor} {unit}"
    return str(value)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError('a time zone of the tz database, such as "Asia/Tokyo" or "UTC"') from None
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        try:
            mended = ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError(
                'an address or network, such as "192.0.2.1", "192.0.2.0/24" or "2001:db8::/32"'
            ) from error
        raise ValueError(f'a network without host bits; did you mean "{mended}"?') from error


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError('an IPv4 or IPv6 address, such as "192.0.2.1"') from None


def _listener(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if colon and re.fullmatch(r"\d{1,5}", port) and 1 <= int(port) <= 65_535:
        _address(host)
        return value
    raise ValueError('an address and a port, such as "127.0.0.1:5514" or "[::1]:5514"')


# Texts are for documents; who asks for Python values gets numbers.
Duration = Annotated[timedelta, BeforeValidator(_duration), PlainSerializer(duration_text, when_used="json")]
Size = Annotated[int, BeforeValidator(_size), PlainSerializer(size_text, when_used="json")]
Zone = Annotated[str, AfterValidator(_zone)]
Network = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]
Listener = Annotated[str, AfterValidator(_listener)]
