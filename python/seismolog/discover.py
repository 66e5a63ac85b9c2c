"""What a pile of logs says about the site: its servers, which DNS client is which mail server, its networks.

`seismolog init` turns this into a site.toml for an administrator to check.

Which client is the mail server? Every busy client rises by day and falls by night, so that the plain correlation with the
mail says little. What nobody else shares are the *fluctuations*: when a bin happens to bring more mail than its
neighbours, the mail server's own queries rise with it, and in no other client's curve. Counts are made comparable by a
square root (Anscombe), the running mean of two hours is taken away, and what is left of a client's queries is correlated
with what is left of 8.6 N_S + N_P + N_I. A candidate must be significant over all clients looked at; volume and the share
of MX look-ups, which PCs do not send, then order the candidates. Further addresses of the same server (IPv6 beside
IPv4, two interfaces) are added while their sum follows the mail significantly better, or follows it as well, in step with
the first, and brings the volume nearer to the expected.

Limits: a mail server that asks a resolver on itself is no client here, and nothing is found; neither is one whose
resolver cache spares nearly every query. A resolver that a mail server shares with many PCs is found as a weak
candidate at best. Below `MIN_BINS` common bins nothing is sure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seismolog.model.assemble import bin_width, series
from seismolog.model.paper import PAPER

Array = NDArray[np.float64]
Verdict = Literal["sure", "not sure", "none"]

MAIL_ROLE: Final = ("smtp_accepted", "smtp_sent", "smtp_deferred", "pop_access", "imap_access")
MIN_BINS: Final = 72
"""Common bins below which no match is sure (half a day of 10-minute bins)."""
_CANDIDATES: Final = 2000
_SMOOTH: Final = 13
_SHOWN: Final = 5
_ADDRESSES: Final = 8
_SHARE_OF_QUERIES: Final = 0.05


@dataclass(frozen=True)
class Server:
    """A host that writes logs: its names (the first is the one to call it by), and its counts by kind."""

    hostnames: tuple[str, ...]
    counts: Mapping[str, int]

    @property
    def name(self) -> str:
        """What to call it."""
        return self.hostnames[0]


@dataclass(frozen=True)
class Candidate:
    """A DNS client that may be a mail server.

    Attributes
    ----------
    client
        Address.
    score
        0…1: fluctuations 0.6, volume 0.25, MX look-ups 0.15 (left out of the reckoning where no query types are logged).
    fluctuation
        Correlation of the fluctuations with those of the expected queries.
    correlation
        Of the curves themselves: high for most busy clients.
    queries, expected
        Sums over the common bins.
    mx_share
        Share of MX look-ups; None where no query types are logged.
    significant
        Whether the fluctuations could not by chance agree so well in one of the clients looked at.
    """

    client: str
    score: float
    fluctuation: float
    correlation: float
    queries: int
    expected: float
    mx_share: float | None
    significant: bool

    @property
    def sentence(self) -> str:
        """Why it is or is not the one."""
        text = (
            f"{self.client}: its queries {'follow' if self.significant else 'do not follow'} the ups and downs of the mail "
            f"(r = {self.fluctuation:.2f} after the shape of the day), {self.queries:,} queries where the mail lets expect "
            f"{self.expected:,.0f}"
        )
        if self.mx_share is not None:
            text += f", {self.mx_share:.0%} of them for MX"
        return text + "."


@dataclass(frozen=True)
class Match:
    """Which DNS clients are a mail server.

    ``addresses`` is empty unless the verdict is ``sure``; ``candidates`` holds the best few, best first.
    """

    server: Server
    addresses: tuple[str, ...]
    verdict: Verdict
    candidates: tuple[Candidate, ...]
    sentence: str


@dataclass(frozen=True)
class Discovery:
    """What `discover` found.

    Attributes
    ----------
    dns_servers, mail_servers
        By falling number of events.
    matches
        One for each mail server.
    inside
        Proposed networks of the site.
    notes
        Sentences for the administrator.
    """

    dns_servers: tuple[Server, ...]
    mail_servers: tuple[Server, ...]
    matches: tuple[Match, ...]
    inside: tuple[str, ...]
    notes: tuple[str, ...]


def discover(
    traffic: pl.DataFrame,
    client_traffic: pl.DataFrame,
    *,
    bin: str = "10m",  # noqa: A002 - the word of the command line and the configuration
) -> Discovery:
    """Find servers, roles, the DNS clients that are mail servers, and the site's networks.

    Parameters
    ----------
    traffic, client_traffic
        The tables of that name.
    bin
        Width in which curves are compared.
    """
    counts = (
        traffic.select(pl.col("server", "kind").cast(pl.String), pl.col("count").cast(pl.Int64))
        .group_by("server", "kind")
        .agg(pl.col("count").sum())
    )
    dns_servers = _servers(counts, ("dns_query",))
    mail_servers = _servers(counts, MAIL_ROLE)
    queries = client_traffic.filter(
        pl.col("kind").cast(pl.String) == "dns_query", pl.col("client").is_not_null()
    )
    found = [_match(server, traffic, queries, bin) for server in mail_servers]
    matches = _settle(found)
    inside, notes = _networks(queries, [address for match in matches for address in match.addresses])
    if not dns_servers:
        notes.insert(0, "No DNS query was found: name the DNS server's query log as well.")
    if not mail_servers:
        notes.insert(0, "No mail was found: name the mail log as well.")
    notes += [match.sentence for match in matches]
    return Discovery(tuple(dns_servers), tuple(mail_servers), tuple(matches), tuple(inside), tuple(notes))


def _servers(counts: pl.DataFrame, role: Sequence[str]) -> list[Server]:
    """Hosts that log a kind of the role; a short name and the one full name that begins with it are one host."""
    per_host: dict[str, dict[str, int]] = {}
    for server, kind, count in counts.iter_rows():
        per_host.setdefault(server, {})[kind] = count
    hosts = sorted(host for host, kinds in per_host.items() if any(kinds.get(kind, 0) for kind in role))
    full: dict[str, list[str]] = {}
    for host in hosts:
        short, dot, _ = host.partition(".")
        if dot and not short.isdigit():
            full.setdefault(short, []).append(host)
    merged = {names[0]: short for short, names in full.items() if len(names) == 1 and short in hosts}
    servers = []
    for host in hosts:
        if host in merged:
            continue
        names = (host, *(long for long, short in merged.items() if short == host))
        total: dict[str, int] = {}
        for name in names:
            for kind, count in per_host[name].items():
                total[kind] = total.get(kind, 0) + count
        servers.append(Server(names, total))
    return sorted(
        servers, key=lambda server: (-sum(server.counts.get(kind, 0) for kind in role), server.name)
    )


def _match(server: Server, traffic: pl.DataFrame, queries: pl.DataFrame, width: str) -> Match:
    """Look for the clients whose queries fluctuate as the mail of one server."""
    names = list(server.hostnames)
    dns_hosts = queries["server"].cast(pl.String).unique().sort().to_list()
    # A DNS server whose log hardly overlaps with the mail would cut the common bins down to nothing.
    overlap = {
        host: len(
            series(
                traffic, queries.clear(), mail_server=names, addresses=(), dns_servers=[host], bin=width
            ).frame
        )
        for host in dns_hosts
    }
    most = max(overlap.values(), default=0)
    if most == 0:
        return Match(
            server,
            (),
            "none",
            (),
            f"{server.name}: its mail log and the DNS logs cover no whole bin of {width} together, so its DNS "
            "client address cannot be found.",
        )
    used = [host for host, bins in overlap.items() if bins >= most / 2]
    frame = series(
        traffic, queries.clear(), mail_server=names, addresses=(), dns_servers=used, bin=width
    ).frame
    expected = (
        frame.select(
            PAPER["smtp_accepted"] * pl.col("smtp_accepted") + pl.col("pop_access") + pl.col("imap_access")
        )
        .to_series()
        .cast(pl.Float64)
        .to_numpy()
    )
    if len(frame) < 3 or float(expected.sum()) <= 0:
        return Match(
            server,
            (),
            "none",
            (),
            f"{server.name}: no mail in the time that the DNS log covers; nothing to compare.",
        )
    clients, matrix, mx = _curves(queries, frame["bin_start"], used, float(expected.sum()), width)
    if not clients:
        return Match(server, (), "none", (), _absent(server, 0))
    pattern = _fluctuations(expected[None, :])[0]
    parts = _fluctuations(matrix)
    fluctuation = _correlations(parts, pattern)
    plain = _correlations(matrix, expected)
    n = len(frame)
    # Fisher's z beyond what the best of so many unrelated clients reaches once in a thousand times.
    critical = np.sqrt(2 * np.log(max(len(clients), 2) / 1e-3))
    z = np.arctanh(np.clip(fluctuation, -0.999999, 0.999999)) * np.sqrt(max(n - 3, 1))
    sums = matrix.sum(axis=1)
    total = float(expected.sum())
    typed = bool(mx.sum() > 0)
    candidates = []
    for i in range(len(clients)):
        significant = bool(z[i] > critical)
        candidates.append(
            Candidate(
                clients[i],
                _score(
                    float(fluctuation[i]),
                    float(sums[i]) / total,
                    float(mx[i] / sums[i]) if typed else None,
                    significant,
                ),
                float(fluctuation[i]),
                float(plain[i]),
                int(sums[i]),
                total,
                float(mx[i] / sums[i]) if typed else None,
                significant,
            )
        )
    order = sorted(
        range(len(clients)), key=lambda i: (not candidates[i].significant, -candidates[i].score, clients[i])
    )
    best_few = tuple(candidates[i] for i in order[:_SHOWN])
    best = order[0]
    if not candidates[best].significant:
        if n < MIN_BINS:
            return Match(server, (), "not sure", best_few, _few(server, n, best_few[0]))
        return Match(server, (), "none", best_few, _absent(server, len(clients)))
    chosen = _addresses(order, candidates, matrix, pattern, total, n)
    addresses = tuple(clients[i] for i in chosen)
    if n < MIN_BINS:
        return Match(server, (), "not sure", best_few, _few(server, n, best_few[0]))
    rest = [i for i in order if i not in chosen and candidates[i].significant]
    rival = max(rest, key=lambda i: float(z[i]), default=None)
    if rival is not None and z[rival] > z[best] - 3:
        other = candidates[rival]
        return Match(
            server,
            (),
            "not sure",
            best_few,
            f"{server.name}: {clients[best]} and {other.client} follow its mail equally well "
            f"(r = {candidates[best].fluctuation:.2f} and {other.fluctuation:.2f}); which one it is, is not sure.",
        )
    text = f"{server.name} asks the DNS as {', '.join(addresses)}. " + " ".join(
        candidates[i].sentence for i in chosen[:3]
    )
    return Match(server, addresses, "sure", best_few, text)


def _curves(
    queries: pl.DataFrame, bins: pl.Series, servers: Sequence[str], expected: float, width: str
) -> tuple[list[str], Array, Array]:
    """Curves of the clients whose volume is thinkable: names, clients × bins, MX look-ups of each."""
    step = f"{int(bin_width(width).total_seconds())}s"
    mx = pl.col("mx").cast(pl.Float64) if "mx" in queries.columns else pl.lit(0.0)
    counts = (
        queries.lazy()
        .filter(pl.col("server").cast(pl.String).is_in(list(servers)))
        .select(
            pl.col("client").cast(pl.String),
            pl.col("bin_start").cast(pl.Datetime("us", "UTC")).dt.truncate(step),
            pl.col("count").cast(pl.Float64),
            mx.alias("mx"),
        )
        .join(
            pl.LazyFrame({"bin_start": bins, "place": np.arange(len(bins), dtype=np.int64)}),
            on="bin_start",
            how="inner",
        )
        .group_by("client", "place")
        .agg(pl.col("count", "mx").sum())
        .collect()
    )
    volume = (
        counts.group_by("client")
        .agg(pl.col("count", "mx").sum())
        # A hundredth of the expected queries: a very good cache. Fifty times: a resolver shared with many others.
        .filter(pl.col("count") >= max(10.0, 0.01 * expected), pl.col("count") <= 50 * expected)
        .sort(["count", "client"], descending=[True, False])
        .head(_CANDIDATES)
        .with_row_index("row")
    )
    counts = counts.join(volume.select("client", "row"), on="client", how="inner")
    matrix = np.zeros((len(volume), len(bins)))
    matrix[counts["row"].to_numpy(), counts["place"].to_numpy()] = counts["count"].to_numpy()
    return volume["client"].to_list(), matrix, volume["mx"].to_numpy()


def _fluctuations(curves: Array) -> Array:
    """√-scaled curves less their running mean of `_SMOOTH` bins (edges: of the bins that are there)."""
    scaled = np.sqrt(curves + 0.375)
    n = scaled.shape[1]
    half = min(_SMOOTH // 2, (n - 1) // 2)
    total = np.concatenate([np.zeros((len(scaled), 1)), np.cumsum(scaled, axis=1)], axis=1)
    first = np.maximum(np.arange(n) - half, 0)
    last = np.minimum(np.arange(n) + half + 1, n)
    return np.asarray(scaled - (total[:, last] - total[:, first]) / (last - first))


def _correlations(curves: Array, target: Array) -> Array:
    """Correlation of each row with the target; 0 where either does not vary."""
    a = curves - curves.mean(axis=1, keepdims=True)
    b = target - target.mean()
    norm = np.sqrt((a * a).sum(axis=1) * float(b @ b))
    return np.asarray(np.divide(a @ b, norm, out=np.zeros(len(a)), where=norm > 1e-9))


def _score(fluctuation: float, ratio: float, mx_share: float | None, significant: bool) -> float:
    follows = min(max(fluctuation, 0.0) / 0.5, 1.0) * (1.0 if significant else 0.5)
    # From a quarter (a good cache) to one and a half of the expected queries is full marks; a factor of four off, 1/e.
    off = max(np.log(0.25 / ratio), np.log(ratio / 1.5), 0.0) if ratio > 0 else np.inf
    volume = float(np.exp(-off / np.log(4)))
    if mx_share is None:
        return (0.6 * follows + 0.25 * volume) / 0.85
    return 0.6 * follows + 0.25 * volume + 0.15 * min(mx_share / 0.02, 1.0)


def _addresses(
    order: Sequence[int],
    candidates: Sequence[Candidate],
    matrix: Array,
    pattern: Array,
    expected: float,
    n: int,
) -> list[int]:
    """The best client, and further ones that belong to it (see the module)."""
    chosen = [order[0]]
    together = matrix[order[0]].copy()
    r = float(_correlations(_fluctuations(together[None, :]), pattern)[0])
    remaining = [i for i in order[1:] if candidates[i].significant]
    while remaining and len(chosen) < _ADDRESSES:
        sums = together + matrix[remaining]
        tried = _correlations(_fluctuations(sums), pattern)
        best = int(np.argmax(tried))
        gain = (np.arctanh(min(float(tried[best]), 0.999999)) - np.arctanh(min(r, 0.999999))) * np.sqrt(
            max(n - 3, 1)
        )
        better = gain > 3 and float(sums[best].sum()) < 3 * max(expected, float(together.sum()))
        if not better:
            # A server that spreads its queries over its addresses shows the same curve twice: as good in step with each
            # other as with the mail, and only together of the volume that the mail lets expect.
            alike = _correlations(_fluctuations(matrix[remaining]), _fluctuations(together[None, :])[0])
            off = np.abs(np.log(sums.sum(axis=1) / expected))
            halves = (
                (alike > 0.8 * r) & (tried > r - 0.05) & (off < abs(np.log(float(together.sum()) / expected)))
            )
            if not halves.any():
                break
            best = int(np.argmax(np.where(halves, alike, -1.0)))
        together, r = sums[best].copy(), float(tried[best])
        chosen.append(remaining.pop(best))
    return chosen


def _few(server: Server, bins: int, best: Candidate) -> str:
    return (
        f"{server.name}: only {bins} common bins of DNS and mail log, so its DNS client address is not sure; "
        f"the best guess is {best.client} (score {best.score:.2f}). Name logs of a whole day or more."
    )


def _absent(server: Server, looked_at: int) -> str:
    return (
        f"{server.name}: none of {looked_at} DNS clients of a fitting volume follows its mail. It probably asks a resolver "
        "of its own, whose queries this DNS log does not show; if not, enter its address."
    )


def _settle(found: Sequence[Match]) -> list[Match]:
    """No address may belong to two mail servers: the one that it follows much better keeps it, else neither is sure."""
    claims: dict[str, list[tuple[float, int]]] = {}
    for place, match in enumerate(found):
        by_client = {candidate.client: candidate for candidate in match.candidates}
        for address in match.addresses:
            known = by_client.get(address)
            claims.setdefault(address, []).append((known.fluctuation if known else 0.0, place))
    settled = list(found)
    for address, claimants in claims.items():
        if len(claimants) < 2:
            continue
        ranked = sorted(claimants, reverse=True)
        clear = ranked[0][0] - ranked[1][0] > 0.2
        for position, (_, place) in enumerate(ranked):
            if clear and position == 0:
                continue
            match = settled[place]
            left = () if not clear else tuple(a for a in match.addresses if a != address)
            others = ", ".join(found[p].server.name for _, p in ranked if p != place)
            settled[place] = Match(
                match.server,
                left,
                "sure" if left else "not sure",
                match.candidates,
                f"{match.server.name}: {address} also follows the mail of {others}; which one it is, is not sure.",
            )
    return settled


def _networks(queries: pl.DataFrame, mail_addresses: Iterable[str]) -> tuple[list[str], list[str]]:
    """Networks that most queries come from, narrowed to what their clients fill."""
    volume = (
        queries.lazy()
        .group_by(pl.col("client").cast(pl.String))
        .agg(pl.col("count").cast(pl.Int64).sum())
        .sort(["count", "client"], descending=[True, False])
        .head(20_000)
        .collect()
    )
    groups: dict[str, dict[str, int]] = {}
    clients: dict[str, int] = {}
    total = 0
    for client, count in volume.iter_rows():
        found = _network(client)
        if found is None:
            continue
        wide, narrow = found
        groups.setdefault(wide, {})
        groups[wide][narrow] = groups[wide].get(narrow, 0) + count
        clients[wide] = clients.get(wide, 0) + 1
        total += count
    own = {found[0] for address in mail_addresses if (found := _network(address)) is not None}
    proposed, notes = [], []
    for wide, parts in sorted(groups.items(), key=lambda item: -sum(item[1].values())):
        queries_from = sum(parts.values())
        if wide not in own and (queries_from < _SHARE_OF_QUERIES * total or clients[wide] < 2):
            continue
        largest = max(parts, key=lambda part: (parts[part], part))
        chosen = largest if parts[largest] >= 0.95 * queries_from else wide
        proposed.append(chosen)
        notes.append(
            f"{chosen} is proposed as inside: {clients[wide]:,} clients, {queries_from / max(total, 1):.0%} of the queries."
        )
        if len(proposed) == 8:
            break
    if not proposed:
        notes.append("No network stands out among the DNS clients: enter the site's own under inside.")
    return proposed, notes


_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
)


def _network(client: str) -> tuple[str, str] | None:
    """A wide and a narrow network of an address; None for loopback and for what is no address."""
    try:
        address = ipaddress.ip_address(client.partition("/")[0])
    except ValueError:
        return None
    if address.is_loopback or address.is_unspecified:
        return None
    for private in _PRIVATE:
        if address.version == private.version and address in private:
            return str(private), str(private)
    wide, narrow = (16, 24) if address.version == 4 else (48, 64)
    return (
        str(ipaddress.ip_network((address, wide), strict=False)),
        str(ipaddress.ip_network((address, narrow), strict=False)),
    )


def site_toml(found: Discovery, *, timezone: str | None = None, paths: Sequence[str] = ()) -> str:
    """A commented site.toml for an administrator to check and complete.

    Parameters
    ----------
    found
        From `discover`.
    timezone
        Of log lines that name none; nothing in the logs tells it, so that without it the key stays commented out.
    paths
        Logs that were looked at, named in the head.
    """
    lines = [
        "# seismolog: what the logs say about this site. Check it, complete it, and pass it with --config."
    ]
    if paths:
        lines.append(_comment("Read: " + ", ".join(paths)))
    lines += ["", "[site]"]
    if timezone is None:
        lines += [
            "# Time zone of log lines that name none; the logs cannot tell it. Without it they are read as UTC.",
            '# timezone = "Asia/Tokyo"',
        ]
    else:
        lines.append(f"timezone = {_text(timezone)}")
    lines += [
        "# Networks of the site; all other clients are outside.",
        f"inside = {_list(found.inside)}",
    ]
    for match in found.matches:
        lines += ["", "[[mail_server]]", f"name = {_text(_named(match.server))}"]
        lines += [f"hostnames = {_list(match.server.hostnames)}", _comment(match.sentence)]
        if match.verdict == "sure":
            lines.append(f"addresses = {_list(match.addresses)}")
        else:
            lines += [_comment(candidate.sentence) for candidate in match.candidates[:3]]
            guess = [match.candidates[0].client] if match.verdict == "not sure" and match.candidates else []
            lines.append(_comment(f"addresses = {_list(guess)}"))
        lines += [
            "# n, different recipient domains of a message, and q, the share of messages that stay on this server; without",
            "# both, the cache efficiency is reckoned with the study's m_S = 8.6.",
            "# domains_per_message = 2",
            "# receive_rate = 0.175",
        ]
    for server in found.dns_servers:
        lines += [
            "",
            "[[dns_server]]",
            f"name = {_text(_named(server))}",
            f"hostnames = {_list(server.hostnames)}",
        ]
        lines.append('# timezone = "UTC"     # where it differs from the site')
    return "\n".join(lines) + "\n"


def _named(server: Server) -> str:
    return server.name or "unknown"


def _list(items: Iterable[str]) -> str:
    return "[" + ", ".join(_text(item) for item in items) + "]"


def _text(value: str) -> str:
    """A TOML basic string; names come from logs and may hold anything."""
    return '"' + "".join(_escaped(c) for c in value) + '"'


def _comment(value: str) -> str:
    return "# " + "".join(c if c in '"\\' else _escaped(c) for c in value)


def _escaped(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    if c.isprintable():
        return c
    if 0xD800 <= ord(c) <= 0xDFFF:
        return "\\uFFFD"
    return f"\\u{ord(c):04X}" if ord(c) <= 0xFFFF else f"\\U{ord(c):08X}"
