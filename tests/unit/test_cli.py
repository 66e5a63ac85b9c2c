"""The command line: usage, exit statuses, and what reaches the terminal.

The counting core is replaced by a small one where a test is about the command line and not about counting.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import types
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seismolog.cli import main
from seismolog.cli.app import COMMANDS
from seismolog.cli.options import bin_length, moment
from seismolog.errors import InputError, UsageError

ROOT = Path(__file__).parents[2]


class Column(list):
    def to_pylist(self):
        return list(self)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A core that has counted three kinds of one server in two minutes."""
    seconds = datetime(2002, 7, 15, 9, 0, tzinfo=UTC)
    later = datetime(2002, 7, 15, 10, 5, tzinfo=UTC)
    rows = {
        "bin_start": Column([seconds, seconds, later]),
        "server": Column([1, 0, 0]),
        "kind": Column([0, 3, 0]),
        "query_type": Column([0, None, 1]),
        "count": Column([7, 2, 5]),
    }

    class Table(dict):
        num_rows = 3

    class Scan:
        servers = ("1dns", "a\x1b[2J\u202eb")
        sources = ()

        def table(self, name):
            assert name == "traffic"
            return Table(rows)

    fake = types.ModuleType("seismolog._core")
    fake.__dict__.update(
        VERSION="0",
        KINDS=("dns_query", "dns_denied", "dns_error", "smtp_accepted"),
        QTYPES=("a", "mx"),
        calls=[],
    )

    def scan(paths, **options):
        fake.calls.append((paths, options))
        return fake.result

    fake.scan = scan
    fake.result = Scan()
    fake.paper_counts = lambda paths, threads=0: {"N_P": 5, "D_q": 1, "N_from": 2, "N_SS": 3, "N_SD": 4}
    fake.shapes = lambda paths: [
        {
            "shape": "x[#]: \x1b",
            "count": 2,
            "example": b"x[1]: \x1b[2J\xff",
            "path": "log",
            "line": 9,
            "reason": "",
        }
    ]
    fake.explain = lambda path, **options: iter(
        [
            {"line": 1, "dialect": "bind", "kind": "dns_query", "server": "1dns", "client": "192.0.2.1",
             "time": 1026723600, "count": 1, "reason": None, "ignored": False, "text": b"query: \xe2\x80\xae"},
            {"line": 2, "dialect": None, "kind": None, "server": None, "client": None, "time": None, "count": None,
             "reason": "no dialect", "ignored": False, "text": b"junk\x1b]0;t\x07"},
        ]
    )  # fmt: skip
    monkeypatch.setattr("arro3.core.Table", types.SimpleNamespace(from_arrow=lambda table: table))
    monkeypatch.setitem(sys.modules, "seismolog._core", fake)
    monkeypatch.setattr("seismolog._core", fake, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEISMOLOG_DEBUG", raising=False)
    (tmp_path / "log").write_text("x\n")
    return fake


def test_help_lists_every_command_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f" {name} " in listed
    words = set(re.findall(r"(?m)^│ ([a-z]+)  ", listed))
    assert words - {"--help", "--version"} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_for_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"seismolog {name}" in text


def test_counts_as_csv(core, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["count", "log", "--by", "kind", "--bin", "1h", "--format", "csv"]) == 0
    assert capfdbinary.readouterr().out == (
        b"bin_start,kind,count\n2002-07-15T09:00:00Z,dns_query,7\n2002-07-15T09:00:00Z,smtp_accepted,2\n"
        b"2002-07-15T10:00:00Z,dns_query,5\n"
    )


def test_columns_come_in_the_order_given_and_no_bin_with_all(core, capfdbinary) -> None:
    assert main(["count", "log", "--by", "qtype,kind", "--bin", "all", "--format", "csv"]) == 0
    assert (
        capfdbinary.readouterr().out == b"qtype,kind,count\na,dns_query,7\nmx,dns_query,5\n,smtp_accepted,2\n"
    )


def test_counts_as_json_and_parquet(core, capfdbinary, tmp_path: Path) -> None:
    assert main(["count", "log", "--by", "kind", "--format", "json"]) == 0
    assert json.loads(capfdbinary.readouterr().out) == [
        {"kind": "dns_query", "count": 12},
        {"kind": "smtp_accepted", "count": 2},
    ]
    assert (
        main(["count", "log", "--by", "kind", "--bin", "1d", "--format", "parquet", "-o", "c.parquet"]) == 0
    )
    import polars as pl

    frame = pl.read_parquet(tmp_path / "c.parquet")
    assert frame.columns == ["bin_start", "kind", "count"]
    assert frame["count"].to_list() == [12, 2]


def test_the_table_shows_no_control_character(core, capsys) -> None:
    assert main(["count", "log", "--by", "server"]) == 0
    out = capsys.readouterr().out
    assert "a\\x1b[2J\\u202eb" in out
    assert "\x1b" not in out


def test_since_until_and_server_choose(core, capfdbinary) -> None:
    arguments = [
        "count",
        "log",
        "--by",
        "kind",
        "--format",
        "csv",
        "--tz",
        "Asia/Tokyo",
        "--since",
        "2002-07-15T19:00",
    ]
    assert main(arguments) == 0
    assert capfdbinary.readouterr().out == b"kind,count\ndns_query,5\n"
    assert core.calls[-1][1]["timezone"] == "Asia/Tokyo"
    assert (
        main(
            [
                "count",
                "log",
                "--by",
                "kind",
                "--format",
                "csv",
                "--server",
                "1dns",
                "--until",
                "2002-07-15T10:00Z",
            ]
        )
        == 0
    )
    assert capfdbinary.readouterr().out == b"kind,count\nsmtp_accepted,2\n"


def test_options_reach_the_core(core, capsys) -> None:
    assert main(["count", "log", "--year", "2002", "--threads", "3"]) == 0
    options = core.calls[-1][1]
    assert (options["year"], options["threads"], options["clients"], options["names"]) == (
        2002,
        3,
        False,
        False,
    )


def test_the_papers_rule_prints_its_five_quantities(core, capfdbinary) -> None:
    assert main(["count", "log", "--rule", "paper", "--format", "csv"]) == 0
    assert capfdbinary.readouterr().out == b"quantity,count\nD_q,1\nN_from,2\nN_SS,3\nN_SD,4\nN_P,5\n"


def test_a_broken_file_is_counted_named_and_is_status_3(core, capsys) -> None:
    broken = {
        "path": "log\x1b",
        "lines": 8,
        "error": {"offset": 4096, "message": "the gzip stream ends early"},
    }
    core.result.sources = (broken,)
    assert main(["count", "log", "--by", "kind"]) == 3
    captured = capsys.readouterr()
    assert "dns_query" in captured.out
    assert "log\\x1b" in captured.err
    assert "4096" in captured.err
    assert main(["count", "log", "--by", "kind", "--keep-going"]) == 0
    assert "4096" in capsys.readouterr().err


def test_explain_prints_a_line_each_and_harmlessly(core, capsys) -> None:
    assert main(["explain", "log"]) == 0
    out = capsys.readouterr().out
    assert "bind" in out
    assert "client 192.0.2.1" in out
    assert "2002-07-15T09:00:00Z" in out
    assert "(no dialect)" in out
    assert "junk\\x1b]0;t\\x07" in out
    assert not set("\x1b\x07\u202e") & set(out)


def test_explain_as_json_keeps_to_its_schema(core, capsys) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from seismolog.report.document import schema

    assert main(["explain", "log", "--format", "json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for item in objects:
        jsonschema.validate(item, schema("explain"))
    assert objects[0]["time"] == "2002-07-15T09:00:00Z"
    assert main(["explain", "log", "--unmatched", "--format", "json"]) == 0
    jsonschema.validate(json.loads(capsys.readouterr().out), schema("explain-unmatched"))


def test_unmatched_lines_are_grouped(core, capsys) -> None:
    assert main(["explain", "--unmatched", "log"]) == 0
    out = capsys.readouterr().out
    assert "2 lines that no dialect knows, in 1 shapes" in out
    assert "x[1]: \\x1b[2J\\xff" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "nonsense"),
        (["count"], "no log file was named"),
        (["count", "log", "--no-such"], "--no-such"),
        (["count", "log", "--by", "colour"], "server, kind, client, qtype"),
        (["count", "log", "--by", "kind,kind"], "each once"),
        (["count", "log", "--bin", "7m"], "divides a day"),
        (["count", "log", "--bin", "0m"], "no length of a bin"),
        (["count", "log", "--format", "xml"], "xml"),
        (["count", "log", "--rule", "paper", "--bin", "1h"], "leave out"),
        (["count", "log", "--tz", "Mars/Base"], "Mars/Base"),
        (["count", "log", "--tz", "../../etc/passwd"], "no time zone"),
        (["count", "log", "--year", "12"], "no year"),
        (["count", "log", "--threads", "-1"], "negative"),
        (["count", "log", "--since", "yesterday"], "no moment"),
        (["count", "log", "--since", "2002-07-15T10:00:30"], "whole minute"),
        (["count", "log", "--since", "2002-07-16", "--until", "2002-07-15"], "not after"),
        (["count", "log", "--config", "none.toml"], "none.toml"),
        (["plan", "--mails", "-3"], "zero or more"),
        (["plan"], "mails"),
        (["report"], "no store is known"),
        (["simulate", "no-such", "out"], "no scenario"),
    ],
)
def test_bad_usage_is_one_sentence_and_status_2(core, capsys, arguments: list[str], words: str) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("seismolog: ")
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("path", ["absent.log", "absent-*.log", "empty"])
def test_what_is_not_there_is_status_3(core, capsys, tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["count", path]) == 3
    assert path in capsys.readouterr().err


