"""What a channel raises when a message was not taken, classed by what is to be done."""

from __future__ import annotations

__all__ = ["Refused", "Unreachable"]


class Unreachable(Exception):  # noqa: N818 - what happened, not what went wrong in us
    """The message was not taken now: the receiver is away, busy, or says to try later. `after` is its word on when."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Refused(Exception):  # noqa: N818
    """The message will never be taken: it, or what we are to the receiver, is wrong."""
