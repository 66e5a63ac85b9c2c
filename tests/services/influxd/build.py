"""Builds influxd, the InfluxDB 2 daemon, for the tests: `python tests/services/influxd/build.py` prints its path.

What for: the exporter and the dashboards are tested against the real daemon, which Debian does not package
(its `influxdb` is 1.6, without the v2 API). So it is built from its Go module, which go.mod and go.sum beside
this file lock.

How: the binary lands in a cache folder outside the checkout, named for the version, so that it is built once
(three to five minutes on two cores, and 130 MB) and found ever after. Its query engine is written in Rust and found
through a pkg-config of its own; that code asks for an older Rust and takes the warnings of newer ones for
errors, hence the toolchain and the wrapper below.

Limits: needs Go 1.24 or later, a C compiler, Rust, and the Go module proxy and the crates registry. The web UI is not
in this build. Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TAGS = "sqlite_foreign_keys,sqlite_json"
HOW_TO_GET = (
    "influxd is not built: install Go 1.24 or later, Rust and a C compiler, then run "
    "`python tests/services/influxd/build.py` (three to five minutes, once)"
)


def version() -> str:
    """The version that go.mod locks, such as v2.7.12."""
    found = re.search(r"github\.com/influxdata/influxdb/v2 (v\S+)", (HERE / "go.mod").read_text())
    if found is None:
        raise SystemExit("go.mod names no github.com/influxdata/influxdb/v2")
    return found[1]


def cache() -> Path:
    """The folder of this version: below $SEISMOLOG_CACHE, else $XDG_CACHE_HOME/seismolog, else ~/.cache."""
    base = os.environ.get("SEISMOLOG_CACHE")
    if base is None:
        base = str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seismolog")
    return Path(base) / f"influxd-{version()}"


def binary() -> Path | None:
    """The daemon if it has been built, or the one that $SEISMOLOG_INFLUXD names; else None."""
    named = os.environ.get("SEISMOLOG_INFLUXD")
    path = Path(named) if named else cache() / "influxd"
    return path if path.is_file() and os.access(path, os.X_OK) else None


def missing() -> list[str]:
    """The tools that a build needs and this machine lacks."""
    return [t for t in ("go", "cargo", "cc") if shutil.which(t) is None]


def _environment(work: Path) -> dict[str, str]:
    environment = {**os.environ, "CGO_ENABLED": "1", "GOFLAGS": "-buildvcs=false"}
    # The engine's crates are built in the folder of Go's cache, whatever ours are built in.
    environment.pop("CARGO_TARGET_DIR", None)
    wrapper = work / "rustc-wrapper"
    wrapper.write_text('#!/bin/sh\nexec "$@" --cap-lints warn\n')
    wrapper.chmod(0o755)
    environment["RUSTC_WRAPPER"] = str(wrapper)
    if shutil.which("rustup"):
        active = subprocess.run(
            ["rustup", "show", "active-toolchain"], capture_output=True, text=True, check=True
        )
        environment["RUSTUP_TOOLCHAIN"] = active.stdout.split()[0]
    return environment


def build() -> Path:
    """Build the daemon unless it is there; one process at a time, others wait. Returns its path."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = binary()
        if found is not None:
            return found
        if missing():
            raise SystemExit(f"missing: {', '.join(missing())}\n{HOW_TO_GET}")
        print(f"building influxd {version()} into {folder}, once", file=sys.stderr)
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            environment = _environment(work)
            tool = work / "pkg-config"
            go = ["go", "build", "-mod=readonly"]
            subprocess.run(
                [*go, "-o", tool, "github.com/influxdata/pkg-config"], cwd=HERE, env=environment, check=True
            )
            environment["PKG_CONFIG"] = str(tool)
            # Renamed at the end: whoever looks finds a whole file or none.
            part = folder / "influxd.part"
            command = "github.com/influxdata/influxdb/v2/cmd/influxd"
            subprocess.run(
                [*go, "-tags", TAGS, "-ldflags", "-s -w", "-o", part, command],
                cwd=HERE,
                env=environment,
                check=True,
            )
            target = folder / "influxd"
            part.replace(target)
        return target


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="build influxd for the tests, once; prints its path")
    parser.add_argument("--find", action="store_true", help="only look: exit status 1 where it is not built")
    if parser.parse_args().find:
        found = binary()
        if found is None:
            raise SystemExit(HOW_TO_GET)
        print(found)
        return
    print(build())


if __name__ == "__main__":
    main()