def test_bad_configuration_names_file_line_and_key(core, capsys, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('[site]\ntimezone = "Asia/Tokio"\n')
    assert main(["count", "log"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("seismolog: ")
    assert "site.toml:2: site.timezone" in error


def test_parquet_is_not_for_a_terminal(core, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["count", "log", "--format", "parquet"]) == 2
    assert "--output" in capsys.readouterr().err


def test_bugs_are_told_apart_and_keep_their_traceback_when_asked(core, capsys, monkeypatch) -> None:
    def broken(paths, **options):
        raise ZeroDivisionError("one\x1b[2J")

    core.scan = broken
    assert main(["count", "log"]) == 70
    error = capsys.readouterr().err
    assert "unexpected ZeroDivisionError: one\\x1b[2J" in error
    assert "SEISMOLOG_DEBUG=1" in error
    monkeypatch.setenv("SEISMOLOG_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["count", "log"])


def test_an_interrupt_is_clean(core, capsys) -> None:
    def interrupted(paths, **options):
        raise KeyboardInterrupt

    core.scan = interrupted
    assert main(["count", "log"]) == 130
    assert capsys.readouterr().err == "\nseismolog: interrupted; nothing was left half written\n"


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    environment.pop("SEISMOLOG_DEBUG", None)
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
        **options,
    )


def test_a_closed_pipe_is_no_error() -> None:
    code = (
        "import sys\nfrom seismolog.report import counts\nimport seismolog.cli.app as a\n"
        "from seismolog.cli import main\n"
        "t = counts.Table(('kind', 'count'), [('x' * 50, 1)] * 200000)\n"
        "import seismolog.cli as c\nc._run = lambda args: counts.write(t, 'csv', None) or 0\n"
        "sys.exit(main(['count']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_the_version_is_told_without_loading_anything() -> None:
    code = (
        "import sys\nfrom seismolog.cli import main\nmain(['--version'])\n"
        "heavy = {'polars', 'cyclopts', 'rich', 'pydantic', 'numpy', 'deltalake', 'scipy', 'importlib.metadata'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = run("-c", code)
    if "PackageNotFoundError" in result.stderr:
        pytest.skip("seismolog is not installed: build it first")
    version, loaded = result.stdout.splitlines()
    assert version.startswith("seismolog ")
    assert loaded == "[]"


def test_progress_is_silent_in_a_pipe_and_shown_on_a_terminal() -> None:
    code = (
        "import seismolog.progress as p\np.QUIET_SECONDS = -1\n"
        "with p.reading_progress() as tell:\n"
        "    print(tell is None)\n"
        "    if tell: tell(5_000_000, 10_000_000, 40_000); tell(9_000_000, 10_000_000, 80_000)\n"
    )
    piped = run("-c", code)
    assert piped.stdout == "True\n"
    assert piped.stderr == ""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                piece = os.read(controller, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        process.wait(60)
    os.close(controller)
    assert b"lines/s" in shown
    assert b"MB" in shown


def test_moments_and_lengths() -> None:
    assert moment("2002-07-15T18:00", "Asia/Tokyo", "--since") == datetime(2002, 7, 15, 9, tzinfo=UTC)
    assert moment("2002-07-15", None, "--since") == datetime(2002, 7, 15, tzinfo=UTC)
    assert moment("2002-07-15T18:00+09:00", "UTC", "--since") == datetime(2002, 7, 15, 9, tzinfo=UTC)
    assert [bin_length(text).total_seconds() for text in ("1m", "10m", "1h", "1d", "7d")] == [
        60,
        600,
        3600,
        86400,
        604800,
    ]
    for bad in ("", "m", "1", "1s", "-1m", "25h", "00m", "1m1m"):
        with pytest.raises(UsageError):
            bin_length(bad)


def test_the_exit_statuses_are_those_of_the_errors() -> None:
    assert (UsageError("x").exit_code, InputError("x").exit_code) == (2, 3)
