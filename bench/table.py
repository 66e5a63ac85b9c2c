"""docs/benchmarks.md from the measured rows."""

from __future__ import annotations

import datetime as dt

from .month import Month
from .rows import Row, Suite

HEAD = """\
# Benchmarks

Written by `make bench` on {date}: {processor}, {cores} cores, {memory_gib} GiB, load average
{load:.1f} when it began (above 0.5, other work took part of the machine and two threads lose more by it than one: run it
again when it is quiet). Page cache warm; medians of {runs} runs,
each in turn with what it is compared with, so that a ratio says more than its two times. `grep -c` counts `query:` in the
DNS lines and `from=` in the mail lines. Inputs come from a seed:
{dns_lines:,} BIND lines of about 157 bytes (20,000 clients after a Zipf law, as dense as ten million in a day) and
{mail_lines:,} mail lines in which sendmail, Postfix, qpopper and Dovecot take turns. Our times run on 2 threads from the
call of the core to the complete polars frame with one row for each minute and client, unless a row says whole process.

## seismolog

| work | against | ratio | at most | our time | remarks |
| --- | --- | ---: | ---: | ---: | --- |
"""

PEERS = """
## Peers

Over the same lines as above, each against one `LC_ALL=C grep -c` pass. Those that count by minute and client gave
exactly our table; the others gave our total.

| peer | what it does | ratio to `grep -c` | time |
| --- | --- | ---: | ---: |
"""

MONTH = """
## A month

`analyze` over {lines:,} events of 30 days and 20,000 clients ({input_gib:.1f} GiB of `.zst`): {analyze:.0f} s, of which
{after:.0f} s after counting; peak memory {peak:.0f} MiB; the store takes {store:.2f} GiB.
"""


def line(row: Row) -> str:
    """One row of the table."""
    target = "" if row.target is None else f"{row.target:.2f} ×" + ("" if row.met else " (missed)")
    cells = [
        row.work,
        row.against,
        f"{row.ratio:.2f} ×",
        target,
        f"{row.seconds:.2f} s",
        "; ".join(row.notes),
    ]
    return f"| {' | '.join(cells)} |"


def document(suite: Suite, rows: list[Row], peers: list[Row], days: Month | None, date: dt.date) -> str:
    """The whole page."""
    inputs = suite.inputs
    text = HEAD.format(
        date=date, runs=suite.runs, dns_lines=inputs.dns_lines, mail_lines=inputs.mail_lines, **suite.facts
    )
    text += "".join(f"{line(row)}\n" for row in rows)
    if peers:
        text += PEERS
        for row in peers:
            text += f"| {row.work} | {row.against} | {row.ratio:.1f} × | {row.seconds:.2f} s |\n"
    if days is not None:
        text += MONTH.format(
            lines=days.lines,
            input_gib=days.input_gib,
            analyze=days.analyze_seconds,
            after=days.after_counting,
            peak=days.peak_mib,
            store=days.store_gib,
        )
    return text
