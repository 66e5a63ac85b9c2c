"""Whole lines through `scan`: one folder of tests/golden/counting for each counting rule.

A folder is named by what it shows and holds `input*.log` (read as separate files, in order), `options.json`
(arguments of `scan`) and `expected.csv`. Lines that begin with `#` are remarks: they have no time, so they count as
unmatched. The last lines of `expected.csv` say what became of the lines.
`SEISMOLOG_BLESS=1` writes `expected.csv` anew; look at the difference before it is committed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seismolog import _core
from tests.unit.core_support import balanced, counts

GOLDEN = Path(__file__).parents[1] / "golden" / "counting"
CASES = sorted(p.name for p in GOLDEN.iterdir() if p.is_dir())


def counted(folder: Path, **more: Any) -> str:
    options = json.loads((folder / "options.json").read_text())
    recipients = options.pop("columns", "") == "recipients"
    scan = _core.scan(sorted(folder.glob("input*.log")), **options, **more)
    frame = counts(scan)
    if recipients:
        kinds = pl.DataFrame({"kind": list(_core.KINDS)}).with_row_index("code")
        traffic = (
            pl.DataFrame(scan.table("traffic"))
            .with_columns(pl.col("kind").cast(pl.UInt32).alias("code"))
            .drop("kind")
            .join(kinds, on="code")
            .with_columns(pl.col("server").cast(pl.Int64).replace_strict(dict(enumerate(scan.servers))))
            .select("bin_start", "server", "kind", pl.col("recipients").cast(pl.Int64))
        )
        frame = frame.join(traffic, on=["bin_start", "server", "kind"], how="left")
    text = frame.with_columns(pl.col("bin_start").dt.strftime("%Y-%m-%dT%H:%MZ")).write_csv()
    summary = scan.summary
    assert balanced(summary)
    return text + "".join(f"# {n}: {summary[n]}\n" for n in ("lines", "matched", "ignored", "unmatched"))


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    folder = GOLDEN / case
    found = counted(folder)
    if os.environ.get("SEISMOLOG_BLESS"):
        (folder / "expected.csv").write_text(found)
    assert found == (folder / "expected.csv").read_text()


@pytest.mark.parametrize("case", CASES)
def test_more_threads_and_less_detail_give_the_same(case: str) -> None:
    """The number of threads, and what else is counted, change no count."""
    folder = GOLDEN / case
    expected = (folder / "expected.csv").read_text()
    assert counted(folder, threads=3, state=True, inside=["192.0.2.0/24"], digest=True) == expected
    assert counted(folder, names=False, query_types=False) == expected


@pytest.mark.parametrize("case", CASES)
def test_explain_says_the_same_where_lines_stand_alone(case: str) -> None:
    """What explain tells of single lines adds up to what scan counts, but for repetitions and relations."""
    folder = GOLDEN / case
    options = json.loads((folder / "options.json").read_text())
    options.pop("columns", None)
    summed: dict[tuple[str, str, str | None], int] = {}
    alone = True
    for path in sorted(folder.glob("input*.log")):
        for line in _core.explain(path, **options):
            said = line["reason"] or ""
            alone &= not said.startswith(("counts", "takes back"))
            if line["kind"]:
                key = line["server"], line["kind"], line["client"]
                summed[key] = summed.get(key, 0) + line["count"]
    rows = counts(_core.scan(sorted(folder.glob("input*.log")), **options))
    table = rows.group_by("server", "kind", "client").agg(pl.col("count").sum())
    found = {row[:3]: row[3] for row in table.iter_rows()}
    assert set(found) <= set(summed)
    if alone:
        assert found == summed


def test_every_case_is_named_by_a_sentence() -> None:
    for case in CASES:
        assert len(case.split()) >= 4
        assert (GOLDEN / case / "expected.csv").exists()
