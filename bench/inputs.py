"""The input files, made once from a seed and kept in a cache folder; a changed option is another file."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FULL_DNS = 10_000_000
FULL_MAIL = 5_000_000
FULL_MONTH = 300_000_000


def default_folder() -> Path:
    """The cache folder of the desktop convention, `~/.cache/seismolog-bench` if it says nothing else."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seismolog-bench"


@dataclass(frozen=True)
class Programs:
    """The two Rust programs of the suite."""

    generate: Path
    peers: Path


def build_programs() -> Programs:
    """Build the generator and the peers (release) and return where they are."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    names = ("seismolog-bench-generate", "seismolog-bench-peers")
    command = ["cargo", "build", "--release", "--locked", "--quiet"]
    subprocess.run([*command, *(part for name in names for part in ("-p", name))], cwd=ROOT, check=True)
    return Programs(*(target / "release" / name for name in names))


class Inputs:
    """Makes and names the inputs at a scale: 1 is ten million DNS lines and five million mail lines."""

    def __init__(self, folder: Path, generate: Path, scale: float) -> None:
        self.folder = folder
        self.generate = generate
        self.dns_lines = max(1000, round(FULL_DNS * scale))
        self.mail_lines = max(1000, round(FULL_MAIL * scale))
        # A smaller input covers less time, so that a minute is as busy as at full size.
        self.minutes = str(max(1, round(24 * 60 * min(scale, 1.0))))
        folder.mkdir(parents=True, exist_ok=True)

    def _make(self, kind: str, name: str, lines: int, *options: str) -> Path:
        path = self.folder / f"{kind}-{lines}-{name}"
        if not path.exists():
            # The ending names the compression, so the half-made file keeps it.
            part = path.with_name(f"part-{path.name}")
            command = [str(self.generate), kind, "--lines", str(lines), "--out", str(part), *options]
            subprocess.run(command, check=True)
            part.rename(path)
        return path

    def dns(self) -> Path:
        """BIND queries of one day, one server, 20,000 clients."""
        return self._make("dns", "day.log", self.dns_lines, "--minutes", self.minutes)

    def dns_slice(self) -> Path:
        """A fiftieth of that, for peers that would take minutes."""
        return self._make("dns", "slice.log", max(1000, self.dns_lines // 50), "--minutes", "29")

    def mail(self) -> Path:
        """sendmail, Postfix, qpopper and Dovecot in turn."""
        return self._make("mail", "day.log", self.mail_lines, "--minutes", self.minutes)

    def mail_slice(self) -> Path:
        """A fiftieth of that."""
        return self._make("mail", "slice.log", max(1000, self.mail_lines // 50), "--minutes", "29")

    def interleaved(self) -> Path:
        """Three servers in turn, every other client on IPv6, lines up to 5 s late."""
        options = ("--servers", "3", "--ipv6", "--disorder", "5", "--minutes", self.minutes)
        return self._make("dns", "interleaved.log", self.dns_lines, *options)

    def unique(self) -> Path:
        """Every query name different."""
        return self._make("dns", "unique.log", self.dns_lines, "--names", "unique", "--minutes", self.minutes)

    def crowded_minute(self) -> Path:
        """A million different names in one minute (at scale 1)."""
        return self._make("dns", "minute.log", self.dns_lines // 10, "--names", "unique", "--minutes", "1")

    def one_gz(self) -> Path:
        """The day in one gzip member."""
        return self._make("dns", "day.log.gz", self.dns_lines, "--minutes", self.minutes)

    def many(self, ending: str) -> list[Path]:
        """Eight files that make a day's volume together: `.log`, `.log.gz` or `.log.zst`."""
        options = ("--minutes", str(max(1, int(self.minutes) // 8)))
        lines = self.dns_lines // 8
        return [
            self._make("dns", f"part{seed}{ending}", lines, "--seed", str(seed), *options)
            for seed in range(1, 9)
        ]

    def month(self, scale: float) -> Path:
        """DNS queries of 30 days as one zstd stream (300 million lines at scale 1)."""
        return self._make("dns", "month.log.zst", round(FULL_MONTH * scale), "--days", "30")

    def month_mail(self, scale: float) -> Path:
        """Mail of the same 30 days, a hundredth of the DNS lines."""
        return self._make("mail", "month.log.zst", round(FULL_MONTH * scale / 100), "--days", "30")


def warm(paths: list[Path]) -> None:
    """Read the files once, so that every run finds them in the page cache."""
    buffer = bytearray(1 << 20)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
