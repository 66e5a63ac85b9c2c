"""The report as a web page: sections in the order an administrator asks for them.

What is this a record of? What stands out? Then the curves, the clients, the model, and at the end what the
answers rest on: files read, lines not understood, guesses made. Each section is one function from the analysis
to HTML; style and script are files under ``assets``, put into the page so that it is one file.

Limits: twelve clients are drawn; the JSON document and ``seismolog count`` have the rest.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import shlex
from datetime import UTC, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import polars as pl

from seismolog.report.analysis import KIND_LABELS, KIND_SYMBOLS
from seismolog.report.charts import Figure, Mark, Panel, Series, figure, flags, small, strip, time_axis
from seismolog.report.curves import Band, choose_axis
from seismolog.report.findings import deferral_sentence
from seismolog.report.incidents import incidents, ordered
from seismolog.report.text import duration, fixed, html, integer, json_for_script, number, percent, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from seismolog.report.analysis import Analysis, Coefficient, ModelResult
    from seismolog.report.curves import Axis

MINUTE = timedelta(minutes=1)
TOP_CLIENTS = 12
MAX_MODELS = 12
MAX_FILES = 400
MAX_SHAPES = 40

D_Q = '<i class="math">D</i><sub>q</sub>'
N_S = '<i class="math">N</i><sub>S</sub>'
N_P = '<i class="math">N</i><sub>P</sub>'
N_TO = '<i class="math">N</i><sub>to</sub>'
N_FROM = '<i class="math">N</i><sub>from</sub>'
N_SS = '<i class="math">N</i><sub>SS</sub>'
N_SD = '<i class="math">N</i><sub>SD</sub>'
M_S = '<i class="math">m</i><sub>S</sub>'
M_P = '<i class="math">m</i><sub>P</sub>'

_SYMBOLS = {"D_q": D_Q, "N_S": N_S, "N_P": N_P, "N_SS": N_SS, "N_SD": N_SD}
_COEFFICIENTS = {"smtp_accepted": M_S, "pop_access": M_P}


_WRITTEN = re.compile(r"\b([DNm])_(q|SS|SD|S|P|to|from)\b")


def prose(text: str) -> str:
    """A sentence of ours, escaped, with the study's symbols set as symbols (``N_SD`` as *N* with an index)."""
    return _WRITTEN.sub(r'<i class="math">\1</i><sub>\2</sub>', html(text))


def page(analysis: Analysis) -> str:
    """The whole document."""
    style, script = _asset("report.css"), _asset("report.js")
    sections = [
        ("incidents", "Incidents", incidents(analysis)),
        ("findings", "What stands out", _findings(analysis)),
        ("traffic", "Traffic", _traffic(analysis)),
        ("model", "Model", _models(analysis)),
        ("clients", "Clients", _clients(analysis)),
        ("input", "What was read", _input(analysis)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in sections)
    body = "".join(
        f'<section id="{name}" aria-labelledby="{name}-h" tabindex="-1"><h2 id="{name}-h">{title}</h2>{content}</section>'
        for name, title, content in sections
    )
    title = f"{analysis.site or 'seismolog'}: DNS and mail traffic, {_span_text(analysis)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">'
        f"<title>{html(title)}</title><style>{style}</style></head><body>"
        f'<a class="skip" href="#findings">Skip to what stands out</a>'
        f"{_masthead(analysis)}"
        f'<nav aria-label="Sections"><ul>{links}</ul>'
        f'<button type="button" id="theme" hidden>Theme: <span>auto</span></button></nav>'
        f"<main>{body}</main>{_footer(analysis)}"
        f'<script type="application/json" id="page-data">{json_for_script(_page_data(analysis))}</script>'
        f"<script>{script}</script></body></html>\n"
    )


def _asset(name: str) -> str:
    return (files("seismolog.report") / "assets" / name).read_text(encoding="utf-8").strip()


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        f"form-action 'none'"
    )


def _page_data(analysis: Analysis) -> dict[str, Any]:
    command = ["seismolog", "count", *(analysis.paths or ("PATH",)), "--by", "kind,client", "--bin", "all"]
    if analysis.timezone != "UTC":
        command += ["--tz", analysis.timezone]
    return {"zone": analysis.timezone, "command": shlex.join(command)}


# --- masthead ---------------------------------------------------------------------------------------------------


