"""Telling people and programs about incidents: webhook, mail, syslog.

- :mod:`~.message`    what is told: one message for each opening, rise of severity and close, with a
deterministic id - :mod:`~.outbox`     what is still to be told, on disk, and what was told, so that nothing
is lost or doubled - :mod:`~.delivery`   the queue of each channel: attempts, back-off, counters;
:class:`~.delivery.Notifier` - :mod:`~.webhook`, :mod:`~.mail`, :mod:`~.syslog`   the channels -
:mod:`~.failure`    what a channel raises: try again, or give up

Log text is hostile: names, addresses and accounts in an incident were chosen by whoever sent the queries.
Each channel escapes what means something in its format.
"""

from __future__ import annotations

from seismolog.sinks.notify.delivery import Notifier, notifier
from seismolog.sinks.notify.message import Message, messages_of

__all__ = ["Message", "Notifier", "messages_of", "notifier"]
