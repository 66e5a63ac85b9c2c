"""``seismolog plan``: the DNS load that so many mails will bring."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations at run time
from typing import Literal

from seismolog.errors import UsageError


def plan(
    *,
    mails: float,
    pop: float = 0.0,
    imap: float = 0.0,
    per: Literal["day", "hour"] = "day",
    server: str | None = None,
    store: str | None = None,
    tz: str | None = None,
    config: Path | None = None,
    format: Literal["text", "json"] = "text",
) -> int:
    """Answer what DNS load so many mails will bring: the fitted model, or the study's coefficients.

    Parameters
    ----------
    mails
        Messages accepted in a day, or whatever --per says.
    pop
        POP sessions in that time.
    imap
        IMAP sessions in that time.
    per
        The time that the events are counted over.
    server
        The mail server whose fit is used, where the store holds more than one.
    store
        Folder or URL of the store; the one of --config without it. Without any, the coefficients of the 2003 study
        are used: 8.6 a message, 1 a POP session.
    tz
        Time zone in which a day begins.
    config
        The site's configuration.
    format
        text or json.
    """
    import math

    for name, value in (("--mails", mails), ("--pop", pop), ("--imap", imap)):
        if not math.isfinite(value) or value < 0:
            raise UsageError(f"{name}: {value} is no number of events", expected="zero or more")
    from seismolog.pipeline import Reading
    from seismolog.pipeline import plan as plan_load
    from seismolog.report.lines import write_plan

    answer = plan_load(
        Reading(timezone=tz, config=config),
        mails=mails,
        pops=pop,
        imaps=imap,
        per=per,
        server=server,
        store=store,
    )
    write_plan(answer, format)
    return 0
