"""Bringing data source, dashboards and alert rules into a running Grafana: what is there already is left alone.

How: each thing has a UID of its own, is fetched by it, compared with what the code says, and written only where it
differs. So a push that is repeated changes nothing, and one that broke off goes on where it was. A Grafana that migrates
what it stores gives a dashboard back in another form: then the message of its newest version is looked at, which holds
a digest of what was pushed. Rules of ours that the code
no longer has are deleted; nothing is touched whose UID does not begin with ours.

Limits: contact points, notification policies and mute timings are not pushed, since an organisation has one tree of
policies and it belongs to its administrator. The provisioning files hold templates.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from seismolog.sinks.grafana.alerts import GROUP
from seismolog.sinks.grafana.dashboards import dashboards
from seismolog.sinks.grafana.panels import DATASOURCE
from seismolog.sinks.grafana.provisioning import FOLDER_UID, Place, rule_group

if TYPE_CHECKING:
    from seismolog.sinks.grafana.api import Grafana

__all__ = ["Pushed", "compare", "push_dashboards", "push_datasource", "push_rules"]

Json = dict[str, Any]


@dataclass
class Pushed:
    """What a push did: names of what was created, updated, deleted, and how much was as it should be."""

    done: list[tuple[str, str]] = field(default_factory=list)
    same: int = 0

    def add(self, what: str, name: str) -> None:
        """Something was changed."""
        self.done.append((what, name))

    @property
    def counts(self) -> Counter[str]:
        """How many of each."""
        return Counter(what for what, _ in self.done)


def compare(wanted: Any, found: Any) -> bool:
    """Whether everything wanted is found; what Grafana has added besides (ids, versions, defaults) does not count."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            compare(value, found.get(key)) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(wanted) == len(found)
            and all(compare(w, f) for w, f in zip(wanted, found, strict=True))
        )
    return bool(wanted == found)


def push_folder(grafana: Grafana, place: Place, pushed: Pushed) -> None:
    """The folder of everything."""
    api = grafana.api.folder
    found = grafana.find("read the folder", api.get_folder, FOLDER_UID)
    if found is None:
        grafana.call("create the folder", api.create_folder, title=place.folder, uid=FOLDER_UID)
        pushed.add("created", f"folder {place.folder}")
    elif found.get("title") != place.folder:
        grafana.call("rename the folder", api.update_folder, FOLDER_UID, title=place.folder, overwrite=True)
        pushed.add("updated", f"folder {place.folder}")
    else:
        pushed.same += 1


def push_datasource(grafana: Grafana, place: Place, token: str, pushed: Pushed) -> None:
    """The data source, with the token that Grafana reads InfluxDB with. Needs the role Admin.

    Grafana gives no secret back, so the token that is there cannot be compared: where everything else is as it should be,
    it is left alone.
    """
    api = grafana.api.datasource
    wanted: Json = {
        "name": "seismolog",
        "uid": DATASOURCE["uid"],
        "type": DATASOURCE["type"],
        "access": "proxy",
        "url": place.url,
        "database": place.bucket,
        "isDefault": False,
        "jsonData": {
            "dbName": place.bucket,
            "version": "InfluxQL",
            "httpMode": "POST",
            "httpHeaderName1": "Authorization",
            "timeInterval": "1m",
        },
    }
    secret = {"secureJsonData": {"httpHeaderValue1": f"Token {token}"}}
    found = grafana.find("read the data source", api.get_datasource_by_uid, DATASOURCE["uid"])
    if found is None:
        grafana.call("create the data source", api.create_datasource, wanted | secret)
        pushed.add("created", "data source seismolog")
    elif not compare(wanted, found) or not (found.get("secureJsonFields") or {}).get("httpHeaderValue1"):
        grafana.call(
            "update the data source", api.update_datasource_by_uid, DATASOURCE["uid"], wanted | secret
        )
        pushed.add("updated", "data source seismolog")
    else:
        pushed.same += 1


def push_dashboards(grafana: Grafana, place: Place, pushed: Pushed) -> None:
    """The folder and the six dashboards in it."""
    push_folder(grafana, place, pushed)
    api = grafana.api.dashboard
    for board in dashboards():
        wanted = board.json()
        found = grafana.find(f"read the dashboard {board.title}", api.get_dashboard, board.uid)
        # The version is Grafana's to count.
        kept = {key: value for key, value in wanted.items() if key != "version"}
        message = f"seismolog grafana push {_digest(kept)}"
        if (
            found is not None
            and (found.get("meta") or {}).get("folderUid") == FOLDER_UID
            and (compare(kept, found.get("dashboard")) or _newest_message(grafana, board.uid) == message)
        ):
            pushed.same += 1
            continue
        body = {
            "dashboard": {**kept, "id": None},
            "folderUid": FOLDER_UID,
            "overwrite": True,
            "message": message,
        }
        grafana.call(f"write the dashboard {board.title}", api.update_dashboard, body)
        pushed.add("created" if found is None else "updated", f"dashboard {board.title}")


def _digest(wanted: Json) -> str:
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]


def _newest_message(grafana: Grafana, uid: str) -> str | None:
    """What was said when the dashboard was last written; None where Grafana does not tell."""
    path = f"/dashboards/uid/{quote(uid, safe='')}/versions?limit=1"
    answer: Any = grafana.find("read the versions", grafana.api.client.GET, path)
    # A list up to Grafana 10, an object with it later.
    versions = answer.get("versions") if isinstance(answer, dict) else answer
    return str(versions[0].get("message")) if versions else None


def push_rules(grafana: Grafana, place: Place, pushed: Pushed) -> None:
    """The alert rules, one by one; those of ours that the code no longer has are deleted."""
    api = grafana.api.alertingprovisioning
    group = rule_group(place)
    known = grafana.call("read the alert rules", api.get_alertrules_all)
    there = {rule["uid"]: rule for rule in known if rule["uid"].startswith("seismolog-")}
    for rule in group["rules"]:
        wanted: Json = {
            **{key: value for key, value in rule.items() if key != "orgId"},
            "orgID": 1,
            "folderUID": FOLDER_UID,
            "ruleGroup": GROUP,
        }
        found = there.pop(rule["uid"], None)
        if found is not None and compare(_plain(wanted), _plain(found)):
            pushed.same += 1
        elif found is None:
            # Without provenance the rule can still be changed in the browser.
            grafana.call(
                f"create the rule {rule['title']}", api.create_alertrule, wanted, disable_provenance=True
            )
            pushed.add("created", f"rule {rule['title']}")
        else:
            grafana.call(
                f"update the rule {rule['title']}",
                api.update_alertrule,
                quote(rule["uid"], safe=""),
                wanted,
                disable_provenance=True,
            )
            pushed.add("updated", f"rule {rule['title']}")
    for uid, rule in there.items():
        if rule.get("folderUID") == FOLDER_UID and rule.get("ruleGroup") == GROUP:
            grafana.call(f"delete the rule {rule['title']}", api.delete_alertrule, quote(uid, safe=""))
            pushed.add("deleted", f"rule {rule['title']}")


def _plain(rule: Json) -> Json:
    """A rule with its durations in one spelling: Grafana gives ``5m0s`` or ``5m`` for what was ``5m``."""
    made = dict(rule)
    made.pop("orgID", None)
    made["for"] = _seconds(str(rule.get("for", "0s")))
    return made


def _seconds(text: str) -> int:
    units = {"h": 3600, "m": 60, "s": 1, "d": 86400}
    total, number = 0, ""
    for character in text:
        if character.isdigit():
            number += character
        elif number and character in units:
            total += int(number) * units[character]
            number = ""
    return total
