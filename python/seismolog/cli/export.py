"""``seismolog export``: what the store holds into InfluxDB, and the bucket for it."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations at run time
from typing import Annotated, Literal

from cyclopts import Parameter


def export(
    action: Literal["setup"] | None = None,
    /,
    *,
    since: str | None = None,
    until: str | None = None,
    again: Annotated[bool, Parameter(negative=())] = False,
    retention: str | None = None,
    patience: str = "5m",
    store: str | None = None,
    state: Path | None = None,
    tz: str | None = None,
    config: Path | None = None,
) -> int:
    """Write what the store holds into InfluxDB; with `setup`, make the bucket.

    What was written before out of the same logs is left out, so an interrupted export goes on where it was.

    Parameters
    ----------
    action
        setup: make the bucket that the config names, or change its retention.
    since
        From this moment on, such as 2002-07-15T18:00; the hour that it lies in is written whole.
    until
        Up to this moment.
    again
        Also what was written before; it changes nothing.
    retention
        With setup: how long the bucket keeps points, such as 400d; 0 for ever.
    patience
        How long one request is tried, such as 5m.
    store
        Folder or URL of the store; the one of --config by default.
    state
        The daemon's state folder, in which is noted what was written; the one of --config by default.
    tz
        Time zone of --since and --until, such as Asia/Tokyo.
    config
        The site's configuration.
    """
    from seismolog.cli.options import moment
    from seismolog.config import load
    from seismolog.errors import UsageError

    if action == "setup":
        return _setup(config, retention)
    if retention is not None:
        raise UsageError("--retention is for `seismolog export setup`")
    loaded = load(config)
    zone = tz or loaded.site.timezone
    low = moment(since, zone, "--since") if since else None
    high = moment(until, zone, "--until") if until else None
    if low and high and low >= high:
        raise UsageError(f"--until {until} is not after --since {since}", mend="name a later end")

    from seismolog.live.settings import prepare_folder, state_folder, store_url
    from seismolog.sinks.influxdb.backfill import export as write
    from seismolog.sinks.influxdb.progress import export_progress

    folder = state or state_folder(loaded)
    prepare_folder(folder)
    with export_progress() as progress:
        done = write(
            loaded,
            store or store_url(loaded, folder),
            folder,
            since=low,
            until=high,
            again=again,
            patience=_length(patience, "--patience"),
            progress=progress,
        )
    print(_told(done))
    return 0


def _setup(config: Path | None, retention: str | None) -> int:
    from datetime import timedelta

    from seismolog.config import load
    from seismolog.config.values import duration_text
    from seismolog.sinks.influxdb.setup import set_up
    from seismolog.sinks.influxdb.target import target_of

    target = target_of(load(config))
    length = None if retention is None else timedelta(seconds=_length(retention, "--retention"))
    found = set_up(target, length)
    what = "made" if found.created else "changed" if found.changed else "is there"
    kept = "for ever" if found.retention is None else f"for {duration_text(found.retention)}"
    print(f"{target.place}: {what}; points are kept {kept}")
    return 0


def _length(text: str, option: str) -> float:
    from pydantic import TypeAdapter, ValidationError

    from seismolog.config.values import Duration
    from seismolog.errors import UsageError

    try:
        value = TypeAdapter(Duration).validate_python(int(text) if text.isdecimal() else text)
    except ValidationError:
        raise UsageError(
            f"{option}: {text!r} is no length of time", expected="such as 5m, 12h or 400d"
        ) from None
    return float(value.total_seconds())


def _told(done: object) -> str:
    from seismolog.report.text import integer
    from seismolog.sinks.influxdb.backfill import Exported

    assert isinstance(done, Exported)
    if done.by_daemon:
        return f"{done.place}: the daemon has written {integer(done.hours)} hours; {integer(done.skipped)} were there"
    rate = done.points / done.seconds if done.seconds else 0.0
    lines = [
        f"{done.place}: {integer(done.points)} points in {done.seconds:.1f} s ({integer(rate)} points/s): "
        f"{integer(done.hours)} hours, and {integer(done.findings)} of models and incidents",
    ]
    if done.skipped:
        lines.append(f"  {integer(done.skipped)} hours were there already")
    if done.zeros:
        lines.append(f"  {integer(done.zeros)} points are gone from the store and were written as 0")
    if done.refused_series:
        lines.append(
            f"  {integer(done.refused_series)} clients got no series of their own: [influxdb] max_series is reached"
        )
    if done.written.refused:
        lines.append(
            f"  {integer(done.written.refused)} points were refused; they stand, with the reason, in {done.refused_file}"
        )
    return "\n".join(lines)
