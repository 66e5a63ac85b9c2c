"""``seismolog grafana``: dashboards, data source, alert rules and annotations, as files or in a running Grafana."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations at run time
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from seismolog.config import Config
    from seismolog.sinks.grafana.provisioning import Place
    from seismolog.sinks.grafana.push import Pushed


def grafana(
    action: Literal["render", "push", "check", "setup"],
    folder: Path | None = None,
    /,
    *,
    alerts: bool = True,
    annotations: bool = False,
    since: str | None = None,
    until: str | None = None,
    store: str | None = None,
    token_file: Annotated[Path | None, Parameter(name="--token-file")] = None,
    tz: str | None = None,
    config: Path | None = None,
) -> int:
    """Bring dashboards and alert rules to Grafana; what is there already is left alone.

    The token is that of a service account (role Editor, Admin for setup), in the file that [grafana] token_file names or in
    SEISMOLOG_GRAFANA_TOKEN.

    Parameters
    ----------
    action
        render: write dashboards and provisioning files into FOLDER (default: grafana). push: dashboards and alert rules
        through the API, into the folder of the config. setup: the data source too. check: say what differs, in FOLDER
        where one is named, else in the running Grafana; status 1 if something does.
    folder
        The folder for render and check.
    alerts
        Whether push and setup bring the alert rules too.
    annotations
        With push: the store's incidents as annotations too.
    since
        Incidents from this moment on, such as 2002-07-15T18:00; the last 90 days by default.
    until
        Incidents up to this moment.
    store
        Folder or URL of the store; the one of --config by default.
    token_file
        With render: where the token for InfluxDB will lie on Grafana's host.
    tz
        Time zone of --since and --until, such as Asia/Tokyo.
    config
        The site's configuration.
    """
    from seismolog.config import load
    from seismolog.errors import UsageError

    if annotations and action != "push":
        raise UsageError("--annotations is for `seismolog grafana push`")
    if folder is not None and action in ("push", "setup"):
        raise UsageError(f"`seismolog grafana {action}` takes no folder", mend="leave it out")
    loaded = load(config)
    place = _place(loaded, token_file)
    if action == "render" or (action == "check" and folder is not None):
        return _files(action, folder, place)
    if action == "check":
        return _check(loaded, place)
    return _push(loaded, place, action == "setup", alerts, annotations, since, until, store, tz)


def _place(config: Config, token_file: Path | None) -> Place:
    """What the site says, over the defaults of compose.yaml."""
    from dataclasses import replace

    from seismolog.sinks.grafana.provisioning import Place

    place = Place(folder=config.grafana.folder, email=config.grafana.email, docs=config.grafana.docs)
    if config.influxdb.url is not None and config.influxdb.bucket is not None:
        place = replace(place, url=config.influxdb.url, bucket=config.influxdb.bucket)
    return place if token_file is None else replace(place, token_file=str(token_file))


def _files(action: str, folder: Path | None, place: Place) -> int:
    from pathlib import Path

    from seismolog.sinks.grafana.files import drift, render, write

    folder = folder or Path("grafana")
    files = render(place)
    if action == "render":
        written = write(folder, files)
        for path in written:
            print(f"wrote {path}")
        print(f"{folder}: {len(files)} files, {len(written)} of them new or changed")
        return 0
    found = drift(folder, files)
    for sentence in found:
        print(sentence)
    print(f"{folder}: {len(files)} files, {len(found)} not as they should be")
    return 1 if found else 0


def _told(pushed: Pushed) -> None:
    for what, name in pushed.done:
        print(f"{what} {name}")
    counts = ", ".join(f"{n} {what}" for what, n in sorted(pushed.counts.items())) or "nothing to do"
    print(f"{counts}; {pushed.same} as they should be")


def _push(
    config: Config,
    place: Place,
    setup: bool,
    alerts: bool,
    annotations: bool,
    since: str | None,
    until: str | None,
    store: str | None,
    tz: str | None,
) -> int:
    from seismolog.sinks.grafana.api import Grafana, grafana_of
    from seismolog.sinks.grafana.push import Pushed, push_dashboards, push_datasource, push_rules

    server = Grafana(grafana_of(config))
    pushed = Pushed()
    if setup:
        from seismolog.sinks.influxdb.target import target_of

        target = target_of(config)
        push_datasource(server, place, target.token, pushed)
    push_dashboards(server, place, pushed)
    if alerts:
        push_rules(server, place, pushed)
    if annotations:
        _annotate(config, server, pushed, since, until, store, tz)
    _told(pushed)
    return 0


def _annotate(
    config: Config,
    server: object,
    pushed: Pushed,
    since: str | None,
    until: str | None,
    place: str | None,
    tz: str | None,
) -> None:
    from datetime import UTC, datetime, timedelta
    from typing import cast

    from seismolog.cli.options import moment
    from seismolog.errors import UsageError
    from seismolog.privacy import pseudonymizer
    from seismolog.sinks.grafana.annotations import annotations_of, push_annotations
    from seismolog.sinks.grafana.api import Grafana
    from seismolog.store import Store

    zone = tz or config.site.timezone
    low = moment(since, zone, "--since") if since else datetime.now(UTC) - timedelta(days=90)
    high = moment(until, zone, "--until") if until else None
    url = place or config.store_url
    if url is None:
        raise UsageError("no store is named", mend="give --store, or set [store] url in the configuration")
    incidents = Store(url).read("incident", low, high).collect()
    pseudonyms = pseudonymizer(config)
    wanted = annotations_of(incidents, None if pseudonyms is None else lambda text, _: pseudonyms.text(text))
    push_annotations(cast("Grafana", server), wanted, pushed, since=low, until=high or datetime.now(UTC))


def _check(config: Config, place: Place) -> int:
    """What the running Grafana lacks, without changing it."""
    from seismolog.sinks.grafana.api import Grafana, grafana_of
    from seismolog.sinks.grafana.check import check

    found = check(Grafana(grafana_of(config)), place)
    for line in found.lines:
        print(line)
    print(f"{config.grafana.url}: {len(found.faults)} not as they should be")
    for fault in found.faults:
        print(f"- {fault}")
    return 1 if found.faults else 0
