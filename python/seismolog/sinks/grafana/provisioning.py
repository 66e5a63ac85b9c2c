"""Provisioning files: data source, dashboards' provider, contact point, policies, mute timing, rules.

How: plain dictionaries in the form that Grafana 9.4 to 13 read from ``/etc/grafana/provisioning``. No secret stands in
them: the token is ``$__file{…}``, which Grafana replaces by the file's content when it starts.

Limits: notification policies are one tree for an organisation: the file replaces the tree that is there. On a Grafana
that others use too, leave ``policies.yaml`` out and add a route for ``application = seismolog`` by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seismolog.sinks.grafana.alerts import FOLDER, GROUP, INTERVAL, RULES
from seismolog.sinks.grafana.dashboards import dashboards
from seismolog.sinks.grafana.panels import DATASOURCE

if TYPE_CHECKING:
    from seismolog.sinks.grafana.dashboard import Dashboard

__all__ = ["CONTACT", "FOLDER_UID", "MUTE", "Place", "documents", "panel_numbers", "rule_group"]

Json = dict[str, Any]

CONTACT = "seismolog"
MUTE = "seismolog-nights"
FOLDER_UID = "seismolog"


@dataclass(frozen=True)
class Place:
    """What differs from site to site. The defaults are those of the checked-in files and of compose.yaml.

    Parameters
    ----------
    url, bucket
        InfluxDB as Grafana reaches it, and the bucket.
    token_file
        File on Grafana's host that holds a token that may read the bucket.
    dashboards
        Folder on Grafana's host that holds the dashboards' files.
    email
        Where alerts go.
    docs
        Where this project's docs are, a URL or a folder; the links to the runbook begin with it.
    folder
        Title of the folder of dashboards and rules.
    """

    url: str = "http://influxdb:8086"
    bucket: str = "seismolog"
    token_file: str = "/run/secrets/influxdb_token"  # noqa: S105 - a path
    dashboards: str = "/var/lib/grafana/dashboards/seismolog"
    email: str = "root@localhost"
    docs: str = "docs/"
    folder: str = FOLDER


def _datasource(place: Place) -> Json:
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "seismolog",
                "uid": DATASOURCE["uid"],
                "type": DATASOURCE["type"],
                "access": "proxy",
                "orgId": 1,
                "url": place.url,
                # `database` is read by the dashboards of 9.4, `jsonData.dbName` by alert rules and later versions.
                "database": place.bucket,
                "isDefault": False,
                "editable": False,
                "jsonData": {
                    "dbName": place.bucket,
                    "version": "InfluxQL",
                    # A panel's queries are sent together: longer than some proxies let a URL be.
                    "httpMode": "POST",
                    "httpHeaderName1": "Authorization",
                    "timeInterval": "1m",
                },
                "secureJsonData": {"httpHeaderValue1": f"Token $__file{{{place.token_file}}}"},
            }
        ],
    }


def _provider(place: Place) -> Json:
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "seismolog",
                "orgId": 1,
                "folder": place.folder,
                "folderUid": FOLDER_UID,
                "type": "file",
                "disableDeletion": False,
                "allowUiUpdates": False,
                "updateIntervalSeconds": 60,
                "options": {"path": place.dashboards, "foldersFromFilesStructure": False},
            }
        ],
    }


def panel_numbers(boards: list[Dashboard] | None = None) -> dict[tuple[str, str], tuple[str, int]]:
    """(Dashboard, title of a panel) to (UID of the dashboard, number of the panel)."""
    found = {}
    for board in boards or dashboards():
        for panel in board.json()["panels"]:
            for one in (panel, *panel.get("panels", ())):
                found[board.name, one["title"]] = (board.uid, one["id"])
    return found


def rule_group(place: Place) -> Json:
    """The group of rules as a provisioning file has it."""
    numbers = panel_numbers()
    return {
        "orgId": 1,
        "name": GROUP,
        "folder": place.folder,
        "interval": INTERVAL,
        "rules": [rule.json(numbers, place.docs) for rule in RULES],
    }


def _contact_points(place: Place) -> Json:
    return {
        "apiVersion": 1,
        "contactPoints": [
            {
                "orgId": 1,
                "name": CONTACT,
                "receivers": [
                    {
                        "uid": "seismolog-email",
                        "type": "email",
                        "disableResolveMessage": False,
                        "settings": {"addresses": place.email, "singleEmail": True},
                    }
                ],
            }
        ],
    }


def _policies() -> Json:
    return {
        "apiVersion": 1,
        "policies": [
            {
                "orgId": 1,
                "receiver": CONTACT,
                "group_by": ["grafana_folder", "alertname"],
                "group_wait": "30s",
                "group_interval": "5m",
                "repeat_interval": "4h",
                "routes": [
                    {
                        "receiver": CONTACT,
                        "object_matchers": [["application", "=", "seismolog"], ["severity", "=", "critical"]],
                        "group_wait": "10s",
                        "repeat_interval": "1h",
                    },
                    {
                        "receiver": CONTACT,
                        "object_matchers": [["application", "=", "seismolog"], ["severity", "=", "warning"]],
                        "repeat_interval": "24h",
                        "mute_time_intervals": [MUTE],
                    },
                ],
            }
        ],
    }


def _mute_timings() -> Json:
    return {
        "apiVersion": 1,
        "muteTimes": [
            {
                "orgId": 1,
                "name": MUTE,
                "time_intervals": [
                    {
                        "times": [
                            {"start_time": "00:00", "end_time": "06:00"},
                            {"start_time": "22:00", "end_time": "24:00"},
                        ]
                    }
                ],
            }
        ],
    }


def documents(place: Place) -> dict[str, Json]:
    """Path below ``provisioning`` to what the file says."""
    return {
        "datasources/seismolog.yaml": _datasource(place),
        "dashboards/seismolog.yaml": _provider(place),
        "alerting/rules.yaml": {"apiVersion": 1, "groups": [rule_group(place)]},
        "alerting/contact-points.yaml": _contact_points(place),
        "alerting/policies.yaml": _policies(),
        "alerting/mute-timings.yaml": _mute_timings(),
    }
