"""Addresses under other names: keyed, the same one always alike, and two that share a prefix still share it.

Crypto-PAn (Xu, Fan, Ammar, Moon: "Prefix-Preserving IP Address Anonymization", 2002) over IPv4 and, in the
same way over 128 bits, IPv6: bit i of the result is bit i of the address XOR a bit that AES with a secret key
gives for the i bits before it. So a network stays a network, an operator who holds the key finds the address
again (:meth:`Pseudonymizer.reveal`), and who does not hold it learns how addresses lie to each other and
nothing else.

The key is 32 bytes, as 64 hexadecimal digits or Base64: in the file that ``[privacy] key_file`` names, or in
``$SEISMOLOG_PRIVACY_KEY``. Keep it: with another key all names change.

Limits: prefix-preserving means that whoever can make queries show up in what leaves the machine, or knows
some addresses by their behaviour, learns prefixes of others. Accounts and host names are replaced by keyed
hashes where asked for; they cannot be revealed, only recognised.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from seismolog.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from seismolog.config import Config

__all__ = ["ENVIRONMENT", "KEY_BYTES", "Pseudonymizer", "new_key", "pseudonymizer"]

ENVIRONMENT = "SEISMOLOG_PRIVACY_KEY"
KEY_BYTES = 32
_KEPT = 1 << 17
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:\d{1,3}(?:\.\d{1,3}){3})?)"
    r"(?:/\d{1,3})?(?![\w:]|\.\w)"
)
_REVERSE = re.compile(r"(?<![\w.])((?:\d{1,3}\.){4})in-addr\.arpa", re.IGNORECASE)


def new_key() -> str:
    """A fresh key, as it stands in a file: 64 hexadecimal digits."""
    return secrets.token_hex(KEY_BYTES)


class Pseudonymizer:
    """A keyed map of addresses onto addresses.

    Parameters
    ----------
    key
        32 bytes, or their text (hexadecimal or Base64).

    >>> p = Pseudonymizer("00" * 32)
    >>> a, b = p.address("192.0.2.1"), p.address("192.0.2.200")
    >>> a.split(".")[:3] == b.split(".")[:3], a != "192.0.2.1", p.reveal(a)
    (True, True, '192.0.2.1')
    """

    def __init__(self, key: bytes | str) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        raw = key if isinstance(key, bytes) else _decoded(key)
        if len(raw) != KEY_BYTES:
            raise ValueError(f"a key of {len(raw)} bytes; {KEY_BYTES} are expected")
        # Each block stands alone and is a function of the bits before one bit: ECB is what Crypto-PAn is built on.
        self._cipher = Cipher(algorithms.AES(raw[:16]), modes.ECB())  # noqa: S305
        pad = self._encrypted(raw[16:])
        self._pad = int.from_bytes(pad, "big")
        self._hash_key = hashlib.sha256(b"seismolog names" + raw).digest()
        self._map = lru_cache(maxsize=_KEPT)(self._mapped)

    def _encrypted(self, blocks: bytes) -> bytes:
        encryptor: Any = self._cipher.encryptor()
        made: bytes = encryptor.update(blocks) + encryptor.finalize()
        return made

    # -- addresses

    def address(self, text: str) -> str:
        """The pseudonym of an address or network (``192.0.2.0/24`` keeps its length); other texts come back unchanged."""
        bare, slash, length = text.partition("/")
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            return text
        made = self._map(int(address), address.version)
        if not slash or not length.isdigit():
            return str(made)
        return str(ipaddress.ip_network((made, min(int(length), made.max_prefixlen)), strict=False))

    def _mapped(self, value: int, version: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        bits = 32 if version == 4 else 128
        made = value ^ self._flips(value, bits)
        return ipaddress.IPv4Address(made) if version == 4 else ipaddress.IPv6Address(made)

    def _flips(self, value: int, bits: int) -> int:
        """The bits that each prefix of the address turns over, all from one encryption of `bits` blocks."""
        blocks = bytearray()
        high = value << (128 - bits)
        for i in range(bits):
            keep = ((1 << i) - 1) << (128 - i)
            blocks += ((high & keep) | (self._pad & ~keep & ((1 << 128) - 1))).to_bytes(16, "big")
        coded = self._encrypted(bytes(blocks))
        flips = 0
        for i in range(bits):
            flips = flips << 1 | coded[16 * i] >> 7
        return flips

    def reveal(self, text: str) -> str:
        """The address that a pseudonym stands for; other texts come back unchanged."""
        bare, slash, length = text.partition("/")
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            return text
        bits = address.max_prefixlen
        hidden, found = int(address), 0
        # Each bit needs the true ones before it.
        for i in range(bits):
            keep = ((1 << i) - 1) << (128 - i)
            block = ((found << (128 - bits)) & keep) | (self._pad & ~keep & ((1 << 128) - 1))
            flip = self._encrypted(block.to_bytes(16, "big"))[0] >> 7
            place = bits - 1 - i
            found |= ((hidden >> place & 1) ^ flip) << place
        made = ipaddress.IPv4Address(found) if address.version == 4 else ipaddress.IPv6Address(found)
        if not slash or not length.isdigit():
            return str(made)
        return str(ipaddress.ip_network((made, min(int(length), bits)), strict=False))

    # -- texts

    def text(self, sentence: str) -> str:
        """A text with each address in it replaced, reverse names (``7.2.0.192.in-addr.arpa``) included."""

        def reverse(match: re.Match[str]) -> str:
            octets = match[1].rstrip(".").split(".")
            made = self.address(".".join(reversed(octets)))
            return ".".join(reversed(made.split("."))) + ".in-addr.arpa"

        made = _REVERSE.sub(lambda m: "\0" + reverse(m) + "\0", sentence)
        # What was a reverse name is done; the rest is looked at between.
        parts = made.split("\0")
        return "".join(
            p if i % 2 else _ADDRESS.sub(lambda m: self.address(m[0]), p) for i, p in enumerate(parts)
        )

    def name(self, text: str, what: str = "name") -> str:
        """A keyed hash of an account or host name, the same one always alike: ``name-3f9a0c77d2e1``."""
        digest = hmac.new(self._hash_key, text.lower().encode(), hashlib.sha256).hexdigest()
        return f"{what}-{digest[:12]}"

    def subjects(self, subjects: Iterable[str]) -> tuple[str, ...]:
        """Subjects of an incident: addresses and networks mapped, all others as they are."""
        return tuple(self.address(s) for s in subjects)

    def value(self, value: Any) -> Any:
        """Evidence: every text in lists and dicts, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(k)): self.value(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(v) for v in value]
        return value


