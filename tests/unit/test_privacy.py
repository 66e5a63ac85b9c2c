"""Pseudonyms: prefixes are kept, maps are one to one and reversible, keys are guarded."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seismolog.config import Config
from seismolog.config.models import Privacy
from seismolog.errors import ConfigError
from seismolog.privacy import ENVIRONMENT, Pseudonymizer, new_key, pseudonymizer

#: Key and pairs of the sample that came with the authors' own program.
KEY = bytes.fromhex("1522178d33a4cf80130a5b1649907d10d8988f837979652762574c2d2a842202")
PAIRS = [
    ("128.11.68.132", "135.242.180.132"),
    ("129.118.74.4", "134.136.186.123"),
    ("130.132.252.244", "133.68.164.234"),
    ("141.223.7.43", "141.167.8.160"),
]
MAP = Pseudonymizer(KEY)

v4 = st.integers(0, 2**32 - 1)
v6 = st.integers(0, 2**128 - 1)


@pytest.mark.parametrize(("address", "expected"), PAIRS)
def test_the_authors_sample(address: str, expected: str) -> None:
    assert MAP.address(address) == expected
    assert MAP.reveal(expected) == address


def shared(a: int, b: int, bits: int) -> int:
    return bits - (a ^ b).bit_length()


@given(v4, v4, st.integers(0, 32))
def test_shared_prefixes_of_v4_are_as_long(a: int, b: int, keep: int) -> None:
    b = (a >> (32 - keep) << (32 - keep)) | (b & ((1 << (32 - keep)) - 1))
    x, y = (int(ipaddress.IPv4Address(MAP.address(str(ipaddress.IPv4Address(n))))) for n in (a, b))
    assert shared(a, b, 32) == shared(x, y, 32)


@given(v6, v6, st.integers(0, 128))
def test_shared_prefixes_of_v6_are_as_long(a: int, b: int, keep: int) -> None:
    b = (a >> (128 - keep) << (128 - keep)) | (b & ((1 << (128 - keep)) - 1))
    x, y = (int(ipaddress.IPv6Address(MAP.address(str(ipaddress.IPv6Address(n))))) for n in (a, b))
    assert shared(a, b, 128) == shared(x, y, 128)


@given(v6)
def test_who_holds_the_key_finds_the_address(a: int) -> None:
    text = str(ipaddress.IPv6Address(a))
    assert MAP.reveal(MAP.address(text)) == text


def test_networks_keep_their_length() -> None:
    made = MAP.address("128.11.68.0/24")
    assert made.endswith("/24")
    assert ipaddress.ip_address(MAP.address("128.11.68.132")) in ipaddress.ip_network(made)


def test_another_key_is_another_map() -> None:
    assert Pseudonymizer(new_key()).address("128.11.68.132") != MAP.address("128.11.68.132")


@pytest.mark.parametrize(
    "text", ["1mx", "(shed)", "host.example.org", "", "1.2.3", "999.1.1.1", "user@example"]
)
def test_what_is_no_address_stays(text: str) -> None:
    assert MAP.address(text) == text


def test_sentences_lose_their_addresses() -> None:
    sentence = (
        "128.11.68.132 asked 12 MX, 129.118.74.4, [2001:db8::1] and 132.68.11.128.in-addr.arpa at 18:20 on "
        "15 Jul 2002; version 1.2.3.4.5."
    )
    made = MAP.text(sentence)
    assert "128.11.68.132" not in made and "2001:db8::1" not in made and "129.118.74.4" not in made
    assert made.startswith("135.242.180.132 asked 12 MX, 134.136.186.123, [")
    assert "132.180.242.135.in-addr.arpa at 18:20 on" in made
    assert made.endswith("version 1.2.3.4.5.")
    assert MAP.value({"128.11.68.132": ["129.118.74.4", 3]}) == {"135.242.180.132": ["134.136.186.123", 3]}


def test_names_are_recognised_and_not_told() -> None:
    assert MAP.name("Alice", "account") == MAP.name("alice", "account")
    assert MAP.name("alice").startswith("name-") and "alice" not in MAP.name("alice")
    assert MAP.name("alice") != Pseudonymizer(new_key()).name("alice")


def test_keys_come_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert pseudonymizer(Config()) is None
    with pytest.raises(ConfigError, match="need a key"):
        pseudonymizer(Config(privacy=Privacy(pseudonyms=True)))
    file = tmp_path / "key"
    file.write_text(KEY.hex() + "\n")
    file.chmod(0o600)
    config = Config(privacy=Privacy(pseudonyms=True, key_file=str(file)))
    found = pseudonymizer(config)
    assert found is not None and found.address(PAIRS[0][0]) == PAIRS[0][1]
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="everybody may read"):
        pseudonymizer(config)
    monkeypatch.setenv(ENVIRONMENT, "short")
    with pytest.raises(ConfigError, match="hexadecimal"):
        pseudonymizer(Config(privacy=Privacy(pseudonyms=True)))
