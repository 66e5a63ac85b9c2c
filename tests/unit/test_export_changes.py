"""Which hours are to be written again, told from the store's journal; and what is told of models and incidents."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from seismolog.cli import main
from seismolog.privacy import Pseudonymizer
from seismolog.sinks.influxdb.changes import covered_hours, live_hours, stamps, take_account
from seismolog.sinks.influxdb.findings import fit_points, incident_points
from seismolog.sinks.influxdb.ledger import Ledger
from seismolog.sinks.influxdb.pipeline import pipeline_fields
from seismolog.sinks.influxdb.refused import dropped, message_of, named_lines, too_old
from seismolog.store import Store
from tests.services.influx_world import at, frames, put, some


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "one.sqlite")


def hours(*numbers: int) -> set:
    return {at(60 * n) for n in numbers}


def test_a_new_target_begins_with_the_present(store: Store, ledger: Ledger) -> None:
    put(store, "old", some(1, range(100)))
    assert take_account(store, ledger) == set()
    put(store, "new", some(2, range(130, 200)))
    assert take_account(store, ledger) == hours(2, 3)
    assert set(ledger.todo()) == hours(2, 3)
    assert take_account(store, ledger) == set()


def test_counting_again_and_removing_concern_what_was_and_what_is(store: Store, ledger: Ledger) -> None:
    take_account(store, ledger)
    put(store, "one", some(1, range(50)))
    assert take_account(store, ledger) == hours(0)
    put(store, "one", some(1, range(60, 70)))
    assert take_account(store, ledger) == hours(0, 1)
    store.remove(["one"])
    assert take_account(store, ledger) == hours(1)


def test_live_rows_of_others_are_told_by_their_revision(store: Store, ledger: Ledger) -> None:
    take_account(store, ledger)
    writer = store.live_writer("live-other")
    writer.commit(frames(some(1, range(5)), 100), 100)
    assert take_account(store, ledger) == hours(0)
    writer.commit(frames(some(2, range(60, 65)), 200), 200)
    assert take_account(store, ledger) == hours(1)
    assert take_account(store, ledger, own="live-other") == set()
    snapshot = store.snapshot(["traffic"])
    assert live_hours(snapshot, ["live-other"], 0, 100) == hours(0)
    assert live_hours(snapshot, ["live-other"], 100) == hours(1)


def test_a_stamp_is_of_the_archives_that_cover_the_hour(store: Store) -> None:
    put(store, "one", some(1, range(90)))
    entries = store.sources()
    assert covered_hours(entries.values()) == hours(0, 1)
    before = stamps(entries, hours(0, 1), "50")
    assert stamps(entries, hours(0, 1), "51") != before
    put(store, "two", some(2, range(70, 80)))
    after = stamps(store.sources(), hours(0, 1), "50")
    assert after[at(0)] == before[at(0)] and after[at(60)] != before[at(60)]


def test_incidents_of_one_bin_have_times_of_their_own() -> None:
    base = {
        "detector": "d", "cause": None, "severity": "notice", "start": at(0), "end": None, "score": 1.0,
        "threshold": 0.5, "subjects": ["10.0.0.1"], "evidence": '{"clients": ["10.0.0.1"]}', "explanation": "10.0.0.1 asks",
    }  # fmt: skip
    types = {"cause": pl.String, "end": pl.Datetime("us", "UTC"), "evidence": pl.String}
    rows = pl.DataFrame([base | {"id": f"i{n}"} for n in range(50)], schema_overrides=types)
    found = incident_points(rows)
    assert found["at"].n_unique() == 50
    assert set(found["at"].dt.epoch("s")) == {int(at(0).timestamp())}
    assert found["cause"].unique().to_list() == ["none"]
    names = Pseudonymizer("01" * 32)
    other = names.address("10.0.0.1")
    told = incident_points(rows, names).row(0, named=True)
    assert (told["explanation"], told["subject"]) == (f"{other} asks", other)
    assert "10.0.0.1" not in str(told)
    hidden = rows.with_columns(pl.lit("parent").alias("suppressed"))
    assert incident_points(hidden).is_empty()


def test_a_fit_has_a_point_for_each_term_and_one_for_the_whole() -> None:
    fit = {
        "window_end": at(0), "model": "1mx", "coefficients": '{"pop_access": {"estimate": 1.0, "paper": null}}',
        "r_squared": 0.9, "dispersion": 1.0, "domains_not_received": None, "observations": 3, "left_out": 0,
    }  # fmt: skip
    found = fit_points(pl.DataFrame([fit])).sort("term")
    assert found["term"].to_list() == ["", "pop_access"]
    assert found["estimate"].to_list() == [None, 1.0] and found["observations"].to_list() == [3, None]


def test_numbers_are_added_over_labels_and_unknown_ones_left_out() -> None:
    found = pipeline_fields({'seismolog_wal_bytes{x="1"}': 2, 'seismolog_wal_bytes{x="2"}': 3, "other": 1})
    assert found == {"wal_bytes": 5}


def test_messages_of_the_server_are_understood() -> None:
    lines = [b"m n=", b"m n=1i 1", b"m,a='x': y n= 1"]
    parts = [f"unable to parse '{line.decode()}': missing field value" for line in (lines[0], lines[2])]
    body = json.dumps({"code": "invalid", "message": "\n".join(parts)})
    assert named_lines(message_of(body), lines) == {0: "missing field value", 2: "missing field value"}
    assert named_lines("partial write: field type conflict dropped=1", lines) == {}
    assert dropped("partial write: field type conflict: … dropped=12") == 12
    assert dropped("unable to parse 'm dropped=1': x") is None
    assert too_old("partial write: points beyond retention policy dropped=3")
    assert message_of("<html>") == "<html>" and message_of(None) == "" and message_of('{"error": "x"}') == "x"


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "site.toml"
    config.write_text("")
    assert main(["export", "--config", str(config)]) == 2
    assert "influxdb.url" in capsys.readouterr().err
    config.write_text(
        '[influxdb]\nurl = "http://127.0.0.1:9"\norg = "o"\nbucket = "b"\ntoken_file = "token"\n'
    )
    assert main(["export", "--config", str(config), "--state", str(tmp_path / "state")]) == 2
    assert "token" in capsys.readouterr().err
    (tmp_path / "token").write_text("t")
    store = tmp_path / "store"
    put(Store(store), "one", some(1, range(5)))
    arguments = ["export", "--config", str(config), "--store", str(store), "--state", str(tmp_path / "state")]
    assert main([*arguments, "--patience", "0"]) == 4
    assert "cannot be written to" in capsys.readouterr().err
    assert main([*arguments, "--since", "2026-03-30", "--until", "2026-03-29"]) == 2
    assert main([*arguments, "--retention", "3d"]) == 2
    assert main([*arguments, "--patience", "soon"]) == 2
    assert main(["export", "setup", "--config", str(config)]) == 4
