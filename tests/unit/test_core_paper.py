"""`paper_counts` against the study's five pipelines, run for real, on any bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from seismolog import _core

pytestmark = pytest.mark.skipif(shutil.which("grep") is None, reason="grep is not installed")

# With `-h`, since the name of a file may itself hold a word.
PIPELINES = {
    "D_q": 'grep -ah domain -- "$@" | wc -l',
    "N_from": 'grep -ah from= -- "$@" | wc -l',
    "N_SS": 'grep -ah to= -- "$@" | grep -a stat=Sent | wc -l',
    "N_SD": 'grep -ah to= -- "$@" | grep -a stat=Deferred | wc -l',
    "N_P": r"""grep -ah 'popper\[' -- "$@" | wc -l""",
}
SCRIPT = "\n".join(PIPELINES.values())


def pipelines(*texts: Path) -> dict[str, int]:
    """What the five pipelines say of decompressed files."""
    out = subprocess.run(
        ["sh", "-c", SCRIPT, "sh", *texts],
        env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stderr == ""
    return dict(zip(PIPELINES, map(int, out.stdout.split()), strict=True))


WORDS = [
    b"domain", b"domai", b"from=", b"to=", b"stat=Sent", b"stat=Deferred", b"stat=", b"Sent", b"popper[", b"popper", b"[",
    b"\n", b"\n\n", b"\r\n", b"\0", b"\xff", b" ", b"DOMAIN", b"from =", b"t", b"o=",
]  # fmt: skip
TEXT = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=6)), max_size=60).map(b"".join)
PACKS = [bytes, bytes, gzip.compress, bz2.compress, lzma.compress]


@settings(max_examples=120)
@given(
    texts=st.lists(TEXT, min_size=1, max_size=4),
    packs=st.lists(st.sampled_from(PACKS), min_size=4, max_size=4),
)
@example([b"to=\nstat=Sent", b"domain", b" from="], [bytes] * 4)
@example([b"", b"\n", b"domain"], [bytes] * 4)
@example([b"to=stat=Sent stat=Deferred to= domain from= popper["], [gzip.compress] * 4)
@example([b"to=\0stat=Sent\nto=\xff\xfestat=Deferred\xff"], [bytes] * 4)
def test_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes], packs: list[type[bytes]]
) -> None:
    """Several files, compressed or not, with or without a last line end."""
    folder = tmp_path_factory.mktemp("paper")
    plain, packed = [], []
    for i, (text, pack) in enumerate(zip(texts, packs, strict=False)):
        plain.append(folder / f"{i}.txt")
        plain[-1].write_bytes(text)
        packed.append(folder / f"{i}.log")
        packed[-1].write_bytes(pack(text))
    assume(all(c["compression"] == "plain" for c in _core.identify(plain)))
    expected = pipelines(*plain)
    assert _core.paper_counts(packed, threads=1) == expected
    assert _core.paper_counts(packed, threads=3) == expected


def test_words_over_the_edges_of_blocks_and_parts(tmp_path: Path) -> None:
    """Lines of all lengths, so that every word meets an edge of a read somewhere; parts of one file in parallel."""
    line = b"to=<a@b>, from=<domain>, stat=Sent, stat=Deferred popper[1]"
    made = bytearray()
    size = 0
    while len(made) < 34_000_000:
        made += line[: size % 60 + 5] + b"x" * (size % 4099) + line[size % 7 :] + b"\n"
        size += 31
    path = tmp_path / "large.log"
    path.write_bytes(made)
    expected = pipelines(path)
    assert expected["N_SS"] > 10_000
    for threads in (1, 2, 4):
        assert _core.paper_counts([path], threads) == expected
    (tmp_path / "large.gz").write_bytes(gzip.compress(bytes(made), 1))
    assert _core.paper_counts([tmp_path / "large.gz", path]) == {k: 2 * n for k, n in expected.items()}


def test_a_line_of_many_blocks(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    path.write_bytes(
        b"to=" + b"x" * 1_000_000 + b"stat=Sent" + b"y" * 1_000_000 + b"domain\n" + b"from=\ndomain"
    )
    expected = pipelines(path)
    assert expected == {"D_q": 2, "N_from": 1, "N_SS": 1, "N_SD": 0, "N_P": 0}
    assert _core.paper_counts([path]) == expected


def test_the_words_deceive_as_grep_is_deceived(tmp_path: Path) -> None:
    path = tmp_path / "words.log"
    path.write_bytes(
        b"Jul 15 18:00:01 mx1 sm-mta[1]: g6F: to=<a@b>, stat=User unknown, stat=Sent from=domain popper[1]\n"
        b"last message repeated 7 times\n"
    )
    assert (
        _core.paper_counts([path])
        == pipelines(path)
        == {"D_q": 1, "N_from": 1, "N_SS": 1, "N_SD": 0, "N_P": 1}
    )


def test_damage_is_an_error_that_names_file_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(b"domain\n" * 100_000)[:-20])
    with pytest.raises(_core.InputError, match=r"cut\.gz.*\d+"):
        _core.paper_counts([path])
    (tmp_path / "none.log").write_bytes(b"")
    assert set(_core.paper_counts([tmp_path / "none.log"]).values()) == {0}
    assert set(_core.paper_counts([]).values()) == {0}
