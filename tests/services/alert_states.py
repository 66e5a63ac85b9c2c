"""What Grafana makes of a rule's evaluations one after the other: pending, alerting, no data, error.

What for: ``for`` is half of what a rule promises, and no Grafana can run here. :func:`influxql_frames.evaluate` computes
query, reduce and threshold at one moment; this steps through the moments of the rule group's interval.

How, by what Grafana documents of alert instances, of which there is one for each set of labels:

- the condition holds: pending, and alerting at the first evaluation that is ``for`` or more after the one at which it
  became pending; with ``for`` 0 at once;
- it does not hold: normal at once, whether it was pending or alerting, so that ``for`` begins anew;
- the series is gone while others are there: the state is kept for one evaluation; at the second the instance is normal and
  is forgotten;
- no series at all: ``OK`` makes every instance normal; ``Alerting`` is as if the condition held, for the instances that are
  known or else for one without labels, and waits for ``for`` as well; ``NoData`` is a state of its own;
- an error: ``OK`` and ``Alerting`` in the same way, ``Error`` is a state of its own.

``NoData`` and ``Error`` come at once in the Grafana of 9.4 to 12, and after ``for`` in newer ones (`patient`).

Limits: ``keep_firing_for`` and ``KeepLast`` are used by no rule and raise :class:`NotImplementedError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.services.influxql_frames import Outcome, duration

Labels = tuple[tuple[str, str], ...]


def length(text: str) -> timedelta:
    """A length such as 10m."""
    return timedelta(milliseconds=duration(text))


@dataclass
class Instance:
    """One alert instance."""

    state: str = "Normal"
    since: datetime | None = None
    seen: datetime | None = None


@dataclass
class Alerts:
    """A rule over time.

    Parameters
    ----------
    rule
        As the provisioning file has it.
    interval
        Of its group.
    patient
        Whether the states NoData and Error wait for ``for``.
    """

    rule: dict[str, Any]
    interval: timedelta = timedelta(minutes=1)
    patient: bool = False
    instances: dict[Labels, Instance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rule.get("keepFiringFor") or self.rule.get("keep_firing_for"):
            raise NotImplementedError("keep_firing_for")
        self.hold = length(self.rule["for"])
        self._last: datetime | None = None

    @property
    def state(self) -> str:
        """The state of the rule: that of its worst instance."""
        states = {i.state for i in self.instances.values()}
        return next((s for s in ("Alerting", "Error", "NoData", "Pending") if s in states), "Normal")

    def alerting(self) -> list[dict[str, str]]:
        """Labels of the instances that are alerting."""
        return [dict(labels) for labels, i in self.instances.items() if i.state == "Alerting"]

    def step(self, now: datetime, outcome: Outcome) -> str:
        """Take one evaluation, a whole number of intervals after the one before; returns the state of the rule."""
        if self._last is not None and (now <= self._last or (now - self._last) % self.interval):
            raise ValueError(f"{now} is no evaluation of this group after {self._last}")
        self._last = now
        if outcome.error is not None:
            self._all(now, self.rule["execErrState"], "Error")
        elif outcome.no_data:
            self._all(now, self.rule["noDataState"], "NoData")
        else:
            for labels, holds in outcome.holds.items():
                self._one(labels, now, "Alerting" if holds else None)
            self._stale(now)
        return self.state

    def _all(self, now: datetime, chosen: str, own: str) -> None:
        if chosen not in ("OK", "Alerting", own):
            raise NotImplementedError(f"the state {chosen} for {own}")
        for labels in list(self.instances) or [()]:
            self._one(labels, now, None if chosen == "OK" else chosen)

    def _one(self, labels: Labels, now: datetime, wanted: str | None) -> None:
        """One instance: what it is to become once it has been so for long enough, None for normal."""
        one = self.instances.setdefault(labels, Instance())
        one.seen = now
        if wanted is None:
            one.state, one.since = "Normal", None
            return
        if one.state == wanted:
            return
        waits = self.hold > timedelta() and (wanted == "Alerting" or self.patient)
        if one.state != "Pending":
            one.state, one.since = "Pending", now
        assert one.since is not None
        if not waits or now - one.since >= self.hold:
            one.state, one.since = wanted, now

    def _stale(self, now: datetime) -> None:
        """Instances whose series was missing twice."""
        for labels, one in list(self.instances.items()):
            if one.seen is not None and now - one.seen >= 2 * self.interval:
                del self.instances[labels]
