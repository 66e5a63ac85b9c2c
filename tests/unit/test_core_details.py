"""The tables of details, counted by the real core from logs written by hand, and their way into the store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seismolog import _core
from seismolog.archive import ScanOptions, analyze_into_store
from seismolog.archive.scanning import DETAIL_TABLES, detail_frames, public_suffixes
from seismolog.store import TABLES, Store
from seismolog.store.schema import INTERVAL_MINUTES
from tests.unit.core_support import save, scan_text, texts, utc


def frames(folder: Path, *lines: str, **options: Any) -> dict[str, pl.DataFrame]:
    scan = scan_text(folder, texts(lines), details=True, **options)
    found = detail_frames(scan)
    return {n: f.with_columns(pl.col("server").cast(pl.String)) for n, f in found.items()}


def login(when: str, account: str, client: str, host: str = "mx1") -> str:
    return (
        f"Jul 15 {when} {host} dovecot[1]: imap-login: Login: user=<{account}>, method=PLAIN, rip={client}, "
        "lip=192.0.2.1, mpid=3"
    )


def failure(when: str, account: str, client: str) -> str:
    return (
        f"Jul 15 {when} mx1 dovecot[1]: imap-login: Aborted login (auth failed, 1 attempts in 2 secs): "
        f"user=<{account}>, method=PLAIN, rip={client}, lip=192.0.2.1"
    )


def send(when: str, account: str, client: str) -> str:
    return (
        f"Jul 15 {when} mx1 postfix/smtpd[4]: 3D0A1B2C3D: client=h[{client}], sasl_method=PLAIN, "
        f"sasl_username={account}"
    )


def query(when: str, name: str, kind: str = "A", client: str = "192.0.2.7", host: str = "ns1") -> str:
    return f"Jul 15 {when} {host} named[77]: client {client}#4711 ({name}): query: {name} IN {kind} + (192.0.2.1)"


def drop(when: str, client: str, target: str, port: int) -> str:
    return f"Jul 15 {when} fw1 kernel: DROP IN=eth0 OUT= SRC={client} DST={target} LEN=60 PROTO=TCP SPT=4711 DPT={port}"


def test_tables_without_details_are_empty_and_have_their_schema(tmp_path: Path) -> None:
    scan = scan_text(tmp_path, texts([login("18:00:01", "joe", "10.0.0.1")]))
    for name in DETAIL_TABLES:
        frame = pl.DataFrame(scan.table(name))
        assert frame.is_empty()
        assert set(frame.columns) == {*TABLES[name].names, "source"}
    assert detail_frames(scan) == {}


def test_account_activity(tmp_path: Path) -> None:
    found = frames(
        tmp_path,
        login("18:00:01", "joe", "10.0.0.1"),
        login("18:20:01", "joe", "10.0.0.2"),
        "Jul 15 18:20:02 mx1 last message repeated 3 times",
        failure("18:59:59", "joe", "10.0.0.2"),
        send("18:59:59", "joe", "10.0.0.1"),
        login("19:00:00", "joe", "10.0.0.3"),
        login("19:00:00", "\u202e" + "x" * 300, "10.0.0.3"),
    )["account_activity"].sort("bin_start", "account")
    columns = (
        "bin_start",
        "server",
        "account",
        "logins",
        "failures",
        "authenticated_sends",
        "distinct_clients",
        "distinct_networks",
    )
    assert found.select(columns).rows() == [
        (utc(2002, 7, 15, 18), "mx1", "joe", 5, 1, 1, 2, 1),
        (utc(2002, 7, 15, 19), "mx1", "joe", 1, 0, 0, 1, 1),
        (utc(2002, 7, 15, 19), "mx1", "\u202e" + "x" * 253, 1, 0, 0, 1, 1),
    ]


def test_networks_are_those_of_logins_and_sends(tmp_path: Path) -> None:
    found = frames(
        tmp_path,
        *(login("18:00:01", "joe", f"10.0.{i % 3}.{i}") for i in range(9)),
        *(failure("18:10:00", "joe", f"10.9.{i}.1") for i in range(5)),
        login("18:20:00", "joe", "2001:db8:1:2::1"),
        login("18:20:00", "joe", "2001:db8:1:3::1"),
    )["account_activity"]
    assert found.select("distinct_clients", "distinct_networks").row(0) == (16, 4)


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", [(18, 3)]),
        ("Asia/Tokyo", [(9, 3)]),
        ("Asia/Kolkata", [(12, 1), (13, 2)]),
        ("Asia/Kathmandu", [(12, 2), (13, 1)]),
    ],
)
def test_cells_become_hours_of_utc(tmp_path: Path, zone: str, expected: list[tuple[int, int]]) -> None:
    lines = [login(when, "joe", "10.0.0.1") for when in ("18:29:59", "18:30:00", "18:45:00")]
    found = frames(tmp_path, *lines, timezone=zone)["account_activity"].sort("bin_start")
    assert [(start.hour, n) for start, n in found.select("bin_start", "logins").rows()] == expected


def test_a_search_for_hosts_in_sequence_and_at_random(tmp_path: Path) -> None:
    steps = [query(f"18:{i:02}:01", f"{i}.2.0.192.in-addr.arpa", "PTR", "10.0.0.1") for i in range(40)]
    far = [
        query(f"18:{i:02}:02", f"{i % 2 * 180}.2.0.192.in-addr.arpa", "PTR", "10.0.0.2") for i in range(40)
    ]
    other = [query("18:50:00", "2.0.192.in-addr.arpa", "PTR"), query("18:50:00", "4.3.2.1.in-addr.arpa", "A")]
    found = frames(tmp_path, *sorted(steps + far), *other)["ptr_target"].sort("origin")
    assert found.select("origin", "count", "distinct_targets", "distance_histogram").rows() == [
        ("10.0.0.0/24", 80, 41, [0, 39, 0, 0, 0, 39]),
        ("10.0.0.1", 40, 40, [0, 39]),
        ("10.0.0.2", 40, 2, [0, 0, 0, 0, 0, 39]),
    ]


def test_a_worm_that_asks_one_port_everywhere(tmp_path: Path) -> None:
    lines = [drop(f"18:00:{i:02}", "192.0.2.66", f"10.0.{i}.9", 1434) for i in range(50)]
    scan_of_ports = [drop(f"18:01:{i:02}", "192.0.2.99", "10.0.0.9", 100 + i) for i in range(10)]
    found = frames(tmp_path, *lines, *scan_of_ports)["drop_target"]
    numbers = found.select("origin", "port", "count", "distinct_targets", "distinct_endpoints")
    assert sorted(numbers.filter(origin="192.0.2.66").rows(), key=str) == [
        ("192.0.2.66", 1434, 50, 50, None),
        ("192.0.2.66", None, 50, 50, 50),
    ]
    assert numbers.filter(pl.col("port").is_null(), origin="192.0.2.99").rows() == [
        ("192.0.2.99", None, 10, 1, 10)
    ]
    assert numbers.filter(pl.col("port").is_null(), origin="192.0.2.0/24").rows() == [
        ("192.0.2.0/24", None, 60, 50, 60)
    ]


SUFFIXES = "com\norg\njp\nco.jp\n*.ck\n!www.ck\n"


def test_domains_by_ten_minutes(tmp_path: Path) -> None:
    found = frames(
        tmp_path,
        query("18:09:59", "www.a.co.jp", client="10.0.0.1"),
        query("18:10:00", "www.a.co.jp", "MX", client="10.0.0.1"),
        query("18:19:59", "MAIL.a.co.jp.", "MX", client="10.0.0.2"),
        query("18:19:59", "x.y.b.org", client="10.0.0.2"),
        "Jul 15 18:19:59 ns1 last message repeated 2 times",
        query("18:19:59", "deep.www.ck"),
        query("18:19:59", "co.jp"),
        public_suffixes=SUFFIXES,
    )["domain"].sort("bin_start", "domain")
    columns = ("bin_start", "domain", "count", "a", "mx", "distinct_names", "distinct_clients")
    first, second = utc(2002, 7, 15, 18), utc(2002, 7, 15, 18, 10)
    assert found.select(columns).rows() == [
        (first, "a.co.jp", 1, 1, 0, 1, 1),
        (second, "a.co.jp", 2, 0, 2, 2, 2),
        (second, "b.org", 3, 3, 0, 1, 1),
        (second, "co.jp", 1, 1, 0, 1, 1),
        (second, "www.ck", 1, 1, 0, 1, 1),
    ]


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "-0345"])
def test_ten_minutes_are_those_of_utc_in_any_zone(tmp_path: Path, zone: str) -> None:
    lines = [query(f"18:{i:02}:00", "www.a.org") for i in range(0, 60, 5)]
    found = frames(tmp_path, *lines, timezone=zone)["domain"]
    assert all(start.minute % 10 == 0 for start in found["bin_start"])
    assert found["count"].sum() == 12
    assert found["count"].max() == 2


def test_the_public_suffix_list_that_is_installed(tmp_path: Path) -> None:
    names = {
        "a.b.example.co.jp": "example.co.jp",
        "www.kumamoto-u.ac.jp": "kumamoto-u.ac.jp",
        "x.city.kobe.jp": "city.kobe.jp",
        "me.github.io": "me.github.io",
        "7.2.0.192.in-addr.arpa": "192.in-addr.arpa",
        "www.xn--85x722f.xn--55qx5d.cn": "xn--85x722f.xn--55qx5d.cn",
        "localhost": "localhost",
    }
    lines = [query("18:00:00", name) for name in names]
    found = frames(tmp_path, *lines, public_suffixes=public_suffixes())["domain"]
    assert set(found["domain"]) == set(names.values())
    without = frames(tmp_path, *lines)["domain"]
    assert "co.jp" in set(without["domain"])


def test_a_tunnel_and_a_beacon(tmp_path: Path) -> None:
    tunnel = [
        query(f"18:{i % 60:02}:30", f"{i:04x}{'0123456789abcdef' * 3}.t.org", "TXT") for i in range(120)
    ]
    beacon = [query(f"{18 + i // 6}:{i % 6 * 10:02}:00", "c2.b.org", client="10.0.0.1") for i in range(12)]
    probes = [query("18:00:00", f"{n}.p.org", client="10.0.0.2") for n in ("mail", "MX", "gate", "www")]
    lines = sorted([*tunnel, *beacon, *probes], key=lambda line: line[7:15])
    found = frames(tmp_path, *lines, public_suffixes=SUFFIXES)["client_domain"].sort("domain", "bin_start")
    rows = {(r["domain"], r["bin_start"].hour): r for r in found.iter_rows(named=True)}
    of = rows["t.org", 18]
    assert (of["client"], of["count"], of["distinct_names"]) == ("192.0.2.7", 120, 120)
    assert 3.9 < of["mean_label_entropy"] <= 4.0
    assert of["label_entropy_sum"] == pytest.approx(120 * of["mean_label_entropy"])
    assert of["median_name_length"] == 52 + len(".t.org")
    assert of["name_length_histogram"][58] == 120
    assert of["mail_labels"] == 0
    early, late = rows["b.org", 18], rows["b.org", 19]
    # One interval ends in the first query of the second hour.
    assert early["interval_histogram"] == [0] * 10 + [5]
    assert late["interval_histogram"] == [0] * 10 + [6]
    assert INTERVAL_MINUTES[10] == 10
    assert rows["p.org", 18]["mail_labels"] == 3
    assert rows["p.org", 18]["mail_label_bits"] == 1 | 4 | 16
    assert rows["p.org", 18]["interval_histogram"] == [3]


def test_names_of_clients(tmp_path: Path) -> None:
    worm = [
        query("18:00:00", f"{label}.firm{i}.org", client="10.0.0.1")
        for i in range(30)
        for label in ("mail", "smtp", "MX")[: 1 + i % 3]
    ]
    mailer = [query("18:00:01", f"firm{i % 12}.org", "MX", client="10.0.0.2") for i in range(40)]
    made_up = [
        query("18:00:02", f"www.{name}.org", client="10.0.0.3")
        for name in ("xjwqkvzpth", "qz7x1k9vb2w4", "vkqgxjpwmzfd", "wikipedia", "xn--qxzvwkq9a", "xjwqkvzpth")
    ]
    plain = [query("18:00:03", "www.example.org", client="10.0.0.4")]
    found = frames(tmp_path, *worm, *mailer, *made_up, *plain, public_suffixes=SUFFIXES)["client_names"]
    columns = ("client", "mx_names", "mail_domains", "probed_domains", "unlikely_domains")
    assert found.sort("client").select(columns).rows() == [
        ("10.0.0.1", 0, 30, 10, 0),
        ("10.0.0.2", 12, 0, 0, 0),
        ("10.0.0.3", 0, 0, 0, 3),
    ]


def test_which_domains_look_made_up() -> None:
    from seismolog import _core

    names = ["xjwqkvzpth.org", "XJWQKVZPTH.org", "wikipedia.org", "xjwqkvzpth", ""]
    assert _core.unlikely_domains(names) == [True, True, False, False, False]


def test_the_heaviest_pairs_stay(tmp_path: Path) -> None:
    light = [query("18:00:01", f"www.d{i}.org", client=f"10.0.{i % 200}.1") for i in range(900)]
    heavy = [query("18:30:00", f"h{i % 5}.heavy.org", client="10.9.9.9") for i in range(40)]
    limits = {"client_domains": 100, "client_domain_rows": 10}
    scan = scan_text(tmp_path, texts(light[:450] + heavy + light[450:]), details=True, limits=limits)
    found = detail_frames(scan)["client_domain"]
    assert found.height == 10
    assert found.filter(client="10.9.9.9").select("domain", "count", "distinct_names").rows() == [
        ("heavy.org", 40, 5)
    ]
    shed = scan.summary["shed"]
    assert shed["client_domains"] + shed["client_domain_rows"] == 940 - found["count"].sum()


def test_what_went_past_a_bound_is_in_the_summary(tmp_path: Path) -> None:
    lines = [login("18:00:01", f"user{i}", "10.0.0.1") for i in range(20)]
    scan = scan_text(tmp_path, texts(lines), details=True, limits={"accounts": 5})
    assert scan.summary["shed"]["accounts"] == 15
    found = detail_frames(scan)["account_activity"]
    assert found.height == 6
    assert found.filter(account="(shed)")["logins"].item() == 15


LOG = [
    *(login(f"18:{i:02}:01", f"u{i % 5}", f"10.0.0.{i % 7}", "ns1") for i in range(60)),
    *(query(f"19:{i:02}:01", f"{i % 50}.2.0.192.in-addr.arpa", "PTR", f"10.0.0.{i % 3}") for i in range(60)),
    *(
        query(
            f"20:{i:02}:01", f"n{i % 9}.sub.d{i % 4}.example.org", "MX" if i % 4 else "A", f"10.0.0.{i % 3}"
        )
        for i in range(60)
    ),
    *(drop(f"21:{i:02}:01", f"192.0.2.{i % 5}", f"10.0.0.{i % 9}", i % 3) for i in range(60)),
]


def stored(folder: Path, *parts: list[str]) -> dict[str, pl.DataFrame]:
    paths = [save(folder / f"part{i}.log", *part) for i, part in enumerate(parts)]
    store = Store(folder / "store")
    analyze_into_store(paths, ScanOptions(timezone="UTC", year=2002), store)
    return {n: store.read(n).collect() for n in DETAIL_TABLES}


#: What depends on the line before is told within a source only: the seam of two files is one step short.
ORDERED = ("distance_histogram", "interval_histogram")


def test_they_arrive_in_the_store_and_sources_add_up(tmp_path: Path) -> None:
    whole = stored(tmp_path / "one", LOG)
    halves = stored(tmp_path / "two", LOG[:90], LOG[90:])
    for name in DETAIL_TABLES:
        keys = list(TABLES[name].keys)
        assert whole[name].height > 0, name
        one, two = (
            f[name].drop([c for c in ORDERED if c in f[name].columns]).sort(keys) for f in (whole, halves)
        )
        assert one.select(keys).rows() == two.select(keys).rows()
        assert one.rows() == two.rows(), name
    hours = whole["account_activity"]["bin_start"].unique().to_list()
    assert hours == [utc(2002, 7, 15, 18)]
    assert whole["account_activity"]["logins"].sum() == 60
    steps = {
        n: t["ptr_target"]["distance_histogram"].list.sum().sum() for n, t in (("1", whole), ("2", halves))
    }
    assert steps["2"] < steps["1"] <= steps["2"] + 2 * 3


def test_details_do_not_change_the_other_tables(tmp_path: Path) -> None:
    path = save(tmp_path / "all.log", *LOG)
    options: dict[str, Any] = {"timezone": "UTC", "year": 2002, "state": True}
    with_details, without = (_core.scan([path], details=d, **options) for d in (True, False))
    for name in ("traffic", "client_traffic"):
        one, two = (pl.DataFrame(s.table(name)) for s in (with_details, without))
        keys = ["bin_start", "server", "kind", *(c for c in ("client", "query_type", "side") if c in one)]
        assert one.sort(keys).equals(two.sort(keys))
    assert with_details.summary == without.summary


def test_threads_change_nothing(tmp_path: Path) -> None:
    # Plain files are cut into parts of 16 MiB at least.
    start = utc(2002, 7, 15)
    lines = []
    for i in range(420_000):
        when = f"{start + timedelta(seconds=i // 10):%H:%M:%S}"
        lines.append(
            query(when, f"{i * 7 % 250}.{i % 3}.0.192.in-addr.arpa", "PTR", f"10.0.{i % 7}.{i % 11}")
        )
    path = save(tmp_path / "long.log", *lines)
    tables = []
    for threads in (1, 4):
        scan = _core.scan([path], details=True, threads=threads, timezone="UTC", year=2002)
        tables.append(
            {n: f.sort([k for k in TABLES[n].keys if k in f.columns]) for n, f in detail_frames(scan).items()}
        )
    assert path.stat().st_size > 32 << 20
    assert tables[0].keys() == tables[1].keys()
    for name, frame in tables[0].items():
        assert frame.equals(tables[1][name]), name
