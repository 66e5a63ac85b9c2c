"""The summary on a terminal: what was read, counted, found, and where the report is.

Colours and width follow the terminal (and ``NO_COLOR``); in a pipe the same words come plain. Nothing from a log
is taken as markup or reaches the terminal with its control characters.
"""

from __future__ import annotations

import shlex
import textwrap
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO
from zoneinfo import ZoneInfo

import polars as pl
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from seismolog.report.analysis import KIND_LABELS, KIND_SYMBOLS
from seismolog.report.curves import choose_axis
from seismolog.report.findings import deferral_sentence
from seismolog.report.text import fixed, integer, number, percent, size, sparkline, visible

if TYPE_CHECKING:
    from pathlib import Path

    from seismolog.report.analysis import Analysis, Coefficient, ModelResult

__all__ = ["print_models", "print_summary"]

TOP_CLIENTS = 8
MAX_FINDINGS = 6
MAX_INCIDENTS = 8
WIDTH = 110
"""Columns in a pipe, which has no width of its own, and the widest that text is set on a terminal."""
SPARK = 24
_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


def print_summary(analysis: Analysis, report: Path | None, out: TextIO) -> None:
    """Print the summary of an analysis, and where its report is."""
    console = _console(out)
    _header(console, analysis)
    _kinds(console, analysis)
    _clients(console, analysis)
    for model in analysis.models:
        _model(console, model)
    _incidents(console, analysis)
    _findings(console, analysis)
    if report is not None:
        console.print()
        console.print(Text.assemble("Report: ", (visible(report), "bold")))


def print_models(analysis: Analysis, out: TextIO) -> None:
    """Print the models in full, coefficients beside those of 2003."""
    console = _console(out)
    if not analysis.models:
        console.print(
            "No mail server has both its mail log and its DNS queries over the same time; nothing to fit."
        )
        return
    for model in analysis.models:
        title = Text.assemble((visible(model.server), "bold"), f"  {visible(model.client)}")
        console.print(title)
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        for name, justify in (("queries by one of", "left"), ("estimate", "right"), ("std. error", "right"),
                              ("95 % interval", "right"), ("2003", "right")):  # fmt: skip
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        terms: list[tuple[str, Coefficient]] = list(model.coefficients.items())
        if model.baseline is not None:
            terms.append(("baseline", model.baseline))
        for kind, term in terms:
            table.add_row(
                visible(KIND_LABELS.get(kind, kind)),
                fixed(term.estimate, 3),
                fixed(term.std_error, 3),
                f"{fixed(term.low, 3)} to {fixed(term.high, 3)}",
                "–" if term.paper is None else f"{term.paper:g}",
            )
        console.print(Padding(table, (0, 0, 0, 2)))
        console.print(
            Text(
                f"  n(1−q) = {number(model.receive_product)}   R² = {number(model.r_squared)}   dispersion = "
                f"{number(model.dispersion)}   cache efficiency = {percent(model.cache_efficiency)}   "
                f"{integer(model.rejected)} of {integer(model.bins)} bins are outlying"
            )
        )
        _paragraph(console, deferral_sentence(model), 2)
        for note in model.notes:
            _paragraph(console, note, 2, "dim")
        console.print()


def _console(out: TextIO) -> Console:
    console = Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def _header(console: Console, analysis: Analysis) -> None:
    summary = analysis.input
    title = visible(analysis.site or ", ".join(_servers(analysis)) or "nothing counted")
    when = ""
    if analysis.start and analysis.end:
        zone = ZoneInfo(analysis.timezone)
        first, last = analysis.start.astimezone(zone), analysis.end.astimezone(zone)
        when = f"  {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} {analysis.timezone}"
    console.print(Text.assemble((title, "bold"), (when, "dim")))
    known = (summary.matched + summary.ignored) / summary.lines if summary.lines else None
    words = "file" if len(summary.files) == 1 else "files"
    console.print(
        Text(
            f"{integer(len(summary.files))} {words}, {size(sum(f.bytes for f in summary.files))}, "
            f"{integer(summary.lines)} lines: {integer(summary.matched)} counted, {integer(summary.ignored)} ignored, "
            f"{integer(summary.unmatched)} not understood ({percent(known)} understood)"
        )
    )
    for guess in summary.guesses[:4]:
        _paragraph(console, guess, 9, label="guessed")
    if len(summary.guesses) > 4:
        console.print(Text(f"         and {len(summary.guesses) - 4} more guesses", style="dim"))
    if summary.passed_over:
        path, reason = summary.passed_over[0]
        more = f" and {len(summary.passed_over) - 1} more" if len(summary.passed_over) > 1 else ""
        console.print(Text.assemble(("passed over  ", "dim"), f"{visible(path)}: {visible(reason)}{more}"))
    for limit, count in summary.shed.items():
        console.print(Text.assemble(("left out  ", "yellow"), f"{visible(limit)}: {integer(count)}"))


