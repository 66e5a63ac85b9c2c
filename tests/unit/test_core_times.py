"""Times: the year of lines that tell none, zones, and the hours that a clock repeats or leaves out."""

from __future__ import annotations

import gzip
import os
import struct
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seismolog import _core
from tests.unit.core_support import by_minute, counts, query, save, scan_text, texts, utc


def written(path: Path, when: datetime) -> Path:
    os.utime(path, (when.timestamp(), when.timestamp()))
    return path


def log(path: Path, *times: str, at: datetime) -> Path:
    return written(save(path, *(query(t) for t in times)), at)


def minutes(*paths: Path, **options: object) -> list[datetime]:
    return [m for m, _ in by_minute(_core.scan(paths, **{"timezone": "UTC", **options}))]  # type: ignore[arg-type]


class TestYears:
    def test_the_file_was_written_after_its_last_line(self, tmp_path: Path) -> None:
        july = log(tmp_path / "a", "Jul 15 18:00:01", at=utc(2003, 2, 1))
        assert minutes(july) == [utc(2002, 7, 15, 18)]
        assert minutes(written(july, utc(2002, 7, 15, 18, 1))) == [utc(2002, 7, 15, 18)]
        assert minutes(written(july, utc(2002, 7, 13))) == [utc(2001, 7, 15, 18)]

    def test_a_clock_may_be_a_little_ahead_of_the_file(self, tmp_path: Path) -> None:
        ahead = log(tmp_path / "a", "Jul 15 18:00:01", at=utc(2002, 7, 15, 9))
        assert minutes(ahead) == [utc(2002, 7, 15, 18)]

    def test_new_year_within_a_file(self, tmp_path: Path) -> None:
        both = log(tmp_path / "a", "Dec 31 23:59:58", "Jan  1 00:00:02", at=utc(2003, 1, 1, 1))
        assert minutes(both) == [utc(2002, 12, 31, 23, 59), utc(2003, 1, 1)]
        report = _core.scan([both], timezone="UTC").sources[0]
        assert report["years"] == (2002, 2003)

    def test_a_late_line_of_the_old_year(self, tmp_path: Path) -> None:
        late = log(
            tmp_path / "a", "Jan  1 00:00:02", "Dec 31 23:59:58", "Jan  1 00:01:00", at=utc(2003, 1, 2)
        )
        assert minutes(late) == [utc(2002, 12, 31, 23, 59), utc(2003, 1, 1), utc(2003, 1, 1, 0, 1)]

    def test_several_years_in_one_file(self, tmp_path: Path) -> None:
        times = [
            "Nov 30 10:00:00",
            "Mar  1 10:00:00",
            "Jul  1 10:00:00",
            "Nov 30 10:00:00",
            "Mar  1 10:00:00",
        ]
        long = log(tmp_path / "a", *times, at=utc(2003, 3, 2))
        assert [m.year for m in minutes(long)] == [2001, 2002, 2002, 2002, 2003]

    def test_29_february_decides(self, tmp_path: Path) -> None:
        leap = log(
            tmp_path / "a", "Feb 28 12:00:00", "Feb 29 12:00:00", "Mar  1 12:00:00", at=utc(2003, 6, 1)
        )
        assert minutes(leap) == [utc(2000, 2, 28, 12), utc(2000, 2, 29, 12), utc(2000, 3, 1, 12)]
        across = log(tmp_path / "b", "Dec 31 12:00:00", "Feb 29 12:00:00", at=utc(2005, 6, 1))
        assert minutes(across) == [utc(2003, 12, 31, 12), utc(2004, 2, 29, 12)]

    def test_1900_rules(self, tmp_path: Path) -> None:
        leap = log(tmp_path / "a", "Feb 29 12:00:00", at=utc(2001, 1, 1))
        assert minutes(leap) == [utc(2000, 2, 29, 12)]

    @pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
    def test_a_rotated_set_with_one_modification_time(self, tmp_path: Path, order: tuple[int, ...]) -> None:
        """Copied without its times, a set of yearly files still reaches back over the years."""
        names = ["messages", "messages.1", "messages.2.gz", "messages.3.gz"]
        for name in names:
            text = texts([query("Mar  1 10:00:00"), query("Jul  1 10:00:00"), query("Oct  1 10:00:00")])
            (tmp_path / name).write_bytes(gzip.compress(text, mtime=0) if name.endswith("gz") else text)
            written(tmp_path / name, utc(2004, 12, 1))
        scan = _core.scan([tmp_path / names[i] for i in order], timezone="UTC")
        years = {Path(r["path"]).name: r["years"] for r in scan.sources}
        assert years == {
            "messages": (2004, 2004),
            "messages.1": (2003, 2003),
            "messages.2.gz": (2002, 2002),
            "messages.3.gz": (2001, 2001),
        }

    def test_a_rotated_set_named_by_dates(self, tmp_path: Path) -> None:
        for name in ("mail-20021231", "mail-20031231", "mail"):
            log(tmp_path / name, "Mar  1 10:00:00", "Jul  1 10:00:00", "Oct  1 10:00:00", at=utc(2005, 1, 2))
        scan = _core.scan(sorted(tmp_path.iterdir()), timezone="UTC")
        assert {Path(r["path"]).name: r["years"][0] for r in scan.sources} == {
            "mail": 2004,
            "mail-20031231": 2003,
            "mail-20021231": 2002,
        }

    def test_files_that_are_no_set_do_not_push_each_other_back(self, tmp_path: Path) -> None:
        a = log(tmp_path / "mail.log", "Jul 15 18:00:00", at=utc(2002, 8, 1))
        b = log(tmp_path / "dns.log", "Jul 15 18:00:00", at=utc(2002, 8, 1))
        assert minutes(a, b) == [utc(2002, 7, 15, 18)]

    def test_the_time_inside_a_gzip_header_is_older_and_better(self, tmp_path: Path) -> None:
        text = texts([query("Jul 15 18:00:01")])
        packed = tmp_path / "a.gz"
        packed.write_bytes(gzip.compress(text, mtime=int(utc(2002, 7, 16).timestamp())))
        written(packed, utc(2009, 1, 1))
        assert minutes(packed) == [utc(2002, 7, 15, 18)]
        # Without one, the file's own time is all there is.
        packed.write_bytes(gzip.compress(text, mtime=0))
        written(packed, utc(2009, 1, 1))
        assert minutes(packed) == [utc(2008, 7, 15, 18)]

    def test_a_gzip_header_from_the_future_is_not_believed(self, tmp_path: Path) -> None:
        packed = tmp_path / "a.gz"
        body = bytearray(gzip.compress(texts([query("Jul 15 18:00:01")])))
        body[4:8] = struct.pack("<I", 2**32 - 1)
        packed.write_bytes(body)
        assert minutes(written(packed, utc(2003, 1, 1))) == [utc(2002, 7, 15, 18)]

    def test_the_user_knows_better(self, tmp_path: Path) -> None:
        both = log(tmp_path / "a", "Dec 31 23:59:58", "Jan  1 00:00:02", at=utc(2020, 1, 1))
        assert minutes(both, year=1998) == [utc(1998, 12, 31, 23, 59), utc(1999, 1, 1)]

    def test_lines_that_tell_a_year_are_not_moved(self, tmp_path: Path) -> None:
        lines = ["2002-07-15T18:00:01Z", "Jul 15 2002 18:00:01", "15-Jul-2002 18:00:01.123"]
        mixed = save(
            tmp_path / "a", query(lines[0]), query(lines[1]), f"{lines[2]} {query('x').split(': ', 1)[1]}"
        )
        assert minutes(written(mixed, utc(1999, 1, 1)), year=2010) == [utc(2002, 7, 15, 18)]
        assert _core.scan([mixed], timezone="UTC").sources[0]["years"] is None

    def test_29_february_of_a_year_that_has_none(self, tmp_path: Path) -> None:
        """The user's year wins; the day does not exist, so the line lands on the day after the 28th, not nowhere."""
        leap = log(tmp_path / "a", "Feb 29 12:00:00", at=utc(2020, 1, 1))
        assert minutes(leap, year=2003) == [utc(2003, 3, 1, 12)]