def _masthead(analysis: Analysis) -> str:
    summary = analysis.input
    counts = analysis.counts()
    drawing = ""
    if analysis.start and analysis.end:
        axis = choose_axis(analysis.start, analysis.end, analysis.timezone)
        kind = "dns_query" if "dns_query" in counts else next(iter(counts), "")
        frame = analysis.traffic.filter(pl.col("kind") == kind)
        label = f"{KIND_LABELS.get(kind, kind)} per minute, {_span_text(analysis)}"
        drawing = (
            f'<div class="drum">{strip(axis, axis.band(frame, "count", MINUTE), label)}'
            f"{flags(axis, _marks(analysis, None))}{time_axis(axis)}</div>"
        )
    matched = summary.matched / summary.lines if summary.lines else None
    known = (summary.matched + summary.ignored) / summary.lines if summary.lines else None
    read = sum(file.bytes for file in summary.files)
    readings = [
        ("Lines read", integer(summary.lines), f"{_plural(len(summary.files), 'file')}, {size(read)}"),
        (
            "Understood",
            percent(known),
            f"{percent(matched)} counted, {integer(summary.unmatched)} lines not understood",
        ),
    ]
    for kind in ("dns_query", "smtp_accepted", "pop_access", "smtp_deferred"):
        if kind in counts and len(readings) < 6:
            symbol = _SYMBOLS[KIND_SYMBOLS[kind]]
            detail = KIND_LABELS[kind]
            if kind == "dns_query" and analysis.client_count:
                detail += f" of {_plural(analysis.client_count, 'client')}"
            readings.append((symbol, integer(counts[kind]), detail))
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{value}<small>{detail}</small></dd></div>"
        for name, value, detail in readings
    )
    guesses = len(summary.guesses)
    guessed = f' <a href="#guesses">{_plural(guesses, "guess", "guesses")} made.</a>' if guesses else ""
    return (
        f'<header class="masthead"><p class="brand">seismolog<span> · DNS and mail traffic</span></p>'
        f"<h1>{html(analysis.site or _servers_text(analysis))}</h1>"
        f'<p class="when">{_span_html(analysis)}</p><p class="lede">{_lede(analysis)}{guessed}</p>{drawing}'
        f'<dl class="readings">{cells}</dl></header>'
    )


def _lede(analysis: Analysis) -> str:
    """The report in a sentence or two."""
    urgent = [f for f in analysis.findings if f.severity != "info"]
    if not analysis.traffic.height:
        return "Nothing in these files was counted. Below is what was read and why."
    told = [i for i in ordered(analysis.incidents) if i.suppressed is None]
    if told:
        local = _local(analysis, told[0].start)
        others = f' <a href="#incidents">{_plural(len(told) - 1, "more incident").capitalize()} below.</a>'
        return (
            f"{html(told[0].cause[:1].upper() + told[0].cause[1:])}: {html(told[0].subjects[0])}, from {local:%H:%M} on "
            f"{local.day} {local:%B}.{others if len(told) > 1 else ''}"
        )
    if not urgent:
        return "Nothing in the curves stands out."
    first = urgent[0]
    rest = len(urgent) - 1
    more = f" {_plural(rest, 'more finding').capitalize()} below." if rest else ""
    when = ""
    if first.start:
        local = _local(analysis, first.start)
        when = f", from {local:%H:%M} on {local.day} {local:%B}"
    return f"{prose(first.title)}{when}.{more}"


def _servers_text(analysis: Analysis) -> str:
    names = (
        sorted({str(name) for name in analysis.traffic["server"].unique().to_list()})
        if analysis.traffic.height
        else []
    )
    if not names:
        return "No traffic"
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _span_text(analysis: Analysis) -> str:
    if analysis.start is None or analysis.end is None:
        return "no time"
    first, last = _local(analysis, analysis.start), _local(analysis, analysis.end)
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} {analysis.timezone}"


def _span_html(analysis: Analysis) -> str:
    if analysis.start is None or analysis.end is None:
        return "No event was counted"
    first, last = _local(analysis, analysis.start), _local(analysis, analysis.end - timedelta(seconds=1))
    length = duration(analysis.end - analysis.start)
    if first.date() == last.date():
        text = f"{first.day} {first:%B %Y}, {first:%H:%M}–{_local(analysis, analysis.end):%H:%M}"
    elif (first.year, first.month) == (last.year, last.month):
        text = f"{first.day}–{last.day} {last:%B %Y}"
    else:
        text = f"{first.day} {first:%B %Y} – {last.day} {last:%B %Y}"
    return f"{text} · {length} · {html(analysis.timezone)}"


