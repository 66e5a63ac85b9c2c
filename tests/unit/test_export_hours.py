"""What is made of hours before it is sent: members, `other`, roll-ups when they are over, zeros, the bound on series."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from seismolog.sinks.influxdb import members, points
from seismolog.sinks.influxdb.hours import GRACE, HourWriter, Prepared, bins_of
from seismolog.sinks.influxdb.ledger import Ledger
from seismolog.sinks.influxdb.measurements import CLIENT_TRAFFIC, TRAFFIC
from seismolog.sinks.influxdb.points import MEMBER, Numbered, bits, reduce, rolled_up, vanished
from seismolog.store.merge import UNKNOWN
from tests.services.influx_world import Event, at, frames, some

TIME = pl.Datetime("us", "UTC")
WATCHED = {"hour": TIME, "client": pl.String}


class Fixed:
    """Hours of some events."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events

    def rows(self, since: datetime, until: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        made = frames(e for e in self.events if since <= at(e.minute) < until)
        return made["traffic"], made["client_traffic"]

    def activity(self, since: datetime, until: datetime) -> pl.DataFrame:
        return members.activity(self.rows(since, until)[1])


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "one.sqlite")


def lines(made: Prepared, measurement: str) -> list[str]:
    found = [line for t in made.texts for line in t.decode().splitlines()]
    return [line for line in found if line.startswith(f"{measurement},")]


def query(minute: int, client: str = "10.0.0.1", times: int = 1, server: str = "1dns") -> list[Event]:
    return [Event(minute, server, "dns_query", client, f"n{i}.", "a") for i in range(times)]


# --- members ----------------------------------------------------------------------------------------------------