class TestZones:
    def test_the_zone_of_the_site_and_of_a_server(self, tmp_path: Path) -> None:
        lines = texts([query("Jul 15 18:00:01", host="mx1"), query("Jul 15 18:00:01", host="ns1")])
        scan = scan_text(tmp_path, lines, timezone="Asia/Tokyo", server_timezones={"ns1": "America/New_York"})
        found = dict(counts(scan).select("server", "bin_start").iter_rows())
        assert found == {"mx1": utc(2002, 7, 15, 9), "ns1": utc(2002, 7, 15, 22)}

    def test_the_zone_goes_by_the_name_that_the_site_gives(self, tmp_path: Path) -> None:
        lines = texts([query("Jul 15 18:00:01", host="NS1.example.org")])
        names = {"ns1.example.org": "1dns"}
        scan = scan_text(tmp_path, lines, server_names=names, server_timezones={"1dns": "+09:00"})
        assert by_minute(scan) == [(utc(2002, 7, 15, 9), 1)]

    def test_a_guess_is_told(self, tmp_path: Path) -> None:
        lines = texts([query("Jul 15 18:00:01", host="ns1")])
        assert scan_text(tmp_path, lines, timezone=None).sources[0]["timezone_guessed"]
        assert not scan_text(tmp_path, lines).sources[0]["timezone_guessed"]
        known = scan_text(tmp_path, lines, timezone=None, server_timezones={"ns1": "UTC"})
        assert not known.sources[0]["timezone_guessed"]
        absolute = scan_text(tmp_path, texts([query("2002-07-15T18:00:01+09:00")]), timezone=None)
        assert not absolute.sources[0]["timezone_guessed"]

    @pytest.mark.parametrize(
        ("stamp", "expected"),
        [
            ("2002-07-15T18:00:01+09:00", utc(2002, 7, 15, 9)),
            ("2002-07-15T18:00:01.999999-03:30", utc(2002, 7, 15, 21, 30)),
            ("2002-07-15T18:00:01+0900", utc(2002, 7, 15, 9)),
            ("2002-07-15T18:00:01Z", utc(2002, 7, 15, 18)),
            ("2003-01-01T00:00:00+09:00", utc(2002, 12, 31, 15)),
            ("2002-07-15T23:59:60Z", utc(2002, 7, 15, 23, 59)),
        ],
    )
    def test_an_offset_beats_every_setting(self, tmp_path: Path, stamp: str, expected: datetime) -> None:
        lines = [query(stamp), f"<22>1 {stamp} ns1 named 77 - - {query('x').split(': ', 1)[1]}"]
        scan = scan_text(
            tmp_path, texts(lines), timezone="America/New_York", server_timezones={"ns1": "Asia/Tokyo"}
        )
        assert by_minute(scan) == [(expected, 2)]

    def test_binds_own_file_has_no_host(self, tmp_path: Path) -> None:
        rest = query("x").split(": ", 1)[1]
        lines = texts([f"15-Jul-2002 18:00:01.123 queries: info: {rest}", f"15-Jul-2002 18:00:02.5 {rest}"])
        scan = scan_text(
            tmp_path,
            lines,
            default_server="ns9",
            timezone="Europe/Berlin",
            server_timezones={"ns9": "Asia/Tokyo"},
        )
        assert counts(scan).rows() == [(utc(2002, 7, 15, 9), "ns9", "dns_query", "192.0.2.7", 2)]

    def test_a_wrong_zone_names_the_argument(self, tmp_path: Path) -> None:
        for options in ({"timezone": "Mars/Olympus"}, {"server_timezones": {"ns1": "x"}}):
            (name,) = options
            with pytest.raises(_core.UsageError, match=f"^{name}: "):
                scan_text(tmp_path, b"", **options)


