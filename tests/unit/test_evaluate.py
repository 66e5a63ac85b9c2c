"""The evaluation: exact intervals, matching, sums, resuming, what it shows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seismolog.detect.base import Raised
from seismolog.evaluate import intervals, matching, page, run, summarize
from seismolog.evaluate.trial import Plan, _closed, wanted_columns
from seismolog.simulate.campus.events import Injected

T = datetime(2025, 6, 2, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Seen:
    subjects: tuple[str, ...]
    start: datetime
    end: datetime | None
    detector: str = "step_change"


def truth(**changes: Any) -> Injected:
    values: dict[str, Any] = {
        "row": "ripple",
        "kind": "positive",
        "detectors": ("ripple", "step_change"),
        "subjects": ("192.0.2.7",),
        "server": "1dns",
        "start": T,
        "end": T + timedelta(hours=3),
        "strength": 1.0,
        "note": "",
    }
    return Injected(**(values | changes))


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # Clopper and Pearson's own: the roots of the binomial tails.
    [(0, 10, 0.0, 1 - 0.025**0.1), (10, 10, 0.025**0.1, 1.0), (5, 10, 0.18709, 0.81291), (0, 0, 0.0, 1.0)],
)
def test_intervals_of_shares(hits: int, trials: int, low: float, high: float) -> None:
    assert intervals.share(hits, trials) == pytest.approx((low, high), abs=1e-4)


def test_intervals_of_shares_hold_the_level_that_they_promise() -> None:
    for p in (0.02, 0.3, 0.95):
        covered = 0.0
        for k in range(61):
            low, high = intervals.share(k, 60)
            covered += math.comb(60, k) * p**k * (1 - p) ** (60 - k) * (low <= p <= high)
        assert covered >= 0.95


def test_intervals_of_rates() -> None:
    assert intervals.rate(0, 60) == pytest.approx((0.0, -math.log(0.025) / 60))
    low, high = intervals.rate(30, 60)
    assert low < 0.5 < high
    assert intervals.rate(3, 0) == (0.0, math.inf)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(("192.0.2.7",), T, None), True),
        (Seen(("192.0.2.0/24",), T, None), True),
        (Seen(("192.0.2.8", "192.0.3.0/24"), T, None), False),
        (Seen(("192.0.2.7",), T + timedelta(hours=4), None), False),
        (Seen(("192.0.2.7",), T - timedelta(hours=4), T - timedelta(hours=1)), False),
        (Seen(("192.0.2.7",), T - timedelta(hours=4), T + timedelta(hours=1)), True),
        (Seen(("(shed)/24",), T, None), False),
        (Seen(("2dns/A/outside",), T, None), False),
    ],
)
def test_matching_needs_a_subject_and_a_time_in_common(seen: Seen, expected: bool) -> None:
    assert matching.matches(seen, truth()) is expected


def test_a_part_of_a_server_s_traffic_is_of_the_server_and_the_nearest_truth_gets_it() -> None:
    early = truth(subjects=("2dns",), end=T + timedelta(hours=1))
    late = truth(subjects=("2dns",), start=T + timedelta(hours=1), end=T + timedelta(hours=2))
    seen = Seen(("2dns/A/outside",), T + timedelta(minutes=50), None)
    assert matching.matches(seen, early) and matching.matches(seen, late)
    assert matching.best(seen, [early, late]) is late
    assert matching.best(Seen(("2mx",), T, None), [early, late]) is None


def test_a_part_of_traffic_that_names_a_client_is_of_that_client_before_it_is_of_the_server() -> None:
    dark = truth(kind="lookalike", subjects=("2dns",), start=T + timedelta(minutes=20))
    mail = truth(subjects=("2mx", "192.0.2.25"))
    seen = Seen(("2dns/MX/inside", "192.0.2.25"), T + timedelta(minutes=20), None)
    assert matching.best(seen, [dark, mail]) is mail
    # Where it names none that anything was planted on, the nearest truth of the server has it.
    assert matching.best(Seen(("2dns/MX/inside", "192.0.2.99"), T, None), [dark, mail]) is dark


def test_what_a_detector_may_fire_on_goes_before_what_it_was_not_planted_for() -> None:
    flood = truth(row="entropy_shift", detectors=("entropy_shift",), subjects=("2dns",))
    scan = truth(
        row="amplification",
        kind="lookalike",
        detectors=(),
        subjects=("2dns",),
        start=T - timedelta(minutes=5),
    )
    raised = Raised(
        detector="entropy_shift",
        cause="attack from outside",
        severity="warning",
        subjects=("2dns/A/outside",),
        server="2dns",
        start=T - timedelta(minutes=8),
        end=None,
        score=15.0,
        threshold=5.0,
        explanation="",
    )
    assert matching.best(raised, [scan, flood]) is flood
    # A look-alike of the detector's own row is what leads it astray.
    assert matching.best(replace(raised, detector="amplification"), [scan, flood]) is scan
    assert matching.best(raised, [scan]) is scan


def test_what_a_client_does_to_the_mixture_of_a_server_is_of_that_client() -> None:
    seen = Seen(("1dns/A/outside",), T, None)
    assert matching.part_of_traffic(seen, ["step_change"], truth())
    assert not matching.part_of_traffic(seen, ["beacon"], truth())
    assert not matching.part_of_traffic(seen, ["step_change"], truth(server="2dns"))
    assert not matching.part_of_traffic(Seen(("192.0.2.9",), T, None), ["step_change"], truth())


def result(found: dict[str, float], *, kind: str = "positive", strength: float = 1.0) -> dict[str, Any]:
    told = asdict(truth(kind=kind, strength=strength))
    told |= {"start": T.isoformat(), "end": T.isoformat(), "delays": {}}
    told["by"] = {name: {"late": late} for name, late in found.items()}
    false = {
        "detectors": ["beacon"],
        "of": None,
        "start": T.isoformat(),
        "explanation": "<b>\u202e",
        "cause": "unknown",
    }
    return {
        "seed": 1,
        "day": 0,
        "queries": 5,
        "detector_seconds": {"ripple": 1.5},
        "clean": [false, {**false, "of": "lookalike"}],
        "plan": {"clean": 2},
        "truths": [told],
        "incidents": {f"{strength:g}": [{**false, "of": "positive"}, false]},
    }


def test_sums() -> None:
    made = summarize(
        [
            result({"ripple": 10.0}),
            result({"step_change": 30.0}),
            result({}),
            result({"ripple": -5.0}, strength=0.25),
            result({"ripple": 0.0}, kind="lookalike"),
            result({"step_change": 0.0}, kind="lookalike"),
        ]
    )
    row = made.rows["ripple"]
    assert (row.recall[1.0].hits, row.recall[1.0].trials) == (1, 3)
    assert (row.any[1.0].hits, row.recall[0.25].hits) == (2, 1)
    assert (row.dated.hits, row.dated.trials) == (1, 2)
    assert (row.lookalike.hits, row.lookalike_any.hits, row.lookalike.trials) == (1, 2, 2)
    assert (made.clean.days, made.clean.incidents, made.successors, made.study) == (12, 6, 6, 0)
    assert made.precision[1.0].share == 0.5
    assert json.loads(json.dumps(made.plain()))["rows"]["ripple"]["recall"]["1"]["hits"] == 1


def test_what_is_shown_is_safe_and_whole(tmp_path: Path) -> None:
    made = summarize([result({"ripple": 10.0}), result({}, strength=0.25)])
    for shown in (page.text(made), page.page(made)):
        assert "\u202e" not in shown
        assert "<b>\\u202e" not in shown or not shown.startswith("<!DOCTYPE")
    assert "<b>" not in page.page(made)
    document = tmp_path / "evaluation.md"
    document.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.write_docs(document, made)
    content = document.read_text()
    assert "old" not in content
    assert content.startswith("before") and content.endswith("after\n")
    assert "| ripple |" in content
    page.write_docs(document, made)
    assert document.read_text() == content
    with pytest.raises(ValueError, match="no <!-- evaluation"):
        page.write_docs(_empty(tmp_path), made)


def _empty(folder: Path) -> Path:
    path = folder / "empty.md"
    path.write_text("nothing\n")
    return path


def test_a_run_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def fake(seed: int, plan: Plan, day: int, progress: Callable[[str], None]) -> dict[str, Any]:
        progress("a step")
        if seed == 3 and len(tried) == 2:
            raise KeyboardInterrupt
        tried.append(seed)
        return {"seed": seed, "day": day, "plan": asdict(plan)}

    monkeypatch.setattr(run, "trial", fake)
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run.evaluate(tmp_path, [1, 2, 3], Plan(clients=500), progress=told.append)
    assert tried == [1, 2]
    assert told[0] == "world 1 of 3 (seed 1, day 0)"
    tried.append(0)
    assert [r["seed"] for r in run.evaluate(tmp_path, [1, 2, 3], Plan(clients=500))] == [1, 2, 3]
    assert tried == [1, 2, 0, 3]
    # Another plan is another result; a broken file is none.
    (tmp_path / "00001-0.json").write_text("{")
    run.evaluate(tmp_path, [1], Plan(clients=500))
    run.evaluate(tmp_path, [2], Plan(clients=600))
    assert tried == [1, 2, 0, 3, 1, 2]


def test_detectors_get_the_columns_that_they_name() -> None:
    wanted = wanted_columns(["beacon", "entropy_shift"])
    assert "interval_histogram" in wanted["client_domain"]
    assert "name_length_histogram" not in wanted["client_domain"]
    assert {"bin_start", "server", "client", "domain"} <= set(wanted["client_domain"])
    assert "client_entropy" in wanted["traffic"]


def test_a_look_within_an_hour_does_not_see_its_row() -> None:
    minutes = pl.DataFrame({"bin_start": [T + timedelta(minutes=m) for m in range(0, 120, 10)]})
    hours = pl.DataFrame({"bin_start": [T, T + timedelta(hours=1)]})
    closed = _closed({"client_traffic": minutes, "client_domain": hours}, T + timedelta(minutes=80))
    assert closed["client_traffic"]["bin_start"].max() == T + timedelta(minutes=70)
    assert closed["client_domain"]["bin_start"].to_list() == [T]
