"""The names that a simulated campus asks for, by number, with what the tables need to know of each.

A name is a row of arrays: its registered domain, a hash, the entropy of the characters left of the domain, its length, the
mail-like label it begins with, and the address that it asks for in reverse. All of these are what the counting core
computes from the text, but for the hash: it is taken of the number, so that states of a simulated table merge with one
another and not with those of counted logs.

Registered domains read like those of real sites: words in several sound patterns, compounds, acronyms, digits, a few in
other scripts. All end in a reserved top-level domain, so that none is anybody's.
"""

# ruff: noqa: SIM905 - hundreds of words read better as text
from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seismolog.simulate.campus.parameters import Parameters
from seismolog.simulate.campus.population import Population, dotted

__all__ = ["CAMPUS", "MAIL_LABELS", "Names", "campus_names", "domain_words", "hash32", "quantiles"]

CAMPUS = "campus.example"
MAIL_LABELS = ("mail", "smtp", "mx", "ns", "gate", "relay")
ENTROPY_PARTS = 4096

Ints = npt.NDArray[np.int64]


def hash32(numbers: npt.NDArray[np.integer]) -> npt.NDArray[np.uint32]:
    """A hash of numbers that is the same everywhere (the finaliser of SplitMix64)."""
    z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    high: npt.NDArray[np.uint32] = ((z ^ (z >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)
    return high


def quantiles(weights: npt.NDArray[np.float64], size: int = 1 << 18) -> npt.NDArray[np.int32]:
    """A table of which an even draw has these weights, to 1 in `size`."""
    edges = np.cumsum(weights)
    at = (np.arange(size) + 0.5) / size * edges[-1]
    found: npt.NDArray[np.int32] = np.searchsorted(edges, at).astype(np.int32)
    return found


def looks(
    texts: list[str], left: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    """Entropy in 4096ths of a bit of the first `left` characters of each text (dots left out), and the mail label bit."""
    count = len(texts)
    entropy = np.zeros(count, np.uint16)
    for low in range(0, count, 50_000):
        part = texts[low : low + 50_000]
        width = max(1, int(left[low : low + 50_000].max(initial=1)))
        raw = np.array(
            [t[:n] for t, n in zip(part, left[low : low + 50_000].tolist(), strict=True)], dtype=f"S{width}"
        )
        letters = raw.view(np.uint8).reshape(len(part), width)
        total = ((letters != 0) & (letters != ord("."))).sum(axis=1).astype(float)
        bits = np.zeros(len(part))
        for code in np.unique(letters).tolist():
            if code not in (0, ord(".")):
                share = (letters == code).sum(axis=1) / np.maximum(total, 1)
                bits -= share * np.log2(np.maximum(share, 1e-12))
        entropy[low : low + 50_000] = np.round(bits * ENTROPY_PARTS)
    mail = np.zeros(count, np.uint8)
    bit = {label: 1 << i for i, label in enumerate(MAIL_LABELS)}
    for i, text in enumerate(texts):
        label = text[: left[i]].partition(".")[0]
        if label in bit:
            mail[i] = bit[label]
    return entropy, mail


@dataclass
class Names:
    """Names by number; :meth:`add` makes further ones, :meth:`forget` drops those again."""

    texts: list[str] = field(default_factory=list)
    domain: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    entropy: npt.NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, np.uint16))
    length: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    mail: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    target: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """IPv4 address that a name asks for in reverse, -1 for others."""
    domains: list[str] = field(default_factory=list)
    groups: dict[str, Ints] = field(default_factory=dict)
    """Numbers of names by what they are for."""
    _of_domain: dict[str, int] = field(default_factory=dict)
    _unlikely: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    _base: tuple[int, int] = (0, 0)

    def domain_number(self, text: str) -> int:
        """Number of a registered domain, a new one where it is not known."""
        number = self._of_domain.setdefault(text, len(self.domains))
        if number == len(self.domains):
            self.domains.append(text)
        return number

    def add(self, texts: list[str], domains: list[str] | None = None) -> Ints:
        """Numbers of new names; their registered domains are their last two labels where none are given.

        Reverse names (four octets under in-addr.arpa) get their target and the domain that the public suffix list gives.
        """
        if domains is None:
            domains = [registered(t) for t in texts]
        first = len(self.texts)
        left = np.array([max(0, len(t) - len(d)) for t, d in zip(texts, domains, strict=True)], np.int64)
        entropy, mail = looks(texts, left) if texts else (self.entropy[:0], self.mail[:0])
        self.texts.extend(texts)
        self.domain = np.concatenate(
            [self.domain, np.array([self.domain_number(d) for d in domains], np.int32)]
        )
        self.entropy = np.concatenate([self.entropy, entropy])
        self.length = np.concatenate([self.length, np.array([min(len(t), 255) for t in texts], np.uint8)])
        self.mail = np.concatenate([self.mail, mail])
        self.target = np.concatenate([self.target, np.array([_target(t) for t in texts], np.int64)])
        return np.arange(first, len(self.texts))

    def unlikely(self) -> npt.NDArray[np.bool_]:
        """For each domain whether its name looks made up to the counting core."""
        known = len(self._unlikely)
        if known < len(self.domains):
            self._unlikely = np.concatenate([self._unlikely, judged(self.domains[known:])])
        return self._unlikely

    def settle(self) -> None:
        """What is here now is what :meth:`forget` goes back to."""
        self._base = len(self.texts), len(self.domains)

    def forget(self) -> None:
        """Drop the names and domains that came after :meth:`settle`."""
        names, domains = self._base
        for text in self.domains[domains:]:
            del self._of_domain[text]
        self._unlikely = self._unlikely[:domains]
        del self.domains[domains:], self.texts[names:]
        for name in ("domain", "entropy", "length", "mail", "target"):
            setattr(self, name, getattr(self, name)[:names])


def judged(domains: list[str]) -> npt.NDArray[np.bool_]:
    """For each registered domain whether the counting core takes its name for made up.

    The core is asked with one line a domain, each from a client of its own; a core that does not judge names finds none.
    """
    import polars as pl

    from seismolog import _core

    made = np.zeros(len(domains), bool)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "domains.log"
        with path.open("w", encoding="ascii") as file:
            for number, domain in enumerate(domains):
                client = dotted((10 << 24) + number)
                file.write(
                    f"2025-07-01T12:00:00Z ns named[77]: client {client}#53 (www.{domain}): query: www.{domain} IN A +\n"
                )
        scan = _core.scan([path], details=True)
        try:
            rows = pl.DataFrame(scan.table("client_names"))
        except _core.SeismologError:
            return made
    for client in rows.filter(pl.col("unlikely_domains") > 0)["client"].to_list():
        a, b, c, d = (int(x) for x in client.split("."))
        made[(a << 24 | b << 16 | c << 8 | d) - (10 << 24)] = True
    return made


def registered(text: str) -> str:
    """The registered domain of a name under a reserved top-level domain or in-addr.arpa."""
    parts = text.split(".")
    return ".".join(parts[-3:] if text.endswith(".in-addr.arpa") else parts[-2:])


def _target(text: str) -> int:
    if not text.endswith(".in-addr.arpa"):
        return -1
    parts = text.split(".")
    if len(parts) != 6:
        return -1
    d, c, b, a = (int(x) for x in parts[:4])
    return a << 24 | b << 16 | c << 8 | d


_WORDS = (
    "air auto bank base beach bike bird blue board book bright build cafe camp car card care cash cat "
    "center chat city class clean cloud club code coffee color cook craft data day deal dental design "
    "direct doctor dream drive easy eco energy expert express face farm fashion film fit flower food "
    "forum free fresh game garden gift global gold good green group guide hair happy hard health hello "
    "home hot hotel house ideal info insure jobs kids king lab land law learn life light line link list "
    "live local loan love luck mag map market master media metal mobile money moon motor music my nature "
    "net news nice night north ocean office online open organic outlet page paper park party pay pet "
    "phone photo pixel planet play plus point port post power press prime print pro pub quick radio real "
    "red rent review river road rock room run safe sale school science sea search self shop show silver "
    "simple sky smart snow social solar south space speed sport star stone store street studio style sun "
    "super super tech test ticket time tiny tools top tour town toy track trade travel tree true trust "
    "tube up urban vet video view villa vip vital voice walk wall water wave way wear web wedding west "
    "white wild wind wine wiki wise wolf wood word work world yacht yellow yes yoga young zen zone"
).split()
_ONSETS = (
    "b c d f g h j k l m n p r s t v w z br ch cl cr dr fl fr gr kl pl pr sch sh sk sl sp st th tr"
).split()
_VOWELS = "a e i o u a e i o ai au ea ee ei ie io oo ou".split()
_CODAS = ["", "", "", "n", "r", "s", "t", "l", "m", "x", "ck", "nd", "ng", "rt", "st", "ll"]
_HOSTS = (
    *(
        "www",
        "mail",
        "portal",
        "lms",
        "library",
        "files",
        "print",
        "proxy",
        "vpn",
        "ldap1",
        "ldap2",
        "sso",
        "wiki",
    ),
    *("git", "db1", "db2", "backup", "calendar", "1mx", "2mx"),
)
_SERVICES = ("ldap._tcp", "kerberos._udp", "ldap._tcp.dc._msdcs", "sip._tls", "caldavs._tcp", "gc._tcp")
_TLDS = ("example", "example", "example", "test", "invalid")


def domain_words(rng: np.random.Generator, count: int) -> list[str]:
    """Labels as people register them."""
    made: list[str] = []
    styles = rng.choice(6, count, p=[0.42, 0.3, 0.08, 0.12, 0.06, 0.02]).tolist()
    picks = rng.integers(0, 1 << 30, (count, 8)).tolist()
    for style, pick in zip(styles, picks, strict=True):
        if style == 0:
            syllables = 2 + pick[0] % 3
            word = "".join(
                _ONSETS[(pick[1 + i] >> 3) % len(_ONSETS)] + _VOWELS[(pick[1 + i] >> 11) % len(_VOWELS)]
                for i in range(syllables)
            )
            made.append(word + _CODAS[pick[5] % len(_CODAS)])
        elif style == 1:
            made.append(_WORDS[pick[0] % len(_WORDS)] + _WORDS[pick[1] % len(_WORDS)])
        elif style == 2:
            made.append("".join("abcdefghijklmnopqrstuvwxyz"[p % 26] for p in pick[: 3 + pick[7] % 2]))
        elif style == 3:
            made.append(f"{_WORDS[pick[0] % len(_WORDS)]}-{_WORDS[pick[1] % len(_WORDS)]}")
        elif style == 4:
            made.append(f"{_WORDS[pick[0] % len(_WORDS)]}{pick[1] % (10 ** (1 + pick[2] % 3))}")
        else:
            made.append("xn--" + "".join("abcdefghijklmnopqrstuvwxyz0123456789"[p % 36] for p in pick[:7]))
    return made


def hexes(rng: np.random.Generator, count: int, length: int) -> list[str]:
    """Random hexadecimal texts."""
    raw = rng.bytes(count * ((length + 1) // 2)).hex()
    step = 2 * ((length + 1) // 2)
    return [raw[i * step : i * step + length] for i in range(count)]


def campus_names(parameters: Parameters, people: Population) -> Names:
    """All names that are asked for without an incident."""
    rng = np.random.default_rng([parameters.seed, 2025, 6])
    names = Names()
    count = int(min(60_000, 4000 + parameters.clients))
    words = domain_words(rng, count + count // 8)
    endings = rng.integers(0, len(_TLDS), len(words)).tolist()
    domains = list(dict.fromkeys(f"{w}.{_TLDS[e]}" for w, e in zip(words, endings, strict=True)))[:count]
    count = len(domains)

    def put(group: str, texts: list[str], of: list[str] | None = None) -> Ints:
        numbers = names.add(texts, of)
        names.groups[group] = numbers
        return numbers

    put("apex", domains, domains)
    put("mx", [f"mx{'' if i % 3 else '1'}.{d}" for i, d in enumerate(domains)], domains)
    hosts = ("www", "api", "img", "static", "login", "assets", "m", "news", "shop", "mail")
    web: list[str] = []
    web_domain: list[str] = []
    rank: list[float] = []
    many = rng.integers(1, 5, count).tolist()
    for i, (domain, k) in enumerate(zip(domains, many, strict=True)):
        for j in range(k):
            web.append(f"{hosts[0 if j == 0 else 1 + (i + j) % 9]}.{domain}")
            web_domain.append(domain)
            rank.append((i + 1.0) * (j + 1))
    put("web", web, web_domain)
    names.groups["web_by_rank"] = names.groups["web"][
        quantiles(np.array(rank) ** -parameters.name_zipf, 1 << 20)
    ]

    cdn: list[str] = []
    for k in range(int(rng.integers(6, 14))):
        zone = f"{['edge', 'cdn', 'fast', 'cache'][k % 4]}{domain_words(rng, 1)[0]}.example"
        size = int(rng.integers(300, 4000))
        cdn += [
            f"{'e' if k % 2 else 'd'}{h}.{'a' if k % 3 else 'g'}.{zone}"
            for h in hexes(rng, size, 6 + 2 * (k % 5))
        ]
    put("cdn", cdn)
    # Look-ups of hashes: an antivirus asks whether it has seen a file.
    virus: list[str] = []
    for k in range(2):
        virus += [
            f"{h}.{'avq' if k else 'sig'}.{'guardlab' if k else 'cleanhost'}.example"
            for h in hexes(rng, 15_000, 28 + 4 * k)
        ]
    put("antivirus", virus)
    put("campus", [f"{h}.{CAMPUS}" for h in _HOSTS])
    put("srv", [f"_{s}.{CAMPUS}" for s in _SERVICES], [CAMPUS] * len(_SERVICES))
    put("probe", [f"{w}.{CAMPUS}" for w in _letters(rng, 6000)], [CAMPUS] * 6000)
    inside = [
        f"{'h' if i >= people.devices else 'pc'}-{t.replace('.', '-')}.{CAMPUS}"
        for i, t in enumerate(people.texts[: people.world])
    ]
    outside = [
        f"host-{t.replace('.', '-')}.{domains[i % count]}" for i, t in enumerate(people.texts[people.world :])
    ]
    put("host", inside + outside, [CAMPUS] * len(inside) + [domains[i % count] for i in range(len(outside))])
    put("pointer", [reverse(int(n)) for n in people.numbers])
    zones = ("zen.blockhub.example", "bl.spamtrap.example")
    lists = [f"{_octets(int(n))}.{zone}" for zone in zones for n in people.numbers[people.world :]]
    put("blocklist", lists)
    names.settle()
    return names


def _letters(rng: np.random.Generator, count: int) -> list[str]:
    """Random labels of 7 to 15 letters: what some browsers ask for when they start."""
    sizes = rng.integers(7, 16, count)
    letters = rng.integers(0, 26, (count, 15))
    return [
        "".join(chr(97 + c) for c in row[:n]) for row, n in zip(letters.tolist(), sizes.tolist(), strict=True)
    ]


def _octets(number: int) -> str:
    return ".".join(reversed(dotted(number).split(".")))


def reverse(number: int) -> str:
    """The reverse name of an IPv4 address."""
    return f"{_octets(number)}.in-addr.arpa"
