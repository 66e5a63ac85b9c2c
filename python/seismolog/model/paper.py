"""The coefficients of the 2003 study and what can be read from them.

Musashi, Matsuba and Sugitani explain the DNS queries of a mail server by its mail: ``D_q = m_S N_S + m_P N_P``
(their eq. 6) with ``m_S = 2 + 4 n (1 - q)`` (eq. 7) and ``m_P = 1`` (eq. 8); on their campus the sum was
``8.6 N_S + N_P`` (eq. 11). *n* is the number of different recipient domains of a message, *q* the receive rate: the
share of messages that stay on this server and so need no look-up of a remote domain.

Limits: ``m_S`` holds *n* and *q* only as the product ``n (1 - q)``. The two apart come from the configuration or
from counting recipients in the logs, never from a fit.
"""

from __future__ import annotations

from typing import Final

PAPER: Final[dict[str, float]] = {"smtp_accepted": 8.6, "pop_access": 1.0}
"""DNS queries caused by one event of a kind, as the study has it; kinds that it does not name are not here."""

SOURCE: Final = "Musashi, Matsuba and Sugitani (2003), eq. 11"


def message_coefficient(domains_per_message: float, receive_rate: float) -> float:
    """m_S of eq. 7 from *n* and *q*.

    Parameters
    ----------
    domains_per_message
        *n* ≥ 0, different recipient domains of a message.
    receive_rate
        *q* in 0…1, the share of messages delivered on this server.

    Raises
    ------
    ValueError
        When a value is outside its range.

    Examples
    --------
    >>> round(message_coefficient(2, 0.175), 6)
    8.6
    """
    if not domains_per_message >= 0:
        raise ValueError(f"domains_per_message must be 0 or more, not {domains_per_message}")
    if not 0 <= receive_rate <= 1:
        raise ValueError(f"receive_rate must be between 0 and 1, not {receive_rate}")
    return 2 + 4 * domains_per_message * (1 - receive_rate)


def remote_domains(m_s: float) -> float:
    """All that eq. 7 lets one read from m_S: n (1 - q) = (m_S - 2) / 4.

    Negative below m_S = 2: then fewer queries arrive than the two that every message causes in the study, for
    example because a cache answers them.

    Examples
    --------
    >>> round(remote_domains(8.6), 6)
    1.65
    """
    return (m_s - 2) / 4


def configured_message_coefficient(
    domains_per_message: float | None, receive_rate: float | None
) -> tuple[float, str]:
    """m_S that does not come from a fit, and a phrase that says where it comes from.

    Both *n* and *q* configured give eq. 7; otherwise the study's 8.6.
    """
    if domains_per_message is None or receive_rate is None:
        return PAPER["smtp_accepted"], "the study's 8.6 (n and q are not configured)"
    m_s = message_coefficient(domains_per_message, receive_rate)
    return m_s, f"the configured n = {domains_per_message:g} and q = {receive_rate:g}"
