"""Text from logs made safe, numbers made readable."""

from __future__ import annotations

import json
import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seismolog.report.text import (
    bin_name,
    duration,
    fixed,
    html,
    integer,
    json_for_script,
    number,
    percent,
    size,
    sparkline,
    visible,
)


@given(st.text())
def test_nothing_visible_moves_the_cursor_or_reorders(text: str) -> None:
    for character in visible(text):
        assert unicodedata.category(character) not in ("Cc", "Zl", "Zp", "Cs")
        assert unicodedata.bidirectional(character) not in (
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        )


def test_controls_are_written_as_escapes() -> None:
    assert visible("a\x1b[2Jb\u202ec\x00\x85\u200b\ufeff\U000e0041") == (
        "a\\x1b[2Jb\\u202ec\\x00\\x85\\u200b\\ufeff\\U000e0041"
    )


def test_bytes_that_are_no_utf8_are_shown_as_bytes() -> None:
    assert visible(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\\xe9"


def test_ordinary_text_of_any_script_stays() -> None:
    assert visible("熊本 Ünïcode مرحبا 12\u202f345") == "熊本 Ünïcode مرحبا 12\u202f345"


def test_cutting_never_cuts_an_escape() -> None:
    assert visible("ab\x1bcd", 4) == "ab\\x1b…"


@given(st.text())
def test_html_has_no_markup(text: str) -> None:
    escaped = html(text)
    assert not set("<>\"'") & set(escaped)


@given(
    st.recursive(
        st.text() | st.integers() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_in_a_script_cannot_end_it_and_reads_back(value: object) -> None:
    dumped = json_for_script(value)
    assert not set("<>&\u2028\u2029") & set(dumped)
    assert json.loads(dumped) == value


def test_json_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        json_for_script(float("nan"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (None, "–"), (float("nan"), "–"), (1234567.0, "1,234,567"), (8.4312, "8.43"), (-0.0424, "−0.0424"),
     (0.98765, "0.988"), (99.96, "100.0"), (1e12, "1.00e+12"), (0.00001234, "1.23e−05")],
)  # fmt: skip
def test_numbers(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.5, "50\u202f%"), (1.0, "100\u202f%"), (0.99999, "99.9\u202f%"), (0.0001, "< 0.1\u202f%"), (0.0, "0\u202f%"),
     (-0.031, "−3.1\u202f%"), (None, "–")],
)  # fmt: skip
def test_shares_never_claim_more_than_is_true(share: float | None, shown: str) -> None:
    assert percent(share) == shown


def test_lengths() -> None:
    assert duration(timedelta(days=1, hours=3, minutes=5)) == "1\u202fd 3\u202fh"
    assert duration(timedelta()) == "0\u202fs"
    assert [bin_name(timedelta(minutes=m)) for m in (1, 10, 60, 1440)] == ["1m", "10m", "1h", "1d"]
    assert size(1_550_000_000) == "1.55\u202fGB"
    assert size(999) == "999\u202fB"
    assert integer(1234.6) == "1,235"
    assert fixed(-1.0, 2) == "−1.00"


def test_a_sparkline_is_scaled_from_zero() -> None:
    assert sparkline([0, 1, 2, 4], 4) == "▁▃▅█"
    assert sparkline([], 4) == ""
    assert sparkline([0.0, 0.0], 4) == "▁▁"
    assert len(sparkline(list(map(float, range(1000))), 24)) == 24