class TestFoldAndGap:
    """Europe/Berlin 2002: 31 March 02:00 becomes 03:00, 27 October 03:00 becomes 02:00."""

    def lines(self, *local: str) -> bytes:
        return texts([query(t) for t in local])

    @pytest.mark.parametrize("threads", [1, 2])
    def test_the_repeated_hour_lands_in_both(self, tmp_path: Path, threads: int) -> None:
        passes = [f"Oct 27 02:{m:02}:30" for m in range(60)]
        text = self.lines("Oct 27 01:59:30", *passes, *passes, "Oct 27 03:00:30")
        scan = scan_text(tmp_path, text, timezone="Europe/Berlin", threads=threads)
        start = utc(2002, 10, 26, 23, 59)
        assert by_minute(scan) == [(start + timedelta(minutes=m), 1) for m in range(122)]

    def test_late_lines_do_not_end_the_first_pass(self, tmp_path: Path) -> None:
        times = ["02:10", "02:09", "02:30", "02:28", "02:55", "02:05", "02:04", "02:50", "03:10"]
        scan = scan_text(tmp_path, self.lines(*(f"Oct 27 {t}:00" for t in times)), timezone="Europe/Berlin")
        assert by_minute(scan) == [
            (utc(2002, 10, 27, h, m), 1)
            for h, m in [(0, 9), (0, 10), (0, 28), (0, 30), (0, 55), (1, 4), (1, 5), (1, 50), (2, 10)]
        ]

    def test_dates_with_a_year_fold_too(self, tmp_path: Path) -> None:
        rest = query("x").split(": ", 1)[1]
        times = ["01:59:00", "02:30:00", "02:59:59", "02:00:01", "02:30:00", "03:00:00"]
        text = texts([f"27-Oct-2002 {t}.000 queries: info: {rest}" for t in times])
        scan = scan_text(tmp_path, text, timezone="Europe/Berlin")
        hours = [m for m, _ in by_minute(scan)]
        assert hours == [
            utc(2002, 10, 26, 23, 59),
            utc(2002, 10, 27, 0, 30),
            utc(2002, 10, 27, 0, 59),
            utc(2002, 10, 27, 1, 0),
            utc(2002, 10, 27, 1, 30),
            utc(2002, 10, 27, 2, 0),
        ]

    def test_each_server_passes_the_fold_by_itself(self, tmp_path: Path) -> None:
        text = texts(
            [
                query("Oct 27 02:50:00", host="a"),
                query("Oct 27 02:50:00", host="b"),
                query("Oct 27 02:01:00", host="a"),
                query("Oct 27 02:51:00", host="b"),
                query("Oct 27 02:02:00", host="b"),
            ]
        )
        scan = scan_text(tmp_path, text, timezone="Europe/Berlin")
        found = sorted(counts(scan).select("server", pl_hour()).iter_rows())
        assert found == [("a", "00:50"), ("a", "01:01"), ("b", "00:50"), ("b", "00:51"), ("b", "01:02")]

    def test_a_quiet_server_passes_the_fold(self, tmp_path: Path) -> None:
        """The second pass goes on past the minute in which the first one had its last line."""
        times = ["02:20", "02:40", "02:05", "02:25", "02:55", "03:10"]
        scan = scan_text(tmp_path, self.lines(*(f"Oct 27 {t}:00" for t in times)), timezone="Europe/Berlin")
        hours = [(0, 20), (0, 40), (1, 5), (1, 25), (1, 55), (2, 10)]
        assert by_minute(scan) == [(utc(2002, 10, 27, h, m), 1) for h, m in hours]

    def test_a_clock_set_back_on_another_day_is_no_fold(self, tmp_path: Path) -> None:
        scan = scan_text(tmp_path, self.lines("Jul 15 02:50:00", "Jul 15 02:00:00"), timezone="Europe/Berlin")
        assert by_minute(scan) == [(utc(2002, 7, 15, 0, 0), 1), (utc(2002, 7, 15, 0, 50), 1)]

    def test_the_hour_that_does_not_exist_moves_forward(self, tmp_path: Path) -> None:
        text = self.lines("Mar 31 01:59:00", "Mar 31 02:30:00", "Mar 31 03:00:00")
        scan = scan_text(tmp_path, text, timezone="Europe/Berlin")
        assert by_minute(scan) == [
            (utc(2002, 3, 31, 0, 59), 1),
            (utc(2002, 3, 31, 1, 0), 1),
            (utc(2002, 3, 31, 1, 30), 1),
        ]

    def test_a_fold_of_half_an_hour(self, tmp_path: Path) -> None:
        """Lord Howe Island, 31 March 2002: 02:00 becomes 01:30."""
        times = ["01:29", "01:35", "01:59", "01:31", "01:45", "02:10"]
        scan = scan_text(
            tmp_path, self.lines(*(f"Mar 31 {t}:00" for t in times)), timezone="Australia/Lord_Howe"
        )
        zone = ZoneInfo("Australia/Lord_Howe")
        local = [
            datetime(2002, 3, 31, int(t[:2]), int(t[3:]), tzinfo=zone, fold=int(i in (3, 4)))
            for i, t in enumerate(times)
        ]
        assert [m for m, _ in by_minute(scan)] == sorted(t.astimezone(UTC) for t in local)


