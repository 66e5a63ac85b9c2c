r"""Text that came out of a log, made safe to look at, and numbers, made easy to read.

A log line is written by whoever talks to the server: a HELO, a user name or a query name can hold terminal
escape sequences, right-to-left overrides, zero-width characters or HTML. :func:`visible` turns every
character that could move a cursor, reorder a line or hide itself into its Python escape (``\x1b``,
``\u202e``), and leaves ordinary text of any script alone. It is applied wherever text from a log, a path or
an error is shown: in the terminal, in the report, in an error message. :func:`html` does the same and then
escapes for HTML, text and attribute alike; :func:`json_for_script` makes JSON that cannot end the
``<script>`` element that holds it.

Limits: ``visible`` is for showing. Homoglyphs (a Cyrillic ``а`` for a Latin ``a``) look like what they are
made to look like; machine formats (CSV, JSON, Parquet) carry the text as it is.
"""

from __future__ import annotations

import json
import math
import re
from datetime import timedelta
from html import escape
from typing import Any

# Cc (controls), the Cf characters that reorder or hide (bidi marks, embeddings and isolates, zero-width
# characters, the byte order mark, tags, interlinear and shorthand controls), line and paragraph separators,
# lone surrogates (undecodable bytes under surrogateescape) and non-characters. Written as a character class,
# so that one search decides for the usual, clean string.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x100:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: show the byte that was read
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible(text: object, limit: int | None = None) -> str:
    r"""Text with every control, bidirectional and invisible character written as an escape.

    Parameters
    ----------
    text
        What to show; anything but a string is shown by ``str()``.
    limit
        Cut after so many characters, marked with an ellipsis. Cutting is done before escaping, so an
        escape is never cut in half.

    Examples
    --------
    >>> visible("mail\x1b[2J\u202egpj")
    'mail\\x1b[2J\\u202egpj'
    """
    shown = text if isinstance(text, str) else str(text)
    if limit is not None and len(shown) > limit:
        shown = shown[: limit - 1] + "…"
    return _HIDDEN.sub(_escape, shown)


def html(text: object, limit: int | None = None) -> str:
    """Text for an HTML text node or a quoted attribute: :func:`visible`, then escaped."""
    return escape(visible(text, limit), quote=True)


def json_for_script(value: Any) -> str:
    """JSON that may stand inside a ``<script>`` element: no ``<``, ``>``, ``&`` or line separators in it."""
    dumped = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return dumped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def integer(value: float | int) -> str:
    """A whole number with commas between thousands, as English text has them: ``12,345``."""
    return f"{round(value):,}"


def number(value: float | None, digits: int = 3) -> str:
    """A number to ``digits`` significant digits, without exponent between 0.001 and 10 million.

    A missing or infinite value is shown as a dash.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= digits - 1 and magnitude < 9:
        return integer(value)
    if magnitude < -3 or magnitude >= 9:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return f"{value:.{max(0, digits - 1 - magnitude)}f}".replace("-", "−")


def fixed(value: float | None, decimals: int) -> str:
    """A number with so many decimals and a true minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{decimals}f}".replace("-", "−")


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one as a percentage; "100 %" only when nothing at all is missing."""
    if share is None or not math.isfinite(share):
        return "–"
    shown = round(100 * share, digits)
    if shown >= 100 > 100 * share:  # 99.99 % must not look like everything
        shown = 100 - 10.0**-digits
    if shown <= 0 < share:
        return f"< {10.0**-digits:.{digits}f}\u202f%"
    text = f"{shown:.{digits}f}"
    return f"{text.removesuffix('.' + '0' * digits)}\u202f%".replace("-", "−")


def size(count: int | float) -> str:
    """Bytes for people: powers of 1000, three digits."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f}\u202f{unit}" if unit == "B" or value >= 100 else f"{value:.3g}\u202f{unit}"
        value /= 1000
    return f"{value:.3g}\u202fTB"


def duration(span: timedelta) -> str:
    """A length of time in its two largest units: ``5 d 3 h``, ``2 h 10 min``, ``40 s``."""
    seconds = round(span.total_seconds())
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, seconds = divmod(seconds, length)
        if amount:
            parts.append(f"{amount}\u202f{unit}")
    return " ".join(parts[:2]) or "0\u202fs"


def bin_name(span: timedelta) -> str:
    """A bin length as one writes it on the command line: ``1m``, ``10m``, ``6h``, ``1d``."""
    seconds = int(span.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(values: list[float], width: int = 24) -> str:
    """A curve in one line of text; each column is the mean of its share of the values, scaled from zero."""
    if not values:
        return ""
    columns = []
    count = min(width, len(values))
    for column in range(count):
        low, high = column * len(values) // count, (column + 1) * len(values) // count
        columns.append(sum(values[low:high]) / (high - low))
    top = max(columns)
    if top <= 0:
        return SPARKS[0] * count
    return "".join(SPARKS[min(7, int(8 * value / top))] if value > 0 else SPARKS[0] for value in columns)
