"""What goes wrong between us and InfluxDB delays points and loses none; what it refuses stands alone and is named."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seismolog.errors import ConfigError, ServiceError
from seismolog.sinks.influxdb.backfill import export
from seismolog.sinks.influxdb.refused import Aside
from seismolog.sinks.influxdb.setup import set_up
from seismolog.sinks.influxdb.target import Target, target_of
from seismolog.sinks.influxdb.writer import MisplacedError, StoppedError, Writer
from seismolog.store import Store
from tests.services.fault_proxy import Fault, FaultProxy, Seen
from tests.services.influx_world import assert_equal, at, put, said, same_as_store, some
from tests.services.influxd.fixtures import Bucket
from tests.services.influxd.server import Influxd
from tests.services.test_influxdb_export import Live, World, config_of

pytestmark = [pytest.mark.service]


@pytest.fixture
def proxy(influx_bucket: Bucket) -> Iterator[FaultProxy]:
    with FaultProxy(influx_bucket.server.url) as one:
        yield one


def target(where: Bucket, url: str | None = None, **more: Any) -> Target:
    server = where.server
    plain: dict[str, Any] = {"url": url or server.url, "org": server.org, "bucket": where.name}
    return Target(**(plain | {"token": server.token, "timeout": 5.0, "retry_longest": 2.0} | more))


def writer(where: Bucket, tmp_path: Path, url: str | None = None, **more: Any) -> Writer:
    options = {k: more.pop(k) for k in ("stop", "patience", "waiting") if k in more}
    options.setdefault("patience", 60.0)
    return Writer(target(where, url, **more), Aside(tmp_path / "refused.lp", 1 << 20), **options)


def lines(*numbers: int, tag: str = "x") -> bytes:
    return b"".join(f"m,a={tag} n={n}i {1_790_000_000 + n}\n".encode() for n in numbers)


def written(bucket: Bucket) -> list[int]:
    return [r["n"] for r in said(bucket, "m")]


# --- the way there ----------------------------------------------------------------------------------------------


def test_a_server_that_is_busy_is_asked_again_when_it_says(
    influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    proxy.script.extend(
        [
            Fault(status=429, headers={"Retry-After": "2"}),
            Fault(status=503, body='{"code": "unavailable", "message": "shard is closed"}'),
            Fault(status=500),
        ]
    )
    one = writer(influx_bucket, tmp_path, proxy.url)
    one.write([lines(1, 2, 3)])
    assert written(influx_bucket) == [1, 2, 3]
    times = [s.at for s in proxy.seen]
    assert len(times) == 4
    assert 2.0 <= times[1] - times[0] < 4.0
    assert 0.5 <= times[2] - times[1] <= 3.0
    assert (one.written.errors, one.written.retries, one.written.requests) == (3, 3, 4)
    assert one.written.trouble is None and one.written.points == 3


def test_a_date_in_retry_after_is_honoured(influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path) -> None:
    when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3))
    proxy.script.append(Fault(status=503, headers={"Retry-After": when}))
    writer(influx_bucket, tmp_path, proxy.url).write([lines(1)])
    assert proxy.seen[1].at - proxy.seen[0].at >= 1.5


def test_a_connection_that_breaks_after_the_write_changes_nothing(
    influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    proxy.script.extend([Fault(reset=True, carried_out=True), Fault(reset=True)])
    writer(influx_bucket, tmp_path, proxy.url).write([lines(1, 2)])
    assert written(influx_bucket) == [1, 2]
    assert len(proxy.seen) == 3


def test_a_slow_server_is_asked_for_less_at_once(
    influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    """A disk that takes long for much: requests of more than a thousand points time out."""

    def slow(seen: Seen) -> Fault:
        return Fault(delay=1.6 if seen.body.count(b"\n") > 1000 else 0.0, carried_out=True)

    proxy.always = slow
    one = writer(influx_bucket, tmp_path, proxy.url, timeout=1.0)
    one.write([lines(*range(4000))])
    assert written(influx_bucket) == list(range(4000))
    assert one.written.trouble is None
    sizes = [s.body.count(b"\n") for s in proxy.seen]
    assert sizes[0] == 4000 and max(sizes[-4:]) <= 1000


def test_a_request_that_is_too_large_is_cut(influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.always = lambda seen: Fault(status=413) if len(seen.body) > 3000 else None
    one = writer(influx_bucket, tmp_path, proxy.url)
    one.write([lines(*range(300)), b'm,a=x s="' + b"y" * 5000 + b'" 1\n', lines(300)])
    assert [n for n in written(influx_bucket) if n is not None] == list(range(301))
    assert one.written.refused == 1


def test_waiting_ends_when_the_exporter_stops(
    influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    proxy.always = lambda _: Fault(status=503, headers={"Retry-After": "600"})
    stop = threading.Event()
    one = writer(influx_bucket, tmp_path, proxy.url, stop=stop, patience=None)
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        one.write([lines(1)])
    assert time.monotonic() - began < 5


def test_patience_ends_with_a_sentence(influx_bucket: Bucket, tmp_path: Path) -> None:
    one = writer(influx_bucket, tmp_path, "http://127.0.0.1:9", patience=1.0)
    with pytest.raises(ServiceError, match="cannot be written to") as caught:
        one.write([lines(1)])
    assert caught.value.exit_code == 4
    assert "refused" in caught.value.render() and "goes on where this one ends" in caught.value.render()


def test_only_what_leaves_the_machine_is_compressed(
    influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    assert not target_of(config_of(influx_bucket, tmp_path)).gzip
    assert target_of(config_of(influx_bucket, tmp_path, url="http://influx.example:8086")).gzip
    for gzip in (True, False):
        writer(influx_bucket, tmp_path, proxy.url, gzip=gzip).write([lines(*range(500))])
        headers = {k.lower(): v for k, v in proxy.seen[-1].headers.items()}
        assert (headers.get("content-encoding") == "gzip") == gzip
        assert (len(proxy.seen[-1].body) < len(lines(*range(500))) / 3) == gzip
    assert written(influx_bucket) == list(range(500))


def test_deleting_waits_for_a_server_that_is_away_and_never_writes_zeros(
    influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    one = writer(influx_bucket, tmp_path, proxy.url)
    one.write([lines(1, 2, 3), lines(1, tag="y"), b"other,a=x n=1i 1790000001\n"])
    proxy.script.extend(
        [Fault(status=503), Fault(reset=True), Fault(status=429, headers={"Retry-After": "1"})]
    )
    second = 1_000_000_000
    assert one.erase("m", (1_790_000_000 + 2) * second, (1_790_000_000 + 3) * second, {"a": "x"})
    assert sorted((r["a"], r["n"]) for r in said(influx_bucket, "m")) == [("x", 1), ("y", 1)]
    assert len(said(influx_bucket, "other")) == 1
    assert one.written.errors == 3 and one.written.trouble is None
    with pytest.raises(MisplacedError, match="token is not known"):
        writer(influx_bucket, tmp_path, token="nobody").erase("m", 0, second, {"a": "x"})


def test_where_nothing_can_be_deleted_a_field_without_a_value_becomes_zero(
    influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    """As InfluxDB 1.8 and 3 answer, which have no such call."""
    proxy.always = lambda seen: Fault(status=404) if "/delete" in seen.path else None
    events = [e for e in some(3, range(70)) if e.kind == "dns_query"]
    store = Store(tmp_path / "store")
    config = config_of(influx_bucket, tmp_path, url=proxy.url)
    put(store, "one", events)
    export(config, store.url, tmp_path / "state", patience=20)
    assert_equal(influx_bucket, events)
    put(store, "one", [e._replace(name=None) for e in events])
    done = export(config, store.url, tmp_path / "state", patience=20)
    assert done.written.refused == 0 and done.written.trouble is None
    rows = said(influx_bucket, "traffic") + said(influx_bucket, "traffic_1h")
    assert {(r["distinct_names"], r["name_entropy"], r["top_name_share"]) for r in rows} == {(0, 0, 0)}
    assert all(r["distinct_clients"] > 0 for r in rows)
    # It is asked once.
    assert sum("/delete" in s.path for s in proxy.seen) == 1


# --- what is refused --------------------------------------------------------------------------------------------


def test_lines_that_cannot_be_read_are_named_and_the_rest_is_sent(
    influx_bucket: Bucket, tmp_path: Path
) -> None:
    one = writer(influx_bucket, tmp_path)
    bad = [b"m,a=x n= 5", b"nothing", b"m,a=it's': x n=1i y"]
    one.write([lines(1, 2) + b"\n".join(bad) + b"\n" + lines(3), lines(4)])
    assert written(influx_bucket) == [1, 2, 3, 4]
    assert one.written.refused == 3
    aside = (tmp_path / "refused.lp").read_bytes()
    for line in bad:
        assert line in aside.splitlines()
    assert b"missing field" in aside
    assert (tmp_path / "refused.lp").stat().st_mode & 0o077 == 0


def test_points_of_another_type_are_found_among_many(influx_bucket: Bucket, tmp_path: Path) -> None:
    one = writer(influx_bucket, tmp_path)
    one.write([lines(0)])
    text = lines(*range(1, 200)) + b"m,a=y n=1.5 1790000000\n" + lines(*range(200, 400))
    text += b'm,a=z n="word" 1790000000\n'
    one.write([text])
    assert written(influx_bucket) == list(range(400))
    assert one.written.refused == 2
    aside = (tmp_path / "refused.lp").read_text()
    assert "m,a=y n=1.5 1790000000\n" in aside and 'm,a=z n="word" 1790000000\n' in aside
    assert "field type conflict" in aside
    assert one.written.requests < 60


def test_points_older_than_the_bucket_keeps_are_counted(influxd: Influxd, tmp_path: Path) -> None:
    name = f"short{time.time_ns()}"
    bucket = Bucket(influxd, name, influxd.make_bucket(name, 3600))
    one = writer(bucket, tmp_path)
    now = int(time.time())
    old = b"".join(f"m,a=x n={i}i {now - 90_000 - i}\n".encode() for i in range(50))
    one.write([old + f"m,a=x n=77i {now}\n".encode()])
    assert written(bucket) == [77]
    assert (one.written.too_old, one.written.refused) == (50, 50)
    assert "retention" in (tmp_path / "refused.lp").read_text()


def test_a_bucket_that_is_full_of_series_costs_a_bounded_number_of_requests(
    influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    """InfluxDB 1.8 drops points of new series past its bound, and says only how many."""
    known = b"a=x"

    def full(seen: Seen) -> Fault | None:
        new = sum(known not in line for line in seen.body.splitlines())
        message = f"partial write: max-series-per-database limit exceeded: (1000) dropped={new}"
        return Fault(status=422, body=json.dumps({"message": message}), carried_out=True) if new else None

    proxy.always = full
    one = writer(influx_bucket, tmp_path, proxy.url)
    text = b"".join(lines(n, tag="x" if n % 2 else f"new{n}") for n in range(2000))
    one.write([text])
    assert one.written.refused == 1000
    assert one.written.requests < 300
    assert set(range(1, 2000, 2)) <= set(written(influx_bucket))


def test_the_file_of_refused_points_is_bounded(tmp_path: Path) -> None:
    aside = Aside(tmp_path / "refused.lp", 64 * 1024)
    for n in range(3000):
        aside.add("why\nnot", [f"m,a={n} n=1i {n}".encode()])
    assert aside.path.stat().st_size <= 64 * 1024
    assert b"m,a=2999 n=1i 2999" in aside.path.read_bytes()
    assert b"m,a=1 n=1i 1\n" not in aside.path.read_bytes()


# --- who we are -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"token": "nobody"}, "token is not known"),
        ({"bucket": "nowhere"}, "seismolog export setup"),
        ({"org": "nobody"}, "seismolog export setup"),
    ],
)
def test_a_target_that_does_not_know_us_says_the_mend(
    influx_bucket: Bucket, tmp_path: Path, change: dict[str, str], mend: str
) -> None:
    one = writer(influx_bucket, tmp_path, **change)
    with pytest.raises(MisplacedError, match=mend) as caught:
        one.write([lines(1)])
    assert caught.value.exit_code == 4
    assert one.written.requests == 1
    assert "nobody" not in repr(one.target) or "token" not in change


def test_a_token_without_rights_says_so_and_makes_no_bucket(influx_bucket: Bucket, tmp_path: Path) -> None:
    reader = influx_bucket.server.make_token(influx_bucket.id, "read")
    with pytest.raises(MisplacedError, match="may not write to this bucket"):
        writer(influx_bucket, tmp_path, token=reader).write([lines(1)])
    with pytest.raises(ServiceError, match="does not set the bucket up") as caught:
        set_up(target(influx_bucket, token=reader, bucket="another"), None)
    assert reader not in caught.value.render()


def test_setup_makes_a_bucket_and_changes_its_retention(influx_bucket: Bucket) -> None:
    from datetime import timedelta

    one = target(influx_bucket, bucket=f"made{time.time_ns()}")
    assert set_up(one, timedelta(days=400)).created
    again = set_up(one, None)
    assert (again.created, again.changed, again.retention) == (False, False, timedelta(days=400))
    assert set_up(one, timedelta(days=30)).changed
    assert set_up(one, timedelta(0)).retention is None
    with pytest.raises(ServiceError, match="retention"):
        set_up(one, timedelta(minutes=5))


def test_the_token_comes_from_a_file_or_the_environment(influx_bucket: Bucket, tmp_path: Path) -> None:
    config = config_of(influx_bucket, tmp_path)
    assert target_of(config).token == influx_bucket.server.token
    (tmp_path / "token").write_text("")
    with pytest.raises(ConfigError, match="holds no token"):
        target_of(config)
    (tmp_path / "token").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        target_of(config)
    without = config.model_copy(update={"influxdb": config.influxdb.model_copy(update={"token_file": None})})
    assert target_of(without, {"SEISMOLOG_INFLUXDB_TOKEN": " t "}).token == "t"
    with pytest.raises(ConfigError, match="SEISMOLOG_INFLUXDB_TOKEN"):
        target_of(without, {})


# --- outages ----------------------------------------------------------------------------------------------------


def own(server: Influxd) -> Bucket:
    return Bucket(server, server.bucket, "")


@pytest.mark.slow
def test_an_outage_of_a_week_with_restarts_in_it_costs_only_the_wait(
    own_influxd: Influxd, tmp_path: Path
) -> None:
    bucket = own(own_influxd)
    world = World(bucket, tmp_path, retry_longest="1s", timeout="2s")
    live = Live(world)
    live.start()
    live.close(some(1, range(30)))
    live.settled()
    own_influxd.stop(kill=True)
    for day in range(7):
        first = day * 1440
        live.close(some(day, range(first + 30, first + 150, 3)))
        live.close(some(50 + day, range(first, first + 40, 5)))
        if day in (2, 5):
            live.stop(1.0)
            live.start()
    end = time.monotonic() + 30
    while not (told := live.sink.metrics()).get("seismolog_influxdb_errors_total"):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert told["seismolog_influxdb_ok"] == 0
    assert told["seismolog_influxdb_lag_seconds"] > 0
    own_influxd.start()
    live.settled(120)
    assert_equal(bucket, live.events)
    end = time.monotonic() + 20
    while live.sink.metrics()["seismolog_influxdb_lag_seconds"] > 0:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert live.sink.metrics()["seismolog_influxdb_ok"] == 1
    live.stop()


def test_logs_analysed_anew_in_an_outage_are_what_influxdb_says_after_it(
    own_influxd: Influxd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A week without InfluxDB, restarts in it, late lines, and the archive of three of its days counted over live."""
    from seismolog.sinks.influxdb import live as module

    monkeypatch.setattr(module, "STORE_EVERY", 1.0)
    bucket = own(own_influxd)
    world = World(bucket, tmp_path, retry_longest="1s", timeout="2s")
    live = Live(world)
    live.start()
    live.close(some(1, range(30)))
    live.settled()
    own_influxd.stop(kill=True)
    for day in range(7):
        live.close(some(day, range(day * 1440 + 30, day * 1440 + 130, 4)))
        live.close(some(60 + day, range(day * 1440, day * 1440 + 40, 8)))
        if day in (1, 4):
            live.stop(1.0)
            live.start()
    end = time.monotonic() + 60
    while live.bins.positions().get("store", 0) < live.position:
        assert time.monotonic() < end, live.bins.positions()
        time.sleep(0.05)
    # Some of the lines are gone with it, others are new; the days around stay as they were counted live.
    first, last = 2 * 1440, 4 * 1440 + 100
    new = some(99, range(first + 10, last, 97))
    kept = [e for e in live.events if first <= e.minute < last and e.client != "10.0.0.1"]
    put(world.store, "archive", kept + new)
    live.stop(1.0)
    live.start()
    own_influxd.start()
    live.settled(120)
    end = time.monotonic() + 120
    while (difference := same_as_store(bucket, world.store)) is not None:
        assert time.monotonic() < end, difference
        time.sleep(0.5)
    live.stop()
    inside = pl.col("bin_start").is_between(at(first + 60), at(last - 61))
    left = world.store.read("client_traffic").filter(inside, client="10.0.0.1").collect()["count"].sum()
    assert left == sum(e.client == "10.0.0.1" and first + 60 <= e.minute < last - 60 for e in new)


