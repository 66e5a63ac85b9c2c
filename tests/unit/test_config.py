from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seismolog.config import Config, find, load, markdown, parse, sample_toml
from seismolog.config.lines import key_lines, line_of
from seismolog.config.values import duration_text, size_text
from seismolog.errors import ConfigError

EXAMPLE = """\
[site]
timezone = "Asia/Tokyo"
inside = ["192.0.2.0/24"]
client_prefix_v6 = 64

[[mail_server]]
name = "1mx"
hostnames = ["1mx", "MX.example.org"]
addresses = ["192.0.2.2"]
domains_per_message = 2
receive_rate = 0.175

[[dns_server]]
name = "1dns"
timezone = "UTC"

[store]
url = "store"
keep = "30d"

[model]
bin = "1h"
"""


def mistake(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, Path("site.toml"))
    return caught.value


def test_nothing_configured_is_all_defaults() -> None:
    config = parse("")
    assert config == Config()
    assert config.model.bin == timedelta(minutes=10)
    assert config.store.keep == timedelta(days=400)
    assert config.store_url is None
    assert config.server_names == {}


def test_the_design_example(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(EXAMPLE)
    config = load(tmp_path / "site.toml")
    assert config.site.timezone == "Asia/Tokyo"
    assert config.mail_server[0].domains_per_message == 2.0
    assert config.server_names == {"1mx": "1mx", "mx.example.org": "1mx", "1dns": "1dns"}
    assert config.server_timezones == {"1dns": "UTC"}
    assert config.store_url == str(tmp_path / "store")
    assert config.model.bin == timedelta(hours=1)
    assert config.file == tmp_path / "site.toml"


def test_a_url_is_no_path() -> None:
    assert parse('[store]\nurl = "s3://logs/x"').store_url == "s3://logs/x"


@pytest.mark.parametrize(
    ("text", "line", "key", "expected", "mend"),
    [
        ('[site]\ntimezon = "UTC"', 2, "site.timezon", "one of timezone, inside", "did you mean timezone?"),
        ('[stor]\nurl = "x"', 1, "stor", "one of site", "did you mean store?"),
        ('[store]\nbin = "1h"', 2, "store.bin", "one of url", "it belongs into [model]"),
        ('\n[site]\n\ntimezone = "Mars/Olympus"', 4, "site.timezone", "tz database", None),
        ('[site]\ninside = ["10.0.0.1/8"]', 2, "site.inside", "without host bits", '"10.0.0.0/8"'),
        ('[site]\ninside = ["ten"]', 2, "site.inside", "an address or network", None),
        ("[site]\ninside = 10", 2, "site.inside", "a list", None),
        ("[site]\nclient_prefix_v6 = 200", 2, "site.client_prefix_v6", "less than or equal to 128", None),
        ('[store]\nkeep = "5 years"', 2, "store.keep", "a duration", None),
        ('[archive]\nbatch_size = "lots"', 2, "archive.batch_size", "a size", None),
        ('[limits]\nclients = "many"', 2, "limits.clients", "a whole number", None),
        ('[listen]\ntcp = "5514"', 2, "listen.tcp", "an address and a port", None),
        ('[[mail_server]]\naddresses = ["192.0.2.1"]', 1, "mail_server[1].name", "a value", "add name = …"),
        (
            '[[mail_server]]\nname = "a"\n[[mail_server]]\nname = 3',
            4,
            "mail_server[2].name",
            "a string",
            None,
        ),
        (
            '[[mail_server]]\nname = "a"\nreceive_rate = 0.5',
            1,
            "mail_server[1]",
            "together, or neither",
            None,
        ),
        ('[model]\nbin = "7m"', 1, "model", "divide a day", None),
        ('[influxdb]\nurl = "http://x"', 1, "influxdb", "org, bucket", None),
        ("site = 3", 1, "site", "a section [site]", None),
    ],
)
def test_a_mistake_names_line_key_expectation_and_mend(
    text: str, line: int, key: str, expected: str, mend: str | None
) -> None:
    error = mistake(text)
    assert error.exit_code == 2
    assert (error.file, error.line, error.key) == ("site.toml", line, key)
    assert error.expected is not None
    assert expected in error.expected
    if mend is not None:
        assert error.mend is not None
        assert mend in error.mend
    assert error.render().startswith(f"site.toml:{line}: {key}: ")


@pytest.mark.parametrize(
    ("text", "line", "mend"),
    [
        ("[site]\ntimezone = Asia/Tokyo", 2, "quotation marks"),
        ("[site\n", 1, "toml.io"),
        ('[site]\ntimezone: "UTC"', 2, "key = value"),
        ('[site]\ntimezone = "UTC"\ntimezone = "UTC"', 3, "toml.io"),
    ],
)
def test_text_that_is_no_toml(text: str, line: int, mend: str) -> None:
    error = mistake(text)
    assert error.line == line
    assert mend in (error.mend or "")


def test_all_mistakes_are_told_at_once_in_order() -> None:
    error = mistake('[site]\nclient_prefix_v6 = 0\ntimezone = "x"\nfoo = 1')
    assert [e.line for e in (error, *error.further)] == [2, 3, 4]
    assert error.render().count("site.toml:") == 3


def test_servers_must_agree() -> None:
    one_host_twice = (
        '[[mail_server]]\nname = "a"\nhostnames = ["h"]\n[[dns_server]]\nname = "b"\nhostnames = ["H"]'
    )
    assert "belongs to one server" in (mistake(one_host_twice).expected or "")
    both_roles = '[[mail_server]]\nname = "a"\n[[dns_server]]\nname = "a"'
    assert parse(both_roles).server_names == {"a": "a"}
    assert "each name once" in (
        mistake('[[dns_server]]\nname = "a"\n[[dns_server]]\nname = "a"').expected or ""
    )


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seismolog.config.reading._PLACES", (Path("site.toml"), tmp_path / "etc.toml"))
    assert find(environ={}) is None
    (tmp_path / "etc.toml").write_text("")
    assert find(environ={}) == tmp_path / "etc.toml"
    (tmp_path / "site.toml").write_text("")
    assert find(environ={}) == Path("site.toml")
    assert find(environ={"SEISMOLOG_CONFIG": "/env"}) == Path("/env")
    assert find("/named", environ={"SEISMOLOG_CONFIG": "/env"}) == Path("/named")


def test_a_named_file_must_exist_and_be_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="SEISMOLOG_CONFIG"):
        load(environ={"SEISMOLOG_CONFIG": str(tmp_path / "none.toml")})
    (tmp_path / "latin.toml").write_bytes(b'[site]\nholidays = "f\xeates"\n')
    with pytest.raises(ConfigError, match=r"latin\.toml:2: not UTF-8"):
        load(tmp_path / "latin.toml")


