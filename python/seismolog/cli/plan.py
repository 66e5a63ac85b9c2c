"""``seismolog plan``: what DNS load will so many mails bring?"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations at run time
from typing import Literal

from seismolog.errors import UsageError


def plan(
    *,
    mails: float,
    pop: float = 0.0,
    imap: float = 0.0,
    server: str | None = None,
    store: str | None = None,
    config: Path | None = None,
    format: Literal["text", "json"] = "text",
) -> int:
    """Answer what DNS load so many mails will bring: the fitted model, or the study's coefficients.

    Parameters
    ----------
    mails
        Messages accepted, over whatever time you think of: the answer is for the same time.
    pop
        POP sessions in that time.
    imap
        IMAP sessions in that time.
    server
        The mail server whose fit is used; without a store or a fit, 8.6 a message and 1 a session (2003).
    store
        Folder or URL of the store; the one of --config without it.
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

    counts = {"smtp_accepted": mails, "pop_access": pop, "imap_access": imap}
    write_plan(plan_load(counts, Reading(config=config), store=store, server=server), format)
    return 0