def _decoded(text: str) -> bytes:
    text = text.strip()
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return bytes.fromhex(text)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a key is 64 hexadecimal digits, or 32 bytes in Base64") from None


def pseudonymizer(config: Config) -> Pseudonymizer | None:
    """The map of a configuration, None where addresses are told as they are.

    Raises
    ------
    ConfigError
        Pseudonyms are asked for and there is no key, it cannot be read, others may read it, or it is none.
    """
    privacy = config.privacy
    if not privacy.pseudonyms:
        return None
    text: str | None = os.environ.get(ENVIRONMENT)
    file: Path | None = None
    if privacy.key_file is not None:
        file = config.path(privacy.key_file)
        try:
            mode = file.stat().st_mode
            text = file.read_text(encoding="ascii", errors="replace")
        except OSError as error:
            raise ConfigError(
                f"cannot read the key: {error.strerror}",
                file=file,
                key="privacy.key_file",
                mend="seismolog prints a fresh key with: "
                "python -c 'from seismolog.privacy import new_key; print(new_key())'",
            ) from error
        if mode & stat.S_IROTH:
            raise ConfigError(
                "everybody may read the key", file=file, key="privacy.key_file", mend=f"chmod 600 {file}"
            )
    if not text:
        raise ConfigError(
            "pseudonyms need a key",
            file=config.file,
            key="privacy.key_file",
            mend=f"name a file with 64 hexadecimal digits, or set ${ENVIRONMENT}",
        )
    try:
        return Pseudonymizer(text)
    except ValueError as error:
        raise ConfigError(
            str(error),
            file=file or config.file,
            key="privacy.key_file",
            mend="write a key of 64 hexadecimal digits",
        ) from error
