from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seismolog.store import FileIdentity, Plan, SourceEntry, plan_sources, source_id
from seismolog.store.identity import HEAD_BYTES, may_replace

LOG = b"".join(b"Mar 29 00:%02d:%02d 1mx sendmail[%d]: x\n" % (n // 60, n % 60, n) for n in range(600))
assert len(LOG) > 4 * HEAD_BYTES


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file(path: str, content: bytes, **more: object) -> FileIdentity:
    given_values = {
        "compressed_bytes": len(content),
        "mtime_ns": 1,
        "head_hash": digest(content[:HEAD_BYTES]),
    }
    return FileIdentity(path=path, **{**given_values, **more})  # type: ignore[arg-type]


def known(path: str, content: bytes, **more: object) -> SourceEntry:
    entry = SourceEntry(
        source=source_id(["1mx"], digest(content[:HEAD_BYTES]), len(content), digest(content)),
        generation=1,
        paths=(path,),
        servers=("1mx",),
        bytes=len(content),
        compressed_bytes=len(content),
        mtime_ns=1,
        head_hash=digest(content[:HEAD_BYTES]),
        full_hash=digest(content),
    )
    return replace(entry, **more)  # type: ignore[arg-type]


def settle(
    contents: Mapping[str, bytes],
    entries: list[SourceEntry],
    gone: bool = False,
    known_contents: Mapping[str, bytes] | None = None,
    compressed: bool = False,
    **options: object,
) -> Plan:
    """Answer the plan's questions until it has none."""
    files = {p: file(p, c, **({"compressed_bytes": 100} if compressed else {})) for p, c in contents.items()}
    prefixes: dict[tuple[str, int], str | None] = {}
    for _ in range(5):
        plan = plan_sources(list(files.values()), entries, known_prefixes=prefixes, **options)  # type: ignore[arg-type]
        if not plan.probe and not plan.probe_known:
            named = [f.path for f in plan.scan] + [s.path for s in plan.skip]
            assert sorted(named) == sorted(contents)
            return plan
        for path, lengths in plan.probe.items():
            content = contents[path]
            new = {n: digest(content[:n]) for n in lengths if n < len(content)}
            files[path] = replace(
                files[path],
                bytes=len(content),
                full_hash=digest(content),
                prefixes={**files[path].prefixes, **new},
            )
        for source, lengths in plan.probe_known.items():
            for n in lengths:
                content = (known_contents or {}).get(source, b"")
                prefixes[source, n] = None if gone else digest(content[:n])
    raise AssertionError("the plan never settles")


def scanned(plan: Plan) -> list[str]:
    return [f.path for f in plan.scan]


def test_files_that_share_nothing_are_scanned_without_a_digest() -> None:
    plan = plan_sources([file("/a", LOG), file("/b", LOG[40:])], [])
    assert scanned(plan) == ["/a", "/b"]
    assert not plan.probe


def test_an_unchanged_file_is_skipped_without_being_read() -> None:
    entry = known("/a", LOG)
    plan = plan_sources([file("/a", LOG)], [entry])
    assert [(s.path, s.known) for s in plan.skip] == [("/a", entry.source)]
    assert not plan.probe
    assert scanned(settle({"/a": LOG}, [entry], again=True)) == ["/a"]


def test_equal_content_is_scanned_once_whatever_its_name_or_compression() -> None:
    for compressed in (False, True):
        plan = settle({"/mail.log.1": LOG, "/mail.log.1.gz": LOG}, [], compressed=compressed)
        assert scanned(plan) == ["/mail.log.1"]
        assert [(s.path, s.same_as) for s in plan.skip] == [("/mail.log.1.gz", "/mail.log.1")]


def test_content_counted_before_under_another_name_is_skipped() -> None:
    plan = settle({"/mail.log.2.gz": LOG}, [known("/mail.log.1", LOG, mtime_ns=2)])
    assert [(s.same_as, s.equal) for s in plan.skip] == [("/mail.log.1", True)]


def test_a_file_that_was_only_renamed_is_skipped_without_being_read() -> None:
    plan = plan_sources([file("/mail.log.2", LOG)], [known("/mail.log.1", LOG)])
    assert len(plan.skip) == 1
    assert not plan.probe


@pytest.mark.parametrize("cut", [1, 100, HEAD_BYTES, HEAD_BYTES + 1, len(LOG) - 1])
def test_a_grown_file_replaces_the_shorter(cut: int) -> None:
    old = known("/mail.log", LOG[:cut])
    plan = settle({"/mail.log": LOG}, [old])
    assert scanned(plan) == ["/mail.log"]
    assert plan.replace == {"/mail.log": (old.source,)}


@pytest.mark.parametrize("cut", [100, HEAD_BYTES + 1])
def test_a_longer_file_replaces_all_its_shorter_copies(cut: int) -> None:
    olds = [known("/x", LOG[:cut]), known("/y", LOG[: cut + 7])]
    assert settle({"/z": LOG}, olds).replace == {"/z": tuple(o.source for o in olds)}


@pytest.mark.parametrize("cut", [100, HEAD_BYTES + 1])
@pytest.mark.parametrize("compressed", [True, False])
def test_of_two_files_named_the_longer_is_kept(cut: int, compressed: bool) -> None:
    plan = settle({"/short": LOG[:cut], "/long": LOG}, [], compressed=compressed)
    assert scanned(plan) == ["/long"]
    assert [(s.path, s.reason) for s in plan.skip] == [("/short", "a shorter copy of another file named")]


def test_the_same_head_and_another_tail_is_another_source() -> None:
    other = LOG[:HEAD_BYTES] + b"something else\n" * 400
    assert scanned(settle({"/a": LOG, "/b": other}, [])) == ["/a", "/b"]
    plan = settle({"/b": other}, [known("/a", LOG[: HEAD_BYTES + 500])])
    assert scanned(plan) == ["/b"]
    assert plan.replace == {}


def test_a_shorter_copy_of_a_known_file_is_compared_where_that_file_still_is() -> None:
    entry = known("/long", LOG)
    short = LOG[: HEAD_BYTES + 300]
    assert settle({"/short": short}, [entry], known_contents={entry.source: LOG}).scan == ()
    other = LOG[:HEAD_BYTES] + b"another tail\n" * 10
    assert scanned(settle({"/short": other}, [entry], known_contents={entry.source: LOG})) == ["/short"]


def test_a_shorter_copy_of_a_file_that_is_gone_is_skipped_and_says_so() -> None:
    plan = settle({"/short": LOG[: HEAD_BYTES + 300]}, [known("/long", LOG)], gone=True)
    assert scanned(plan) == []
    assert "only 4 KiB were compared" in plan.skip[0].reason


def test_other_options_count_again_and_replace() -> None:
    entry = known("/a", LOG, fingerprint="UTC")
    plan = settle({"/a": LOG}, [entry], fingerprint="Asia/Tokyo")
    assert plan.replace == {"/a": (entry.source,)}


def test_an_empty_file_is_nothing_and_related_to_nothing() -> None:
    plan = settle({"/empty": b"", "/a": LOG}, [])
    assert scanned(plan) == ["/a"]
    assert [(s.path, s.reason) for s in plan.skip] == [("/empty", "empty file")]


def test_what_was_replaced_or_is_live_is_not_compared() -> None:
    gone = known("/a", LOG, state="replaced")
    live = known("/a", LOG, origin="live")
    assert scanned(settle({"/a": LOG}, [gone, live])) == ["/a"]


def test_servers_are_part_of_the_identity() -> None:
    assert source_id(["a"], "h", 1, "f") != source_id(["b"], "h", 1, "f")
    assert source_id(["a", "b"], "h", 1, "f") == source_id(["b", "a", "a"], "h", 1, "f")
    old = known("/a", LOG)
    assert may_replace(old, "/b", ["1mx", "2mx"])
    assert not may_replace(old, "/b", ["2mx"])
    assert may_replace(old, "/a", ["2mx"])


@given(
    cuts=st.lists(st.integers(1, len(LOG)), min_size=1, max_size=5),
    before=st.lists(st.integers(1, len(LOG)), max_size=3),
    order=st.randoms(),
)
def test_of_any_copies_of_one_log_only_the_longest_counts(
    cuts: list[int], before: list[int], order: object
) -> None:
    paths = [f"/f{i}" for i in range(len(cuts))]
    order.shuffle(paths)  # type: ignore[attr-defined]
    contents = {p: LOG[:n] for p, n in zip(paths, cuts, strict=True)}
    entries = [known(f"/k{n}", LOG[:n]) for n in set(before)]
    plan = settle(contents, entries, known_contents={e.source: LOG for e in entries})
    longest = max(cuts)
    if any(n >= longest for n in before):
        assert plan.scan == ()
    else:
        assert [len(contents[f.path]) for f in plan.scan] == [longest]
        assert set(plan.replace.get(plan.scan[0].path, ())) == {e.source for e in entries}
