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

LIMITS = """
## What limits it

Found by sampling the threads that count (`perf record -e cpu-clock`, the processor of the machine tells no events of
its own) and by simulation (`cachegrind --branch-sim=yes`, the first 200,000 lines with AVX2, those in which clients are
seen for the first time among them), on 2026-12-01:

| | mail | DNS by client | DNS, all columns | three servers by client |
| --- | ---: | ---: | ---: | ---: |
| lines taken apart and counted, two loops | 52 % | 53 % | 44 % | 61 % |
| bins sealed into columns | 5 % | 7 % | 25 % | 8 % |
| events held under an identifier | 9 % | | | |
| the kernel: copies out of the page cache | 21 % | 27 % | 18 % | 18 % |
| the kernel and the C library: first touch of memory, the rest of reading | 9 % | 11 % | 12 % | 11 % |
| instructions a line | 1,110 | 870 | 1,340 | |
| branches guessed wrong a line | 6.1 | 2.7 | 4.7 | |
| misses of the first-level data cache a line | 8.1 | 13 | 20 | |

- Mail is limited by branches: which daemon wrote a line and what it says, nobody can guess. Before the usual lines were
  read by bit masks of 64 bytes there were 13.3 wrong guesses a line.
- DNS by client is limited by the kernel, which copies every byte once (a mapped file would not be copied, but one that is
  cut short while it is read would end the process) and clears what the rows are written to, and by some 350 instructions
  a line in the two loops. Of a usual line all that stands before its fields is compared at once, and the ends of its
  fields come of three masks that do not wait for one another (before: of four looks, each of which began where the one
  before had ended); events are counted 32 at a time. That took a fifth of the time; of what is left a third is the
  copies, without which nobody can be quicker than 0.1 times `grep -c` on two threads.
- All columns are limited by the cache: names are written down, and counted in two tables when their minute is sealed.
- Three servers are DNS by client with longer addresses, of which half do not fit the first sixteen bytes, and with three
  minutes open at a time.
- A million names in one minute outgrow every cache but the last; they are sorted and sampled.
- The peak of memory is the frame itself (61 bytes a row with all columns) and what the interpreter needs before (50 MiB);
  the bins that are open at the edges of both parts come on top, by their sizes about 20 MiB each.
- Large pages (`MADV_HUGEPAGE`) for the columns took more time, in the kernel, than they saved.
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
    text += LIMITS
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
