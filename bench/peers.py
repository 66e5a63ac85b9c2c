"""The peers: other ways to get at the same counts, each as a command with a reader of its answer.

A peer that counts DNS queries by minute and client answers three numbers, `queries rows sum-of-squares`: the sum, the
number of (minute, client) pairs and the sum of their squared counts. Two tables that agree in all three are taken to
be the same. A peer that is not installed is left out and said to be.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# The quantities of the paper, in its order, as it counted them: grep | wc.
PIPELINES = {
    "D_q": "grep -a domain {files} | wc -l",
    "N_from": "grep -a 'from=' {files} | wc -l",
    "N_SS": "grep -a 'to=' {files} | grep -a 'stat=Sent' | wc -l",
    "N_SD": "grep -a 'to=' {files} | grep -a 'stat=Deferred' | wc -l",
    "N_P": r"grep -a 'popper\[' {files} | wc -l",
}

MAWK = r"""
/ query: / {
    minute = substr($0, 1, 12)
    client = $0
    sub(/.*client (@0x[0-9a-f]+ )?/, "", client)
    sub(/#.*/, "", client)
    table[minute, client]++
    queries++
}
END { for (key in table) { rows++; squares += table[key] * table[key] } printf "%d %d %d\n", queries, rows, squares }
"""

PYTHON_RE = r"""
import re, sys
from collections import Counter
line = re.compile(rb"(\w{3} [ \d]\d \d\d:\d\d):\d\d (\S+) named\[\d+\]: client (?:@0x[0-9a-f]+ )?([0-9a-fA-F.:]+)#\d+ "
                  rb"\([^)]*\): query: (\S+) IN (\S+)")
table = Counter()
with open(sys.argv[1], "rb") as file:
    for text in file:
        if found := line.match(text):
            table[found[1], found[3]] += 1
print(sum(table.values()), len(table), sum(count * count for count in table.values()))
"""

POLARS = r"""
import sys
import polars as pl
pattern = (
    r"^(?P<minute>\w{3} [ \d]\d \d\d:\d\d):\d\d \S+ named\[\d+\]: "
    r"client (?:@0x[0-9a-f]+ )?(?P<client>[0-9a-fA-F.:]+)#\d+ "
)
lines = pl.scan_csv(sys.argv[1], has_header=False, separator="\x01", quote_char=None, new_columns=["line"])
table = (
    lines.select(pl.col("line").str.extract_groups(pattern).alias("found")).unnest("found").drop_nulls("client")
    .group_by("minute", "client").agg(pl.len().cast(pl.Int64).alias("count"))
    .select(pl.col("count").sum().alias("queries"), pl.len().alias("rows"), pl.col("count").pow(2).sum().alias("squares"))
    .collect(engine="streaming")
)
print(*table.row(0))
"""

DUCKDB = r"""
import sys
import duckdb
duckdb.sql("SET threads = 2; SET enable_progress_bar = false")
rows = duckdb.execute(
    r'''
    WITH parts AS (
        SELECT regexp_extract(
            line,
            '^(\w{3} [ \d]\d \d\d:\d\d):\d\d \S+ named\[\d+\]: client (@0x[0-9a-f]+ )?([0-9a-fA-F.:]+)#\d+ ',
            ['minute', 'pointer', 'client']
        ) AS found
        FROM read_csv(?, columns = {'line': 'VARCHAR'}, header = false, delim = '\x01', quote = '', escape = '',
                      auto_detect = false)
    ), counts AS (
        SELECT found.minute, found.client, count(*) AS n FROM parts WHERE found.client <> '' GROUP BY ALL
    )
    SELECT sum(n)::BIGINT, count(*), sum(n * n)::BIGINT FROM counts
    ''',
    [sys.argv[1]],
).fetchone()
print(*rows)
"""


@dataclass(frozen=True)
class Peer:
    """A way to count, beside ours."""

    name: str
    what: str
    command: list[str]
    # Whether the answer is the three numbers, or just the number of queries.
    full: bool
    # Slow peers read a fiftieth of the lines and are compared with grep over the same fiftieth.
    sliced: bool = False
    # What the answer's text says, in the form of `full`; None when it says nothing to compare.
    read: Callable[[str], str] | None = str.strip


def paper_pipelines(files: list[Path]) -> list[str]:
    """One shell command that runs the paper's five pipelines and prints `name count` lines."""
    names = " ".join(f"'{path}'" for path in files)
    # The paper names one file for each; `cat` makes one stream of several without grep's file names.
    parts = []
    for quantity, pipeline in PIPELINES.items():
        first, rest = pipeline.format(files="").split("|", 1)
        parts.append(f"printf '{quantity} '; {first.strip()} -h {names} |{rest}")
    return ["sh", "-c", "; ".join(parts)]


def dns_peers(regex_counter: Path, dns: Path, dns_slice: Path) -> list[Peer]:
    """The peers that count DNS queries and are installed here."""
    python = sys.executable
    goaccess_format = [
        "--log-format=%d %t %^ %^: client %^ %h#%^ (%^): query: %U IN %^",
        "--date-format=%b %e",
        "--time-format=%T",
    ]
    peers = [
        Peer("grep -c", "`LC_ALL=C grep -c query:`", ["grep", "-c", "query:", str(dns)], full=False),
        Peer(
            "wc -l", "counts line ends only", ["wc", "-l", str(dns)], False, read=lambda text: text.split()[0]
        ),
        Peer("ripgrep", "`rg -c query:`", ["rg", "--no-config", "-a", "-c", "query:", str(dns)], full=False),
        Peer(
            "regex crate",
            "by minute and client, one thread",
            [str(regex_counter), "regex", str(dns)],
            full=True,
        ),
        Peer("mawk", "by minute and client", ["mawk", MAWK, str(dns)], full=True),
        Peer("Python re", "by minute and client", [python, "-c", PYTHON_RE, str(dns)], full=True),
        Peer("polars", "by minute and client, 2 threads", [python, "-c", POLARS, str(dns)], full=True),
        Peer("DuckDB", "by minute and client, 2 threads", [python, "-c", DUCKDB, str(dns)], full=True),
        Peer(
            "GoAccess",
            "its report, from a fiftieth of the lines",
            [
                "goaccess",
                str(dns_slice),
                "--no-global-config",
                "--no-progress",
                "-o",
                "json",
                *goaccess_format,
            ],
            full=False,
            sliced=True,
            read=None,
        ),
    ]
    return [peer for peer in peers if shutil.which(peer.command[0]) is not None]


def mail_peers(mail_slice: Path) -> list[Peer]:
    """The peers that read mail logs and are installed here."""
    peers = [
        Peer(
            "pflogsumm",
            "its report, from a fiftieth of the mail lines",
            ["pflogsumm", str(mail_slice)],
            full=False,
            sliced=True,
            read=None,
        )
    ]
    return [peer for peer in peers if shutil.which(peer.command[0]) is not None]
