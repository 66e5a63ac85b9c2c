"""The rows of the speed table: what is measured, against what, and how much it may take at most.

Every row alternates our run with the run it is compared with, so that a busy moment of the machine meets both, and
divides the medians.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .inputs import ROOT, Inputs, Programs, warm
from .measure import Run, machine, middle, run
from .peers import paper_pipelines

SEISMOLOG = ROOT / ".venv" / "bin" / "seismolog"


class DisagreementError(AssertionError):
    """Two ways to count the same lines gave different answers."""


@dataclass
class Row:
    """One measured row."""

    work: str
    against: str
    seconds: float
    base_seconds: float
    target: float | None
    notes: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Our time as a multiple of the other's."""
        return self.seconds / self.base_seconds

    @property
    def met(self) -> bool | None:
        """Whether the target holds; None where there is none."""
        return None if self.target is None else self.ratio <= self.target


def agree(what: str, ours: object, theirs: object) -> None:
    """Raise `DisagreementError` unless both are equal."""
    if ours != theirs:
        raise DisagreementError(f"{what}: seismolog says {ours}, the other {theirs}")


@dataclass
class Suite:
    """Runs rows over the inputs."""

    inputs: Inputs
    programs: Programs
    runs: int
    facts: dict[str, Any] = field(default_factory=machine)

    def worker(self, job: str, *files: Path) -> dict[str, Any]:
        """Run one job of ours in a fresh process."""
        command = [sys.executable, "-m", "bench.worker", job, *map(str, files)]
        answer: dict[str, Any] = json.loads(run(command, cwd=ROOT).output)
        return answer

    def grep(self, pattern: str, file: Path) -> Run:
        """One `LC_ALL=C grep -c` pass."""
        return run(["grep", "-c", pattern, str(file)])

    def alternate(
        self, ours: Callable[[], dict[str, Any]], base: Callable[[], float]
    ) -> tuple[float, float, dict[str, Any]]:
        """Run both in turn; return both medians and our last answer."""
        mine, other, answer = [], [], {}
        for _ in range(self.runs):
            other.append(base())
            answer = ours()
            mine.append(answer["seconds"])
        return middle(mine), middle(other), answer

    def counting(self, work: str, job: str, file: Path, pattern: str, target: float | None) -> Row:
        """A row that counts one file, against one grep pass over the same file."""
        warm([file])
        expected = self.grep(pattern, file)
        seconds, base, answer = self.alternate(
            lambda: self.worker(job, file), lambda: self.grep(pattern, file).seconds
        )
        if pattern == "query:":
            agree(f"{work}: queries", answer["check"].split()[0], expected.output.strip())
        notes = [f"{answer['rows']:,} rows", memory_note(answer)]
        if answer["unmatched"]:
            notes.append(f"{answer['unmatched']:,} lines unmatched")
        if any((answer["shed"] or {}).values()):
            notes.append(f"shed: {answer['shed']}")
        return Row(work, "one `grep -c` pass", seconds, base, target, notes)

    def whole_process(self) -> Row:
        """`seismolog count` from its start to its end."""
        file = self.inputs.dns()
        warm([file])
        command = [
            str(SEISMOLOG),
            "count",
            str(file),
            "--by",
            "kind",
            "--bin",
            "1h",
            "--format",
            "csv",
            "--year",
            "2002",
        ]

        def ours() -> dict[str, Any]:
            done = run(command)
            return {"seconds": done.seconds, "peak": done.peak_mib, "output": done.output}

        seconds, base, answer = self.alternate(ours, lambda: self.grep("query:", file).seconds)
        total = sum(int(line.rsplit(",", 1)[1]) for line in answer["output"].split()[1:])
        agree("whole process", total, int(self.grep("query:", file).output))
        notes = [f"peak {answer['peak']:.0f} MiB"]
        return Row(
            "the same file, whole process, `count --by kind --bin 1h`",
            "one `grep -c` pass",
            seconds,
            base,
            0.55,
            notes,
        )

    def start_up(self) -> Row:
        """`seismolog --version`, in seconds rather than as a ratio."""
        seconds = middle([run([str(SEISMOLOG), "--version"]).seconds for _ in range(max(5, self.runs))])
        return Row("start-up, `seismolog --version`", "one second", seconds, 1.0, 0.15)

    def paper(self) -> Row:
        """The paper's five counts over both files, against its five pipelines."""
        files = [self.inputs.dns(), self.inputs.mail()]
        warm(files)
        pipelines = paper_pipelines(files)
        theirs: dict[str, int] = {}

        def base() -> float:
            done = run(pipelines)
            theirs.update((line.split()[0], int(line.split()[1])) for line in done.output.splitlines())
            return done.seconds

        seconds, base_seconds, answer = self.alternate(lambda: self.worker("paper", *files), base)
        agree("the paper's counts", answer["check"], theirs)
        return Row(
            "the paper's five counts over both files", "the five pipelines", seconds, base_seconds, 0.12
        )

    def decompress(self, files: list[Path]) -> float:
        """Bare decompression of the files on two threads."""
        return run([str(self.programs.peers), "decompress", *map(str, files)]).seconds

    def one_gz(self) -> Row:
        """One gzip file: decompression cannot be shared out, so it sets the pace."""
        file = self.inputs.one_gz()
        warm([file])
        seconds, base, answer = self.alternate(
            lambda: self.worker("clients", file), lambda: self.decompress([file])
        )
        return Row(
            "one `.gz` of the DNS lines",
            "decompressing alone (zlib-rs)",
            seconds,
            base,
            1.15,
            [memory_note(answer)],
        )

    def many(self, ending: str) -> Row:
        """Eight compressed files, against decompressing them and counting the plain ones."""
        packed, plain = self.inputs.many(ending), self.inputs.many(".log")
        warm(packed + plain)
        seconds, base, answer = self.alternate(
            lambda: self.worker("clients", *packed),
            lambda: self.decompress(packed) + self.worker("clients", *plain)["seconds"],
        )
        agree(f"eight {ending}", answer["check"], self.worker("clients", *plain)["check"])
        work = f"eight `{ending}` files"
        return Row(work, "decompressing + counting plain", seconds, base, 1.05, [memory_note(answer)])


