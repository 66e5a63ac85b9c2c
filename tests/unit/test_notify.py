"""Messages, outboxes and channels, against servers in this process."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from seismolog.config import Config
from seismolog.config.models import Notify, NotifyMail, NotifySyslog
from seismolog.config.models import Webhook as WebhookSettings
from seismolog.detect.incidents import Changes, Incident
from seismolog.errors import ConfigError
from seismolog.privacy import Pseudonymizer
from seismolog.sinks.notify import Message, Notifier, messages_of, notifier
from seismolog.sinks.notify.delivery import Queue
from seismolog.sinks.notify.failure import Refused, Unreachable
from seismolog.sinks.notify.mail import Mail, letter
from seismolog.sinks.notify.message import message_of, plain
from seismolog.sinks.notify.outbox import Outbox
from seismolog.sinks.notify.syslog import LONGEST, Syslog, line
from seismolog.sinks.notify.webhook import Webhook, signature

T0 = datetime(2026, 3, 2, 10, tzinfo=UTC)


def incident(number: int = 1, **more: Any) -> Incident:
    made: dict[str, Any] = {
        "id": f"incident-{number}",
        "detector": "mass_mailer",
        "cause": "worm",
        "severity": "warning",
        "subjects": ("192.0.2.7",),
        "server": None,
        "start": T0,
        "end": None,
        "score": 412.0,
        "threshold": 10.0,
        "explanation": "192.0.2.7 asked 412 MX in ten minutes.",
        "evidence": {"mass_mailer": {"mx": 412}},
        "updated_at": T0,
    }
    return Incident(**{**made, **more})


def message(number: int = 1, **more: Any) -> Message:
    return message_of(incident(number, **more), "opened")


HOSTILE = 'evil"]\\ \x1b[31m\r\nBcc: x@y.example\n<136>1 \u202e forged \udcff'


# -- messages


def test_one_message_for_each_thing_that_happens() -> None:
    closed = incident(3, end=T0 + timedelta(hours=1))
    risen = incident(2, severity="critical")
    changes = Changes(
        opened=(incident(1), incident(9, suppressed="known")), updated=(risen,), closed=(closed,)
    )
    made = messages_of(changes, {"incident-2": "warning"})
    assert [(m.event, m.incident) for m in made] == [
        ("opened", "incident-1"),
        ("risen", "incident-2"),
        ("closed", "incident-3"),
    ]
    again = messages_of(changes, {"incident-2": "warning"})
    assert [m.id for m in made] == [m.id for m in again]
    assert len({m.id for m in made}) == 3
    assert messages_of(changes, {"incident-2": "critical"})[1].event == "closed"


def test_texts_are_plain_and_documents_come_back() -> None:
    made = message(explanation=HOSTILE, subjects=(HOSTILE,), evidence={HOSTILE: [HOSTILE]})
    text = json.dumps(made.document(), ensure_ascii=False)
    assert "\x1b" not in text and "\u202e" not in text and "\\r" not in made.explanation.replace("\\x0d", "")
    assert "\n" not in made.title and "\n" not in made.explanation
    assert Message.of_document(json.loads(json.dumps(made.document()))) == made
    assert plain("a\tb\u200bc") == "a\\x09b\\u200bc"
    assert len(plain("x" * 5000)) == 2000


def test_pseudonyms_go_everywhere() -> None:
    made = message_of(incident(), "opened", Pseudonymizer("ab" * 32))
    assert "192.0.2.7" not in json.dumps(made.document())
    assert made.subjects[0] in made.explanation


# -- outbox


def test_what_waits_is_there_after_a_restart_and_in_order(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box")
    assert [box.put(message(i)) for i in (1, 2, 3, 2)] == [True, True, True, False]
    box.done(message(1))
    again = Outbox(tmp_path / "box")
    assert [m.incident for m in again.waiting()] == ["incident-2", "incident-3"]
    assert not again.put(message(1)), "told before the restart"
    assert again.put(message(4))
    assert [m.incident for m in again.waiting()][-1] == "incident-4"
    assert (tmp_path / "box").stat().st_mode & 0o077 == 0


def test_a_crash_between_telling_and_taking_out_doubles_nothing(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.put(message(1))
    (file,) = tmp_path.glob("*.json")
    text = file.read_text()
    box.done(message(1))
    file.write_text(text)  # as if it had been killed before the file went
    (tmp_path / "0000000000000009-abc.part").write_text("{")
    assert len(Outbox(tmp_path)) == 0
    assert not list(tmp_path.glob("*.part"))


def test_a_full_outbox_lets_the_oldest_go(tmp_path: Path) -> None:
    box = Outbox(tmp_path, most=2)
    for i in range(5):
        box.put(message(i))
    assert [m.incident for m in box.waiting()] == ["incident-3", "incident-4"]
    assert box.dropped == 3


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.put(message(1))
    box.put(message(2))
    min(tmp_path.glob("*.json")).write_text('{"half":')
    assert [m.incident for m in box.waiting()] == ["incident-2"]
    assert box.bad == 1 and len(list(tmp_path.glob("*.bad"))) == 1


# -- delivery


class Fake:
    def __init__(self, *answers: Exception | None) -> None:
        self.answers, self.got = list(answers), []

    def send(self, one: Message) -> None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.got.append(one.incident)


def test_failures_wait_longer_each_time_and_lose_nothing(tmp_path: Path) -> None:
    fake = Fake(Unreachable("down"), Unreachable("down"), Unreachable("busy", 100.0))
    queue = Queue("fake", fake, Outbox(tmp_path))
    for i in (1, 2):
        assert queue.put(message(i))
    first = queue.attempt(0.0)
    assert first is not None and 2.0 <= first <= 2.5
    assert queue.attempt(1.0) == first, "not before it is due"
    second = queue.attempt(first)
    assert second is not None and 4.0 <= second - first <= 5.0
    third = queue.attempt(second)
    assert third is not None and third - second >= 100.0
    assert queue.trouble == "busy"
    assert queue.attempt(third) is None
    assert fake.got == ["incident-1", "incident-2"]
    assert (queue.sent, queue.failures, queue.trouble) == (2, 3, "")


def test_what_is_refused_holds_nothing_up(tmp_path: Path) -> None:
    fake = Fake(Refused("too large"))
    queue = Queue("fake", fake, Outbox(tmp_path))
    queue.put(message(1))
    queue.put(message(2))
    assert queue.attempt(0.0) is None
    assert (fake.got, queue.refused) == (["incident-2"], 1)
    assert not queue.put(message(1))


def test_severities_and_updates_are_chosen(tmp_path: Path) -> None:
    queue = Queue("fake", Fake(), Outbox(tmp_path), severity="warning", updates=False)
    assert not queue.put(message(1, severity="notice"))
    assert not queue.put(message_of(incident(2, severity="critical"), "risen"))
    assert queue.put(message(3, severity="critical"))


def test_a_notifier_tells_in_its_own_threads(tmp_path: Path) -> None:
    slow, fast = Fake(Unreachable("down")), Fake()
    notes = Notifier(
        [Queue("slow", slow, Outbox(tmp_path / "a")), Queue("fast", fast, Outbox(tmp_path / "b"))]
    )
    notes.start()
    assert notes.put([message(1), message(1)]) == 2
    deadline = threading.Event()
    for _ in range(100):
        if fast.got:
            break
        deadline.wait(0.05)
    notes.stop()
    assert fast.got == ["incident-1"]
    assert notes.metrics()["slow"]["waiting"] == 1
    assert notes.troubles() == {"slow": "down"}


# -- webhook


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        answers = self.server.answers  # type: ignore[attr-defined]
        status, headers = answers.pop(0) if answers else (204, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.answers = [], []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_webhook_is_signed(hook: Any) -> None:
    url = f"http://127.0.0.1:{hook.server_port}/in?a=1"
    Webhook(url, "secret", clock=lambda: 1_772_445_600.9).send(message(explanation=HOSTILE))
    ((path, headers, body),) = hook.got
    assert path == "/in?a=1"
    assert headers["X-Seismolog-Id"] == message().id
    assert headers["X-Seismolog-Timestamp"] == "1772445600"
    expected = hmac.new(b"secret", b"1772445600." + body, hashlib.sha256).hexdigest()
    assert headers["X-Seismolog-Signature"] == "v1=" + expected == signature("secret", "1772445600", body)
    assert json.loads(body)["incident"] == "incident-1"
    assert b"\x1b" not in body and body.isascii()


@pytest.mark.parametrize(
    ("status", "headers", "kind", "after"),
    [
        (503, {"Retry-After": "7"}, Unreachable, 7.0),
        (429, {}, Unreachable, None),
        (500, {"Retry-After": "soon"}, Unreachable, None),
        (400, {}, Refused, None),
        (302, {"Location": "http://198.51.100.1/"}, Refused, None),
    ],
)
def test_answers_are_classed(
    hook: Any, status: int, headers: dict[str, str], kind: type, after: float | None
) -> None:
    hook.answers.append((status, headers))
    with pytest.raises(kind) as error:
        Webhook(f"http://127.0.0.1:{hook.server_port}/").send(message())
    assert getattr(error.value, "after", None) == after
    assert "X-Seismolog-Signature" not in hook.got[0][1]


def test_nobody_there_is_no_loss(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue = Queue("webhook", Webhook(f"http://127.0.0.1:{port}/", timeout=2), Outbox(tmp_path))
    queue.put(message())
    assert queue.attempt(0.0) is not None
    assert len(Outbox(tmp_path)) == 1


@pytest.mark.parametrize("url", ["ftp://a.example/", "http:///x", "http://user:pw@a.example/", "a.example"])
def test_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        Webhook(url)


# -- mail


class Smtp(threading.Thread):
    """As much of a mail server as a client needs; `answers` maps a command to what it says instead."""

    def __init__(self, **answers: str) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.answers, self.mails = self.socket.getsockname()[1], answers, []
        self.commands: list[str] = []
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                self.talk(file)

    def say(self, file: Any, text: str) -> None:
        file.write(text.encode() + b"\r\n")
        file.flush()

    def talk(self, file: Any) -> None:
        self.say(file, "220 here")
        while raw := file.readline():
            command = raw.decode().strip()
            self.commands.append(command)
            word = command.split(" ")[0].split(":")[0].upper()
            if word == "DATA":
                self.say(file, "354 go on")
                data = b""
                while (part := file.readline()) != b".\r\n":
                    data += part
                self.mails.append(data.decode())
            self.say(file, self.answers.get(word.lower(), "250 fine"))
            if word == "QUIT":
                return


def mail_to(server: Smtp) -> Mail:
    return Mail(
        f"127.0.0.1:{server.port}", "seismolog@a.example", ["noc@a.example"], security="none", timeout=5
    )


def test_a_mail_tells_it_all_on_lines_of_its_own() -> None:
    server = Smtp()
    mail_to(server).send(message(explanation=HOSTILE, subjects=(HOSTILE,)))
    (mail,) = server.mails
    head, _, body = mail.partition("\r\n\r\n")
    assert f"Message-ID: <{message().id}@a.example>" in head
    assert not re.search(r"^Bcc:", head, re.MULTILINE | re.IGNORECASE)
    assert "[seismolog] warning: worm" in head
    assert "\x1b" not in mail
    assert "MAIL FROM:<seismolog@a.example>" in " ".join(server.commands).replace("mail", "MAIL").replace(
        "from", "FROM"
    )
    assert "severity:  warning" in body


def test_later_mails_of_an_incident_answer_the_first() -> None:
    opened = letter(message(), "s@a.example", ["n@a.example"])
    closed = letter(
        message_of(incident(end=T0 + timedelta(hours=1)), "closed"), "s@a.example", ["n@a.example"]
    )
    assert "In-Reply-To" not in opened
    assert closed["In-Reply-To"] == opened["Message-ID"]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({"rcpt": "450 later"}, Unreachable),
        ({"rcpt": "550 nobody"}, Refused),
        ({"data": "552 too much"}, Refused),
        ({"data": "451 busy"}, Unreachable),
        ({"mail": "421 going"}, Unreachable),
    ],
)
def test_answers_of_mail_servers_are_classed(answers: dict[str, str], kind: type) -> None:
    with pytest.raises(kind):
        mail_to(Smtp(**answers)).send(message())


# -- syslog


def test_a_line_is_rfc_5424_and_says_no_more_than_it_should() -> None:
    made = line(message(explanation=HOSTILE, subjects=(HOSTILE,), severity="critical"), 16, "ho st").decode()
    head = r"<130>1 2026-03-02T10:00:00\+00:00 ho_st seismolog - incident "
    element = r'\[seismolog@32473(?: [a-z]+="(?:[^"\\\]]|\\["\\\]])*")+\] '
    assert re.match(head + element + "\ufeff", made)
    assert "\n" not in made and "\x1b" not in made
    assert len(line(message(explanation="ü" * 9000), 16, "h")) <= LONGEST


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_unix_sockets_of_both_kinds(tmp_path: Path, kind: int) -> None:
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(str(tmp_path / "log"))
        if kind == socket.SOCK_STREAM:
            server.listen()
        Syslog(f"unix:{tmp_path / 'log'}").send(message())
        got = server.recv(9000) if kind == socket.SOCK_DGRAM else server.accept()[0].recv(9000)
    assert b'event="opened"' in got


def test_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        Syslog(f"udp:127.0.0.1:{server.getsockname()[1]}", facility=4, host="h").send(message())
        assert server.recv(9000).startswith(b"<36>1 2026-03-02T10:00:00+00:00 h seismolog - incident [")


def test_tcp_counts_octets_and_comes_back_after_a_close() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        log = Syslog(f"tcp:127.0.0.1:{server.getsockname()[1]}", timeout=5, host="h")
        log.send(message(1))
        first, _ = server.accept()
        size, _, rest = first.recv(9000).partition(b" ")
        assert int(size) == len(rest) and b"incident-1" in rest
        first.close()
        threading.Event().wait(0.05)
        log.send(message(2))
        second, _ = server.accept()
        assert b"incident-2" in second.recv(9000)
        second.close()
        log.close()
    with pytest.raises(Unreachable):
        log.send(message(3))


@pytest.mark.parametrize("target", ["unix:relative", "udp:host", "tcp:host:99999", "file:/x", "udp:a:b:1"])
def test_targets_that_cannot_be(target: str) -> None:
    with pytest.raises(ValueError, match="unix:PATH"):
        Syslog(target)


# -- configuration


def test_channels_come_from_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert notifier(Config(), tmp_path) is None
    monkeypatch.setenv("SEISMOLOG_WEBHOOK_SECRET", "s")
    config = Config(
        notify=Notify(
            webhook=WebhookSettings(url="https://hooks.a.example/x", severity="critical"),
            mail=NotifyMail(server="mail.a.example", sender="s@a.example", recipients=["n@a.example"]),
            syslog=NotifySyslog(target="unix:/dev/log"),
        )
    )
    notes = notifier(config, tmp_path)
    assert notes is not None and set(notes.queues) == {"webhook", "mail", "syslog"}
    assert notes.put([message()]) == 2
    assert sorted(p.name for p in (tmp_path / "outbox").iterdir()) == ["mail", "syslog", "webhook"]


def test_mistakes_are_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    secret.chmod(0o644)
    for section, key in (
        (Notify(webhook=WebhookSettings(url="ftp://x")), "webhook.url"),
        (Notify(webhook=WebhookSettings(url="http://x/", secret_file=str(secret))), "webhook.secret_file"),
        (Notify(mail=NotifyMail(server="m")), "mail.sender"),
        (Notify(mail=NotifyMail(server="m", sender="a b@c", recipients=["n@a.example"])), "mail"),
        (
            Notify(
                mail=NotifyMail(
                    server="m", sender="s@a.example", recipients=["n@a.example"], user="u", security="none"
                )
            ),
            "mail.security",
        ),
        (Notify(syslog=NotifySyslog(target="x")), "syslog.target"),
    ):
        with pytest.raises(ConfigError) as error:
            notifier(Config(notify=section), tmp_path)
        assert error.value.key == f"notify.{key}"
