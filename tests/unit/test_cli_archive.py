"""The command line on real files, through the real core: from a folder of logs to report, JSON and exit status."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from seismolog.cli import main

pytest.importorskip("seismolog._core", reason="the core is not built: make build")
jsonschema = pytest.importorskip("jsonschema")

from seismolog.report.document import schema  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One day of the campus with the evening of 2002."""
    from seismolog.simulate import run

    folder = tmp_path_factory.mktemp("campus")
    run("campus-2002", folder / "logs", seed=3)
    (folder / "logs" / "truth.json").rename(folder / "truth.json")
    (folder / "logs" / "site.toml").rename(folder / "site.toml")
    return folder / "logs"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEISMOLOG_CONFIG", raising=False)
    monkeypatch.delenv("SEISMOLOG_DEBUG", raising=False)


def document(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def csv_counts(capfdbinary: pytest.CaptureFixture[bytes]) -> dict[str, int]:
    lines = capfdbinary.readouterr().out.decode().splitlines()[1:]
    return {line.rsplit(",", 1)[0]: int(line.rsplit(",", 1)[1]) for line in lines}


def test_analyze_writes_the_report_and_a_document_that_keeps_to_its_schema(
    logs: Path, capsys, tmp_path: Path
) -> None:
    assert main(["analyze", str(logs), "--tz", "Asia/Tokyo", "--format", "json"]) == 0
    found = document(capsys)
    jsonschema.validate(found, schema("analyze"))
    assert (
        found["input"]["lines"]
        == found["input"]["matched"] + found["input"]["ignored"] + found["input"]["unmatched"]
    )
    assert sum(file["lines"] for file in found["input"]["files"]) == found["input"]["lines"]
    assert found["counts"]["dns_query"] == sum(
        c["count"] for c in found["clients"] if c["kind"] == "dns_query"
    )
    assert any("no year" in guess for guess in found["input"]["guesses"])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert not list(tmp_path.glob("*.part"))


def test_the_mail_server_is_found_and_its_model_is_near_the_truth(logs: Path, capsys) -> None:
    assert main(["analyze", str(logs), "--tz", "Asia/Tokyo", "--format", "json", "-o", "-"]) == 0
    found = document(capsys)
    (model,) = found["models"]
    truth = tomllib.loads((logs.parent / "site.toml").read_text())
    assert model["client"] in truth["mail_server"][0]["addresses"]
    accepted = model["coefficients"]["smtp_accepted"]
    assert accepted["paper"] == 8.6
    assert abs(accepted["estimate"] - 8.6) < 5 * accepted["std_error"]
    assert any(finding["name"] == "deferrals" for finding in found["findings"])


def test_the_summary_is_plain_in_a_pipe(logs: Path, capsys) -> None:
    assert main(["analyze", str(logs), "--tz", "Asia/Tokyo"]) == 0
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out
    assert "messages accepted" in captured.out
    assert captured.out.rstrip().endswith("Report: report.html")
    assert captured.err == ""


def test_fail_on_is_status_1(logs: Path, tmp_path: Path, capsys) -> None:
    arguments = ["analyze", str(logs), "--tz", "Asia/Tokyo", "-o", "-", "--fail-on"]
    assert main([*arguments, "critical"]) == 1
    # The queries alone show the hosts of the evening: an incident counts as a finding does.
    queries = ["analyze", str(logs / "1dns.messages"), "-o", "-", "--fail-on", "critical"]
    assert main(queries) == 1
    calm = tmp_path / "site.toml"
    calm.write_text("[detect]\nenabled = false\n")
    capsys.readouterr()
    assert main([*queries, "--config", str(calm)]) == 0


def test_counts_are_the_same_whichever_way(logs: Path, capfdbinary) -> None:
    by_kind = ["--by", "kind", "--format", "csv"]
    assert main(["count", str(logs), *by_kind]) == 0
    folder = csv_counts(capfdbinary)
    single: dict[str, int] = {}
    for file in sorted(logs.iterdir()):
        assert main(["count", str(file), *by_kind]) == 0  # the way without polars
        for kind, count in csv_counts(capfdbinary).items():
            single[kind] = single.get(kind, 0) + count
    assert folder == single
    assert main(["count", str(logs), "--by", "kind,client", "--format", "csv"]) == 0
    by_client: dict[str, int] = {}
    for key, count in csv_counts(capfdbinary).items():
        kind = key.split(",")[0]
        by_client[kind] = by_client.get(kind, 0) + count
    assert by_client == folder


def test_bins_add_up_and_a_copy_counts_once(logs: Path, capfdbinary, tmp_path: Path) -> None:
    file = logs / "1mx.syslog"
    assert main(["count", str(file), "--by", "kind", "--format", "csv"]) == 0
    whole = csv_counts(capfdbinary)
    assert main(["count", str(file), "--by", "kind", "--bin", "1h", "--format", "csv"]) == 0
    summed: dict[str, int] = {}
    for key, count in csv_counts(capfdbinary).items():
        summed[key.split(",")[1]] = summed.get(key.split(",")[1], 0) + count
    assert summed == whole
    copy = tmp_path / "syslog.1.gz"
    copy.write_bytes(gzip.compress(file.read_bytes(), 1))
    os.utime(copy, (file.stat().st_mtime, file.stat().st_mtime))
    assert main(["count", str(file), str(copy), "--by", "kind", "--format", "csv"]) == 0
    assert csv_counts(capfdbinary) == whole


def test_a_file_that_breaks_off_is_named_with_its_offset(logs: Path, capsys, tmp_path: Path) -> None:
    packed = gzip.compress((logs / "1mx.syslog").read_bytes(), 1)
    broken = tmp_path / "broken.gz"
    broken.write_bytes(packed[: len(packed) // 2])
    assert main(["count", str(broken), "--by", "kind"]) == 3
    captured = capsys.readouterr()
    assert "smtp_accepted" in captured.out
    assert "broken.gz" in captured.err
    assert "at byte" in captured.err
    assert main(["count", str(broken), "--by", "kind", "--keep-going"]) == 0
    capsys.readouterr()
    assert main(["analyze", str(broken), "--format", "json"]) == 3
    found = document(capsys)
    assert found["input"]["files"][0]["error"]["offset"] > 0
    assert any(finding["name"] == "unreadable" for finding in found["findings"])


def test_the_store_answers_again_without_the_logs(logs: Path, capsys, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    arguments = ["--tz", "Asia/Tokyo", "--store", store, "--format", "json", "-o", "-"]
    assert main(["analyze", str(logs / "1mx.syslog"), *arguments]) == 0
    document(capsys)
    # The DNS log a day later: the report covers both.
    assert main(["analyze", str(logs / "1dns.messages"), *arguments]) == 0
    later = document(capsys)
    assert {"dns_query", "smtp_accepted"} <= set(later["counts"])
    assert len(later["models"]) == 1
    assert main(["analyze", str(logs), *arguments]) == 0
    again = document(capsys)
    assert {file["state"] for file in again["input"]["files"]} == {"unchanged"}
    assert again["counts"] == later["counts"]
    assert main(["report", *arguments]) == 0
    report = document(capsys)
    assert report["counts"] == later["counts"]
    assert report["models"][0]["coefficients"] == later["models"][0]["coefficients"]
    assert main(["fit", "--store", store, "--format", "json"]) == 0
    jsonschema.validate(fit := document(capsys), schema("fit"))
    assert fit["models"][0]["coefficients"] == later["models"][0]["coefficients"]
    assert main(["plan", "--mails", "10000", "--pop", "1000", "--store", store, "--format", "json"]) == 0
    jsonschema.validate(plan := document(capsys), schema("plan"))
    assert plan["low"] <= plan["queries"] <= plan["high"]
    assert plan["source"] == "the fit of 1mx"


def test_plan_without_a_store_is_the_study(capsys) -> None:
    assert main(["plan", "--mails", "1000", "--pop", "500", "--format", "json"]) == 0
    plan = document(capsys)
    assert plan["queries"] == pytest.approx(8.6 * 1000 + 500)
    assert "2003" in plan["source"]


def test_init_writes_a_configuration_that_analyze_takes(logs: Path, capsys, tmp_path: Path) -> None:
    assert main(["init", str(logs), "--tz", "Asia/Tokyo", "-o", "site.toml"]) == 0
    assert "wrote site.toml" in capsys.readouterr().out
    config = tomllib.loads((tmp_path / "site.toml").read_text(encoding="utf-8"))
    assert [server["name"] for server in config["mail_server"]] == ["1mx"]
    assert main(["init", str(logs), "-o", "site.toml"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["analyze", str(logs), "--config", "site.toml", "--format", "json", "-o", "-"]) == 0
    found = document(capsys)
    assert found["timezone"] == "Asia/Tokyo"
    assert [model["server"] for model in found["models"]] == ["1mx"]
    assert not any("asks the DNS as" in guess for guess in found["input"]["guesses"])


def test_explain_reads_standard_input(logs: Path) -> None:
    line = next(text for text in (logs / "1mx.syslog").read_bytes().splitlines() if b"sendmail" in text)
    result = subprocess.run(
        [sys.executable, "-m", "seismolog", "explain", "--format", "json"],
        input=line + b"\n\xff\x00junk\x1b[2J\n",
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    objects = [json.loads(text) for text in result.stdout.splitlines()]
    assert [item["line"] for item in objects] == [1, 2]
    assert objects[0]["dialect"] == "sendmail"
    assert objects[1]["kind"] is None
    assert objects[1]["reason"]


def test_a_report_that_cannot_be_written_leaves_no_half(logs: Path, capsys, tmp_path: Path) -> None:
    assert main(["analyze", str(logs / "1mx.syslog"), "-o", str(tmp_path / "no" / "report.html")]) == 2
    assert "--output" in capsys.readouterr().err


def reads(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    try:
        return any(link.resolve() == path for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def test_ctrl_c_ends_a_long_reading(tmp_path: Path, logs: Path) -> None:
    big = tmp_path / "big.log"
    text = (logs / "1dns.messages").read_bytes()
    with big.open("wb") as file:
        while file.tell() < 600_000_000:
            file.write(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "seismolog", "count", str(big), "--by", "client", "--threads", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
    )
    try:
        until = time.monotonic() + 60
        while not reads(process.pid, big) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        if process.poll() is not None:
            pytest.skip("this machine reads 600 MB faster than it can be interrupted")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert b"interrupted" in err
    assert b"Traceback" not in err
    assert out == b""
