"""A small Grafana: the parts of its HTTP API that a push uses, with every request held to the documented form.

Each request must carry the token and be of the documented method, path, parameters and body (a JSON Schema each); one that
is not fails the test, whatever the client makes of the answer. State is kept as Grafana keeps it: ids, versions, a
dashboard's metadata, provenance. `migrate` gives dashboards back in another form than they were sent, as versions do that
migrate what they store.

Limits: what the documentation says of Grafana 9.4 to 13; no Grafana was run.
"""

from __future__ import annotations

import copy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft7Validator

STRING, INTEGER, BOOLEAN, OBJECT = ({"type": t} for t in ("string", "integer", "boolean", "object"))
UID = {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$"}


def body(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


_QUERY = body(
    {
        "refId": STRING,
        "datasourceUid": STRING,
        "relativeTimeRange": body({"from": INTEGER, "to": INTEGER}),
        "model": OBJECT,
    },
    queryType=STRING,
)
RULE = body(
    {
        "uid": UID,
        "title": {"type": "string", "maxLength": 190},
        "orgID": INTEGER,
        "folderUID": UID,
        "ruleGroup": {"type": "string", "maxLength": 190},
        "condition": STRING,
        "for": {"type": "string", "pattern": "^([0-9]+[smhd])+$"},
        "noDataState": {"enum": ["Alerting", "NoData", "OK"]},
        "execErrState": {"enum": ["OK", "Alerting", "Error"]},
        "data": {"type": "array", "minItems": 1, "items": _QUERY},
    },
    labels={"type": "object", "additionalProperties": STRING},
    annotations={"type": "object", "additionalProperties": STRING},
    isPaused=BOOLEAN,
)
DATASOURCE = body(
    {"name": STRING, "type": STRING, "access": {"enum": ["proxy"]}},
    uid=UID, url=STRING, database=STRING, isDefault=BOOLEAN, jsonData=OBJECT,
    secureJsonData={"type": "object", "additionalProperties": STRING},
)  # fmt: skip
ANNOTATION = body(
    {"text": STRING, "time": INTEGER},
    timeEnd=INTEGER, panelId={"type": ["integer", "null"]}, tags={"type": "array", "items": STRING},
)  # fmt: skip
SCHEMAS = {
    ("POST", "folders"): body({"title": STRING}, uid=UID),
    ("PUT", "folders"): body({"title": STRING}, overwrite=BOOLEAN, version=INTEGER, uid=UID),
    ("POST", "dashboards/db"): body(
        {"dashboard": OBJECT}, folderUid=STRING, overwrite=BOOLEAN, message={"type": "string", "maxLength": 500}
    ),
    ("POST", "datasources"): DATASOURCE,
    ("PUT", "datasources"): DATASOURCE,
    ("POST", "v1/provisioning/alert-rules"): RULE,
    ("PUT", "v1/provisioning/alert-rules"): RULE,
    ("POST", "annotations"): ANNOTATION,
    ("PUT", "annotations"): ANNOTATION,
}  # fmt: skip


class FakeGrafana:
    """A server on a free port of loopback."""

    TOKEN = "glsa_of-the-tests"

    def __init__(self, *, version: str = "11.6.0", migrate: bool = False, influxdb: str = "OK") -> None:
        self.version, self.migrate, self.influxdb = version, migrate, influxdb
        self.folders: dict[str, dict[str, Any]] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, list[str]] = {}
        self.datasources: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self.annotations: dict[int, dict[str, Any]] = {}
        self.seen: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self.refuse: dict[str, int] = {}
        """Method and beginning of a path -> status that it is refused with."""
        self._ids = iter(range(1, 1_000_000))
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # head and body in one packet

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                status, answer = fake.answer(self.command, self.path, dict(self.headers), raw)
                sent = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/grafana"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path in self.seen if method != "GET"]

    # -- one request

    def answer(self, method: str, target: str, headers: dict[str, str], raw: bytes) -> tuple[int, Any]:
        url = urlsplit(target)
        if not url.path.startswith("/grafana/api/"):
            self.faults.append(f"{method} {target}: not below /grafana/api")
            return 404, {"message": "Not found"}
        path = url.path.removeprefix("/grafana/api/").rstrip("/")
        self.seen.append((method, path))
        for refused, status in self.refuse.items():
            if f"{method} {path}".startswith(refused):
                return status, {"message": "refused by the test"}
        if path != "health" and headers.get("Authorization") != f"Bearer {self.TOKEN}":
            return 401, {"message": "Invalid API key"}
        sent = None
        if raw:
            if headers.get("Content-Type") != "application/json":
                self.faults.append(f"{method} {path}: Content-Type {headers.get('Content-Type')}")
            sent = json.loads(raw)
        self._check(method, path, sent)
        for route in (
            self._health, self._folders, self._dashboards, self._datasources, self._rules, self._annotate,
        ):  # fmt: skip
            if (found := route(method, path, sent, parse_qs(url.query))) is not None:
                return found
        self.faults.append(f"{method} {path}: no such function")
        return 404, {"message": "Not found"}

    def _check(self, method: str, path: str, sent: Any) -> None:
        for (verb, prefix), schema in SCHEMAS.items():
            exact = path == prefix if verb == "POST" else path.startswith(prefix + "/")
            if method == verb and exact:
                self.faults += [
                    f"{method} {path}: {'.'.join(map(str, e.absolute_path))}: {e.message[:200]}"
                    for e in Draft7Validator(schema).iter_errors(sent)
                ]
                return
        if method not in ("GET", "DELETE"):
            self.faults.append(f"{method} {path}: not documented")
        elif sent is not None:
            self.faults.append(f"{method} {path}: a body that is not documented")

    def _health(self, method: str, path: str, *_: Any) -> tuple[int, Any] | None:
        if (method, path) == ("GET", "health"):
            return 200, {"commit": "0", "database": "ok", "version": self.version}
        return None

    def _folders(self, method: str, path: str, sent: Any, _query: Any) -> tuple[int, Any] | None:
        if path == "folders" and method == "POST":
            if sent["uid"] in self.folders:
                return 409, {"message": "a folder with the same name already exists"}
            self.folders[sent["uid"]] = {"id": next(self._ids), **sent, "version": 1}
            return 200, self.folders[sent["uid"]]
        if path.startswith("folders/"):
            folder = self.folders.get(path.split("/")[1])
            if folder is None:
                return 404, {"message": "folder not found", "status": "not-found"}
            if method == "PUT":
                folder["title"] = sent["title"]
                folder["version"] += 1
            return 200, folder
        return None

    def _dashboards(self, method: str, path: str, sent: Any, _query: Any) -> tuple[int, Any] | None:
        if path == "dashboards/db" and method == "POST":
            board = copy.deepcopy(sent["dashboard"])
            if sent["folderUid"] not in self.folders:
                return 400, {"message": "folder not found"}
            before = self.dashboards.get(board["uid"])
            if before is not None and not sent.get("overwrite"):
                return 412, {
                    "message": "The dashboard has been changed by someone else",
                    "status": "version-mismatch",
                }
            board["id"] = before["dashboard"]["id"] if before else next(self._ids)
            board["version"] = before["dashboard"]["version"] + 1 if before else 1
            if self.migrate:
                board["schemaVersion"] = 42
                for panel in board["panels"]:
                    panel.get("options", {}).pop("frameIndex", None)
            self.dashboards[board["uid"]] = {
                "dashboard": board,
                "meta": {"folderUid": sent["folderUid"], "version": board["version"], "provisioned": False},
            }
            self.messages.setdefault(board["uid"], []).insert(0, sent.get("message", ""))
            return 200, {
                "id": board["id"],
                "uid": board["uid"],
                "status": "success",
                "version": board["version"],
            }
        if path.startswith("dashboards/uid/") and method == "GET":
            uid, *rest = path.removeprefix("dashboards/uid/").split("/")
            if uid not in self.dashboards:
                return 404, {"message": "Dashboard not found"}
            if rest == ["versions"]:
                listed = [{"version": len(self.messages[uid]), "message": self.messages[uid][0]}]
                return 200, {"versions": listed} if self.version.startswith(("11", "12", "13")) else listed
            return 200, self.dashboards[uid]
        return None

    def _datasources(self, method: str, path: str, sent: Any, _query: Any) -> tuple[int, Any] | None:
        if path == "datasources" and method == "POST":
            self._store_source(sent)
            return 200, {"datasource": self.datasources[sent["uid"]], "message": "Datasource added"}
        if path.startswith("datasources/uid/"):
            uid, *rest = path.removeprefix("datasources/uid/").split("/")
            if uid not in self.datasources:
                return 404, {"message": "Data source not found"}
            if rest == ["health"]:
                return 200 if self.influxdb == "OK" else 400, {
                    "status": self.influxdb,
                    "message": "datasource is working. 24 measurements found",
                }
            if method == "PUT":
                self._store_source(sent)
            return 200, self.datasources[uid]
        return None

    def _store_source(self, sent: dict[str, Any]) -> None:
        kept = copy.deepcopy(sent)
        secrets = kept.pop("secureJsonData", {})
        self.secrets.setdefault(sent["uid"], {}).update(secrets)
        kept["secureJsonFields"] = dict.fromkeys(self.secrets[sent["uid"]], True)
        self.datasources[sent["uid"]] = {"id": next(self._ids), "orgId": 1, **kept}

    def _rules(self, method: str, path: str, sent: Any, _query: Any) -> tuple[int, Any] | None:
        base = "v1/provisioning/alert-rules"
        if path == base and method == "GET":
            return 200, list(self.rules.values())
        if path == base and method == "POST":
            if sent["uid"] in self.rules:
                return 409, {"message": "conflicting alert rule"}
            if sent["folderUID"] not in self.folders:
                return 400, {"message": "folder does not exist"}
            self.rules[sent["uid"]] = self._kept(sent)
            return 201, self.rules[sent["uid"]]
        if path.startswith(base + "/"):
            uid = path.removeprefix(base + "/")
            if uid not in self.rules:
                return 404, {"message": "rule not found"}
            if method == "PUT":
                self.rules[uid] = self._kept(sent)
                return 200, self.rules[uid]
            if method == "DELETE":
                del self.rules[uid]
                return 204, None
        return None

    def _kept(self, sent: dict[str, Any]) -> dict[str, Any]:
        kept = copy.deepcopy(sent)
        kept |= {"id": next(self._ids), "updated": "2026-01-01T00:00:00Z"}
        # Grafana writes durations in its own way.
        kept["for"] = {"0s": "0s", "5m": "5m", "10m": "10m0s", "30m": "30m0s"}[sent["for"]]
        for query in kept["data"]:
            query["queryType"] = ""
            query["model"] |= {"intervalMs": query["model"].get("intervalMs", 1000), "maxDataPoints": 43200}
        return kept

    def _annotate(
        self, method: str, path: str, sent: Any, query: dict[str, list[str]]
    ) -> tuple[int, Any] | None:
        if path == "annotations" and method == "GET":
            if not set(query) <= {"from", "to", "tags", "type", "limit"}:
                self.faults.append(f"annotations: parameters {sorted(query)}")
            low, high = int(query["from"][0]), int(query["to"][0])
            found = [
                a
                for a in self.annotations.values()
                if a["time"] <= high and a["timeEnd"] >= low and set(query["tags"]) <= set(a["tags"])
            ]
            newest = sorted(found, key=lambda a: -a["time"])
            return 200, newest[: int(query.get("limit", ["100"])[0])]
        if path == "annotations" and method == "POST":
            number = next(self._ids)
            self.annotations[number] = {"id": number, "timeEnd": sent["time"], **sent}
            return 200, {"id": number, "message": "Annotation added"}
        if path.startswith("annotations/"):
            number = int(path.split("/")[1])
            if number not in self.annotations:
                return 404, {"message": "Could not find annotation to update"}
            if method == "PUT":
                self.annotations[number] |= sent
                return 200, {"message": "Annotation updated"}
            if method == "DELETE":
                del self.annotations[number]
                return 200, {"message": "Annotation deleted"}
        return None