def _local(analysis: Analysis, moment: datetime) -> datetime:
    from zoneinfo import ZoneInfo

    return moment.astimezone(ZoneInfo(analysis.timezone))


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{integer(count)} {one if count == 1 else many or one + 's'}"


# --- findings ---------------------------------------------------------------------------------------------------


def _findings(analysis: Analysis) -> str:
    if not analysis.findings and any(i.suppressed is None for i in analysis.incidents):
        return '<p>Beside the <a href="#incidents">incidents</a> nothing in this record stands out.</p>'
    if not analysis.findings:
        return "<p>Nothing in this record stands out against the rest of it. The curves below show what it is made of.</p>"
    items = ""
    for place, finding in enumerate(analysis.findings, 1):
        when = ""
        if finding.start and finding.end:
            first, last = _local(analysis, finding.start), _local(analysis, finding.end)
            same = first.date() == last.date()
            close = f"{last:%H:%M}" if same else f"{last.day} {last:%b} {last:%H:%M}"
            when = (
                f'<p class="time"><time datetime="{finding.start.astimezone(UTC):%Y-%m-%dT%H:%MZ}">{first.day} {first:%b} '
                f'{first:%H:%M}</time>–<time datetime="{finding.end.astimezone(UTC):%Y-%m-%dT%H:%MZ}">{close}</time></p>'
            )
        command = _command(finding.trace, "Trace it") if finding.trace else ""
        items += (
            f'<li class="finding {finding.severity}" id="finding-{place}"><span class="no" aria-hidden="true">{place}</span>'
            f'<div><h3>{prose(finding.title)}</h3><p class="level"><span class="dot"></span>{finding.severity}</p>{when}'
            f"<p>{prose(finding.text)}</p>{command}</div></li>"
        )
    return (
        '<p class="section-lead">Read from the curves of this record alone, against the rest of it. Numbers mark the '
        f'same stretches in the charts.</p><ol class="findings">{items}</ol>'
    )


def _command(arguments: Iterable[str], label: str) -> str:
    # An option and its value stay on one line; the text that is copied has plain spaces.
    pieces: list[list[str]] = []
    for word in map(shlex.quote, arguments):
        if word.startswith("--") or not pieces or not pieces[-1][0].startswith("--") or len(pieces[-1]) == 2:
            pieces.append([word])
        else:
            pieces[-1].append(word)
    line = " ".join(f"<span>{html(' '.join(piece))}</span>" for piece in pieces)
    return (
        f'<div class="command"><span class="what">{label}</span><code>{line}</code>'
        f'<button type="button" class="copy" hidden>Copy</button></div>'
    )


def _marks(analysis: Analysis, names: set[str] | None, subjects: set[str] | None = None) -> list[Mark]:
    return [
        Mark(f.start, f.end, place, f.severity)
        for place, f in enumerate(analysis.findings, 1)
        if (names is None or f.name in names)
        and f.start
        and f.end
        and (subjects is None or subjects & set(f.subjects))
    ]


# --- traffic ----------------------------------------------------------------------------------------------------


