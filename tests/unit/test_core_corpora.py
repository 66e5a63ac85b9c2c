"""Real log lines of other projects: what is read of them is written down in docs/corpora.md, and must stay so.

The lines are not part of this project. The tests run where their folder is (SEISMOLOG_CORPORA, or `shared/corpora`
beside the checkout) and are skipped elsewhere. SEISMOLOG_BLESS=1 writes the generated part of the page anew; the
sentences on why something is not matched stand in WHY below.
"""

# ruff: noqa: E501 - the table of reasons reads better with one rule a line

from __future__ import annotations

import csv
import fnmatch
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from seismolog import _core
from tests.unit.core_support import balanced

ROOT = Path(__file__).parents[2]
CORPORA = Path(os.environ.get("SEISMOLOG_CORPORA", ROOT.parent / "shared" / "corpora"))
PAGE = ROOT / "docs" / "corpora.md"
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"

pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not here")

#: Heading of a group, and its files.
GROUPS = {
    "BIND": "dns-bind/*",
    "sendmail": "mail-sendmail/*",
    "Postfix": "mail-postfix/*",
    "Dovecot": "pop-imap/*dovecot*",
    "netfilter": "firewall/logstash-patterns-core-[fs]*",
    "Headers": "syslog-framing/*",
}

#: (file, reason, shape, name of the group of shapes, why): the first that fits a shape says why it is not matched.
#: An empty name: each program by its name.
WHY = [
    ("*named-refused*", "no time", "*", "atom named[#]: client …", "The source cut the time off."),
    ("*nsd*", "*", "*", "nsd: …", "NSD is another DNS server."),
    ("*core-bind*", "no time", "client *", "client @ID ADDR## (…): query: …", "A message without its header: no time, no bin."),
    ("*named-ini*", "no dialect", "name: *", "name: client …", "No daemon is called `name`: written by hand."),
    ("*named-ini*", "not understood", "named: client *", "named: client ADDR##: query (cache)", "Cut off before it tells what became of the query."),
    ("*mail-alerts*", "no time", "*", "sm-mta[#]: …ruleset=…", "Messages without their headers: no time, no bin."),
    ("*opensmtpd*", "no dialect", "smtpd: *", "smtpd: …", "OpenSMTPD is another mail server."),
    ("*infoht*", "no time", "[[]#-*", "[#-MON-# #:#:# …] …", "A web mail's and PHP's own logs in the same file, time in brackets."),
    ("*infoht*", "no time", "*", "(a piece of a line)", "Lines that were broken, and a shell prompt, where somebody copied them from a terminal."),
    ("*infoht*", "not understood: no relay*", "*", "postfix/smtp: ID: to=<MAIL>,", "The first half of a line that was broken in copying."),
    ("*infoht*", "not understood*", "*", "postfix/smtpd: …", "What `smtpd -v` prints for a developer; no event is among it."),
    ("*infoht*", "no program*", "Dec # #:#:# [[]postfix/smtpd] *", "MON # #:#:# [postfix/smtpd] …", "A trace of TLS that somebody typed off; no daemon writes such a header."),
    ("*whyscream*", "no time", "*", "(all)", "Messages without their headers; a test puts a header in front, and then all of them are read."),
    ("*firewalls*", "*", "*", "%ASA-#-#: …, Deny …, Built …", "Cisco ASA, PIX and IOS: other firewalls, most without a header."),
    ("*shorewall*", "no program*", "*", "Shorewall:net#fw:DROP:", "A rule's prefix without the packet behind it."),
    ("*recidive*", "no time", "*", "host fail#ban[#]: …", "The source cut the time off."),
    ("*recidive*", "no program*", "*", "#-#-# #:#:#,# fail#ban.actions [#]: …", "A file of fail2ban's own, with blanks before the pid and no host."),
    ("*go-syslog-rfc5424*", "no time", "*", "<#># …", "Headers that break RFC 5424, or that tell no time (`-`), which the RFC allows."),
    ("*go-syslog-rfc5424*", "no program*", "*", "<#># #-#-#T#:#:#Z - - …", "Neither program nor a text that a dialect knows."),
    ("*go-syslog-rfc3164*", "no program*", "*", "<#>MON # #:#:# -", "A header and nothing behind it."),
    ("*datafile_syslog*", "no time", "*", "key #:# …, pair #:# …", "Notes of a parser's test under a log line, and that line without a header."),
    ("*crlf*", "no program*", "*", "#-#-# #:#:#,#:DEBUG:…", "An application's own file."),
    ("*epoch*", "no program*", "*", "# …", "Seconds since 1970 and a text, no program."),
    ("*invalid_tz*", "no time", "*", "rbd: [#]…", "A program's own file, which begins with its name."),
    ("*invalid_utf8*", "no program*", "*", "#-#-#T#:#:#.#:INFO:…", "An application's own file."),
    ("*invalid_utf8*", "no time", "*", "<…>", "The further lines of a message of several lines."),
    ("*muxed*", "no time", "*", '{"timestamp":"…", …}', "JSON of another program than journalctl."),
    ("*rollover.0*", "no time", "*", "#:#:#.# …", "A time of day without a date."),
    ("*syslog.3.log", "no time", "*", "ASL Module …", "The further lines of messages of several lines."),
    ("*syslog_fr*", "no time", "*", "(a month in French)", "Months are read in English only, as syslogd writes them."),
    ("*with_header*", "no time", "*", "Header#: …", "A head that the test put in front."),
    ("*core-syslog*", "no program*", "*", "<#># … rufus - - - …", "RFC 5424 without a program."),
    ("*ossec-syslog*", "no time", "*", "# # MON # #:#:# ether rsyslogd-#: …", "A second header in front of the time."),
    ("*plaso*", "no program*", "*", "MON # #:#:#: --- …", "A header without host and program."),
    ("*plaso*", "no time", "*", "(a piece of a message)", "The further lines of messages of several lines; each begins anew for syslog."),
    ("*framing-testdata*", "no time", "*", "#, <#>#, …", "Pieces that try how a receiver parts a stream into messages."),
    ("*fuzz-seeds*", "no time", "*", "<#>x, <#># - …", "Broken headers, and one that tells no time."),
    ("*parse1*", "no program*", "*", "<#>MON # #:#:# …", "Windows events, device messages and headers with nothing behind them: no program and no text that a dialect knows."),
    ("*", "no dialect*", "*", "", "Other programs; the header is read."),
]  # fmt: skip