def _paragraph(console: Console, text: str, indent: int, style: str = "", *, label: str = "") -> None:
    """Text wrapped and indented by ourselves: rich would fill every line up with blanks."""
    width = max(30, min(console.width, WIDTH) - indent)
    wrapped = textwrap.wrap(visible(text), width, break_on_hyphens=False, break_long_words=False)
    for place, line in enumerate(wrapped):
        head = label.ljust(indent) if place == 0 else " " * indent
        console.print(Text.assemble((head, "dim"), (line, style)), soft_wrap=True)


def _servers(analysis: Analysis) -> list[str]:
    if not analysis.traffic.height:
        return []
    return sorted(str(name) for name in analysis.traffic["server"].unique().to_list())[:4]


def _kinds(console: Console, analysis: Analysis) -> None:
    counts = analysis.counts()
    if not counts or analysis.start is None or analysis.end is None:
        return
    axis = choose_axis(analysis.start, analysis.end, analysis.timezone)
    by_kind = analysis.traffic.group_by("bin_start", "kind").agg(pl.col("count").sum())
    table = _plain_table()
    table.add_column("counted", no_wrap=True)
    table.add_column("", style="dim", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("", style="blue", no_wrap=True)
    for kind in [k for k in KIND_LABELS if counts.get(k)] + sorted(k for k in counts if k not in KIND_LABELS):
        band = axis.band(by_kind.filter(pl.col("kind") == kind), "count", timedelta(minutes=1))
        curve = sparkline([value or 0.0 for value in band.mean], SPARK)
        table.add_row(
            visible(KIND_LABELS.get(kind, kind)), KIND_SYMBOLS.get(kind, ""), integer(counts[kind]), curve
        )
    console.print()
    console.print(table)


def _clients(console: Console, analysis: Analysis) -> None:
    queries = analysis.clients.filter(pl.col("kind") == "dns_query")
    if not queries.height or analysis.start is None or analysis.end is None:
        return
    total = analysis.counts().get("dns_query", 0) or 1
    axis = choose_axis(analysis.start, analysis.end, analysis.timezone, analysis.curve_bin, target=240)
    curves = analysis.curves.filter(pl.col("kind") == "dns_query")
    table = _plain_table()
    table.add_column("most DNS queries", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("", style="blue", no_wrap=True)
    table.add_column("", no_wrap=True)
    for client, count in queries.select("client", "count").head(TOP_CLIENTS).iter_rows():
        band = axis.band(curves.filter(pl.col("client") == client), "count", analysis.curve_bin)
        curve = sparkline([value or 0.0 for value in band.mean], SPARK)
        role = (
            f"mail server {visible(analysis.mail_clients[client])}" if client in analysis.mail_clients else ""
        )
        table.add_row(visible(client), integer(count), percent(count / total), curve, role)
    console.print()
    console.print(table)


def _plain_table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _model(console: Console, model: ModelResult) -> None:
    symbols = {"smtp_accepted": "N_S", "pop_access": "N_P", "imap_access": "N_imap"}
    terms = " + ".join(
        f"{number(term.estimate)} {symbols.get(kind, visible(kind))}"
        for kind, term in model.coefficients.items()
    )
    if model.baseline is not None:
        terms += f" + {number(model.baseline.estimate)} a bin"
    quality = f"R² {number(model.r_squared)}" if model.r_squared is not None else "not fitted"
    if model.cache_efficiency is not None:
        quality += f", cache efficiency {percent(model.cache_efficiency)}"
    console.print()
    console.print(
        Text.assemble(
            ("model  ", "dim"), f"{visible(model.server)}: D_q ≈ {terms}  ({quality}; 2003: 8.6 N_S + 1 N_P)"
        )
    )


def _incidents(console: Console, analysis: Analysis) -> None:
    from seismolog.report.incidents import ordered

    told = [i for i in ordered(analysis.incidents) if i.suppressed is None]
    if told:
        console.print()
    for incident in told[:MAX_INCIDENTS]:
        subjects = ", ".join(visible(s) for s in incident.subjects[:3])
        more = f" and {len(incident.subjects) - 3} more" if len(incident.subjects) > 3 else ""
        console.print(
            Text.assemble(
                (f"{incident.severity:8}", _STYLES[incident.severity]),
                " ",
                (f"{incident.cause}: {subjects}{more}", "bold"),
            )
        )
        _paragraph(console, incident.explanation, 9)
    rest = len(told) - MAX_INCIDENTS
    if rest > 0:
        console.print(Text(f"         and {rest} more incidents in the report", style="dim"))


def _findings(console: Console, analysis: Analysis) -> None:
    if not analysis.findings:
        if all(incident.suppressed is not None for incident in analysis.incidents):
            console.print()
            console.print("Nothing stands out.")
        return
    console.print()
    for finding in analysis.findings[:MAX_FINDINGS]:
        console.print(
            Text.assemble(
                (f"{finding.severity:8}", _STYLES[finding.severity]), " ", (visible(finding.title), "bold")
            )
        )
        _paragraph(console, finding.text, 9)
        if finding.trace and console.is_terminal:
            _paragraph(console, shlex.join(finding.trace), 9, "dim")
    rest = len(analysis.findings) - MAX_FINDINGS
    if rest > 0:
        console.print(Text(f"         and {rest} more in the report", style="dim"))