def _traffic(analysis: Analysis) -> str:
    if analysis.start is None or analysis.end is None:
        return ""
    axis = choose_axis(analysis.start, analysis.end, analysis.timezone)
    by_kind = analysis.traffic.group_by("bin_start", "kind").agg(pl.col("count").sum())

    def band(*kinds: str) -> Band:
        chosen = by_kind.filter(pl.col("kind").is_in(kinds)).group_by("bin_start").agg(pl.col("count").sum())
        return axis.band(chosen, "count", MINUTE)

    counts = analysis.counts()
    thinned = _thinned(axis)
    figures = []
    panels = []
    if counts.get("dns_query"):
        panels.append(
            Panel([Series("dns", "D_q", f"{D_Q} DNS queries", band("dns_query"))], "queries a minute", 190)
        )
    mail = [
        Series(key, name, label, band(kind))
        for key, name, label, kind in (
            ("smtp", "N_S", f"{N_S} messages accepted", "smtp_accepted"),
            ("pop", "N_P", f"{N_P} POP sessions", "pop_access"),
            ("imap", "IMAP sessions", "IMAP sessions", "imap_access"),
        )
        if counts.get(kind)
    ]
    if mail:
        panels.append(Panel(mail, "events a minute", 160))
    if panels:
        figures.append(
            figure(
                Figure(
                    "chart-traffic",
                    "DNS queries and the mail behind them",
                    "Queries received, and the messages and mailbox sessions that cause them. "
                    "Where mail explains the queries, both panels have one shape.",
                    axis,
                    panels,
                    _marks(analysis, {"deferrals", "gap"}),
                    thinned,
                )
            )
        )
    if counts.get("smtp_sent") or counts.get("smtp_deferred"):
        sent, deferred = counts.get("smtp_sent", 0), counts.get("smtp_deferred", 0)
        accepted = counts.get("smtp_accepted", 0)
        relation = "N_to ≥ N_from holds" if sent + deferred >= accepted else "N_to < N_from"
        figures.append(
            figure(
                Figure(
                    "chart-deliveries",
                    "Deliveries attempted, done and deferred",
                    f"{N_TO} = {N_SS} + {N_SD}, beside the messages accepted, {N_FROM}. Normally "
                    f"{N_TO} ≈ {N_SS} ≈ {N_FROM} and few are deferred. Over this record "
                    f"{N_TO} = {integer(sent + deferred)}, {N_FROM} = {integer(accepted)}: "
                    f"<span class=whole>{prose(relation)}</span>.",
                    axis,
                    [
                        Panel(
                            [
                                Series(
                                    "to",
                                    "N_to",
                                    f"{N_TO} attempted",
                                    band("smtp_sent", "smtp_deferred"),
                                    "line",
                                    False,
                                ),
                                Series(
                                    "from",
                                    "N_from",
                                    f"{N_FROM} accepted",
                                    band("smtp_accepted"),
                                    "dash",
                                    False,
                                ),
                                Series("sent", "N_SS", f"{N_SS} done", band("smtp_sent"), "line", False),
                                Series(
                                    "deferred",
                                    "N_SD",
                                    f"{N_SD} deferred",
                                    band("smtp_deferred"),
                                    "area",
                                    False,
                                ),
                            ],
                            "deliveries a minute",
                            220,
                        )
                    ],
                    _marks(analysis, {"deferrals"}),
                    thinned,
                )
            )
        )
    return "".join(figures) + _kinds(analysis, counts)


def _thinned(axis: Axis) -> str:
    if axis.step <= MINUTE:
        return "One point a minute; nothing is thinned."
    return (
        f"Lines are means of {duration(axis.step)} ({integer(axis.count)} points); the band around a line runs from its "
        f"lowest to its highest minute."
    )


