"""compose.yaml: its schema, and that its parts agree with one another. No Docker was run."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from seismolog.config import load

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SCHEMA = json.loads((ROOT / "tests/data/compose-spec/compose-spec.json").read_text())


def provisioning(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "grafana/provisioning" / name).read_text())


def test_it_has_the_form_of_the_specification() -> None:
    # `name` came into the specification after the schema that is at hand.
    known = {key: value for key, value in COMPOSE.items() if key != "name"}
    assert [e.message for e in Draft7Validator(SCHEMA).iter_errors(known)] == []
    wrong = {**known, "services": {**SERVICES, "x": {"imagge": "a"}}}
    assert list(Draft7Validator(SCHEMA).iter_errors(wrong))


def test_the_four_services_are_there_and_say_whether_they_are_well() -> None:
    assert set(SERVICES) == {"influxdb", "grafana", "rsyslog", "seismolog"}
    for name, service in SERVICES.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        assert all(d["condition"] == "service_healthy" for d in service.get("depends_on", {}).values())
        image = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", service["image"])
        assert ":" in image and not image.endswith(":latest"), name


def test_what_is_mounted_exists() -> None:
    named = set(COMPOSE["volumes"])
    for name, service in SERVICES.items():
        for mount in service["volumes"]:
            source, _target, *mode = mount.split(":")
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
                assert mode == ["ro"], f"{name}: {source} could be written to"
            else:
                assert source in named, f"{name}: {source}"


def test_ports_are_those_of_loopback_unless_told_otherwise() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", ()):
            assert re.sub(r"\$\{\w+:-(.*?)\}", r"\1", port).startswith("127.0.0.1:"), port


def test_secrets_come_from_files_and_stand_nowhere_else() -> None:
    text = (ROOT / "compose.yaml").read_text()
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"deploy/compose/secrets/{name}"}
        assert any(name in s.get("secrets", ()) for s in SERVICES.values())
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET", key):
                assert key.endswith("FILE"), key
                assert value.removeprefix("/run/secrets/") in service["secrets"]
    ignored = subprocess.run(
        ["git", "check-ignore", "deploy/compose/secrets/influxdb_token"], cwd=ROOT, capture_output=True
    )
    assert ignored.returncode == 0
    assert "changeme" not in text


def test_grafana_and_seismolog_speak_of_the_bucket_that_influxdb_makes() -> None:
    made = SERVICES["influxdb"]["environment"]
    (source,) = provisioning("datasources/seismolog.yaml")["datasources"]
    with (ROOT / "deploy/compose/site.toml").open("rb") as file:
        site = tomllib.load(file)
    assert source["jsonData"]["dbName"] == site["influxdb"]["bucket"] == made["DOCKER_INFLUXDB_INIT_BUCKET"]
    assert site["influxdb"]["org"] == made["DOCKER_INFLUXDB_INIT_ORG"]
    assert source["url"] == site["influxdb"]["url"] == "http://influxdb:8086"
    token = made["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN_FILE"]
    assert source["secureJsonData"]["httpHeaderValue1"] == f"Token $__file{{{token}}}"
    assert site["influxdb"]["token_file"] == token


def test_grafana_finds_its_files_where_they_are_mounted() -> None:
    mounts = dict(m.split(":")[:2] for m in SERVICES["grafana"]["volumes"])
    (provider,) = provisioning("dashboards/seismolog.yaml")["providers"]
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"


def test_the_site_loads_and_hears_what_rsyslog_sends() -> None:
    config = load(ROOT / "deploy/compose/site.toml")
    sent = (ROOT / "deploy/rsyslog/10-seismolog-relp.conf").read_text()
    target, port = re.search(r'target="(.*?)" port="(\d+)"', sent).groups()
    assert str(config.listen.relp) == f"{target}:{port}"
    # One network namespace, so that loopback is enough.
    assert SERVICES["rsyslog"]["network_mode"] == "service:seismolog"
    health = (ROOT / "deploy/compose/health.py").read_text()
    assert f"http://{config.live.metrics}/healthz" in health
    inner = {p.split(":")[-1].split("/")[0] for p in SERVICES["seismolog"]["ports"]}
    assert inner == set(
        re.findall(r'port="(\d+)"', (ROOT / "deploy/compose/rsyslog/rsyslog.conf").read_text())
    )


def test_the_image_copies_only_what_is_there_and_let_through() -> None:
    text = (ROOT / "deploy/compose/Dockerfile").read_text()
    through = (ROOT / "deploy/compose/Dockerfile.dockerignore").read_text().splitlines()
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in through, source
    assert re.search(r"^USER seismolog$", text, re.MULTILINE)


def test_secrets_are_made_once(tmp_path: Path) -> None:
    script = shutil.copy(ROOT / "deploy/compose/make-secrets.sh", tmp_path)
    for _ in range(2):
        done = subprocess.run(["sh", script], check=True, capture_output=True, text=True)
    assert done.stdout == ""
    folder = tmp_path / "secrets"
    values = {p.name: p.read_text() for p in folder.iterdir()}
    assert set(values) == set(COMPOSE["secrets"])
    assert all(re.fullmatch(r"[A-Za-z0-9]{40}", v) for v in values.values())
    assert len(set(values.values())) == len(values)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.service
def test_rsyslog_takes_its_configuration(tmp_path: Path) -> None:
    program = shutil.which("rsyslogd")
    if program is None:
        pytest.skip("rsyslogd is not installed")
    text = (ROOT / "deploy/compose/rsyslog/rsyslog.conf").read_text()
    relp = (ROOT / "deploy/rsyslog/10-seismolog-relp.conf").read_text()
    if not any(Path(p).exists() for p in Path("/usr/lib").glob("*/rsyslog/omrelp.so")):
        relp = relp.replace('module(load="omrelp")', "").replace('type="omrelp"', 'type="omfwd"')
        relp = re.sub(r' timeout="\d+"', "", relp)
    (tmp_path / "10.conf").write_text(relp)
    text = text.replace("/etc/rsyslog.d/", f"{tmp_path}/").replace("/var/spool/rsyslog", str(tmp_path))
    (tmp_path / "rsyslog").write_text(text)
    done = subprocess.run(
        [program, "-N1", "-f", str(tmp_path / "rsyslog"), "-i", "NONE"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower().replace("errors", ""), done.stderr