def source_names() -> dict[str, str]:
    """Repository and path of each file, as its authors name it."""
    with (CORPORA / "SOURCES.tsv").open() as file:
        return {
            row["file"]: f"{row['repository']}: {row['path']}" for row in csv.DictReader(file, delimiter="\t")
        }


def rows_of(path: Path) -> list[tuple[str, int, str]]:
    """(shapes, lines, why) of what is not matched in a file."""
    counts: Counter[tuple[str, str]] = Counter()
    programs: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for group in _core.shapes([path]):
        name, why = next(
            (name, why)
            for file, reason, shape, name, why in WHY
            if fnmatch.fnmatchcase(path.name, file)
            and group["reason"].startswith(reason.rstrip("*"))
            and fnmatch.fnmatchcase(group["shape"], shape)
        )
        counts[name, why] += group["count"]
        if not name:
            programs[why][group["shape"].split(":")[0]] += group["count"]
    rows = []
    for (name, why), lines in counts.items():
        shown = f"`{name}`" if name else ", ".join(f"`{p}`" for p, _ in programs[why].most_common())
        rows.append((shown.replace("|", "\\|"), lines, why))
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def page() -> str:
    """The generated part of the page."""
    names, out = source_names(), [BEGIN, ""]
    for heading, pattern in GROUPS.items():
        files = sorted(CORPORA.glob(pattern))
        out += [
            f"## {heading}",
            "",
            "| source | lines | matched | ignored | unmatched |",
            "| --- | --: | --: | --: | --: |",
        ]
        unmatched = []
        for path in files:
            name = names[path.relative_to(CORPORA).as_posix()]
            scan = _core.scan([path], timezone="UTC", year=2020)
            assert balanced(scan.summary)
            lines, matched, ignored, rest = (
                scan.summary[n] for n in ("lines", "matched", "ignored", "unmatched")
            )
            out.append(f"| {name} | {lines} | {matched} | {ignored} | {rest} |")
            rows = rows_of(path)
            repeats = {r: n for r, n in scan.summary["reasons"].items() if r.startswith("repetition")}
            rows += [("`last message repeated # times`", n, f"A {r}.") for r, n in sorted(repeats.items())]
            assert sum(n for _, n, _ in rows) == rest, name
            unmatched += [f"| {name} | {shown} | {n} | {why} |" for shown, n, why in rows]
        if unmatched:
            out += [
                "",
                "| source | shapes not matched | lines | why |",
                "| --- | --- | --: | --- |",
                *unmatched,
            ]
        out.append("")
    return "\n".join([*out, END])


def test_the_page_tells_what_is_read() -> None:
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    expected = before + page() + after
    if os.environ.get("SEISMOLOG_BLESS"):
        PAGE.write_text(expected)
    assert PAGE.read_text() == expected


def test_every_rule_is_used() -> None:
    shapes = [
        (path.name, group["reason"], group["shape"])
        for pattern in GROUPS.values()
        for path in CORPORA.glob(pattern)
        for group in _core.shapes([path])
    ]
    for file, reason, shape, _, _ in WHY:
        assert any(
            fnmatch.fnmatchcase(f, file)
            and r.startswith(reason.rstrip("*"))
            and fnmatch.fnmatchcase(s, shape)
            for f, r, s in shapes
        ), (file, reason, shape)


def test_every_postfix_message_is_read_by_some_postfix_program(tmp_path: Path) -> None:
    """A collection of bare messages: each is counted, or known and ignored, under the programs of Postfix."""
    bare = (CORPORA / "mail-postfix" / "whyscream-message-bodies.log").read_bytes().split(b"\n")
    messages = [m for m in bare if m]
    programs = "smtpd cleanup qmgr smtp lmtp local pipe bounce postscreen pickup anvil master tlsproxy dnsblog scache"
    programs += " trivial-rewrite policyd-spf postsuper postlog virtual discard verify tlsmgr proxymap"
    known = set()
    for program in programs.split():
        path = tmp_path / program
        path.write_bytes(
            b"".join(b"Jul 15 18:00:01 mx2 postfix/%s[1]: %s\n" % (program.encode(), m) for m in messages)
        )
        known |= {e["line"] for e in _core.explain(path) if e["kind"] or e["ignored"]}
    assert [m for i, m in enumerate(messages, 1) if i not in known] == []


def test_any_file_at_all_is_read_without_an_error() -> None:
    """Also those of daemons that no dialect knows."""
    files = sorted(CORPORA.glob("*/*.log"))
    assert len(files) > 50
    scan = _core.scan(files, timezone="UTC", year=2020, state=True)
    for report in scan.sources:
        assert balanced(report)
        assert report["error"] is None
