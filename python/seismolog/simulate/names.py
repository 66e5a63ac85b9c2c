"""Addresses and names of a made-up campus and the world around it.

What it is for
    A log needs addresses, host names and mail domains that stay the same from line to line and from seed to
    seed. Everything here is a pure function of an index, so no table has to be stored with the logs.

How it works
    Names are under the reserved top-level domain ``example`` and outside addresses in 198.18.0.0/15, the
    block set aside for benchmarks (RFC 2544), so that no log ever names a real host. Inside addresses are
    in 133.95.0.0/16, the network of the 2003 study. A name is referred to by its number in one flat space
    (see :class:`Names`), so that arrays of a million look-ups stay arrays of integers.

Limits
    No name holds one of the strings that the study's ``grep`` pipelines look for
    (``domain``, ``from=``, ``to=``, ``popper[``): a count by ``grep`` counts lines of the right kind only.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["Names", "zipf"]

_SYLLABLES = [consonant + vowel for consonant in "kstnhmyrw" for vowel in "aiueo"]
_CAMPUS = "campus.example"


def _word(number: int) -> str:
    """A pronounceable word, different for every number: the number written in syllables."""
    word = ""
    number += len(_SYLLABLES) ** 2
    while number:
        number, digit = divmod(number, len(_SYLLABLES))
        word += _SYLLABLES[digit]
    return word


class Names:
    """The flat number spaces of addresses and names.

    Addresses: ``0 .. domains - 1`` are the mail hosts of the outside domains, then ``pcs`` campus PCs,
    then the ``extra`` addresses in the order given. Names: domain *d* is ``d``, its mail host ``domains +
    d``, its web host ``2 domains + d``; ``pointer(a)`` is the reverse name and ``host(a)`` the host name
    of address *a*.
    """

    def __init__(self, domains: int, pcs: int, extra: dict[str, str]) -> None:
        """``extra`` maps further addresses to their host names."""
        self.domains = domains
        self.pcs = pcs
        self.extra = dict(extra)
        self.addresses = domains + pcs + len(extra)
        self._extra_index = {address: domains + pcs + i for i, address in enumerate(self.extra)}

    def index(self, address: str) -> int:
        """Number of one of the extra addresses; KeyError when it is none."""
        return self._extra_index[address]

    def pc(self, number: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Address numbers of the PCs ``number`` (0 .. pcs - 1)."""
        return self.domains + np.asarray(number, np.int64)

    def mail_host(self, domain: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Name numbers of the domains' mail hosts."""
        return self.domains + domain

    def web_host(self, domain: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Name numbers of the domains' web hosts."""
        return 2 * self.domains + domain

    def pointer(self, address: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Name numbers of the reverse names (in-addr.arpa) of addresses."""
        return 3 * self.domains + address

    def host(self, address: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Name numbers of the host names of addresses."""
        inside = 3 * self.domains + self.addresses + (address - self.domains)
        return np.where(address < self.domains, self.domains + address, inside)

    @cached_property
    def address_text(self) -> list[str]:
        """Every address, by number."""
        # A multiplicative step spreads the outside hosts over the block without repeating one.
        outside = [(0xC612 << 16) + (7919 + i * 40503) % (1 << 17) for i in range(self.domains)]
        inside = [(0x855F << 16) + ((16 + i // 200) << 8) + 20 + i % 200 for i in range(self.pcs)]
        return [
            ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0)) for number in outside + inside
        ] + list(self.extra)

    @cached_property
    def name_text(self) -> list[str]:
        """Every name, by number."""
        words = [f"{_word(i)}.example" for i in range(self.domains)]
        pointers = [".".join(reversed(text.split("."))) + ".in-addr.arpa" for text in self.address_text]
        pcs = [
            "pc-" + "-".join(text.split(".")[2:]) + "." + _CAMPUS
            for text in self.address_text[self.domains : self.domains + self.pcs]
        ]
        return [
            *words,
            *(f"mx.{word}" for word in words),
            *(f"www.{word}" for word in words),
            *pointers,
            *pcs,
            *self.extra.values(),
        ]


def zipf(rng: np.random.Generator, population: int, exponent: float, size: int) -> npt.NDArray[np.int64]:
    """``size`` draws from 0 .. population - 1 with probability proportional to 1 / (rank ** exponent)."""
    weights = 1.0 / np.arange(1, population + 1) ** exponent
    edges = np.cumsum(weights)
    ranks: npt.NDArray[np.int64] = np.searchsorted(edges, rng.random(size) * edges[-1], side="right")
    return ranks
