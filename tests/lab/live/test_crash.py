"""`kill -9` at random moments under load: what was confirmed is there, and once.

`SEISMOLOG_KILLS` sets the number of kills, 10 in the ordinary test run.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tests.lab.capture.daemons import free_port
from tests.lab.live.relp import Sender
from tests.lab.live.serving import Serving, query_line

pytestmark = [pytest.mark.slow]

KILLS = int(os.environ.get("SEISMOLOG_KILLS", "10"))
#: Lines of one batch; a client asks ten times, so that a lost and a doubled line cannot cancel out.
BATCH = 2000
#: Room for the clients of some thousand kills: past its bound they would be counted as one.
MORE = "[limits]\nclients = 8000000\n"


@pytest.mark.timeout(60 + 20 * KILLS)
def test_nothing_confirmed_is_lost_or_doubled(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEISMOLOG_SEED", str(random.SystemRandom().randrange(2**32))))
    print(f"seed {seed}")
    dice = random.Random(seed)
    daemon = Serving(tmp_path, {"relp": f"127.0.0.1:{free_port()}"}, MORE, {"snapshot_interval": "2s"})
    sender = Sender(daemon.port("relp"))
    sent: dict[str, int] = {}
    failure: list[BaseException] = []
    done = threading.Event()

    def load() -> None:
        try:
            number = 0
            while not done.is_set():
                lines = []
                for _ in range(BATCH):
                    client = f"10.{number // 10 >> 16 & 255}.{number // 10 >> 8 & 255}.{number // 10 & 255}"
                    sent[client] = sent.get(client, 0) + 1
                    lines.append(
                        query_line(
                            number, datetime.now(UTC), client, uuid=uuid.UUID(int=number + (1 << 100)).hex
                        )
                    )
                    number += 1
                sender.send(lines)
        except BaseException as error:  # noqa: BLE001 - handed to the test below
            failure.append(error)

    daemon.start()
    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.05, 1.5))
            daemon.kill()
            time.sleep(dice.choice((0.0, 0.1)))
            daemon.start()
            assert not failure, failure
        time.sleep(0.5)
        done.set()
        thread.join(timeout=120)
        assert not thread.is_alive() and not failure, (failure, daemon.said)
        total = sum(sent.values())
        assert sender.confirmed == total
        assert daemon.stop() == 0
    finally:
        if daemon.process is not None:
            daemon.kill()
    rows = daemon.rows().filter(pl.col("kind") == "dns_query").group_by("client").agg(pl.col("count").sum())
    assert dict(rows.iter_rows()) == sent
    print(
        f"{total} lines, {KILLS} kills, {sender.sent_again} sent again over {sender.connections} connections"
    )
    assert sender.connections > KILLS // 2