def memory_note(answer: dict[str, Any]) -> str:
    """What counting added to the process, and the whole process's peak."""
    added = answer["peak_mib"] - answer["before_mib"]
    return f"counting adds {added:.0f} MiB (process peak {answer['peak_mib']:.0f} MiB)"


def all_rows(suite: Suite) -> list[tuple[str, Callable[[], Row]]]:
    """Every row by a short name, in the order of the table."""
    inputs = suite.inputs
    return [
        ("clients", lambda: suite.counting("DNS, counts by client", "clients", inputs.dns(), "query:", 0.42)),
        (
            "query-types",
            lambda: suite.counting(
                "DNS, by query type and client", "query_types", inputs.dns(), "query:", 0.46
            ),
        ),
        ("process", suite.whole_process),
        (
            "all-columns",
            lambda: suite.counting("DNS, all columns", "all_columns", inputs.dns(), "query:", 0.65),
        ),
        (
            "mail",
            lambda: suite.counting("mail, by kind and client", "clients", inputs.mail(), "from=", 0.60),
        ),
        ("paper", suite.paper),
        ("one-gz", suite.one_gz),
        ("many-gz", lambda: suite.many(".log.gz")),
        ("many-zst", lambda: suite.many(".log.zst")),
        (
            "interleaved",
            lambda: suite.counting(
                "three servers, half IPv6, out of order by 5 s: counts",
                "clients",
                inputs.interleaved(),
                "query:",
                0.50,
            ),
        ),
        (
            "interleaved-all",
            lambda: suite.counting(
                "the same, all columns", "all_columns", inputs.interleaved(), "query:", 0.68
            ),
        ),
        (
            "unique",
            lambda: suite.counting(
                "every query name different, all columns", "all_columns", inputs.unique(), "query:", None
            ),
        ),
        (
            "crowded",
            lambda: suite.counting(
                f"{inputs.dns_lines // 10:,} names in one minute, all columns",
                "all_columns",
                inputs.crowded_minute(),
                "query:",
                None,
            ),
        ),
        ("start-up", suite.start_up),
    ]