def _kinds(analysis: Analysis, counts: Mapping[str, int]) -> str:
    per_server = analysis.traffic.group_by("server", "kind").agg(pl.col("count").sum())
    servers = (
        per_server.group_by("server")
        .agg(pl.col("count").sum())
        .sort("count", "server", descending=[True, False])
    )
    names = [str(name) for name in servers["server"].to_list()]
    shown = names[:6]
    cells = {(str(server), str(kind)): int(count) for server, kind, count in per_server.iter_rows()}
    head = "".join(f'<th scope="col" class="num">{html(name, 40)}</th>' for name in shown)
    rest = '<th scope="col" class="num">other servers</th>' if len(names) > 6 else ""
    rows = ""
    for kind in [k for k in KIND_LABELS if counts.get(k)] + sorted(k for k in counts if k not in KIND_LABELS):
        symbol = _SYMBOLS.get(KIND_SYMBOLS.get(kind, ""), "")
        values = "".join(f'<td class="num">{_count(cells.get((name, kind)))}</td>' for name in shown)
        if rest:
            values += f'<td class="num">{_count(sum(cells.get((name, kind), 0) for name in names[6:]))}</td>'
        rows += (
            f'<tr><th scope="row">{html(KIND_LABELS.get(kind, kind))} {symbol}<code>{html(kind)}</code></th>'
            f'<td class="num"><strong>{integer(counts[kind])}</strong></td>{values}</tr>'
        )
    return (
        '<h3 id="counts">Counts by kind and server</h3><div class="scroll" tabindex="0" role="region" '
        'aria-labelledby="counts"><table class="counts"><thead><tr><th scope="col">Kind</th><th scope="col" class="num">'
        f"All</th>{head}{rest}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _count(value: int | None) -> str:
    return integer(value) if value else '<span class="none">–</span>'


# --- model ------------------------------------------------------------------------------------------------------


def _models(analysis: Analysis) -> str:
    if not analysis.models:
        if not analysis.traffic.height:
            return ""
        return (
            "<p>No model was fitted: it needs the DNS queries and the mail log of one mail server over the same time. "
            "Name the server's addresses under <code>[[mail_server]]</code> in the config, or let "
            "<code>seismolog init</code> find them.</p>"
        )
    lead = (
        f'<p class="section-lead">For each mail server, {D_Q} ≈ {M_S}{N_S} + {M_P}{N_P} (+ baseline), coefficients fitted '
        f"to this record. The 2003 study has {M_S} = 8.6 and {M_P} = 1. From {M_S} = 2 + 4<i>n</i>(1−<i>q</i>) only the "
        f"product <i>n</i>(1−<i>q</i>) can be read: <i>n</i> domains to a message and the share <i>q</i> of mail that "
        f"stays here come from the logs or the config.</p>"
    )
    shown = analysis.models[:MAX_MODELS]
    body = (
        lead
        + _model_table(shown)
        + "".join(_model(analysis, model, place) for place, model in enumerate(shown, 1))
    )
    if len(analysis.models) > MAX_MODELS:
        body += f"<p>{len(analysis.models) - MAX_MODELS} more models stand in the JSON document.</p>"
    return body


def _model_table(models: Iterable[ModelResult]) -> str:
    rows = ""
    for model in models:
        terms: list[tuple[str, Coefficient]] = list(model.coefficients.items())
        if model.baseline is not None:
            terms.append(("baseline", model.baseline))
        for place, (kind, term) in enumerate(terms):
            symbol = _COEFFICIENTS.get(kind, "")
            left = ""
            right = ""
            if place == 0:
                span = f' rowspan="{len(terms)}"'
                address = f"<code>{html(model.client)}</code>" if model.client else ""
                left = f'<th scope="rowgroup"{span}>{html(model.server, 60)}{address}</th>'
                left_out = f"{integer(model.rejected)} of {integer(model.bins)}" if model.bins else "–"
                right = (
                    f'<td class="num"{span}>{number(model.receive_product)}</td><td class="num"{span}>'
                    f'{number(model.r_squared)}</td><td class="num"{span}>{number(model.dispersion)}</td>'
                    f'<td class="num"{span}>{percent(model.cache_efficiency)}</td><td class="num"{span}>{left_out}</td>'
                )
            places = _decimals(term.std_error)
            rows += (
                f'<tr class="{"first" if place == 0 else ""}">{left}<td>{symbol} '
                f"{html('a bin of other causes' if kind == 'baseline' else KIND_LABELS.get(kind, kind))}</td>"
                f'<td class="num"><strong>{fixed(term.estimate, places)}</strong></td>'
                f'<td class="num">{fixed(term.std_error, places)}</td>'
                f'<td class="num">{fixed(term.low, places)} to {fixed(term.high, places)}</td>'
                f'<td class="num">{_paper(term.paper)}</td>'
                f"<td>{_interval(term)}</td>{right}</tr>"
            )
    return (
        '<h3 id="coefficients">Coefficients</h3><div class="scroll" tabindex="0" role="region" '
        'aria-labelledby="coefficients"><table class="model"><thead><tr><th scope="col">Mail server</th>'
        '<th scope="col">Queries by one of</th><th scope="col" class="num">Estimate</th>'
        '<th scope="col" class="num">Std. error</th><th scope="col" class="num">95 % interval</th>'
        '<th scope="col" class="num">2003</th><th scope="col"><span class="sr">Interval against the study</span></th>'
        '<th scope="col" class="num"><i>n</i>(1−<i>q</i>)</th><th scope="col" class="num"><i>R</i>²</th>'
        '<th scope="col" class="num">Dispersion</th><th scope="col" class="num">Cache efficiency</th>'
        f'<th scope="col" class="num">Outlying bins</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _decimals(std_error: float | None) -> int:
    """Decimals that leave two significant digits of the standard error, and so of everything beside it."""
    if std_error is None or not std_error > 0:
        return 2
    return min(4, max(0, 1 - math.floor(math.log10(std_error))))


def _paper(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _interval(term: Coefficient) -> str:
    """The interval as a bar, the estimate as a dot, the study's value as a tick, on a scale that holds them."""
    if term.low is None or term.high is None:
        return ""
    paper_value = term.estimate if term.paper is None else term.paper
    floor, top = min(term.low, paper_value), max(term.high, paper_value)
    reach = (top - floor) or max(abs(term.estimate), 1e-9)
    floor, top = floor - 0.25 * reach, top + 0.25 * reach

    def place(value: float) -> float:
        return 100 * (value - floor) / (top - floor)

    low, high, dot = place(term.low), place(term.high), place(term.estimate)
    paper = f'<i class="paper" style="left:{place(term.paper):.1f}%"></i>' if term.paper is not None else ""
    return (
        f'<span class="interval" aria-hidden="true"><i class="ci" style="left:{low:.1f}%;width:{max(1.0, high - low):.1f}%">'
        f'</i>{paper}<i class="dot" style="left:{dot:.1f}%"></i></span>'
    )


def _model(analysis: Analysis, model: ModelResult, place: int) -> str:
    series = model.series
    if not series.height:
        return ""
    first, last = series["bin_start"].min(), series["bin_start"].max()
    axis = choose_axis(first, last + model.bin, analysis.timezone, model.bin)  # type: ignore[arg-type, operator]
    per_minute = MINUTE / model.bin
    subjects = {model.server, model.client} - {""}
    thinned = (
        f"Bins of {duration(model.bin)}, as fitted."
        if axis.step == model.bin
        else f"Means of {duration(axis.step)}; the fit used bins of {duration(model.bin)}."
    )
    who = f"{html(model.client)} ({html(model.server, 60)})" if model.client else html(model.server, 60)
    terms = " + ".join(
        f"{number(c.estimate)}\u2009{_SYMBOLS.get(KIND_SYMBOLS.get(k, ''), html(KIND_LABELS.get(k, k)))}"
        for k, c in model.coefficients.items()
    )
    if model.baseline is not None and model.baseline.estimate:
        terms += f" + {number(model.baseline.estimate)} a bin"
    notes = "".join(f"<li>{prose(note)}</li>" for note in model.notes)
    out = figure(
        Figure(
            f"chart-model-{place}",
            f"Observed against calculated: {who}",
            f"Queries seen, and the {terms} that its mail accounts for; below, what is left.",
            axis,
            [
                Panel(
                    [
                        Series("calculated", "calculated", "calculated", axis.fold(series, "calculated", model.bin,
                               scale=per_minute), "dash", False),
                        Series("dns", "observed", f"{D_Q} observed", axis.fold(series, "observed", model.bin,
                               scale=per_minute), "line", False),
                    ],
                    "queries a minute",
                    200,
                ),
                Panel(
                    [Series("residual", "residual", "residual (observed − calculated)", axis.fold(series, "residual",
                            model.bin, scale=per_minute), "bars", False)],
                    "queries a minute",
                    100,
                    signed=True,
                ),
            ],
            _marks(analysis, {"unexplained", "absent", "deferrals"}, subjects),
            thinned,
        )
    )  # fmt: skip
    out += (
        f'<aside class="test"><h4>Do deferred deliveries cause queries?</h4><p>{prose(deferral_sentence(model))}</p>'
        f"</aside>"
    )
    if "cache_efficiency" in series.columns and series["cache_efficiency"].drop_nulls().len():
        weights = " + ".join(
            f"{v:g}\u2009{_SYMBOLS.get(KIND_SYMBOLS.get(k, ''), html(k))}"
            for k, v in model.cache_coefficients.items()
        )
        out += figure(
            Figure(
                f"chart-cache-{place}",
                f"Cache efficiency: {who}",
                f"1 − observed / ({weights}): the share of look-ups that never reach the DNS server because the resolver "
                f"cache answers them. Zero is no cache; below zero, more is asked than the mail accounts for. Bins where "
                f"the denominator is under 200 are left out.",
                axis,
                [
                    Panel(
                        [Series("cache", "cache efficiency", "cache efficiency",
                                axis.fold(series, "cache_efficiency", model.bin), "area", False)],
                        "share of look-ups saved",
                        130,
                        signed=True,
                        share=True,
                    )
                ],
                _marks(analysis, {"cache"}, subjects),
                thinned,
            )
        )  # fmt: skip
    return out + (f'<ul class="notes">{notes}</ul>' if notes else "")


# --- clients ----------------------------------------------------------------------------------------------------


def _clients(analysis: Analysis) -> str:
    if analysis.start is None or analysis.end is None or not analysis.clients.height:
        return ""
    queries = analysis.clients.filter(pl.col("kind") == "dns_query")
    kind = "dns_query" if queries.height else str(analysis.clients["kind"][0])
    ranking = analysis.clients.filter(pl.col("kind") == kind).sort(
        "count", "client", descending=[True, False]
    )
    total = analysis.counts().get(kind, 0) or 1
    axis = choose_axis(analysis.start, analysis.end, analysis.timezone, analysis.curve_bin, target=240)
    curves = analysis.curves.filter(pl.col("kind") == kind)
    onset = {f.subjects[0]: place for place, f in enumerate(analysis.findings, 1) if f.name == "onset"}
    told = {
        subject: place
        for place, i in reversed(list(enumerate(ordered(analysis.incidents), 1)))
        if i.suppressed is None
        for subject in i.subjects
    }
    rows = ""
    for place, (client, count) in enumerate(
        ranking.select("client", "count").head(TOP_CLIENTS).iter_rows(), 1
    ):
        band = axis.band(curves.filter(pl.col("client") == client), "count", analysis.curve_bin, rate=MINUTE)
        roles = ""
        if client in analysis.mail_clients:
            roles += f'<span class="role">mail server {html(analysis.mail_clients[client], 40)}</span>'
        if client in told:
            roles += f'<a class="role warn" href="#incident-{told[client]}">incident {told[client]}</a>'
        elif client in onset:
            roles += f'<a class="role warn" href="#finding-{onset[client]}">finding {onset[client]}</a>'
        share = count / total
        drawn = small(axis, band, f"Curve of {client}, highest {number(band.top)} a minute")
        rows += (
            f'<tr><td class="num rank">{place}</td><th scope="row"><code>{html(client)}</code>{roles}</th>'
            f'<td class="num"><strong>{integer(count)}</strong><small>{percent(share)}</small></td>'
            f'<td class="num peak">{number(band.top)}</td><td class="curve"><div class="spark" data-client="{place - 1}">'
            f"{drawn}<div class=hair></div></div></td></tr>"
        )
    listed = int(ranking["count"].head(TOP_CLIENTS).sum())
    days = time_axis(axis)
    label = KIND_LABELS.get(kind, kind)
    return (
        f'<p class="section-lead">The {min(TOP_CLIENTS, ranking.height)} clients with the most {html(label)} of '
        f"{integer(max(analysis.client_count, ranking.height))}; together {percent(listed / total)} of all. Each curve is "
        f"scaled to its own highest {duration(axis.step)}, so that shapes can be compared: a mail server follows the day, "
        f"flat, rippled or sudden curves do not.</p>"
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="clients-h"><table class="clients"><thead><tr>'
        f'<th scope="col" class="num"><span class="sr">Rank</span></th><th scope="col">Client</th><th scope="col" '
        f'class="num">{html(label)}</th><th scope="col" class="num peak">Peak a minute</th><th scope="col">Curve</th></tr>'
        f'</thead><tbody>{rows}</tbody><tfoot aria-hidden="true"><tr><td class="rank"></td><td></td><td></td>'
        f'<td class="peak"></td><td class="curve">{days}</td>'
        f"</tr></tfoot></table></div>"
    )


# --- input ------------------------------------------------------------------------------------------------------


def _input(analysis: Analysis) -> str:
    summary = analysis.input
    rows = ""
    for file in summary.files[:MAX_FILES]:
        span = "–"
        if file.first_time and file.last_time:
            first, last = _local(analysis, file.first_time), _local(analysis, file.last_time)
            span = f"<span>{first:%Y-%m-%d %H:%M}</span> <span>{last:%Y-%m-%d %H:%M}</span>"
        flags = ""
        if file.year_guessed:
            flags += '<span class="role">year guessed</span>'
        if file.timezone_guessed:
            flags += '<span class="role">zone guessed</span>'
        if file.error is not None:
            flags += f'<span class="role warn">stopped at byte {integer(file.error[0])}: {html(file.error[1], 200)}</span>'
        if file.state != "read":
            flags += f'<span class="role">{html(file.state)}</span>'
        spoken = ", ".join(f"{html(name)} {integer(count)}" for name, count in file.dialects.items())
        rows += (
            f'<tr><th scope="row"><code class="path">{html(file.path, 300)}</code><div>{flags}</div></th>'
            f"<td>{html(', '.join(file.servers[:4]), 80)}{'…' if len(file.servers) > 4 else ''}</td><td>{span}</td>"
            f'<td class="num">{size(file.bytes)}</td><td class="num">{integer(file.lines)}</td>'
            f'<td class="num">{integer(file.matched)}</td><td class="num">{integer(file.ignored)}</td>'
            f'<td class="num">{integer(file.unmatched)}</td><td>{spoken}</td></tr>'
        )
    if len(summary.files) > MAX_FILES:
        rows += f'<tr><td colspan="9">and {integer(len(summary.files) - MAX_FILES)} more files</td></tr>'
    out = (
        '<h3 id="files">Files</h3><div class="scroll" tabindex="0" role="region" aria-labelledby="files">'
        '<table class="files"><thead><tr><th scope="col">File</th><th scope="col">Servers</th>'
        '<th scope="col">First and last line</th>'
        '<th scope="col" class="num">Size</th><th scope="col" class="num">Lines</th><th scope="col" class="num">Counted</th>'
        '<th scope="col" class="num">Ignored</th><th scope="col" class="num">Not understood</th><th scope="col">Daemons</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
        '<p class="note">Counted: an event. Ignored: a known daemon says something that is not counted. Not understood: '
        "no known daemon, or a line that its daemon does not write.</p>"
    )
    if summary.passed_over:
        listed = "".join(
            f"<li><code>{html(path, 200)}</code>: {html(reason, 200)}</li>"
            for path, reason in summary.passed_over[:MAX_FILES]
        )
        out += (
            f'<details class="numbers"><summary>{_plural(len(summary.passed_over), "file")} passed over</summary>'
            f'<ul class="notes">{listed}</ul></details>'
        )
    out += '<h3 id="unmatched">What was not understood</h3>'
    if summary.unmatched:
        share = percent(summary.unmatched / summary.lines, 2) if summary.lines else "–"
        reasons = "".join(
            f"<li>{html(name)}: {integer(count)}</li>" for name, count in summary.reasons.items()
        )
        out += f"<p>{_plural(summary.unmatched, 'line')} of {integer(summary.lines)} ({share}).</p>"
        out += f'<ul class="notes">{reasons}</ul>' if reasons else ""
        if summary.shapes:
            shapes = "".join(
                f'<tr><td class="num">{integer(s.count)}</td><td><code>{html(s.shape, 160)}</code></td>'
                f"<td><code>{html(s.example, 240)}</code><small>{html(s.path, 120)}, line {integer(s.line)}"
                f"</small></td></tr>"
                for s in summary.shapes[:MAX_SHAPES]
            )
            out += (
                '<div class="scroll" tabindex="0" role="region" aria-labelledby="unmatched">'
                '<table class="shapes"><thead><tr><th scope="col" class="num">Lines</th><th scope="col">Shape</th>'
                '<th scope="col">Example</th></tr></thead>'
                f"<tbody>{shapes}</tbody></table></div>"
            )
        if summary.shapes_of:
            read, of = summary.shapes_of
            out += (
                f'<p class="note">Shapes are those of {integer(read)} of {_plural(of, "file")} with such lines; the others '
                f"are too long to be read twice.</p>"
            )
        out += _command(
            ("seismolog", "explain", "--unmatched", *(analysis.paths or ("PATH",))), "See them all"
        )
    else:
        out += "<p>Every line was understood.</p>"
    out += '<h3 id="guesses">What was guessed</h3>'
    guesses = "".join(f"<li>{html(guess, 400)}</li>" for guess in summary.guesses)
    out += f'<ul class="notes">{guesses}</ul>' if guesses else "<p>Nothing was guessed.</p>"
    if summary.shed:
        shed = "".join(f"<li>{html(name)}: {integer(count)}</li>" for name, count in summary.shed.items())
        out += f'<h3 id="shed">What a memory limit left out</h3><ul class="notes">{shed}</ul>'
    return out


def _footer(analysis: Analysis) -> str:
    made = analysis.generated_at
    when = f" on {_local(analysis, made):%Y-%m-%d %H:%M} {html(analysis.timezone)}" if made else ""
    return (
        f'<footer><div><p id="chart-keys">Charts: point, or focus one and use ← → (Shift for ten bins, Home, End, Esc). '
        f"Click or Enter pins a moment and shows its command.</p>"
        f"<p>Made by seismolog{when}. This page asks nothing of the network. The method is that of Musashi, Matsuba and "
        f"Sugitani, “Statistical Analysis in Logs of DNS Traffic and E-mail Server” (2003).</p></div></footer>"
        '<div id="pin" role="status" aria-live="polite" hidden><p class="at"></p><code></code>'
        '<button type="button" class="copy">Copy</button><button type="button" class="close" aria-label="Close">×</button>'
        "</div>"
    )
