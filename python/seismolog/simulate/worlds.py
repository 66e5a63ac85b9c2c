"""Fast in-memory traffic of one mail server and its DNS queries, with known truth.

What it is for
    Questions that need hundreds of repetitions: do 95 % intervals cover the truth, does the
    deferral test have both its error rates, do outlying bins pull the fit. Writing and reading
    log text for each repetition would take minutes; a world takes about a millisecond.

How it works
    Intensities of mail and POP follow a day and week shape times the exponential of an AR(1)
    process, so that neighbouring bins resemble each other as they do in real life. Given the
    counts of a bin, queries are drawn from a discrete model of what one message causes::

        queries of a message = 2 + 4 K,    K ~ negative binomial, mean n(1-q) = (m_S - 2) / 4
        queries of a POP session ~ Poisson(m_P)
        queries of a deferral ~ Poisson(m_SD)

    (the linear form is equations 1-3 and 10-12 of the 2003 study; the distribution of K is ours).
    Sums of independent negative binomials are negative binomial, so a whole bin is one draw.
    A gamma factor of mean 1 per bin adds overdispersion; it may be autocorrelated.

Limits
    One mail server, one DNS server, no clients, no names. The full model, with text, look-ups by
    name and a real resolver cache, is in ``seismolog.simulate.scenarios``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from seismolog.simulate.shape import ar1, day_shape

__all__ = ["world", "worlds"]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _bin_seconds(text: str) -> int:
    """Read a bin width such as ``10m``.

    Raises
    ------
    ValueError
        When it is no positive whole number followed by s, m, h or d.
    """
    match = re.fullmatch(r"([1-9]\d*)([smhd])", text)
    if match is None:
        raise ValueError(f"bin {text!r}: expected a whole number and a unit, such as 1m, 10m or 1h")
    return int(match[1]) * _UNITS[match[2]]


def world(
    seed: int,
    *,
    bins: int = 1008,
    bin: str = "10m",  # noqa: A002  (the word of the command line)
    m_s: float = 8.6,
    m_p: float = 1.0,
    m_sd: float = 0.0,
    overdispersion: float = 0.005,
    residual_autocorrelation: float = 0.3,
    independent: bool = True,
    outbreak: bool = False,
    contamination: float = 0.0,
    messages: float = 200.0,
    sessions: float = 200.0,
    baseline: float = 0.0,
    start: datetime | None = None,
) -> pl.DataFrame:
    """One world: counts per bin of a mail server, and the DNS queries that they caused.

    Parameters
    ----------
    seed
        The same seed and parameters give the same frame.
    bins, bin
        Length and bin width; 1008 bins of ``10m`` are a week.
    m_s, m_p, m_sd
        True queries per accepted message (at least 2), per POP session and per deferral.
    overdispersion
        Squared coefficient of variation of the bin's common factor on the queries; 0 for none.
    residual_autocorrelation
        Lag-one autocorrelation of that factor, in [0, 1).
    independent
        False lets a resolver cache answer more of the look-ups when the load is high: the queries per
        message then depend on the load, and no linear model is right.
    outbreak
        Mass mail in the last six hours of the world: messages come to about twice their number, and
        deferrals rise from 2 % to 40 % of the deliveries attempted within an hour. Each message still
        causes ``m_s`` queries on average.
    contamination
        Share of bins that hold queries that no mail explains (0.5 to 2 times the mail's own).
    messages, sessions
        Mean accepted messages and POP sessions per *ten minutes*.
    baseline
        Mean queries per ten minutes that neither mail nor POP causes.
    start
        First bin, UTC; Monday 2002-07-08 15:00 (midnight in Japan) when left out.

    Returns
    -------
    polars.DataFrame
        ``bin_start`` Datetime(us, UTC), and UInt64 columns ``dns_query, smtp_accepted, pop_access,
        imap_access, smtp_sent, smtp_deferred, smtp_bounced, smtp_rejected, smtp_connection``; Boolean
        ``outlying`` (truth: the bin is contaminated) and ``outbreak`` (truth: mass mail runs).

    Raises
    ------
    ValueError
        For parameters outside their ranges.
    """
    if bins < 1:
        raise ValueError(f"bins = {bins}: expected at least 1")
    if m_s < 2 or m_p < 0 or m_sd < 0:
        raise ValueError(f"m_s = {m_s}, m_p = {m_p}, m_sd = {m_sd}: expected m_s >= 2, m_p >= 0, m_sd >= 0")
    if overdispersion < 0 or not 0 <= contamination <= 1 or not 0 <= residual_autocorrelation < 1:
        raise ValueError(
            "overdispersion must not be negative, contamination in [0, 1], autocorrelation in [0, 1)"
        )
    if messages < 0 or sessions < 0 or baseline < 0:
        raise ValueError(
            f"messages = {messages}, sessions = {sessions}, baseline = {baseline}: expected none negative"
        )
    width = _bin_seconds(bin)
    first = start or datetime(2002, 7, 7, 15, tzinfo=UTC)
    rng = np.random.default_rng([seed, 2002])
    seconds = np.arange(bins) * width
    # Local time is Japan's, nine hours ahead and without summer time.
    local = seconds + 9 * 3600 + first.hour * 3600 + first.minute * 60
    weekday = (first.weekday() + local // 86400) % 7
    shape = day_shape(local % 86400) * np.where(weekday >= 5, 0.45, 1.0)
    ten_minutes = width / 600
    # 0.95 a ten-minute step, whatever the width of the bins.
    memory = 0.95**ten_minutes
    mail_rate = messages * ten_minutes * shape * np.exp(ar1(rng, bins, memory, 0.3))
    pop_rate = sessions * ten_minutes * shape * np.exp(ar1(rng, bins, memory, 0.3))

    running = np.zeros(bins, dtype=bool)
    first_attempts_deferred = 0.008 * np.exp(ar1(rng, bins, memory, 0.7))
    if outbreak:
        since = seconds - (bins * width - 6 * 3600)
        running = since >= 0
        ramp = np.clip(since / 3600, 0.0, 1.0) * running
        mail_rate = mail_rate + messages * ten_minutes * 0.9 * np.sqrt(ramp)
        first_attempts_deferred = first_attempts_deferred + 0.29 * ramp

    accepted = rng.poisson(mail_rate)
    pop = rng.poisson(pop_rate)
    sent, deferred, bounced = _deliveries(rng, accepted, first_attempts_deferred, max(1, round(1800 / width)))
    rejected = rng.poisson(0.02 * mail_rate)

    factor = _common_factor(rng, bins, overdispersion, residual_autocorrelation)
    per_message = (m_s - 2) / 4
    if not independent:
        # The hit rate of a cache rises with the load and saturates.
        load = mail_rate / max(1e-9, float(mail_rate.mean()))
        hit = 0.6 * load / (0.5 + load)
    else:
        hit = np.zeros(bins)
    look_ups = _per_message_domains(rng, accepted, per_message)
    from_mail = (2 * accepted + 4 * look_ups) * factor * (1 - hit)
    # Rounding at random keeps the mean exact.
    dns = np.floor(from_mail + rng.random(bins)).astype(np.int64)
    dns += rng.poisson(m_p * pop) + rng.poisson(m_sd * deferred) + rng.poisson(baseline * ten_minutes, bins)

    outlying = rng.random(bins) < contamination
    dns += np.where(outlying, rng.poisson(rng.uniform(0.5, 2.0, bins) * (8.6 * mail_rate + 1)), 0)

    step = timedelta(seconds=width)
    columns = {
        "dns_query": dns,
        "smtp_accepted": accepted,
        "pop_access": pop,
        "imap_access": np.zeros(bins, dtype=np.int64),
        "smtp_sent": sent,
        "smtp_deferred": deferred,
        "smtp_bounced": bounced,
        "smtp_rejected": rejected,
        "smtp_connection": accepted + rejected,
    }
    times = pl.Series("bin_start", [first + i * step for i in range(bins)], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        [times, *(pl.Series(name, values.astype(np.uint64)) for name, values in columns.items())]
    ).with_columns(pl.Series("outlying", outlying), pl.Series("outbreak", running))


def worlds(count: int, *, first_seed: int = 0, **parameters: object) -> Iterator[tuple[int, pl.DataFrame]]:
    """``count`` worlds with seeds from ``first_seed`` on, as pairs of seed and frame.

    Keyword arguments are those of :func:`world`.
    """
    for seed in range(first_seed, first_seed + count):
        yield seed, world(seed, **parameters)  # type: ignore[arg-type]


def _deliveries(
    rng: np.random.Generator, accepted: Counts, share_deferred: Floats, interval: int
) -> tuple[Counts, Counts, Counts]:
    """Sent, deferred and bounced lines per bin.

    A message has 1.1 recipients on average. A deferred one is tried again every ``interval`` bins, and
    put off again with probability 0.5, so that deferrals trail the mail that caused them.
    """
    bins = len(accepted)
    recipients = accepted + rng.poisson(0.1 * accepted)
    bounced = rng.binomial(recipients, 0.01)
    tried = recipients - bounced
    new = rng.binomial(tried, np.minimum(share_deferred, 0.9))
    deferred = new.copy()
    sent = tried - new
    waiting = new
    while waiting.any():
        retried = np.zeros(bins, dtype=np.int64)
        retried[interval:] = waiting[:-interval] if interval < bins else 0
        again = rng.binomial(retried, 0.5)
        deferred = deferred + again
        sent = sent + retried - again
        waiting = again
    return sent, deferred, bounced


def _per_message_domains(rng: np.random.Generator, accepted: Counts, mean: float) -> Counts:
    """Sum over a bin's messages of K, the foreign domains of one: negative binomial of size 4."""
    if mean == 0:
        return np.zeros_like(accepted)
    size = 4.0
    total = np.zeros_like(accepted)
    some = accepted > 0
    total[some] = rng.negative_binomial(size * accepted[some], size / (size + mean))
    return total


def _common_factor(rng: np.random.Generator, bins: int, overdispersion: float, rho: float) -> Floats:
    """Factors of mean 1 and variance ``overdispersion``; the log has lag-one correlation ``rho``."""
    if overdispersion == 0:
        return np.ones(bins)
    # Log-normal: a gamma marginal differs by less than the noise of a test at these variances.
    sd = float(np.sqrt(np.log1p(overdispersion)))
    factor: Floats = np.exp(ar1(rng, bins, rho, sd) - sd * sd / 2)
    return factor