def test_a_quoted_control_character_is_escaped_in_the_error() -> None:
    assert "\\x1b" in mistake('[site]\ntimezone = "\\u001b[31mred"').render()
    assert "\x1b" not in mistake('[site]\n"\\u001b[2J" = 1').render()


def test_the_sample_is_valid_and_means_the_defaults() -> None:
    sample = sample_toml()
    assert parse(sample) == Config()
    everything = re.sub(r"^#(?=[a-z\[])", "", sample, flags=re.MULTILINE)
    config = parse(everything)
    assert config.mail_server[0].name == "1mx"
    assert config.limits == Config().limits
    assert config.archive == Config().archive
    assert config.model == Config().model
    keys = {
        (s, k) for s, t in tomllib.loads(everything).items() for k in (t[0] if isinstance(t, list) else t)
    }
    page = markdown()
    for section, name in keys:
        nested = f"## `[{section}.{name}]`"
        assert nested in page or f"`{name}`" in page.split(f"{section}]")[1], (section, name)


def test_every_setting_is_described() -> None:
    for section, field in Config.model_fields.items():
        assert field.description, section
        value = getattr(parse('[[mail_server]]\nname="a"\n[[dns_server]]\nname="b"'), section)
        model = type(value[0] if isinstance(value, list) else value)
        for name, setting in model.model_fields.items():
            assert setting.description, (section, name)
            shown = (f"#{name} = ", f"#[{section}.{name}]")
            assert any(s in sample_toml() for s in shown), (section, name)


def test_the_documentation_is_what_the_models_give(root: Path) -> None:
    page = (root / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: python -m seismolog.config.document docs/configuration.md"


@given(
    st.timedeltas(timedelta(0), timedelta(days=9999)).map(lambda t: timedelta(seconds=int(t.total_seconds())))
)
def test_durations_survive_being_written(value: timedelta) -> None:
    assert parse(f'[store]\nretention = "{duration_text(value)}"').store.retention == value


@given(st.integers(2**20, 2**45))
def test_sizes_survive_being_written(value: int) -> None:
    assert parse(f'[archive]\nbatch_size = "{size_text(value)}"').archive.batch_size == value


def test_bounds_that_are_set_reach_the_core_as_numbers(tmp_path: Path) -> None:
    from seismolog.archive.scanning import ScanOptions
    from seismolog.live.settings import counting, intake

    config = parse('[limits]\nclients = 500\nline_length = "2 MiB"\n')
    assert config.limits.model_dump()["line_length"] == 2 * 2**20
    bounds = ScanOptions.from_config(config).arguments()["limits"]
    assert bounds["clients"] == 500
    assert {type(value) for value in bounds.values()} == {int}
    assert counting(config)["limits"] == bounds
    assert intake(config, tmp_path)["limits"]["line_length"] == 2 * 2**20


def test_lines_of_keys() -> None:
    text = '''\
# comment = 1
top = 1
long = """
key = "inside a string"
[not.a.table]
"""
list = [
  1,  # [x]
  2,
]
[a.b]
c.d = 1
"quoted key" = { inner = 2 }
[[t]]
x = 1
[[t]]
x = 2
[t.sub]
y = 'a # b'
z = 3
'''
    tomllib.loads(text)
    lines = key_lines(text)
    assert lines[("top",)] == 2
    assert lines[("long",)] == 3
    assert ("key",) not in lines
    assert lines[("list",)] == 7
    assert lines["a", "b"] == 11
    assert lines["a", "b", "c", "d"] == 12
    assert lines["a", "b", "quoted key"] == 13
    assert lines["t", 0, "x"] == 15
    assert lines["t", 1, "x"] == 17
    assert lines["t", 1, "sub", "y"] == 19
    assert lines["t", 1, "sub", "z"] == 20
    assert line_of(lines, ("a", "b", "quoted key", "inner")) == 13
    assert line_of(lines, ("nowhere",)) is None


def test_importing_the_package_does_not_load_pydantic() -> None:
    code = "import sys, seismolog.config, seismolog.errors; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
