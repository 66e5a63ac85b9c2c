"""The same lines over every path give the same tables as `analyze` gives for the file that holds them.

Lines are shuffled within the lateness. Each path has a daemon of its own, with the real sender where there is one.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.lab.live.comparing import LATENESS, analyzed, assert_same, out_of_order, settled, tables
from tests.lab.live.lines import Line
from tests.lab.live.relp import Sender
from tests.lab.live.serving import Serving, serving

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return out_of_order(7)


@pytest.fixture(scope="module")
def archived(lines: list[Line], tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """What `analyze` makes of the file."""
    folder = tmp_path_factory.mktemp("archived")
    (folder / "site.log").write_text("".join(line.in_file() + "\n" for line in lines))
    return analyzed(folder / "site.log", folder / "store")


def over_tcp(daemon: Serving, lines: list[Line]) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port("tcp"))) as out:
        out.sendall(b"".join(line.rfc3164().encode() + b"\n" for line in lines))


def over_octets(daemon: Serving, lines: list[Line]) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port("tcp"))) as out:
        for line in lines:
            text = line.rfc5424().encode()
            out.sendall(b"%d %s" % (len(text), text))


def over_relp(daemon: Serving, lines: list[Line]) -> None:
    Sender(daemon.port("relp")).send([line.rfc5424(uuid.uuid4().hex).encode() for line in lines])


def over_udp(daemon: Serving, lines: list[Line]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for number, line in enumerate(lines):
            out.sendto(line.rfc3164().encode(), ("127.0.0.1", daemon.port("udp")))
            if number % 100 == 0:
                time.sleep(0.005)


def over_unix(daemon: Serving, lines: list[Line]) -> None:
    with socket.socket(socket.AF_UNIX) as out:
        out.connect(str(daemon.listen["unix"]))
        out.sendall(b"".join(line.rfc3164().encode() + b"\n" for line in lines))


def over_datagrams(daemon: Serving, lines: list[Line]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        for line in lines:
            out.sendto(line.rfc3164().encode(), str(daemon.listen["unix_datagram"]))


def into_a_file(daemon: Serving, lines: list[Line]) -> None:
    """Two rotations in the middle, one by renaming and one by copying."""
    log = daemon.root / "followed.log"
    third = len(lines) // 3
    with log.open("a") as out:
        out.writelines(line.in_file() + "\n" for line in lines[:third])
    time.sleep(0.5)
    log.rename(daemon.root / "followed.log.1")
    with log.open("a") as out:
        out.writelines(line.in_file() + "\n" for line in lines[third : 2 * third])
    time.sleep(2.0)
    (daemon.root / "followed.log.2").write_bytes(log.read_bytes())
    with log.open("r+") as out:
        out.truncate()
    time.sleep(1.0)
    with log.open("a") as out:
        out.writelines(line.in_file() + "\n" for line in lines[2 * third :])


PATHS: dict[str, tuple[Callable[[Serving, list[Line]], None], dict[str, object]]] = {
    "tcp": (over_tcp, {}),
    "octet-counted": (over_octets, {}),
    "relp": (over_relp, {}),
    "udp": (over_udp, {"udp": "PORT"}),
    "unix": (over_unix, {"unix": "ROOT/log.sock"}),
    "unix-datagram": (over_datagrams, {"unix_datagram": "ROOT/datagram.sock"}),
    "file": (into_a_file, {"files": ["ROOT/followed.log"], "files_from_start": True}),
}


@pytest.mark.parametrize("path", PATHS)
def test_the_path_counts_as_the_archive(
    path: str, lines: list[Line], archived: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    from tests.lab.capture.daemons import free_port

    send, listen = PATHS[path]
    given = {
        key: f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        if value == "PORT"
        else [v.replace("ROOT", str(tmp_path)) for v in value]
        if isinstance(value, list)
        else value.replace("ROOT", str(tmp_path))
        if isinstance(value, str)
        else value
        for key, value in listen.items()
    }
    with serving(tmp_path, given | {"lateness": f"{LATENESS:.0f}s"}) as daemon:
        send(daemon, lines)
        settled(daemon, len(lines))
    assert_same(tables(tmp_path / "store"), archived)
