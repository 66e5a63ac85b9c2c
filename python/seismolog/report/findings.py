"""What stands out in an analysis: sentences with numbers, times and a command that shows the lines.

These are readings of the curves on the page, not alarms. Each is one function, a pure function of the
analysis, with its rule written at its head; the thresholds are starting points and named below. They look at
the whole record at once and know nothing of other days, so they say "against the rest of this record".

Severity is ``critical`` where mail or DNS service suffers while it lasts, ``warning`` where someone should
look, ``info`` where a reader of the report should know. ``analyze --fail-on`` goes by it.

Limits: at most :data:`PER_RULE` findings a rule (:data:`MOST_ONSETS` clients), the largest first; a record
shorter than three hours has too little rest to compare with, and only the input and model rules speak.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from seismolog.report.analysis import SEVERITIES, Finding
from seismolog.report.text import bin_name, duration, fixed, integer, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import numpy.typing as npt

    from seismolog.report.analysis import Analysis, ModelResult

PER_RULE = 3
MOST_ONSETS = 6
BIN = timedelta(minutes=10)
MIN_RECORD = timedelta(hours=3)

DEFERRED_PER_BIN = 50  # N_SD in 10 minutes
DEFERRAL_EXCESS = 1.1  # N_to/N_from against its median
ROBUST_SIGMAS = 5.0
STANDARDIZED = 3.09  # upper p = 1e-3 of a normal
UNEXPLAINED_BINS = 3
ONSET_FACTOR = 10.0
ONSET_PER_BIN = 50.0
CACHE_BASELINE = 0.1
UNMATCHED_SHARE = 0.01
GAP = timedelta(hours=1)


def find(analysis: Analysis) -> tuple[Finding, ...]:
    """All findings, the most severe first, then in order of time."""
    found: list[Finding] = list(unreadable(analysis))
    if analysis.start and analysis.end and analysis.end - analysis.start >= MIN_RECORD:
        found += deferrals(analysis)
        found += onsets(analysis)
        found += gaps(analysis)
    for model in analysis.models:
        found += unexplained(analysis, model)
        found += absent(analysis, model)
        found += cache(analysis, model)
        found += deferral_test(analysis, model)
    found += unmatched(analysis)
    order = {name: rank for rank, name in enumerate(reversed(SEVERITIES))}
    return tuple(
        sorted(found, key=lambda f: (order[f.severity], f.start is None, f.start and f.start.timestamp()))
    )


def deferrals(analysis: Analysis) -> Iterator[Finding]:
    """N_to above N_from while deliveries are put off: peers refuse mail, or cannot be reached.

    A bin counts where N_SD ≥ 50 in 10 minutes and N_to/N_from exceeds its median over the calmer half of the
    record (by share of deferrals) by 10 % and by five robust standard deviations; two bins make a finding, and runs
    less than half an hour apart are one. The calmer half, so that an outbreak may fill half of the record.
    """
    for server in _servers(analysis, "smtp_deferred"):
        table = _wide(analysis, server)
        accepted, sent, deferred = (table[kind].to_numpy() for kind in _MAIL)
        attempted = sent + deferred
        ratio = np.log((attempted + 1) / (accepted + 1))
        # Night bins hold a handful of messages and their ratio is noise: the busier half says what is usual.
        share = deferred / np.maximum(attempted, 1)
        calm = (share <= np.median(share)) & (accepted >= 10)
        usual = ratio[calm & (accepted >= np.median(accepted[calm]))] if calm.any() else ratio[calm]
        if not len(usual):
            continue
        middle = float(np.median(usual))
        spread = 1.4826 * float(np.median(np.abs(usual - middle)))
        limit = middle + max(np.log(DEFERRAL_EXCESS), ROBUST_SIGMAS * spread)
        flags = (deferred >= DEFERRED_PER_BIN) & (attempted > accepted) & (ratio > limit)
        starts = table["bin_start"].to_list()
        # Once found, a run reaches back and on to where deferrals leave the ordinary at all.
        usual_deferred = float(np.median(deferred[calm]))
        weak = (deferred >= 3 * usual_deferred + 5) & (ratio > middle)
        wide = np.zeros(len(flags), bool)
        for low, high in _runs(flags, gap=3, least=2):
            low, high = _extend((low, high), weak)
            wide[low:high] = True
        runs = _runs(wide, gap=0, least=2)
        runs.sort(key=lambda run: -float(deferred[run[0] : run[1]].sum()))
        for low, high in runs[:PER_RULE]:
            start, end = starts[low], starts[high - 1] + BIN
            n_from, n_to, n_sd = (int(a[low:high].sum()) for a in (accepted, attempted, deferred))
            peak = low + int(deferred[low:high].argmax())
            outside = np.ones(len(deferred), bool)
            outside[low:high] = False
            before = float(np.median(deferred[outside])) if outside.any() else 0.0
            text = (
                f"From {_when(analysis, start)} to {_when(analysis, end, start)}, {server} attempted {integer(n_to)} "
                f"deliveries for {integer(n_from)} messages accepted (N_to/N_from = {number(n_to / max(n_from, 1))}, "
                f"usually {number(float(np.exp(middle)))}). It put off {percent(n_sd / max(n_to, 1))} of them; "
                f"at {_when(analysis, starts[peak], start)} deferrals stood at {integer(float(deferred[peak]))} "
                f"in 10 minutes, against a median of {integer(before)} in the other bins."
            )
            text += _queries_meanwhile(analysis, server, start, end)
            yield Finding(
                "deferrals",
                "critical" if n_sd > 0.2 * n_to else "warning",
                f"Deferrals climbed on {server} and N_to exceeded N_from",
                text,
                start,
                end,
                (server,),
                {
                    "accepted": n_from,
                    "attempted": n_to,
                    "deferred": n_sd,
                    "peak_deferred": float(deferred[peak]),
                    "usual_deferred": before,
                },
                _trace(analysis, start, end, by="kind,client", bin="all", server=server),
            )


def _queries_meanwhile(analysis: Analysis, server: str, start: datetime, end: datetime) -> str:
    """Whether D_q climbed with the deferrals, and whether the model still explains it (the paper's question)."""
    model = next((m for m in analysis.models if m.server == server and m.series.height), None)
    if model is None:
        return ""
    inside = pl.col("bin_start").is_between(start, end, closed="left")
    during = model.series.filter(inside).select(pl.col("observed", "calculated").sum(), bins=pl.len()).row(0)
    hour = timedelta(hours=1)
    before = model.series.filter(pl.col("bin_start").is_between(start - hour, start, closed="left"))
    if not during[2] or not during[1]:
        return ""
    share = during[0] / during[1]
    peak = model.series.filter(inside)["observed"].max()
    sentence = " "
    if before.height and isinstance(peak, float):
        mean = float(before["observed"].sum()) / before.height
        sentence += (
            f"Its DNS queries reached {integer(peak)} in {duration(model.bin)}, against {integer(mean)} on average in "
            f"the hour before; "
        )
    if abs(share - 1) <= 0.1:
        return sentence + f"N_S and N_P explain them (observed over calculated: {number(share)})."
    return sentence + f"N_S and N_P do not explain all of them (observed over calculated: {number(share)})."


def onsets(analysis: Analysis) -> Iterator[Finding]:
    """A client that begins to ask much more than it did: infected, hijacked, or newly put to work.

    In bins of 10 minutes (or the curve's), the level is at least ten times the client's median and 50 queries
    in 10 minutes, for three bins running with at most two quieter ones in between. Clients busy for more than
    half of the record have a high median and are not found; known mail servers are left out, their model
    speaks for them.
    """
    bins_of_ten = analysis.curve_bin / BIN
    found: list[tuple[float, Finding]] = []
    queries = analysis.curves.filter(pl.col("kind") == "dns_query")
    if not queries.height or analysis.start is None or analysis.end is None:
        return
    first = _floor(analysis.start, analysis.curve_bin)
    size = -int((first - analysis.end) // analysis.curve_bin)
    for client in queries["client"].unique(maintain_order=True).to_list():
        if client is None or client in analysis.mail_clients:
            continue
        values = _filled(queries.filter(pl.col("client") == client), first, analysis.curve_bin, size)
        usual = float(np.median(values))
        level = max(ONSET_FACTOR * usual, ONSET_PER_BIN * bins_of_ten)
        runs = [
            (low, high)
            for low, high in _runs(values >= level, gap=2, least=UNEXPLAINED_BINS)
            if (values[low:high] >= level).mean() >= 0.75
        ]
        if not runs or runs[0][0] == 0:
            continue
        low, high = max(runs, key=lambda run: float(values[run[0] : run[1]].sum()))
        start, end = first + low * analysis.curve_bin, first + high * analysis.curve_bin
        during = float(values[low:high].mean())
        later = values[high:]
        stopped = len(later) >= 6 and float(later.mean()) < 0.05 * during
        still = "" if high < size else " It was still going on when the record ended."
        text = (
            f"At {_when(analysis, start)} the queries of {client} rose from about {integer(usual)} to "
            f"{integer(during)} in {duration(analysis.curve_bin)}, and kept that up for {duration(end - start)}: "
            f"{integer(float(values[low:high].sum()))} in all."
        )
        text += f" After {_when(analysis, end, start)} they fell to almost nothing." if stopped else still
        found.append(
            (
                float(values[low:high].sum()),
                Finding(
                    "onset",
                    "warning",
                    f"{client} began to ask much more than before",
                    text,
                    start,
                    end,
                    (str(client),),
                    {"usual": usual, "level": during, "total": float(values[low:high].sum())},
                    _trace(
                        analysis, start, end, by="client,qtype", bin=bin_name(max(analysis.curve_bin, BIN))
                    ),
                ),
            )
        )
    found.sort(key=lambda item: -item[0])
    yield from (finding for _, finding in found[:MOST_ONSETS])


def unexplained(analysis: Analysis, model: ModelResult) -> Iterator[Finding]:
    """Observed above calculated: standardized residual > 3.09 and 20 % more than calculated, three bins running."""
    series = model.series
    if not series.height:
        return
    observed, calculated, score = (
        _column(series, name) for name in ("observed", "calculated", "standardized")
    )
    flags = (score > STANDARDIZED) & (observed > 1.2 * calculated)
    starts = series["bin_start"].to_list()
    runs = _runs(flags, gap=1, least=UNEXPLAINED_BINS)
    runs.sort(key=lambda run: -float((observed - calculated)[run[0] : run[1]].sum()))
    for low, high in runs[:PER_RULE]:
        start, end = starts[low], starts[high - 1] + model.bin
        seen, expected = float(observed[low:high].sum()), float(calculated[low:high].sum())
        yield Finding(
            "unexplained",
            "warning",
            f"{model.client or model.server} asked more than its mail explains",
            f"From {_when(analysis, start)} to {_when(analysis, end, start)}, {model.client} sent {integer(seen)} queries "
            f"where N_S and N_P account for {integer(expected)}: {integer(seen - expected)} "
            f"({percent((seen - expected) / max(expected, 1.0))}) are not explained. Something else on that host asks, or "
            f"its cache has lost its effect.",
            start,
            end,
            (model.server, model.client),
            {"observed": seen, "calculated": expected},
            _trace(analysis, start, end, by="client,qtype", bin=bin_name(model.bin)),
        )


def absent(analysis: Analysis, model: ModelResult) -> Iterator[Finding]:
    """Mail goes on and queries stop, by the model's own rule (see :mod:`seismolog.model.health`)."""
    longest = sorted(model.absences, key=lambda run: -run[2])[:PER_RULE]
    for start, end, calculated, observed in longest:
        yield Finding(
            "absent",
            "warning",
            f"Mail went on at {model.server} while its queries stopped",
            f"From {_when(analysis, start)} to {_when(analysis, end, start)}, {integer(calculated)} queries were to be "
            f"expected of {model.client} and {integer(observed)} were seen. The server asked another resolver, or could "
            f"not reach this one.",
            start,
            end,
            (model.server, model.client),
            {"observed": observed, "calculated": calculated},
            _trace(analysis, start, end, by="server,kind", bin=bin_name(model.bin)),
        )


def cache(analysis: Analysis, model: ModelResult) -> Iterator[Finding]:
    """The cache lost its effect: efficiency below half of its median (≥ 0.1) for three bins running."""
    if not model.series.height or "cache_efficiency" not in model.series.columns:
        return
    values = _column(model.series, "cache_efficiency")
    known = np.isfinite(values)
    if known.sum() < 12:
        return
    usual = float(np.median(values[known]))
    if usual < CACHE_BASELINE:
        return
    starts = model.series["bin_start"].to_list()
    spread = 1.4826 * float(np.median(np.abs(values[known] - usual)))
    flags = known & (np.nan_to_num(values, nan=1.0) < min(0.5 * usual, usual - 4 * spread))
    for low, high in _runs(flags, gap=1, least=UNEXPLAINED_BINS)[:PER_RULE]:
        start, end = starts[low], starts[high - 1] + model.bin
        during = float(np.nanmean(values[low:high]))
        yield Finding(
            "cache",
            "warning",
            f"The resolver cache lost its effect for {model.client or model.server}",
            f"From {_when(analysis, start)} to {_when(analysis, end, start)}, the cache saved {percent(during)} of the "
            f"look-ups that the mail would cause without one; {percent(usual)} is the median of the record.",
            start,
            end,
            (model.server, model.client),
            {"cache_efficiency": during, "usual": usual},
            _trace(analysis, start, end, by="client,qtype", bin=bin_name(model.bin)),
        )


def deferral_test(analysis: Analysis, model: ModelResult) -> Iterator[Finding]:
    """Whether deferred deliveries cause queries of their own: the paper's equation 12, with an interval."""
    test = model.residual_vs_deferred
    if test is None:
        return
    yield Finding(
        "deferral_test",
        "info",
        f"Deferred mail {'does not add' if test.low <= 0 <= test.high else 'goes with a change in'} "
        f"queries on {model.server}" if test.low <= 0 <= test.high or test.high < 0
        else f"Deferred mail adds queries on {model.server}",
        deferral_sentence(model),
        subjects=(model.server, model.client),
        numbers={"r": test.r, "low": test.low, "high": test.high},
        trace=("seismolog", "fit", *_paths(analysis), "--server", model.server),
    )  # fmt: skip


def deferral_sentence(model: ModelResult) -> str:
    """The deferral test in a sentence, with its correlation and interval."""
    test = model.residual_vs_deferred
    if test is None:
        return model.deferral_note or "The deferral test was not made: too few bins, or no deferred delivery."
    numbers = f"r = {fixed(test.r, 2)}, 95 % interval {fixed(test.low, 2)} to {fixed(test.high, 2)}"
    if test.low <= 0 <= test.high:
        return (
            f"No correlation was found between the residual and N_SD ({numbers}). Deferred deliveries cause no "
            f"queries that N_S and N_P do not already explain, as in the 2003 study."
        )
    if test.low > 0:
        return (
            f"The residual rises with N_SD ({numbers}): deferred deliveries cause queries of their own, unlike in "
            f"the 2003 study."
        )
    return (
        f"The residual falls as N_SD rises ({numbers}): while deliveries are put off, fewer queries come than N_S "
        f"and N_P account for. Retries to the same hosts are answered from the cache."
    )


def gaps(analysis: Analysis) -> Iterator[Finding]:
    """A server without a counted line for an hour or more, twenty times its usual longest pause."""
    for server, group in analysis.traffic.group_by("server", maintain_order=True):
        times = group["bin_start"].unique().sort()
        if len(times) < 60:
            continue
        pauses = times.diff().drop_nulls()
        micros = pauses.dt.total_microseconds()
        usual = timedelta(microseconds=float(micros.quantile(0.99) or 0.0))
        longest = timedelta(microseconds=float(micros.to_numpy().max()))
        if longest < max(GAP, 20 * usual):
            continue
        place = int(micros.to_numpy().argmax())
        start, end = times[place] + timedelta(minutes=1), times[place + 1]
        yield Finding(
            "gap",
            "warning",
            f"No counted line of {server[0]} for {duration(end - start)}",
            f"Between {_when(analysis, start)} and {_when(analysis, end, start)} nothing of {server[0]} was counted; "
            f"its usual pauses end within {duration(usual)}. Either the host was silent or a log is missing.",
            start,
            end,
            (str(server[0]),),
            {"seconds": (end - start).total_seconds()},
            _trace(
                analysis, start - timedelta(hours=1), end + timedelta(hours=1), by="server,kind", bin="10m"
            ),
        )


def unreadable(analysis: Analysis) -> Iterator[Finding]:
    """A file that could not be read to its end."""
    for file in analysis.input.files:
        if file.error is not None:
            offset, message = file.error
            yield Finding(
                "unreadable",
                "warning",
                f"{file.path} could not be read to its end",
                f"Reading stopped at byte {integer(offset)}: {message}. What stood before it "
                f"({integer(file.lines)} lines) is counted.",
                subjects=(file.path,),
                numbers={"offset": offset},
                trace=("seismolog", "explain", "--unmatched", file.path),
            )


def unmatched(analysis: Analysis) -> Iterator[Finding]:
    """More than one line in a hundred that no dialect knows."""
    summary = analysis.input
    if summary.lines and summary.unmatched > UNMATCHED_SHARE * summary.lines:
        yield Finding(
            "unmatched",
            "info",
            f"{percent(summary.unmatched / summary.lines)} of the lines were not understood",
            f"{integer(summary.unmatched)} of {integer(summary.lines)} lines belong to no daemon that is known. "
            f"They are grouped by shape below; counts of those daemons are missing from the curves.",
            numbers={"unmatched": summary.unmatched, "lines": summary.lines},
            trace=("seismolog", "explain", "--unmatched", *_paths(analysis)),
        )


_MAIL = ("smtp_accepted", "smtp_sent", "smtp_deferred")


def _servers(analysis: Analysis, kind: str) -> list[str]:
    chosen = analysis.traffic.filter(pl.col("kind") == kind)
    return [str(name) for name in chosen["server"].unique().sort().to_list()]


def _wide(analysis: Analysis, server: str) -> pl.DataFrame:
    """Counts of a mail server in bins of 10 minutes, one column a kind, without missing bins."""
    assert analysis.start is not None and analysis.end is not None
    counts = (
        analysis.traffic.filter((pl.col("server") == server) & pl.col("kind").is_in(_MAIL))
        .group_by(pl.col("bin_start").dt.truncate("10m"), "kind")
        .agg(pl.col("count").sum().cast(pl.Float64))
        .pivot("kind", index="bin_start", values="count")
    )
    grid = pl.datetime_range(
        _floor(analysis.start, BIN),
        analysis.end,
        BIN,
        closed="left",
        time_zone="UTC",
        time_unit="us",
        eager=True,
    )
    table = pl.DataFrame({"bin_start": grid}).join(counts, on="bin_start", how="left")
    missing = [pl.lit(0.0).alias(kind) for kind in _MAIL if kind not in table.columns]
    return table.with_columns(missing).with_columns(pl.col(_MAIL).fill_null(0.0)).sort("bin_start")


def _column(series: pl.DataFrame, name: str) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = series[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values


def _filled(frame: pl.DataFrame, first: datetime, step: timedelta, size: int) -> npt.NDArray[np.float64]:
    values = np.zeros(size)
    places = (frame["bin_start"].dt.epoch("us").to_numpy() - int(first.timestamp() * 1e6)) // int(
        step / timedelta(microseconds=1)
    )
    inside = (places >= 0) & (places < size)
    np.add.at(values, places[inside], frame["count"].cast(float).to_numpy()[inside])
    return values


def _floor(moment: datetime, step: timedelta) -> datetime:
    seconds = int(step.total_seconds())
    return moment - timedelta(seconds=moment.timestamp() % seconds)


def _runs(flags: Sequence[bool] | npt.NDArray[np.bool_], *, gap: int, least: int) -> list[tuple[int, int]]:
    """Half-open index runs of set flags; runs at most ``gap`` bins apart are joined, short ones dropped."""
    runs: list[list[int]] = []
    for place in np.flatnonzero(np.asarray(flags)):
        if runs and place - runs[-1][1] <= gap:
            runs[-1][1] = int(place) + 1
        else:
            runs.append([int(place), int(place) + 1])
    return [(low, high) for low, high in runs if high - low >= least]


def _extend(run: tuple[int, int], weak: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """The run, lengthened on both sides over the bins where a weaker condition holds without a break."""
    low, high = run
    while low > 0 and weak[low - 1]:
        low -= 1
    while high < len(weak) and weak[high]:
        high += 1
    return low, high


def _when(analysis: Analysis, moment: datetime, after: datetime | None = None) -> str:
    """A moment in the site's time; the day is left out where ``after`` is on the same day."""
    zone = ZoneInfo(analysis.timezone)
    local = moment.astimezone(zone)
    if after is not None and after.astimezone(zone).date() == local.date():
        return f"{local:%H:%M}"
    if (
        after is not None
        and local - after.astimezone(zone) <= timedelta(days=1)
        and f"{local:%H:%M}" == "00:00"
    ):
        return "midnight"
    return f"{local:%H:%M} on {local.day} {local:%b}"


def _paths(analysis: Analysis) -> tuple[str, ...]:
    return analysis.paths or ("PATH",)


def _trace(
    analysis: Analysis,
    start: datetime,
    end: datetime,
    *,
    by: str,
    bin: str,  # noqa: A002 - the word of the field
    server: str | None = None,
) -> tuple[str, ...]:
    """The ``seismolog count`` command that shows who and what made up a stretch of time."""
    zone = ZoneInfo(analysis.timezone)
    command = ["seismolog", "count", *_paths(analysis), "--by", by, "--bin", bin]
    command += [
        "--since",
        f"{start.astimezone(zone):%Y-%m-%dT%H:%M}",
        "--until",
        f"{end.astimezone(zone):%Y-%m-%dT%H:%M}",
    ]
    if analysis.timezone != "UTC":
        command += ["--tz", analysis.timezone]
    if server:
        command += ["--server", server]
    return tuple(command)
