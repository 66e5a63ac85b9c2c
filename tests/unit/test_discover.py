"""Which DNS client is which mail server, told from simulated campuses; and the site.toml that is made of it."""

from __future__ import annotations

import tomllib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seismolog.discover import Discovery, Match, Server, discover, site_toml
from seismolog.simulate.shape import ar1, day_shape
from seismolog.simulate.worlds import world


def events(
    frame: pl.DataFrame, server: str, kinds: dict[str, str], client: str | None = None
) -> pl.DataFrame:
    """Columns of a world as rows of events of kinds."""
    return pl.concat(
        [
            frame.select(
                "bin_start",
                pl.lit(server).alias("server"),
                pl.lit(kind).alias("kind"),
                pl.lit(client, dtype=pl.String).alias("client"),
                pl.col(column).cast(pl.UInt64).alias("count"),
            )
            for column, kind in kinds.items()
        ]
    ).filter(pl.col("count") > 0)


MAIL_KINDS = {kind: kind for kind in ("smtp_accepted", "pop_access", "smtp_sent")}


def campus(
    seeds: tuple[int, ...] = (1,),
    *,
    pcs: int = 150,
    bins: int = 432,
    messages: float = 200.0,
    split: bool = False,
    query_types: bool = True,
    hidden: tuple[int, ...] = (),
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Mail servers 1mx, 2mx … at 133.95.10.2, .3 … among PCs with the same shape of the day."""
    mail, asked = [], []
    frame = world(0, bins=bins)
    for place, seed in enumerate(seeds):
        frame = world(seed, bins=bins, messages=messages)
        mail.append(events(frame, f"{place + 1}mx", MAIL_KINDS))
        if place in hidden:
            continue
        addresses = {f"133.95.10.{place + 2}": frame["dns_query"].to_numpy().astype(np.int64)}
        if split:
            half = np.random.default_rng(seed).binomial(addresses[f"133.95.10.{place + 2}"], 0.6)
            addresses = {
                f"133.95.10.{place + 2}": half,
                f"2001:db8::{place + 2}": addresses[f"133.95.10.{place + 2}"] - half,
            }
        asked += [
            events(frame.with_columns(own=pl.Series(values)), "1dns", {"own": "dns_query"}, client)
            for client, values in addresses.items()
        ]
    rng = np.random.default_rng(9)
    shape = day_shape((np.arange(bins) * 600) % 86400)
    for i in range(pcs):
        intensity = rng.lognormal(3, 2) * shape * np.exp(ar1(rng, bins, 0.9, 0.5))
        values = pl.Series(rng.poisson(np.minimum(intensity, 5000)))
        asked.append(
            events(frame.with_columns(own=values), "1dns", {"own": "dns_query"}, f"133.95.20.{i + 1}")
        )
    clients = pl.concat(asked)
    is_mail = pl.col("client").str.starts_with("133.95.10.") | pl.col("client").str.starts_with("2001:")
    mx = pl.when(is_mail).then(pl.col("count") // 6).otherwise(0) if query_types else pl.lit(0)
    clients = clients.with_columns(mx.cast(pl.UInt32).alias("mx"))
    traffic = (
        pl.concat([*mail, clients.drop("mx")])
        .group_by("bin_start", "server", "kind")
        .agg(pl.col("count").sum())
    )
    return traffic, clients


@pytest.mark.parametrize("query_types", [True, False])
@pytest.mark.parametrize("messages", [200.0, 8.0])
def test_the_mail_server_is_found_among_pcs(query_types: bool, messages: float) -> None:
    found = discover(*campus(query_types=query_types, messages=messages))
    assert [server.name for server in found.dns_servers] == ["1dns"]
    assert [server.name for server in found.mail_servers] == ["1mx"]
    match = found.matches[0]
    assert (match.verdict, match.addresses) == ("sure", ("133.95.10.2",))
    best, second = match.candidates[:2]
    assert best.score > 0.8
    assert best.score > second.score + 0.3
    assert "follow the ups and downs" in best.sentence
    assert ("for MX" in best.sentence) == query_types


def test_two_mail_servers_with_one_shape_are_told_apart() -> None:
    found = discover(*campus((1, 2)))
    assert {m.server.name: m.addresses for m in found.matches} == {
        "1mx": ("133.95.10.2",),
        "2mx": ("133.95.10.3",),
    }


def test_addresses_of_both_families_are_joined() -> None:
    found = discover(*campus((3, 4), split=True))
    assert {m.server.name: set(m.addresses) for m in found.matches} == {
        "1mx": {"133.95.10.2", "2001:db8::2"},
        "2mx": {"133.95.10.3", "2001:db8::3"},
    }


def test_a_server_with_a_resolver_of_its_own_has_no_client() -> None:
    for seed in range(6):
        found = discover(*campus((seed, 50 + seed), hidden=(0,)))
        match = next(m for m in found.matches if m.server.name == "1mx")
        assert (match.verdict, match.addresses) == ("none", ())
        assert "resolver of its own" in match.sentence


def test_few_bins_are_not_sure() -> None:
    match = discover(*campus(bins=40)).matches[0]
    assert (match.verdict, match.addresses) == ("not sure", ())
    assert match.candidates[0].client == "133.95.10.2"
    assert "not sure" in match.sentence


def test_equal_clients_are_not_sure() -> None:
    """A second client that does exactly what the first does, beyond what the mail lets expect."""
    traffic, clients = campus()
    twin = clients.filter(pl.col("client") == "133.95.10.2").with_columns(client=pl.lit("133.95.10.9"))
    match = discover(traffic, pl.concat([clients, twin])).matches[0]
    assert (match.verdict, match.addresses) == ("not sure", ())
    assert "133.95.10.2" in match.sentence
    assert "133.95.10.9" in match.sentence


def test_logs_of_different_days_cannot_be_compared() -> None:
    traffic, clients = campus()
    later = pl.col("bin_start") + pl.duration(days=30)
    moved = traffic.with_columns(
        pl.when(pl.col("kind") == "dns_query").then(later).otherwise(pl.col("bin_start")).alias("bin_start")
    )
    match = discover(moved, clients.with_columns(later.alias("bin_start"))).matches[0]
    assert match.verdict == "none"
    assert "cover no whole bin of 10m together" in match.sentence


def test_short_and_full_host_names_are_one_server() -> None:
    traffic, clients = campus()
    middle = traffic["bin_start"].sort()[len(traffic) // 2]
    renamed = traffic.with_columns(
        pl.when((pl.col("server") == "1mx") & (pl.col("bin_start") > middle))
        .then(pl.lit("1mx.example.org"))
        .otherwise(pl.col("server"))
        .alias("server")
    )
    found = discover(renamed, clients)
    assert [server.hostnames for server in found.mail_servers] == [("1mx", "1mx.example.org")]
    assert found.matches[0].addresses == ("133.95.10.2",)


def test_networks_are_proposed_as_narrow_as_their_clients() -> None:
    assert discover(*campus(pcs=150)).inside == ("133.95.0.0/16",)
    _, clients = campus(pcs=50, hidden=(0,))
    traffic, _ = campus(pcs=50)
    assert discover(traffic, clients).inside == ("133.95.20.0/24",)
    private = clients.with_columns(pl.col("client").str.replace("133.95.20.", "10.1.2.", literal=True))
    assert discover(traffic, private).inside == ("10.0.0.0/8",)


def test_empty_tables() -> None:
    traffic, clients = campus(pcs=2, bins=3)
    found = discover(traffic.clear(), clients.clear())
    assert (found.dns_servers, found.mail_servers, found.matches, found.inside) == ((), (), (), ())
    assert any("No DNS query" in note for note in found.notes)
    assert any("No mail" in note for note in found.notes)
    assert tomllib.loads(site_toml(found)) == {"site": {"inside": []}}


def test_one_bin_and_odd_clients() -> None:
    traffic, clients = campus(pcs=3, bins=2)
    odd = clients.with_columns(pl.col("client").replace("133.95.20.1", "not an address"))
    assert discover(traffic, odd).matches[0].verdict in ("none", "not sure")


def test_site_toml_is_what_the_configuration_reads() -> None:
    found = discover(*campus((3, 4), split=True))
    text = site_toml(found, timezone="Asia/Tokyo", paths=["/var/log/mail.log"])
    read = tomllib.loads(text)
    assert read["site"] == {"timezone": "Asia/Tokyo", "inside": list(found.inside)}
    assert {server["name"]: set(server["addresses"]) for server in read["mail_server"]}["1mx"] == {
        "133.95.10.2",
        "2001:db8::2",
    }
    assert read["dns_server"] == [{"name": "1dns", "hostnames": ["1dns"]}]
    config = pytest.importorskip("seismolog.config.reading").parse(text)
    assert config.mail_server[0].hostnames == list(found.matches[0].server.hostnames)


def test_site_toml_of_an_unsure_match_asks() -> None:
    text = site_toml(discover(*campus(bins=40)))
    assert "addresses" not in tomllib.loads(text)["mail_server"][0]
    assert '# addresses = ["133.95.10.2"]' in text
    assert "timezone" not in tomllib.loads(text)["site"]


@given(name=st.text(min_size=1, max_size=20), sentence=st.text(max_size=60), path=st.text(max_size=20))
@settings(max_examples=200)
def test_names_from_logs_cannot_break_out_of_the_file(name: str, sentence: str, path: str) -> None:
    server = Server((name,), {"smtp_accepted": 1})
    found = Discovery((server,), (server,), (Match(server, (), "none", (), sentence),), (), ())
    text = site_toml(found, paths=[path])
    read = tomllib.loads(text)
    assert read["mail_server"] == [{"name": name, "hostnames": [name]}]
    assert read["dns_server"] == [{"name": name, "hostnames": [name]}]
    assert set(read) == {"site", "mail_server", "dns_server"}
    assert all(c.isprintable() or c == "\n" for c in text)