def active(hour: int, **clients: int) -> pl.DataFrame:
    rows = [(at(60 * hour), "s", "k", c, n) for c, n in clients.items()]
    schema = {**dict(members.empty().schema), "count": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def of(frame: pl.DataFrame) -> list[str]:
    return sorted(frame["client"].to_list())


def test_the_hour_before_chooses_and_the_hour_itself_fills_up() -> None:
    none, watched = (
        members.empty(),
        pl.DataFrame(schema=WATCHED),
    )
    before, now = active(0, a=9, b=8, c=1), active(1, x=50, y=40, a=1)
    assert of(members.chosen(none, before, now, watched, 2)) == ["a", "b"]
    assert of(members.chosen(none, before, now, watched, 4)) == ["a", "b", "c", "x"]
    assert of(members.chosen(none, before.clear(), now, watched, 2)) == ["x", "y"]
    assert of(members.chosen(none, before, now, watched, 0)) == []
    # Equal counts are told apart by name, whatever the order of the rows.
    even = active(0, d=5, c=5, b=5)
    for rows in (even, even.reverse()):
        assert of(members.chosen(none, rows, now, watched, 2)) == ["b", "c"]


def test_who_is_a_member_stays_one() -> None:
    watched = pl.DataFrame(
        {"hour": [at(60)], "client": ["quiet"]},
        schema=WATCHED,
    )
    stored = members.chosen(members.empty(), active(0, a=9, b=8), active(1, a=1), watched.clear(), 2)
    later = members.chosen(stored, active(0, x=99, y=98, a=9), active(1, x=99, quiet=1), watched, 2)
    assert of(later) == ["a", "b", "quiet"]
    refuse = members.chosen(stored, active(0), active(1, quiet=1), watched, 2, lambda wanted: wanted.clear())
    assert of(refuse) == ["a", "b"]


# --- points -----------------------------------------------------------------------------------------------------


def test_other_is_what_the_members_leave() -> None:
    events = [*some(1, range(3), a_minute=40), Event(1, "1mx", "smtp_sent", None)]
    made = frames(events)
    chosen = pl.DataFrame(
        [(at(0), "1dns", "dns_query", "10.0.0.1")], schema=members.empty().schema, orient="row"
    )
    found = reduce(made["traffic"], made["client_traffic"], chosen)
    sums = found.clients.group_by("bin_start", "server", "kind").agg(pl.col("count").sum())
    whole = made["traffic"].group_by("bin_start", "server", "kind").agg(pl.col("count").sum())
    assert sorted(sums.rows()) == sorted(whole.rows())
    others = found.clients.filter(client="other", server="1dns", kind="dns_query").sort("bin_start")
    for minute, names in zip(range(3), others["distinct_names"], strict=True):
        mine = {
            e.name
            for e in events
            if e.minute == minute and e.server == "1dns" and e.client != "10.0.0.1" and e.name
        }
        assert names == len(mine)


def test_a_name_count_that_was_lost_is_unknown_and_not_zero() -> None:
    made = frames(query(0, "10.0.0.1", 3) + query(1, "10.0.0.2", 2))
    without = made["client_traffic"].with_columns(
        pl.when(pl.col("bin_start") == at(0)).then(None).otherwise(pl.col("name_state")).alias("name_state")
    )
    found = reduce(made["traffic"], without, members.empty()).clients.sort("bin_start")
    assert found["distinct_names"].to_list() == [None, 2]


def test_a_sum_of_unknown_names_is_unknown_too() -> None:
    made = frames(query(0, "10.0.0.1", 3) + query(1, "10.0.0.2", 2))
    summed = made["client_traffic"].with_columns(
        pl.when(pl.col("bin_start") == at(0)).then(n).otherwise(c).alias(c)
        for c, n in (("name_state", pl.lit(UNKNOWN)), ("distinct_names", None))
    )
    found = reduce(made["traffic"], summed, members.empty())
    assert found.clients.sort("bin_start")["distinct_names"].to_list() == [None, 2]
    assert rolled_up(found, 10).clients["distinct_names"].to_list() == [None]


def test_more_groups_than_a_number_of_the_core_are_numbered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [e for m in range(5) for s in ("a", "b", "c") for e in query(m, f"10.0.0.{m}", m + 1, s)]
    made = frames(events)
    plain = reduce(made["traffic"], made["client_traffic"], members.empty())
    monkeypatch.setattr(points, "_MOST_GROUPS", 3)
    again = reduce(made["traffic"], made["client_traffic"], members.empty())
    order = ["bin_start", "server", "kind"]
    assert_frame_equal(again.clients.sort(order), plain.clients.sort(order))
    assert sorted(plain.clients["distinct_names"]) == sorted(m + 1 for m in range(5) for _ in range(3))


def test_numbers_lead_back_to_the_keys_they_stand_for() -> None:
    made = frames([*some(3, range(58, 63)), Event(61, "1mx", "smtp_sent", None)])["client_traffic"]
    numbered = Numbered(made)
    bins = pl.DataFrame(numbered.bins(numbered.groups))
    assert_frame_equal(bins, made.select("bin_start", "server", "kind"))
    keys = pl.DataFrame(numbered.keys(numbered.members)).filter(numbered.members.is_not_null())
    told = made.filter(pl.col("client").is_not_null())
    assert_frame_equal(keys, told.select(pl.col("bin_start").dt.truncate("1h").alias("hour"), *MEMBER[1:]))
    assert keys["hour"].n_unique() == 2
    # Members of whom there are no rows have no number.
    strange = told.head(1).select(pl.lit(at(60)).alias("hour"), "server", "kind", pl.lit("x").alias("client"))
    assert numbered.of(strange).len() == 0
    assert set(numbered.of(keys)) == set(numbered.members.drop_nulls())


def test_bitmaps_of_bins() -> None:
    frame = pl.DataFrame({"bin_start": [at(0), at(59), at(65)]})
    assert frame.select(bits()).to_series().to_list() == [1, 1 << 59, 1 << 5]
    tens = pl.DataFrame({"bin_start": [at(0), at(50)]})
    assert tens.select(bits(10)).to_series().to_list() == [0x3FF, 0x3FF << 50]
    assert pl.DataFrame({"bin_start": [at(0)]}).select(bits(60)).item() == (1 << 60) - 1


def test_vanished_keys_are_those_that_were_sent_in_that_bin() -> None:
    sent = pl.DataFrame(
        [(at(0), "s", "k", "a", 0b11), (at(0), "s", "k", "b", 0b10), (at(0), "t", "k", "a", 0b1)],
        schema={**dict(members.empty().schema), "minutes": pl.Int64},
        orient="row",
    )  # fmt: skip
    bins = pl.DataFrame(
        {"bin_start": [at(1)], "server": ["s"]},
        schema={"bin_start": TIME, "server": pl.String},
    )
    now = pl.DataFrame(
        [(at(1), "s", "k", "a")], schema=["bin_start", "server", "kind", "client"], orient="row"
    )
    now = now.cast({"bin_start": pl.Datetime("us", "UTC")})
    assert vanished(sent, bins, now, CLIENT_TRAFFIC, 1).rows() == [(at(1), "s", "k", "b")]


# --- roll-ups ---------------------------------------------------------------------------------------------------


def test_roll_ups_wait_until_they_are_over(ledger: Ledger) -> None:
    making = HourWriter(ledger)
    hours = Fixed([])

    def close(minute: int) -> Prepared:
        hours.events += query(minute)
        bins = bins_of(hours.rows(at(minute), at(minute + 1))[0])
        made = making.prepare_bins(hours, bins, at(minute + 1))
        making.settle(made)
        return made

    for minute in range(9):
        assert not lines(close(minute), "traffic_10m")
    assert len(lines(close(9), "traffic_10m")) == 1
    assert "count=11i" in lines(close(9), "traffic_10m")[0]  # a late line of that minute: written again
    # A server that has gone quiet: its last roll-ups are written some time after their end.
    close(12)
    assert making.prepare_due(hours, at(20)) is None
    due = making.prepare_due(hours, at(20) + GRACE)
    assert due is not None
    starts = [line.split()[-1] for line in lines(due, "traffic_10m")]
    assert starts == [str(int(at(10).timestamp()))]
    making.settle(due)
    due = making.prepare_due(hours, at(60) + GRACE)
    assert due is not None and len(lines(due, "traffic_1h")) == 1 and not lines(due, "traffic_10m")
    making.settle(due)
    assert making.prepare_due(hours, at(6000)) is None


def test_what_waits_survives_a_restart(ledger: Ledger) -> None:
    hours = Fixed(query(3))
    making = HourWriter(ledger)
    making.settle(making.prepare_bins(hours, bins_of(hours.rows(at(0), at(60))[0]), at(4)))
    again = HourWriter(Ledger(ledger.path))
    due = again.prepare_due(hours, at(60) + GRACE)
    assert due is not None
    assert len(lines(due, "traffic_10m")) == len(lines(due, "traffic_1h")) == 1


# --- ledger -----------------------------------------------------------------------------------------------------


def test_keys_are_noted_before_they_are_sent_and_add_up(ledger: Ledger) -> None:
    making = HourWriter(ledger, per_hour=1)
    first = Fixed(query(0) + query(5))
    making.prepare_bins(first, bins_of(first.rows(at(0), at(60))[0]), at(6))  # and then it is killed
    keys = Ledger(ledger.path).keys([at(0)], TRAFFIC)
    assert keys["minutes"].to_list() == [0b100001]
    second = Fixed(query(7, "10.0.0.9"))
    made = making.prepare_bins(second, bins_of(second.rows(at(0), at(60))[0]), at(8))
    assert ledger.keys([at(0)], TRAFFIC)["minutes"].to_list() == [0b10100001]
    assert made.zeros == 0
    # The bins are written whole, and what was noted and is not there is zero.
    whole = making.prepare_hours(second, [at(0)])
    zeros = [line for line in lines(whole, "traffic") if "count=0i" in line]
    assert sorted(int(line.split()[-1]) for line in zeros) == [int(at(m).timestamp()) for m in (0, 5)]
    assert of(ledger.members([at(0)])) == ["10.0.0.1"]


def test_one_process_exports_to_a_target(ledger: Ledger) -> None:
    assert ledger.claim() and ledger.claim()
    other = Ledger(ledger.path)
    assert not other.claim()
    ledger.close()
    assert other.claim()


def test_a_step_is_all_or_nothing(ledger: Ledger) -> None:
    def fails() -> None:
        with ledger.step():
            ledger.add_todo([at(0)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert ledger.todo() == []
    with ledger.step():
        ledger.add_todo([at(60), at(0)])
    assert ledger.todo() == [at(0), at(60)]
    assert ledger.path.stat().st_mode & 0o077 == 0


def test_a_damaged_ledger_says_the_mend(tmp_path: Path) -> None:
    from seismolog.errors import SeismologError

    path = tmp_path / "one.sqlite"
    path.write_bytes(b"no database at all, and longer than a page header would be" * 10)
    with pytest.raises(SeismologError, match="writing twice changes nothing"):
        Ledger(path)


def test_series_are_forgotten_by_age(ledger: Ledger) -> None:
    ledger.add_series(["a"])
    ledger.forget_series(timedelta(days=1))
    assert ledger.series() == {"a"}
    ledger.forget_series(timedelta(seconds=-5))
    assert ledger.series() == set()


# --- bounds and names -------------------------------------------------------------------------------------------


def test_a_flood_of_host_names_is_bounded(ledger: Ledger) -> None:
    making = HourWriter(ledger, max_series=300)
    events = [e for n in range(200) for e in query(0, server=f"host{n}")]
    made = making.prepare_bins(Fixed(events), bins_of(frames(events)["traffic"]), at(1))
    assert len({line.split()[0] for line in lines(made, "traffic") + lines(made, "client_traffic")}) <= 100
    assert making.counts.refused_series > 0 and making.counts.series <= 300
    # Of whom there is a series, it is whole.
    servers = {line.split("server=")[1].split(",")[0] for line in lines(made, "traffic")}
    others = {
        line.split("server=")[1].split()[0]
        for line in lines(made, "client_traffic")
        if "client=other" in line
    }
    assert servers == others


def test_clients_are_written_under_their_pseudonyms(ledger: Ledger) -> None:
    making = HourWriter(ledger, per_hour=1, pseudonym=lambda a: f"p{a[-1]}")
    events = query(0, "10.0.0.7", 2) + query(0, "10.0.0.8")
    made = making.prepare_bins(Fixed(events), bins_of(frames(events)["traffic"]), at(1))
    text = b"".join(made.texts).decode()
    assert "client=p7" in text and "client=other" in text and "10.0.0" not in text
