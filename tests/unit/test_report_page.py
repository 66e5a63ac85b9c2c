"""The report page: whole, offline, escaped, and thin enough to open."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from seismolog.report import build
from seismolog.report.analysis import Analysis, InputSummary
from seismolog.report.findings import find

SAMPLE = runpy.run_path(str(Path(__file__).with_name("report_evening.py")))
EMPTY_TRAFFIC = pl.DataFrame(
    schema={"bin_start": pl.Datetime("us", "UTC"), "server": pl.String, "kind": pl.String, "count": pl.UInt64}
)
EMPTY_CLIENTS = pl.DataFrame(schema={"client": pl.String, "kind": pl.String, "count": pl.UInt64})
EMPTY_CURVES = pl.DataFrame(
    schema={"bin_start": pl.Datetime("us", "UTC"), "client": pl.String, "kind": pl.String, "count": pl.UInt64}
)
VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; fails where tags do not balance."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(source)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1] == tag, f"</{tag}> closes {self.stack[-3:]}"
        self.stack.pop()

    def handle_data(self, data):
        if not self.stack or self.stack[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def evening() -> Analysis:
    analysis = SAMPLE["evening"]()
    return replace(analysis, findings=find(analysis))


@pytest.fixture(scope="module")
def source(evening: Analysis) -> str:
    return build(evening)


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_the_page_is_one_file_without_references(page: Page, source: str) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "srcset", "poster", "background"):
            value = attributes.get(name)
            if value is not None:
                assert value.startswith("#") or value == "data:,", (tag, name, value)
    assert "url(" not in source
    assert "@import" not in source
    assert not re.search(r"(https?|wss?|ftp):", source)


def test_hostile_text_is_shown_and_is_no_markup(page: Page, source: str) -> None:
    assert "<script>window.hacked" not in source
    assert not page.all("img")
    assert all(not any(name.startswith("on") for name in attributes) for _, attributes in page.elements)
    shown = "".join(page.text)
    assert "</script><script>window.hacked=1</script>\\x1b[2J\\u202egpj.exe<img src=x" in shown
    assert "\x1b" not in source
    assert "\u202e" not in source


def test_hostile_names_are_escaped_wherever_an_analysis_can_hold_them(evening: Analysis) -> None:
    bad = SAMPLE["HOSTILE"]
    model = replace(evening.models[0], server=bad, name=bad, client=bad, notes=(bad,))
    traffic = evening.traffic.with_columns(server=pl.lit(bad))
    finding = replace(evening.findings[0], title=bad, text=bad, subjects=(bad,), trace=("seismolog", bad))
    file = replace(
        evening.input.files[1], path=bad, servers=(bad,), error=(3, bad), dialects={bad: 1}, state=bad
    )
    shown = replace(
        evening,
        site=bad,
        paths=(bad,),
        traffic=traffic,
        models=(model,),
        findings=(finding,),
        mail_clients={SAMPLE["MAIL"]: bad},
        input=replace(evening.input, files=(file,), guesses=(bad,), shed={bad: 1}, reasons={bad: 2}),
    )
    source = build(shown)
    parsed = Page(source)
    assert "<script>window.hacked" not in source
    assert not parsed.all("img")
    assert "\x1b" not in source
    assert "\u202e" not in source
    for script in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', source, re.DOTALL):
        json.loads(script)


def test_the_policy_allows_only_the_script_of_the_page(page: Page, source: str) -> None:
    import base64
    import hashlib

    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    code = re.search(r"<script>(.*?)</script></body>", source, re.DOTALL)
    assert code is not None
    digest = base64.b64encode(hashlib.sha256(code[1].encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_every_chart_has_a_name_a_description_and_a_table(page: Page) -> None:
    figures = page.all("figure")
    assert [a["id"] for a in figures] == [
        "chart-traffic",
        "chart-deliveries",
        "chart-model-1",
        "chart-cache-1",
    ]
    assert all(a["aria-labelledby"] for a in figures)
    drawings = [a for a in page.all("svg") if a.get("aria-hidden") != "true"]
    assert drawings
    assert all(a.get("role") == "img" and a.get("aria-label") for a in drawings)
    assert len(page.all("details")) == len(figures)
    assert all(a.get("scope") in ("col", "row", "rowgroup") for a in page.all("th"))


def test_links_inside_the_page_lead_somewhere(page: Page) -> None:
    ids = [a["id"] for _, a in page.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert link["href"] is not None
        assert link["href"][1:] in ids
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            if attributes.get(name):
                assert attributes[name] in ids


def test_headings_go_down_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_model_table_stands_beside_the_study(page: Page) -> None:
    text = " ".join("".join(page.text).split())
    assert "8.430.118.21 to 8.648.6" in text  # the cells of one row: estimate, error, interval, 2003
    assert "1.61" in text  # n(1−q)
    assert "0.987" in text
    assert "No correlation was found between the residual and NSD" in text


def test_a_month_stays_within_the_points_a_curve_may_have(evening: Analysis) -> None:
    start = datetime(2003, 1, 1, tzinfo=UTC)
    minutes = pl.datetime_range(
        start, start + timedelta(days=45), "1m", closed="left", time_zone="UTC", eager=True
    )
    traffic = pl.DataFrame({"bin_start": minutes}).with_columns(
        server=pl.lit("1dns"), kind=pl.lit("dns_query"), count=pl.int_range(pl.len()).cast(pl.UInt64) % 97
    )
    source = build(replace(evening, traffic=traffic, models=(), findings=()))
    for script in re.findall(r'class="data">(.*?)</script>', source, re.DOTALL):
        for panel in json.loads(script)["panels"]:
            assert all(len(series) <= 1500 for series in panel["series"])
    assert len(source) < 1_000_000


def test_nothing_counted_is_a_page_too() -> None:
    page = Page(build(Analysis(InputSummary(), EMPTY_TRAFFIC, EMPTY_CLIENTS, EMPTY_CURVES)))
    assert "Nothing in these files was counted" in "".join(page.text)


def test_one_minute_of_one_kind_is_a_page_too() -> None:
    traffic = pl.DataFrame(
        {
            "bin_start": [datetime(2026, 3, 1, tzinfo=UTC)],
            "server": ["a"],
            "kind": ["pop_access"],
            "count": [3],
        },
        schema=EMPTY_TRAFFIC.schema,
    )
    Page(build(Analysis(InputSummary(lines=3, matched=3), traffic, EMPTY_CLIENTS, EMPTY_CURVES)))
