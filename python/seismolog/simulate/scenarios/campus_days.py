"""Days of a campus of today as log lines, with incidents and look-alikes planted, by name.

``campus`` plants what ``rows`` names; each row of the detectors is a scenario of its own as well: ``<row>`` with its
incident and ``<row>-lookalike`` with what resembles it, in a small campus with some days before.

The events are those of :mod:`seismolog.simulate.campus`, the same that ``seismolog evaluate`` counts without lines.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

from seismolog.simulate import incidents
from seismolog.simulate.campus import lines
from seismolog.simulate.campus.events import Injected
from seismolog.simulate.campus.world import World
from seismolog.simulate.registry import Scenario
from seismolog.simulate.truth import Incident, Truth

__all__ = ["scenarios"]

NAME = "campus"
SUMMARY = "days of a campus of today, with incidents and look-alikes planted"


def run(
    out_dir: Path,
    *,
    seed: int = 1,
    clients: int = 1000,
    days: int = 1,
    history: int = 2,
    strength: float = 1.0,
    rows: str = "",
    lookalikes: bool = True,
    positives: bool = True,
) -> Truth:
    """Write ``<server>.log`` of every server, ``site.toml``, ``holidays.ics`` and ``truth.json``.

    Parameters
    ----------
    clients
        Of the campus; 1000 make about half a million lines a day.
    days, history
        Days with incidents, and days before them that have the hosts' habits only.
    strength
        Of the incidents; 1 is normal.
    rows
        What is planted, names separated by commas; empty for all, ``none`` for nothing.
    lookalikes, positives
        Whether look-alikes, and whether incidents are planted.

    Raises
    ------
    ValueError
        For an unknown row or a value out of range.
    OSError
        A file cannot be written.
    """
    if not 1 <= days <= 14 or not 0 <= history <= 14:
        raise ValueError(f"days = {days}, history = {history}: expected 1 to 14 and 0 to 14")
    if not 0 < strength <= 10:
        raise ValueError(f"strength = {strength}: expected above 0, at most 10")
    names: list[str] | None = [r.strip() for r in rows.split(",") if r.strip()] or None
    if names == ["none"]:
        names = []
    for name in names or ():
        incidents.row(name)
    world = World(seed, clients)
    planned: dict[int, list[incidents.Planned]] = {}
    for number in range(days):
        made = incidents.plan(world, world.day(number), strength=strength, names=names)
        planned[number] = [
            p for p in made if (p.kind == "lookalike" and lookalikes) or (p.kind == "positive" and positives)
        ]
    habits = [p for made in planned.values() for p in made if p.habit]
    files: dict[str, dict[str, int]] = {}
    truths: list[Injected] = []
    totals: dict[str, dict[str, int]] = {}
    for number in range(-history, days):
        mine = planned.get(number, [])
        others = [h for h in habits if h not in mine]
        day = incidents.put([*mine, *others], world.day(number))
        truths += day.truth[: len(mine)]
        written = lines.write(day, out_dir, append=number > -history)
        for name, what in written.items():
            before = files.get(name, {"lines": 0})["lines"]
            files[name] = {"lines": before + what["lines"], "bytes": what["bytes"]}
        _add_totals(totals, lines.counts_of(day))
    (out_dir / "holidays.ics").write_text(lines.calendar(world), encoding="ascii")
    (out_dir / "site.toml").write_text(lines.site_toml(world), encoding="utf-8")
    start = world.parameters.midnight(-history).astimezone(UTC)
    truth = Truth(
        scenario=NAME,
        seed=seed,
        start=start.isoformat(),
        end=world.parameters.midnight(days).astimezone(UTC).isoformat(),
        timezone=world.parameters.timezone,
        parameters={
            "clients": clients,
            "days": days,
            "history": history,
            "strength": strength,
            "rows": rows,
            "lookalikes": lookalikes,
            "positives": positives,
        },
        servers=_servers(world),
        files=files,
        paper={},
        totals=totals,
        recipients={},
        query_types={},
        coefficients={
            m.name: {"domains_per_message": m.domains_per_message, "receive_rate": m.receive_rate}
            for m in world.parameters.mail
        },
        bins={},
        clients={},
        curves={},
        names={},
        lookups=[],
        incidents=[_incident(t) for t in truths],
    )
    truth.save(out_dir / "truth.json")
    return truth


def _add_totals(totals: dict[str, dict[str, int]], more: dict[str, dict[str, int]]) -> None:
    for server, kinds in more.items():
        mine = totals.setdefault(server, {})
        for kind, count in kinds.items():
            mine[kind] = mine.get(kind, 0) + count


def _servers(world: World) -> dict[str, dict[str, Any]]:
    texts, people = world.people.texts, world.people
    made: dict[str, dict[str, Any]] = {}
    for name, address in zip(world.dns_names, people.dns, strict=True):
        made[name] = {"role": "dns", "addresses": [texts[address]]}
    for name, address in zip(world.mail_names, people.mail, strict=True):
        made[name] = {"role": "mail", "addresses": [texts[address]]}
    made[world.wall_name] = {"role": "firewall", "addresses": []}
    return made


def _incident(of: Injected) -> Incident:
    return Incident(
        label=of.row if of.kind == "positive" else f"{of.row}-lookalike",
        cause=of.kind,
        detectors=of.detectors,
        subjects=of.subjects,
        server=of.server,
        start=of.start.isoformat(),
        end=of.end.isoformat(),
        explanation=of.note,
    )


def _one(
    row: str,
    positives: bool,
    out_dir: Path,
    *,
    seed: int = 1,
    clients: int = 600,
    history: int = 2,
    strength: float = 1.0,
) -> Truth:
    """The scenario of one row; parameters as of ``campus``."""
    return run(
        out_dir,
        seed=seed,
        clients=clients,
        history=history,
        strength=strength,
        rows=row,
        positives=positives,
        lookalikes=not positives,
    )


def scenarios() -> list[Scenario]:
    """``campus``, and two for each row."""
    made = [Scenario(NAME, SUMMARY, run)]
    for row in incidents.rows():
        module = incidents.row(row)
        made.append(Scenario(row, _sentence(module.positive), partial(_one, row, True)))
        if hasattr(module, "lookalike"):
            made.append(Scenario(f"{row}-lookalike", _sentence(module.lookalike), partial(_one, row, False)))
    return made


def _sentence(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().splitlines()[0].rstrip(".")
