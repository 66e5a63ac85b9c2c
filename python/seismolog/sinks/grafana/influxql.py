"""InfluxQL as text: small pieces that dashboards and alert rules put their queries together from.

What for: one spelling of every condition (how a variable is matched, how a name is quoted), so that a query reads
as what it asks. InfluxQL and not Flux, because InfluxDB 2 and 3 both answer it.

How: :class:`Select` holds the clauses and writes them in order. Variables are always written with an explicit format
(``${server:regex}``): what Grafana makes of a bare ``$server`` depends on its version and on where it stands.

Limits: no parser; a query is checked by running it (``tests/services/test_grafana_queries.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "BIN",
    "BIN_TABLE",
    "CLIENT_TABLE",
    "NEWEST",
    "NEWEST_WEEK_BEFORE",
    "SERVER",
    "WEEK_BEFORE",
    "Select",
    "among",
    "equal",
    "matches",
    "mentions",
    "name",
    "share",
    "text",
    "unlike",
    "zero_where",
]

#: Length of the chosen bin, the text of the variable ``bin``.
BIN = "${bin:text}"
#: Measurement of all traffic in bins of the chosen length, the value of the variable ``bin``.
BIN_TABLE = "${bin:raw}"
#: The same for the clients.
CLIENT_TABLE = "client_${bin:raw}"

#: The same range a week before; dashboards only, as it needs the range in milliseconds.
WEEK_BEFORE = "time >= ${__from}ms - 7d AND time <= ${__to}ms - 7d"
#: The end of the range, and the same a week before: for the newest bin, which needs no look at months.
NEWEST = "time > ${__to}ms - 6h AND time <= ${__to}ms"
NEWEST_WEEK_BEFORE = "time > ${__to}ms - 7d - 6h AND time <= ${__to}ms - 7d"


def name(identifier: str) -> str:
    """An identifier, quoted. It may hold variables; a quotation mark in it is an error."""
    if '"' in identifier or "\n" in identifier:
        raise ValueError(f"no name of InfluxQL: {identifier!r}")
    return f'"{identifier}"'


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def equal(key: str, value: str | int) -> str:
    """The tag or field has this value."""
    return f"{name(key)} = {text(value) if isinstance(value, str) else value}"


def unlike(key: str, value: str) -> str:
    """The tag or field has another value."""
    return f"{name(key)} != {text(value)}"


def among(key: str, *values: str) -> str:
    """The tag has one of these values."""
    return f"{name(key)} =~ /^({'|'.join(re.escape(v) for v in values)})$/"


def matches(key: str, variable: str) -> str:
    """The tag has a value that is chosen in a variable of the dashboard; "All" matches every value."""
    return f"{name(key)} =~ /^${{{variable}:regex}}$/"


#: The server is among those chosen.
SERVER = matches("server", "server")


def mentions(key: str, variable: str) -> str:
    """The string field names a chosen client among others; 192.0.2.1 is not found in 192.0.2.10."""
    edge = "[^0-9a-fA-F.:]"
    return f"{name(key)} =~ /(^|{edge})${{{variable}:regex}}($|{edge})/"


@dataclass(frozen=True)
class Select:
    """One SELECT.

    Parameters
    ----------
    fields
        What is selected, as it stands in the query.
    source
        Measurement, or further :class:`Select` that are read together.
    where
        Conditions, all of which must hold.
    every
        Length of the groups of time, None for none.
    by
        Tags to group by; ``"*"`` alone means all.
    fill
        What a group without points gives: ``null``, ``none``, ``previous`` or a number. Only with `every`.
    time
        Condition on the time; ``$timeFilter`` is the dashboard's range. Empty for none.
    tail
        Clauses at the end: ORDER BY, LIMIT, SLIMIT.
    """

    fields: str
    source: str | tuple[Select, ...]
    where: tuple[str, ...] = ()
    every: str | None = None
    by: tuple[str, ...] = ()
    fill: str | None = None
    time: str = "$timeFilter"
    tail: str = ""

    def __str__(self) -> str:
        single = isinstance(self.source, str)
        source = name(str(self.source)) if single else ", ".join(f"({inner})" for inner in self.source)
        parts = ["SELECT", self.fields, "FROM", source]
        conditions = [*self.where, *([self.time] if self.time else [])]
        if conditions:
            parts.append("WHERE " + " AND ".join(conditions))
        groups = [f"time({self.every})"] if self.every else []
        groups += [tag if tag == "*" else name(tag) for tag in self.by]
        if groups:
            parts.append("GROUP BY " + ", ".join(groups))
        if self.fill is not None:
            if self.every is None:
                raise ValueError("fill() needs groups of time")
            parts.append(f"fill({self.fill})")
        if self.tail:
            parts.append(self.tail)
        return " ".join(parts)


def zero_where(
    table: str,
    counted: tuple[str, ...],
    present: tuple[str, ...],
    *,
    every: str | None = BIN,
    by: tuple[str, ...] = (),
    time: str = "$timeFilter",
    field: str = "count",
    label: str = "count",
) -> Select:
    """Sum of `field` over the rows of `counted`, 0 where there are only rows of `present`, null where there are none.

    For what happens rarely: a bin without a deferral has no row. fill(0) would also give 0 where no line was read at
    all, and in the bins at both edges that are not (wholly) in the range; this tells "none" from "not known".
    """
    return Select(
        f"sum({name('n')}) AS {name(label)}",
        (
            Select(f"{name(field)} AS {name('n')}", table, counted, by=by, time=time),
            Select(f"0 * {name(field)} AS {name('n')}", table, present, by=by, time=time),
        ),
        every=every,
        by=by,
        fill="null" if every else None,
        time=time,
    )


def share(
    table: str,
    part: tuple[str, ...],
    rest: tuple[str, ...],
    *,
    every: str | None = BIN,
    by: tuple[str, ...] = (),
    time: str = "$timeFilter",
    label: str = "share",
    least: int | None = None,
) -> Select:
    """Sum of the counts of `part` over that of `part` and `rest`, two conditions that no row meets both of.

    InfluxQL cannot count by condition in one pass: each source gives both columns, one of them as 0. With `least` the share
    is 0 where the part sums to fewer: a bin that was left out would leave the one before it the newest.
    """
    count, p, a = name("count"), name("part"), name("whole")
    sources = (
        Select(f"{count} AS {p}, {count} AS {a}", table, part, by=by, time=time),
        Select(f"0 * {count} AS {p}, {count} AS {a}", table, rest, by=by, time=time),
    )
    fill = "null" if every else None
    if least is None:
        return Select(
            f"sum({p}) / sum({a}) AS {name(label)}", sources, every=every, by=by, fill=fill, time=time
        )
    summed = Select(
        f"sum({p}) AS {p}, sum({a}) AS {a}",
        sources,
        every=every,
        by=by,
        fill="none" if every else None,
        time=time,
    )
    # 1 from `least` on, 0 below it: InfluxQL has no other conditional.
    enough = f"ceil(({p} - {least - 0.5:g}) / 1000000000)"
    return Select(f"{p} / {a} * {enough} AS {name(label)}", (summed,), by=by, time="")
