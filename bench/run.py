"""Run the benchmark suite and write docs/benchmarks.md.

    make bench                                   everything, at full size (needs 12 GB of disk; about an hour)
    make bench BENCH="--scale 0.1"               a tenth of the lines
    make bench BENCH="--rows clients,mail"       some rows only; nothing is written
    make bench BENCH="--month 1"                 with `analyze` over 30 days and 300 million lines (10 GB more)

Every figure is a ratio of two times measured in turn on the same machine, page cache warm. The suite stops with an
error when two ways to count the same lines disagree. It gives figures for this machine; what they depend on (cores,
processor) is written beside them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path

from . import month, table
from .inputs import ROOT, Inputs, build_programs, default_folder, warm
from .measure import middle, run
from .peers import Peer, dns_peers, mail_peers
from .rows import Row, Suite, agree, all_rows


def peer_row(suite: Suite, peer: Peer, file: Path, pattern: str, expected: str | None) -> Row:
    """Measure a peer against one grep pass over the file that it reads, and compare its answer with ours."""
    warm([file])
    runs = 1 if peer.sliced else min(suite.runs, 3)
    mine, base, output = [], [], ""
    for _ in range(runs):
        base.append(middle([suite.grep(pattern, file).seconds for _ in range(3 if peer.sliced else 1)]))
        done = run(peer.command)
        mine.append(done.seconds)
        output = done.output
    if expected is not None and peer.read is not None:
        wanted = expected if peer.full else expected.split()[0]
        agree(peer.name, wanted, peer.read(output))
    return Row(peer.name, peer.what, middle(mine), middle(base), None)


def peer_rows(suite: Suite) -> list[Row]:
    """All peers that are installed."""
    inputs = suite.inputs
    expected = str(suite.worker("clients", inputs.dns())["check"])
    rows = []
    for peer in dns_peers(suite.programs.peers, inputs.dns(), inputs.dns_slice()):
        say(f"peer {peer.name}")
        file = inputs.dns_slice() if peer.sliced else inputs.dns()
        rows.append(peer_row(suite, peer, file, "query:", expected))
    for peer in mail_peers(inputs.mail_slice()):
        say(f"peer {peer.name}")
        rows.append(peer_row(suite, peer, inputs.mail_slice(), "from=", None))
    return rows


def say(text: str) -> None:
    """Show progress where a person may be looking."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Run what the command line asks for; exit status 1 when a target is missed at full size."""
    parser = argparse.ArgumentParser(
        prog="bench.run", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=default_folder(), help="cache folder of the inputs")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size (1)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each row; the median counts (5)")
    parser.add_argument("--rows", default="", help="only these rows, by name, separated by commas")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument(
        "--month", type=float, default=0.0, metavar="SCALE", help="analyze 30 days too, at this scale"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "benchmarks.md", help="where the table goes"
    )
    arguments = parser.parse_args()

    say("building the generator and the peers")
    programs = build_programs()
    inputs = Inputs(arguments.dir, programs.generate, arguments.scale)
    suite = Suite(inputs, programs, arguments.runs)
    wanted = set(filter(None, arguments.rows.split(",")))
    known = [name for name, _ in all_rows(suite)]
    if unknown := wanted.difference(known):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(known)}")

    rows = []
    for name, measure in all_rows(suite):
        if wanted and name not in wanted:
            continue
        say(name)
        row = measure()
        rows.append(row)
        say(f"  {table.line(row)}")
    peers = [] if wanted or arguments.no_peers else peer_rows(suite)
    days = None
    if arguments.month > 0:
        say("analyze over 30 days")
        days = month.measure(inputs, arguments.month)
    text = table.document(suite, rows, peers, days, dt.datetime.now(tz=dt.UTC).date())
    if wanted:
        print(text)
    else:
        arguments.out.write_text(text)
        say(f"wrote {arguments.out}")
    missed = [row.work for row in rows if row.met is False]
    if missed:
        say(f"missed: {'; '.join(missed)}")
    return 1 if missed and arguments.scale >= 1 else 0


if __name__ == "__main__":
    sys.exit(main())
