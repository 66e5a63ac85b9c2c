"""Simulated logs: the truth beside them is what plain text search finds in them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from seismolog import simulate
from seismolog.simulate.scenarios import campus_2002

SMALL = 0.1


def checksums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, simulate.Truth]:
    """The day of Frethem.K at a tenth of its volume, with both DNS logs."""
    folder = tmp_path_factory.mktemp("evening")
    return folder, simulate.run("campus-2002", folder, seed=5, scale=SMALL, dns_log="both")


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines()


def test_truth_is_what_the_papers_patterns_count(evening: tuple[Path, simulate.Truth]) -> None:
    folder, truth = evening
    dns, mail = lines(folder / "1dns.messages"), lines(folder / "1mx.syslog")
    to = [line for line in mail if "to=" in line]
    assert truth.paper == {
        "D_q": sum("domain" in line for line in dns),
        "N_from": sum("from=" in line for line in mail),
        "N_SS": sum("stat=Sent" in line for line in to),
        "N_SD": sum("stat=Deferred" in line for line in to),
        "N_P": sum("popper[" in line for line in mail),
    }
    assert truth.files["1dns.messages"]["lines"] == len(dns)
    assert truth.files["1mx.syslog"]["lines"] == len(mail)


def test_totals_are_the_sums_of_bins_and_of_clients(evening: tuple[Path, simulate.Truth]) -> None:
    _, truth = evening
    for server, kinds in truth.bins.items():
        for kind, counts in kinds.items():
            assert len(counts) == 144
            assert sum(counts) == truth.totals[server][kind]
    for server, kinds in truth.clients.items():
        for kind, clients in kinds.items():
            assert sum(clients.values()) == truth.totals[server][kind]
    assert sum(truth.query_types.values()) == truth.totals["1dns"]["dns_query"]
    refused = truth.paper["N_from"] - truth.totals["1mx"]["smtp_accepted"]
    assert refused == truth.totals["1mx"]["smtp_rejected"] > 0


def test_clients_and_bins_are_those_of_the_text(evening: tuple[Path, simulate.Truth]) -> None:
    folder, truth = evening
    pattern = re.compile(
        r"^Jul 15 (\d\d):(\d)\d:\d\d 1dns iplog\[123\]: UDP: dgram to domain from ([\d.]+):(\d+) "
    )
    by_client: dict[str, int] = {}
    by_bin = [0] * 144
    for line in lines(folder / "1dns.messages"):
        if match := pattern.match(line):
            by_client[match[3]] = by_client.get(match[3], 0) + 1
            by_bin[int(match[1]) * 6 + int(match[2])] += 1
            assert 1024 < int(match[4]) < 65536
    assert by_client == truth.clients["1dns"]["dns_query"]
    assert by_bin == truth.bins["1dns"]["dns_query"]


def test_recipients_are_the_addresses_listed(evening: tuple[Path, simulate.Truth]) -> None:
    folder, truth = evening
    mail = lines(folder / "1mx.syslog")
    listed = {"smtp_sent": 0, "smtp_deferred": 0, "smtp_bounced": 0}
    for line in mail:
        if match := re.search(r": to=(\S+), delay=[\d:+]+, .*stat=(Sent|Deferred|User unknown)", line):
            kind = {"Sent": "smtp_sent", "Deferred": "smtp_deferred", "User unknown": "smtp_bounced"}[
                match[2]
            ]
            listed[kind] += match[1].count("<")
    accepted = sum(int(match[1]) for line in mail if (match := re.search(r"from=.*nrcpts=(\d+)", line)))
    assert truth.recipients["1mx"] == {"smtp_accepted": accepted, **listed}


def test_the_query_log_holds_the_same_queries(evening: tuple[Path, simulate.Truth]) -> None:
    folder, truth = evening
    pattern = re.compile(r" 1dns named\[77\]: client ([\d.]+)#\d+: query: (\S+) IN ([A-Z]+)$")
    matches = [pattern.search(line) for line in lines(folder / "1dns.querylog")]
    assert len(matches) == truth.paper["D_q"]
    types: dict[str, int] = {}
    for match in matches:
        assert match is not None
        types[match[3].lower()] = types.get(match[3].lower(), 0) + 1
        assert "domain" not in match[2]
        assert match[3] != "PTR" or match[2].endswith(".in-addr.arpa")
    assert types == {kind: count for kind, count in truth.query_types.items() if count}


def test_lines_are_in_time_order_and_files_end_when_the_run_does(
    evening: tuple[Path, simulate.Truth],
) -> None:
    folder, truth = evening
    end = np.datetime64("2002-07-15T15:00:00").astype("datetime64[s]").astype(int)
    for name in truth.files:
        found = [line[:15] for line in lines(folder / name)]
        assert found == sorted(found)
        assert (folder / name).stat().st_mtime == end


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        simulate.run("campus-2002", tmp_path / name, seed=seed, days=0.25, scale=SMALL, compress=True)
    assert checksums(tmp_path / "a") == checksums(tmp_path / "b")
    assert checksums(tmp_path / "a") != checksums(tmp_path / "c")


def test_truth_is_read_back_as_written(evening: tuple[Path, simulate.Truth]) -> None:
    folder, truth = evening
    again = simulate.Truth.load(folder / "truth.json")
    assert again == truth
    frame = again.frame()
    assert frame.columns == ["bin_start", "server", "kind", "count"]
    assert frame["bin_start"].min().isoformat() == "2002-07-14T15:00:00+00:00"
    assert again.client_frame().filter(kind="dns_query")["count"].sum() == truth.paper["D_q"]


def test_a_file_that_is_no_truth_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_text('{"incidents": [], "seed": 1}', encoding="utf-8")
    with pytest.raises(ValueError, match="no truth file"):
        simulate.Truth.load(path)


def test_a_cache_lowers_the_queries_and_a_constant_one_does_so_evenly(tmp_path: Path) -> None:
    common = {"seed": 2, "scale": SMALL, "start": "2002-07-08"}
    asked = {
        cache: simulate.run("campus-2002", tmp_path / cache, cache=cache, **common)
        for cache in ("off", "constant", "on")
    }
    mail_server = {cache: truth.curves[campus_2002.MAIL_ADDRESS] for cache, truth in asked.items()}
    assert sum(mail_server["on"]) < 0.7 * sum(mail_server["off"])
    assert sum(mail_server["constant"]) == pytest.approx(0.7 * sum(mail_server["off"]), rel=0.02)
    assert mail_server["off"] == asked["off"].lookups == asked["on"].lookups
    assert asked["off"].coefficients["realized"]["m_s"] == pytest.approx(8.6, rel=0.03)
    assert asked["on"].coefficients["realized"]["m_s"] < 6
    # Names that repeat are answered: the cache works better the more is asked (here, by day than by night).
    hit = 1 - np.array(mail_server["on"]) / np.maximum(1, np.array(asked["on"].lookups))
    assert hit[60:110].mean() > hit[12:36].mean()


def test_retries_cost_queries_only_when_told_to(tmp_path: Path) -> None:
    truths = [
        simulate.run("campus-2002", tmp_path / str(m_sd), seed=2, scale=SMALL, m_sd=m_sd)
        for m_sd in (0.0, 2.0)
    ]
    free, costly = (sum(truth.curves[campus_2002.MAIL_ADDRESS]) for truth in truths)
    assert truths[0].bins["1mx"] == truths[1].bins["1mx"]
    assert costly - free == pytest.approx(2 * truths[0].paper["N_SD"], rel=0.08)


def test_the_shape_of_the_evening(evening: tuple[Path, simulate.Truth]) -> None:
    _, truth = evening
    mail = {kind: np.array(counts) for kind, counts in truth.bins["1mx"].items()}
    to = mail["smtp_sent"] + mail["smtp_deferred"]
    before, after = slice(0, 108), slice(114, 144)
    assert 1.0 < to[before].sum() / mail["smtp_accepted"][before].sum() < 1.25
    assert mail["smtp_deferred"][before].sum() / to[before].sum() < 0.03
    assert 0.33 < mail["smtp_deferred"][after].sum() / to[after].sum() < 0.47
    assert to[after].sum() / mail["smtp_accepted"][after].sum() > 1.5
    assert mail["smtp_accepted"][120:132].sum() > 1.3 * mail["smtp_accepted"][102:108].sum() * 2


def test_the_named_clients_lead_the_ranking_and_keep_their_shapes(
    evening: tuple[Path, simulate.Truth],
) -> None:
    _, truth = evening
    ranking = list(truth.clients["1dns"]["dns_query"])
    assert ranking[0] == campus_2002.MAIL_ADDRESS
    assert set(ranking[1:6]) == set(campus_2002.NAMED.values())
    curve = {label: np.array(truth.curves[address]) for label, address in truth.names.items()}
    assert np.corrcoef(curve["IP-A"][48:], curve["1mx"][48:])[0, 1] > 0.8
    assert curve["IP-A"][:48].sum() < 5
    assert curve["IP-B"][:48].sum() == 0
    assert curve["IP-B"][66:].mean() == pytest.approx(30, rel=0.1)
    assert curve["IP-C"][36:100].mean() == pytest.approx(30, rel=0.1)
    assert curve["IP-C"][101:].sum() < 5
    assert np.corrcoef(curve["IP-D"][54:], curve["IP-E"][54:])[0, 1] > 0.8
    labels = [incident.label for incident in truth.incidents]
    assert labels == ["Frethem.K", "IP-A", "IP-B", "IP-C", "IP-D and IP-E"]


def test_an_ordinary_day_has_no_incident(tmp_path: Path) -> None:
    truth = simulate.run("campus-2002", tmp_path, seed=1, start="2002-07-09", scale=SMALL)
    assert truth.incidents == []
    named = [sum(truth.curves[address]) for address in campus_2002.NAMED.values()]
    assert max(named) < 60
    weekend = simulate.run("campus-2002", tmp_path, seed=1, start="2002-07-13", scale=SMALL)
    assert weekend.paper["N_from"] < 0.6 * truth.paper["N_from"]


def test_every_scenario_has_a_name_and_says_what_it_is() -> None:
    found = simulate.scenarios()
    assert {"campus-2002", "campus-2002-march"} <= found.keys()
    for scenario in found.values():
        assert scenario.summary
        assert all(default is not None for name, default in scenario.parameters().items())


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"scale": 0}, "scale"),
        ({"cache": "maybe"}, "cache"),
        ({"start": "someday"}, "start"),
        ({"receive_rate": 1.5}, "receive_rate"),
        ({"speed": 3}, "speed"),
    ],
)
def test_a_wrong_parameter_is_named(tmp_path: Path, parameters: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        simulate.run("campus-2002", tmp_path, **parameters)


def test_an_unknown_scenario_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="campus-2002"):
        simulate.run("campus-1066", tmp_path)
