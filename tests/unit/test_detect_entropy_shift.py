"""Mixtures that shift: who is named, and one cause is one incident whichever detector sees it first."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import numpy as np
import pytest

from seismolog.detect import entropy_shift, step_change
from seismolog.detect.base import Raised
from seismolog.detect.incidents import Book
from seismolog.detect.site import Site
from seismolog.detect.view import View
from tests.unit.detect_hands import T0, TEN, of_columns

BINS, CLIENTS = 144, 60
PART = "1dns/A/inside"


def client(number: int) -> str:
    return f"192.0.2.{number + 1}"


def view_of(flood: dict[int, float], *, first: int = 100, last: int = 112) -> View:
    """A day of sixty clients that ask for one name each ten minutes; some rise to `flood` between two bins."""
    dice = np.random.default_rng(3)
    counts = dice.poisson(dice.gamma(3.0, 5.0, CLIENTS)[:, None] * np.ones(BINS))
    for who, amount in flood.items():
        counts[who, first:last] += dice.poisson(amount, last - first)
    share = counts / counts.sum(axis=0)
    entropy = -(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=0)
    starts = [T0 + n * TEN for n in range(BINS)]
    row, place = np.nonzero(counts)
    traffic = of_columns(
        "traffic",
        bin_start=starts,
        server=["1dns"] * BINS,
        kind=["dns_query"] * BINS,
        query_type=["a"] * BINS,
        side=["inside"] * BINS,
        count=counts.sum(axis=0),
        client_entropy=entropy,
        name_entropy=np.zeros(BINS),
    )
    by_client = of_columns(
        "client_traffic",
        bin_start=[starts[p] for p in place],
        server=["1dns"] * len(row),
        kind=["dns_query"] * len(row),
        client=[client(r) for r in row],
        count=counts[row, place],
        a=counts[row, place],
    )
    tables = {"traffic": traffic, "client_traffic": by_client}
    site = Site(inside=("192.0.2.0/24",))
    return View(tables, since=T0, until=T0 + timedelta(days=1), site=site)


@pytest.mark.parametrize("hosts", [(7,), (7, 20, 33)])
def test_the_few_sources_that_grew_are_named(hosts: tuple[int, ...]) -> None:
    found = entropy_shift.find(view_of(dict.fromkeys(hosts, 4000.0)), entropy_shift.Settings())
    assert [r.subjects[0] for r in found] == [PART]
    named = set(found[0].subjects[1:])
    # Those who make up half of it: of three alike two are enough.
    assert named and named <= {client(n) for n in hosts}
    assert all(one in found[0].explanation for one in named)


def test_many_sources_are_nobody_in_particular() -> None:
    for raised in entropy_shift.find(
        view_of(dict.fromkeys(range(0, CLIENTS, 3), 1500.0)), entropy_shift.Settings()
    ):
        assert raised.subjects == (PART,)


def test_a_client_that_rises_is_told_once_whichever_comes_first() -> None:
    view = view_of({7: 4000.0})
    (shift,) = entropy_shift.find(view, entropy_shift.Settings())
    (step,) = step_change.find(view, step_change.Settings())
    orders: list[tuple[Raised, ...]] = [*permutations((shift, step))]
    for order in orders:
        book = Book()
        opened = [i for one in order for i in book.update([one], view.until).opened]
        assert len(opened) == len(book.incidents) == 1
        assert set(book.incidents[0].evidence) == {"entropy_shift", "step_change"}
        assert {client(7), PART} <= set(book.incidents[0].subjects)


def test_two_clients_that_rise_apart_stay_two() -> None:
    calm = view_of({7: 4000.0}, first=20, last=30)
    later = view_of({9: 4000.0}, first=100, last=110)
    book = Book()
    book.update(entropy_shift.find(calm, entropy_shift.Settings()), T0 + 40 * TEN)
    book.update(entropy_shift.find(later, entropy_shift.Settings()), later.until)
    assert [i.subjects[1:] for i in book.incidents] == [(client(7),), (client(9),)]


def test_a_mixture_that_was_never_asked_for_before_is_judged_by_the_day_alone() -> None:
    view = view_of({7: 4000.0})
    series = entropy_shift._series(view)
    (key,) = series
    first, counts, sources, _ = series[key]
    never = np.zeros(7 * BINS), np.full(7 * BINS, np.nan)
    z, _ = entropy_shift._standardized(view, first, counts, sources, never)
    assert np.median(z[100:112]) < -5
