"""Bringing everything into a running Grafana, against a server that holds each request to the documented form."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from seismolog.cli import main
from seismolog.config.models import Config
from seismolog.errors import ConfigError, ServiceError
from seismolog.sinks.grafana import annotations as annotations_module
from seismolog.sinks.grafana.alerts import RULES
from seismolog.sinks.grafana.annotations import annotations_of, push_annotations
from seismolog.sinks.grafana.api import Grafana, Place, grafana_of
from seismolog.sinks.grafana.check import check
from seismolog.sinks.grafana.provisioning import Place as Site
from seismolog.sinks.grafana.push import Pushed, compare, push_dashboards, push_datasource, push_rules
from tests.unit.grafana_fake import FakeGrafana

SITE = Site()
EVERYTHING = 1 + 6 + len(RULES)


@pytest.fixture
def fake() -> Iterator[FakeGrafana]:
    server = FakeGrafana()
    yield server
    server.close()
    assert server.faults == []


def client(fake: FakeGrafana, token: str = FakeGrafana.TOKEN) -> Grafana:
    return Grafana(Place(fake.url, token))


def push(fake: FakeGrafana, site: Site = SITE) -> Pushed:
    pushed = Pushed()
    push_dashboards(client(fake), site, pushed)
    push_rules(client(fake), site, pushed)
    return pushed


def test_everything_is_created_once_and_then_left_alone(fake: FakeGrafana) -> None:
    first = push(fake)
    assert first.counts == {"created": EVERYTHING} and first.same == 0
    assert set(fake.rules) == {r.uid for r in RULES}
    assert {b["meta"]["folderUid"] for b in fake.dashboards.values()} == {"seismolog"}
    written = len(fake.writes)
    again = push(fake)
    assert not again.done and again.same == EVERYTHING
    assert len(fake.writes) == written


@pytest.mark.parametrize("version", ["10.4.0", "13.2.0"])
def test_a_grafana_that_migrates_what_it_stores_is_left_alone_too(version: str) -> None:
    fake = FakeGrafana(version=version, migrate=True)
    push(fake)
    assert not push(fake).done
    # Somebody saves one of them in the browser: that is another version, and the next push restores ours.
    fake.messages["seismolog-mail"].insert(0, "my own")
    assert push(fake).done == [("updated", "dashboard seismolog: Mail")]
    assert fake.faults == []
    fake.close()


def test_what_was_changed_by_hand_is_restored_and_nothing_else_is_touched(fake: FakeGrafana) -> None:
    push(fake)
    fake.dashboards["seismolog-model"]["dashboard"]["panels"][1]["title"] = "mine"
    fake.messages["seismolog-model"].insert(0, "")
    fake.dashboards["foreign"] = {"dashboard": {"uid": "foreign"}, "meta": {}}
    fake.rules["seismolog-no-lines"]["for"] = "30m"
    fake.rules["seismolog-of-an-older-version"] = {
        **fake.rules["seismolog-no-lines"], "uid": "seismolog-of-an-older-version", "title": "old",
    }  # fmt: skip
    fake.rules["foreign"] = {**fake.rules["seismolog-no-lines"], "uid": "foreign"}
    fake.rules["seismolog-by-hand"] = {
        **fake.rules["seismolog-no-lines"], "uid": "seismolog-by-hand", "ruleGroup": "another",
    }  # fmt: skip
    pushed = push(fake)
    assert sorted(pushed.done) == [
        ("deleted", "rule old"),
        ("updated", "dashboard seismolog: Model"),
        ("updated", "rule No log line comes in"),
    ]
    assert {"foreign", "seismolog-by-hand"} <= set(fake.rules)
    assert fake.dashboards["foreign"] == {"dashboard": {"uid": "foreign"}, "meta": {}}


def test_a_push_that_broke_off_goes_on(fake: FakeGrafana) -> None:
    fake.refuse["POST v1/provisioning"] = 500
    with pytest.raises(ServiceError, match="status 500"):
        push(fake)
    fake.refuse.clear()
    pushed = push(fake)
    assert pushed.counts == {"created": len(RULES)} and pushed.same == 7


def test_another_folder_title_renames_the_folder(fake: FakeGrafana) -> None:
    push(fake)
    pushed = push(fake, Site(folder="DNS and mail"))
    assert ("updated", "folder DNS and mail") in pushed.done
    assert fake.folders["seismolog"]["title"] == "DNS and mail"


def test_the_data_source_is_made_once_and_its_token_stays_secret(fake: FakeGrafana) -> None:
    for _ in range(2):
        push_datasource(client(fake), Site(url="http://db:8086", bucket="b"), "s3cret", pushed := Pushed())
    assert pushed.same == 1
    assert fake.secrets == {"seismolog-influxdb": {"httpHeaderValue1": "Token s3cret"}}
    source = fake.datasources["seismolog-influxdb"]
    assert source["jsonData"]["dbName"] == source["database"] == "b"
    push_datasource(client(fake), Site(url="http://db2:8086", bucket="b"), "s3cret", pushed := Pushed())
    assert pushed.done == [("updated", "data source seismolog")]


def test_a_wrong_token_is_told_with_the_mend_and_is_not_shown(fake: FakeGrafana) -> None:
    with pytest.raises(ServiceError) as told:
        push_dashboards(client(fake, "wrong-token"), SITE, Pushed())
    assert "status 401" in told.value.message and "service account" in told.value.mend
    assert "wrong-token" not in told.value.render()
    assert "wrong-token" not in repr(Place(fake.url, "wrong-token"))


def test_a_grafana_that_is_down_is_a_service_error() -> None:
    fake = FakeGrafana()
    fake.close()
    with pytest.raises(ServiceError, match="ConnectionError"):
        push_dashboards(client(fake), SITE, Pushed())


def test_compare_ignores_what_grafana_adds_and_nothing_else() -> None:
    assert compare({"a": [{"b": 1}]}, {"a": [{"b": 1, "id": 7}], "version": 3})
    assert not compare({"a": [{"b": 1}]}, {"a": [{"b": 1}, {"b": 2}]})
    assert not compare({"a": None}, {"a": 0})


# -- check


def test_check_tells_what_is_missing_and_changes_nothing(fake: FakeGrafana) -> None:
    found = check(client(fake), SITE)
    assert len(found.faults) == EVERYTHING + 1
    assert any("data source is missing" in f for f in found.faults)
    assert not fake.writes
    push(fake)
    push_datasource(client(fake), SITE, "t", Pushed())
    written = len(fake.writes)
    found = check(client(fake), SITE)
    assert found.faults == []
    assert found.lines[0] == "Grafana 11.6.0, database ok"
    assert len(fake.writes) == written


def test_check_tells_of_an_old_grafana_and_a_dead_influxdb() -> None:
    fake = FakeGrafana(version="8.5.27", influxdb="ERROR")
    push(fake)
    push_datasource(client(fake), SITE, "t", Pushed())
    faults = check(client(fake), SITE).faults
    assert any("8.5.27" in f for f in faults)
    assert any("data source" in f for f in faults)
    fake.close()


# -- annotations

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


def incidents(*rows: tuple[str, datetime, datetime | None, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "id": name, "detector": "step_change", "severity": "warning", "start": start, "end": end,
                "explanation": text, "subjects": ["192.0.2.1"], "suppressed": None,
            }
            for name, start, end, text in rows
        ],
        schema_overrides={"end": pl.Datetime("us", "UTC"), "suppressed": pl.String()},
    )  # fmt: skip


def annotate(fake: FakeGrafana, frame: pl.DataFrame, **options: datetime) -> Pushed:
    pushed = Pushed()
    push_annotations(client(fake), annotations_of(frame), pushed, **options)
    return pushed


def test_an_incident_is_one_annotation_however_often_it_is_pushed(fake: FakeGrafana) -> None:
    opened = incidents(("a", START, None, "asks more"), ("b", START, START + timedelta(hours=1), "other"))
    span = {"since": START - timedelta(days=1), "until": START + timedelta(days=1)}
    assert annotate(fake, opened, **span).counts == {"created": 2}
    assert not annotate(fake, opened, **span).done
    closed = incidents(("a", START, START + timedelta(hours=2), "asked more"))
    pushed = annotate(fake, closed, **span)
    assert sorted(pushed.done) == [("deleted", "annotation b"), ("updated", "annotation a")]
    (one,) = fake.annotations.values()
    assert one["timeEnd"] - one["time"] == 7_200_000
    assert one["tags"] == ["seismolog", "detector:step_change", "severity:warning", "seismolog-id:a"]


def test_only_what_begins_in_the_range_is_deleted_and_only_ours(fake: FakeGrafana) -> None:
    annotate(fake, incidents(("old", START - timedelta(days=9), START, "began before the range")))
    fake.annotations[999] = {"id": 999, "time": 0, "timeEnd": 2**50, "text": "theirs", "tags": ["deploy"]}
    annotate(fake, incidents(), since=START - timedelta(hours=1), until=START + timedelta(days=1))
    assert {a["text"] for a in fake.annotations.values()} == {"began before the range", "theirs"}


def test_more_annotations_than_grafana_gives_at_once(
    fake: FakeGrafana, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotations_module, "LIMIT", 10)
    many = incidents(*((f"i{n}", START + timedelta(minutes=n), None, f"{n}") for n in range(60)))
    assert annotate(fake, many).counts == {"created": 60}
    again = annotate(fake, many)
    assert not again.done and again.same == 60


def test_log_text_is_harmless_in_an_annotation(fake: FakeGrafana) -> None:
    annotate(fake, incidents(("x", START, None, '<img src=x onerror="alert(1)"> asks')))
    (one,) = fake.annotations.values()
    assert "<img" not in one["text"] and "&lt;img" in one["text"]


# -- the command


@pytest.fixture
def config(fake: FakeGrafana, tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(FakeGrafana.TOKEN + "\n")
    (tmp_path / "influx").write_text("t\n")
    file = tmp_path / "site.toml"
    file.write_text(
        f'[grafana]\nurl = "{fake.url}"\ntoken_file = "token"\n'
        '[influxdb]\nurl = "http://db:8086"\norg = "o"\nbucket = "b"\ntoken_file = "influx"\n'
    )
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["grafana", *arguments])
    return status, capsys.readouterr().out


def test_setup_push_and_check_from_the_command_line(
    fake: FakeGrafana, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "check", "--config", str(config))[0] == 1
    status, out = run(capsys, "setup", "--config", str(config))
    assert status == 0 and f"{EVERYTHING + 1} created; 0 as they should be" in out
    assert fake.secrets["seismolog-influxdb"] == {"httpHeaderValue1": "Token t"}
    status, out = run(capsys, "push", "--config", str(config))
    assert status == 0 and f"nothing to do; {EVERYTHING} as they should be" in out
    status, out = run(capsys, "check", "--config", str(config))
    assert status == 0 and "0 not as they should be" in out


def test_push_writes_the_stores_incidents_as_annotations(
    fake: FakeGrafana, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from seismolog.store import Store
    from seismolog.store.schema import TABLES

    schema = {c.name: c.dtype for c in TABLES["incident"].columns}
    row = {
        "id": "one", "detector": "ripple", "cause": "polling", "severity": "warning", "start": START, "end": None,
        "score": 9.0, "threshold": 5.0, "subjects": ["192.0.2.7"], "evidence": "{}", "explanation": "asks "
        "hourly",
    }  # fmt: skip
    store = Store(tmp_path / "store")
    store.replace("incident", pl.DataFrame([{n: row.get(n) for n in schema}], schema=schema), pl.lit(True))
    arguments = (
        "push",
        "--annotations",
        "--no-alerts",
        "--config",
        str(config),
        "--store",
        str(tmp_path / "store"),
    )
    span = ("--since", "2026-10-01T00:00", "--until", "2026-12-01T00:00")
    status, out = run(capsys, *arguments, *span)
    assert status == 0 and "created annotation one" in out
    status, out = run(capsys, *arguments, *span)
    assert "nothing to do" in out
    assert [a["text"] for a in fake.annotations.values()] == ["asks hourly"]


def test_render_and_check_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    assert "12 of them new" in run(capsys, "render", str(folder))[1]
    assert "0 of them new" in run(capsys, "render", str(folder))[1]
    assert run(capsys, "check", str(folder))[0] == 0
    (folder / "dashboards" / "mail.json").write_text("{}")
    status, out = run(capsys, "check", str(folder))
    assert status == 1 and "dashboards/mail.json: differs" in out


def test_the_token_comes_from_the_file_or_the_environment(tmp_path: Path) -> None:
    config = Config.model_validate({"grafana": {"url": "http://g:3000"}})
    assert grafana_of(config, {"SEISMOLOG_GRAFANA_TOKEN": "abc "}).token == "abc"
    with pytest.raises(ConfigError, match="no token"):
        grafana_of(config, {})
    with pytest.raises(ConfigError, match="no Grafana"):
        grafana_of(Config(), {})
    with pytest.raises(ConfigError, match="characters"):
        grafana_of(config, {"SEISMOLOG_GRAFANA_TOKEN": "a\nb"})


def test_urllib3_is_the_real_one() -> None:
    # A later grafana-client brings a fork that takes urllib3's place for everything in the environment.
    done = subprocess.run(
        [sys.executable, "-c", "import urllib3; print(urllib3.__version__, hasattr(urllib3, "
        "'ConnectionInfo'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split()[1] == "False"
