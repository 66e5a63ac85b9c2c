"""`make install`: a place of its own, which works without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.slow
def test_what_is_installed_works_on_its_own_and_goes_again(root: Path, tmp_path: Path) -> None:
    if shutil.which("cargo") is None or not (root / ".venv" / "bin" / "maturin").exists():
        pytest.skip("needs what `make build` needs; run `make build` first")
    prefix, links = tmp_path / "opt", tmp_path / "bin"
    places = [f"PREFIX={prefix}", f"LINKS={links}"]
    # The tests run in what is installed already: nothing is built a second time beside them.
    made = subprocess.run(
        ["make", "install", *places, "--old-file=.venv/stamps/extension"],
        cwd=root,
        capture_output=True,
        text=True,
        umask=0o077,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    program = links / "seismolog"

    def seismolog(*words: str) -> str:
        done = subprocess.run(
            [str(program), *words],
            cwd=tmp_path,
            env={"PATH": os.defpath},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    log = root / "tests" / "data" / "captured-2026" / "syslog"
    told = seismolog("count", str(log), "--year", "2026", "--by", "kind", "--bin", "all", "--format", "csv")
    assert "dns_query" in told
    seismolog(
        "analyze",
        str(log),
        "--year",
        "2026",
        "--store",
        str(tmp_path / "store"),
        "--output",
        str(tmp_path / "r.html"),
    )
    assert (tmp_path / "r.html").stat().st_size > 10_000
    # Nothing of it comes from the checkout, and all users may read it.
    for file in prefix.rglob("*"):
        assert file.is_symlink() or file.stat().st_mode & 0o444 == 0o444, file
    assert str(root) not in (prefix / "bin" / "seismolog").read_text()
    assert not [f for f in prefix.rglob("*.pth") if str(root) in f.read_text()]
    gone = subprocess.run(
        ["make", "uninstall", *places], cwd=root, capture_output=True, text=True, check=False
    )
    assert gone.returncode == 0, gone.stderr
    assert not prefix.exists() and not program.exists()
    other = tmp_path / "other"
    other.mkdir()
    refused = subprocess.run(
        ["make", "uninstall", f"PREFIX={other}", f"LINKS={links}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0 and "no installation" in refused.stderr and other.exists()
