"""How well known a registered domain is here: who asks it now, and who asked it on the days before.

Software that many run asks its maker's domain from many clients; a domain that one client asks and that
nobody asked before is another thing. Both tables that know domains are read, since each keeps only its
heaviest rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from seismolog.detect import _hours

if TYPE_CHECKING:
    from seismolog.detect.view import View

__all__ = ["Known", "few", "known"]


@dataclass
class Known:
    """What is known of one domain.

    ``clients`` ask it in this view; ``past`` holds, of the days before, the most distinct names that each client asked
    of it in an hour, and ``past_clients`` the most clients in ten minutes.
    """

    clients: int = 0
    past_clients: int = 0
    past: dict[str, int] = field(default_factory=dict)

    def clients_before(self, client: str) -> int:
        """Clients other than this one that asked it before."""
        return max(len(self.past.keys() - {client}), self.past_clients - (client in self.past))

    def names_before(self, client: str) -> float:
        """Most distinct names that this client asked of it in an hour before."""
        return float(self.past.get(client, 0))


def known(view: View, domains: Iterable[str]) -> dict[str, Known]:
    """What is known of these domains."""
    names = sorted(set(domains))
    found = {name: Known() for name in names}
    if not names:
        return found
    chosen = pl.col("domain").is_in(names)
    pairs = view.lazy("client_domain", ["bin_start", "client", "domain"], where=chosen)
    now = pairs.group_by("domain").agg(pl.col("client").n_unique()).collect()
    for name, clients in now.rows():
        found[name].clients = int(clients)
    by_ten = view.lazy("domain", ["bin_start", "domain", "distinct_clients"], where=chosen)
    for name, clients in by_ten.group_by("domain").agg(pl.col("distinct_clients").max()).collect().rows():
        found[name].clients = max(found[name].clients, int(clients or 0))
    before = _hours.past_of(
        view, "client_domain", ["bin_start", "client", "domain", "distinct_names"], chosen
    )
    for name, client, most in (
        before.filter(pl.col("client").is_not_null())
        .group_by("domain", "client")
        .agg(pl.col("distinct_names").cast(pl.Int64).max())
        .rows()
    ):
        found[name].past[client] = int(most or 0)
    crowd = _hours.past_of(view, "domain", ["bin_start", "domain", "distinct_clients"], chosen)
    for name, clients in crowd.group_by("domain").agg(pl.col("distinct_clients").max()).rows():
        found[name].past_clients = int(clients or 0)
    return found


def few(clients: int) -> str:
    """``no other client asks it``."""
    return "no other client asks it" if clients <= 1 else f"{clients:,} clients ask it"