def pl_hour():  # type: ignore[no-untyped-def]
    import polars as pl

    return pl.col("bin_start").dt.strftime("%H:%M")


ZONES = [
    "UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/St_Johns", "Asia/Tokyo", "Asia/Kolkata",
    "Australia/Lord_Howe", "Australia/Sydney", "America/Sao_Paulo", "Pacific/Auckland", "Asia/Kathmandu",
]  # fmt: skip
SHAPES = {
    "rfc3164": "{0:%b} {0.day:2} {0:%H:%M:%S}",
    "with a year": "{0:%b %d %Y %H:%M:%S}",
    "iso local": "{0:%Y-%m-%dT%H:%M:%S}",
    "offset": "{0:%Y-%m-%dT%H:%M:%S}{1}",
}


def changes(zone: str) -> list[datetime]:
    """Days of the years 1998 to 2024 on which the clock of a zone is set."""
    day, found = utc(1998, 1, 1), []
    while day.year < 2025:
        after = day + timedelta(days=1)
        if day.astimezone(ZoneInfo(zone)).utcoffset() != after.astimezone(ZoneInfo(zone)).utcoffset():
            found.append(day)
        day = after
    return found


CHANGES = {zone: changes(zone) for zone in ZONES}


@st.composite
def starts(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and a time, half of them in the hours before a clock is set."""
    zone = draw(st.sampled_from(ZONES))
    if CHANGES[zone] and draw(st.booleans()):
        return zone, draw(st.sampled_from(CHANGES[zone])) + timedelta(minutes=draw(st.integers(0, 1500)))
    return zone, draw(st.datetimes(datetime(1995, 1, 2), datetime(2025, 12, 1))).replace(tzinfo=UTC)  # noqa: DTZ001


@given(
    zone_start=starts(),
    shape=st.sampled_from(sorted(SHAPES)),
    steps=st.lists(st.integers(0, 290), max_size=120),
)
def test_rising_times_land_where_zoneinfo_says(
    tmp_path_factory: pytest.TempPathFactory, zone_start: tuple[str, datetime], shape: str, steps: list[int]
) -> None:
    """Times a few minutes apart, in any zone, over folds and gaps: each line is in the bin of its moment."""
    folder = tmp_path_factory.mktemp("times")
    zone, start = zone_start
    moments = [start.replace(microsecond=0)]
    for step in steps:
        moments.append(moments[-1] + timedelta(seconds=step))
    local = [m.astimezone(ZoneInfo(zone)) for m in moments]
    stamps = [SHAPES[shape].format(t, t.isoformat()[19:]) for t in local]
    if shape != "offset" and starts_in_second_pass(local):
        # Nothing in the text tells that the first pass is over.
        return
    scan = scan_text(
        folder,
        texts([query(s) for s in stamps]),
        timezone="UTC" if shape == "offset" else zone,
        year=local[0].year,
    )
    expected: dict[datetime, int] = {}
    for m in moments:
        minute = m.replace(second=0)
        expected[minute] = expected.get(minute, 0) + 1
    assert by_minute(scan) == sorted(expected.items())


def starts_in_second_pass(local: list[datetime]) -> bool:
    """Whether a time is in the second pass though the text never steps back (its first pass has no line)."""
    naive = [t.replace(tzinfo=None, fold=0) for t in local]
    steps_back = any(b < a - timedelta(minutes=30) for a, b in pairwise(naive))
    return any(t.fold for t in local) and not steps_back