def test_bins_that_went_before_they_were_read_come_from_the_store(
    own_influxd: Influxd, tmp_path: Path
) -> None:
    bucket = own(own_influxd)
    world = World(bucket, tmp_path, retry_longest="1s", timeout="2s")
    live = Live(world)
    live.start()
    live.close(some(1, range(30)))
    live.settled()
    own_influxd.stop()
    live.close(some(2, range(20, 100)))
    live.bins.size = -1  # the log of closed bins is over its bound
    end = time.monotonic() + 30
    live.close(some(3, range(40, 70)))
    while not live.bins.skipped_total or live.bins.positions()["store"] < live.position:
        assert time.monotonic() < end
        live.committer.nudge()
        live.bins.bound()
        time.sleep(0.05)
    live.bins.size = 1 << 30
    own_influxd.start()
    live.close(some(4, range(90, 110)))
    live.settled()
    while live.sink.metrics()["seismolog_influxdb_todo_hours"]:
        assert time.monotonic() < end + 60
        time.sleep(0.1)
    live.stop()
    assert_equal(bucket, live.events)


def test_a_server_that_is_killed_in_the_middle_of_a_backfill(own_influxd: Influxd, tmp_path: Path) -> None:
    bucket = own(own_influxd)
    events = some(5, range(600))
    store = Store(tmp_path / "store")
    put(store, "one", events)
    config = config_of(bucket, tmp_path, batch_points=300, retry_longest="1s", timeout="2s")
    threading.Timer(0.4, lambda: own_influxd.stop(kill=True)).start()
    threading.Timer(3.0, own_influxd.start).start()
    done = export(config, store.url, tmp_path / "state", patience=60)
    if done.written.errors == 0:  # it was too fast for us
        time.sleep(3.0)
        export(config, store.url, tmp_path / "state", patience=60, again=True)
    assert_equal(bucket, events)


