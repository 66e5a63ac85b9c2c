"""What is true about simulated logs: counts, parameters, incidents.

What it is for
    Tests and the evaluation of detectors compare what seismolog finds with what was put in.

How it works
    A :class:`Truth` is filled by a scenario from its arrays, not from the text, and written as ``truth.json``
    beside the logs. Counts are in bins of ten minutes, in UTC. ``paper`` holds what the five pipelines of
    the 2003 study count in the files; it differs from ``totals`` where the rules of counting do (``from=``
    of a refused message is in N_from, but is no ``smtp_accepted``).

Limits
    Times are whole seconds, as in the logs: an event belongs to the bin of the second that its line shows.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Incident", "Truth"]

BIN_SECONDS = 600


@dataclass(frozen=True)
class Incident:
    """One labelled incident: what a detector should find.

    ``label`` is the name in the study, ``detectors`` those that should fire, ``subjects`` addresses or
    servers, ``start`` and ``end`` ISO 8601 in UTC.
    """

    label: str
    cause: str
    detectors: tuple[str, ...]
    subjects: tuple[str, ...]
    server: str
    start: str
    end: str
    explanation: str


@dataclass
class Truth:
    """Everything known about one run of a scenario; see the module for the meaning of the fields.

    ``bins[server][kind]`` has one count per ten minutes from ``start`` on; ``recipients`` likewise for
    kinds that count addresses; ``clients[server][kind][address]`` are totals; ``curves[address]`` the DNS
    queries per bin of the named clients; ``coefficients`` holds the model's constants and, under
    ``realized``, their values in this run.
    """

    scenario: str
    seed: int
    start: str
    end: str
    timezone: str
    parameters: dict[str, Any]
    servers: dict[str, dict[str, Any]]
    files: dict[str, dict[str, int]]
    paper: dict[str, int]
    totals: dict[str, dict[str, int]]
    recipients: dict[str, dict[str, int]]
    query_types: dict[str, int]
    coefficients: dict[str, Any]
    bins: dict[str, dict[str, list[int]]]
    clients: dict[str, dict[str, dict[str, int]]]
    curves: dict[str, list[int]]
    names: dict[str, str]
    lookups: list[int]
    incidents: list[Incident] = field(default_factory=list)
    bin_seconds: int = BIN_SECONDS

    def bin_starts(self) -> list[datetime]:
        """The first moment of every bin, UTC."""
        first = datetime.fromisoformat(self.start).astimezone(UTC)
        last = datetime.fromisoformat(self.end).astimezone(UTC)
        count = -(-int((last - first).total_seconds()) // self.bin_seconds)
        return [first + timedelta(seconds=self.bin_seconds * i) for i in range(count)]

    def frame(self) -> pl.DataFrame:
        """The counts per bin as a polars frame: bin_start (Datetime us UTC), server, kind, count (UInt64)."""
        import polars as pl

        starts = pl.Series("bin_start", self.bin_starts(), dtype=pl.Datetime("us", "UTC"))
        parts = [
            pl.DataFrame({"bin_start": starts, "count": pl.Series(counts, dtype=pl.UInt64)}).select(
                "bin_start", pl.lit(server).alias("server"), pl.lit(kind).alias("kind"), "count"
            )
            for server, kinds in self.bins.items()
            for kind, counts in kinds.items()
        ]
        return pl.concat(parts)

    def client_frame(self) -> pl.DataFrame:
        """The totals per client as a polars frame: server, kind, client, count (UInt64)."""
        import polars as pl

        rows = [
            (server, kind, client, count)
            for server, kinds in self.clients.items()
            for kind, counts in kinds.items()
            for client, count in counts.items()
        ]
        schema = {"server": pl.String, "kind": pl.String, "client": pl.String, "count": pl.UInt64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def save(self, path: Path) -> None:
        """Write as JSON, one top-level key a line."""
        content = asdict(self)
        body = ",\n".join(
            f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'), ensure_ascii=False)}"
            for key, value in content.items()
        )
        path.write_text("{\n" + body + "\n}\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Read what :meth:`save` wrote.

        Raises
        ------
        OSError, ValueError
            When the file cannot be read or is no truth file.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        try:
            content["incidents"] = [
                Incident(**entry | {key: tuple(entry[key]) for key in ("detectors", "subjects")})
                for entry in content["incidents"]
            ]
            return cls(**content)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: no truth file of this version ({error})") from error