def test_random_faults_change_nothing(influx_bucket: Bucket, proxy: FaultProxy, tmp_path: Path) -> None:
    import random

    chance = random.Random(7)
    faults = [
        None, None, Fault(status=500), Fault(status=503, headers={"Retry-After": "0"}), Fault(reset=True),
        Fault(reset=True, carried_out=True), Fault(status=429, carried_out=True), Fault(delay=0.1),
    ]  # fmt: skip
    proxy.always = lambda _: chance.choice(faults)
    events = some(6, range(180))
    store = Store(tmp_path / "store")
    put(store, "one", events)
    config = config_of(influx_bucket, tmp_path, url=proxy.url, batch_points=200, retry_longest="1s")
    done = export(config, store.url, tmp_path / "state", patience=60)
    assert done.written.errors > 3
    assert_equal(influx_bucket, events)


def test_the_daemon_goes_on_when_the_token_is_mended(
    influx_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seismolog.sinks.influxdb import live as module

    monkeypatch.setattr(module, "MENDED_AFTER", 0.5)
    world = World(influx_bucket, tmp_path)
    token = tmp_path / "token"
    token.write_text("nobody")
    one = Live(world)
    one.start()
    one.close(some(8, range(10)))
    end = time.monotonic() + 30
    while not one.sink.metrics().get("seismolog_influxdb_failures_total"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert one.sink.metrics()["seismolog_influxdb_ok"] == 0
    assert one.sent() == 0
    token.write_text(influx_bucket.server.token)
    one.settled()
    one.stop()
    assert_equal(influx_bucket, one.events)


def test_our_own_numbers_are_sent_and_kept_through_an_outage(own_influxd: Influxd, tmp_path: Path) -> None:
    from seismolog.sinks.influxdb.pipeline import Pipeline

    bucket = own(own_influxd)
    numbers = Pipeline("me, myself", most=3)
    for n in range(5):
        from datetime import UTC, datetime, timedelta

        when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n)
        numbers.take(
            {'seismolog_wal_bytes{part="a"}': n, 'seismolog_wal_bytes{part="b"}': 1, "other": 9}, when
        )
    assert numbers.given_up == 2
    one = writer(bucket, tmp_path)
    one.write(numbers.texts(100))
    numbers.sent()
    assert numbers.texts(100) == []
    rows = said(bucket, "pipeline")
    assert [(r["instance"], r["wal_bytes"]) for r in rows] == [
        ("me, myself", 3),
        ("me, myself", 4),
        ("me, myself", 5),
    ]
    one.write(numbers.shapes([("a <n> b", 3), ("\x1b[2J", 1)]))
    found = {r["shape"]: r["count"] for r in said(bucket, "unmatched_shape")}
    assert found == {"a <n> b": 3, "\\x1b[2J": 1}


def test_shapes_are_bounded_however_many_somebody_logs() -> None:
    from seismolog.sinks.influxdb.pipeline import SHAPES_MOST, Pipeline

    numbers = Pipeline("me")
    first = numbers.shapes([("usual", 10_000), *((f"rare {n}", n) for n in range(200))])
    assert sum(t.count(b"\n") for t in first) == 50
    for look in range(100):
        numbers.shapes([(f"made up {look} {n}", 1) for n in range(50)])
    last = b"".join(numbers.shapes([("usual", 20_000), ("new", 30_000)]))
    # Those that have a series keep it; past the bound none is begun.
    assert b"usual" in last and b"new" not in last
    assert SHAPES_MOST == 1000
