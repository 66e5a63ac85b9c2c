"""The settings: each defined once, with its type, default, bounds and description.

Help, the sample file and docs/configuration.md are generated from these models
(:mod:`seismolog.config.document`). Unknown keys are errors. What is not a number, a string or a list in
TOML has its type in :mod:`seismolog.config.values`.

Limits: a setting is read when a command starts; a running ``serve`` looks at the file again at SIGHUP.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from seismolog.config.values import Address, Duration, Listener, Network, Size, Zone

__all__ = [
    "Archive",
    "Config",
    "Detect",
    "DnsServer",
    "Grafana",
    "InfluxDB",
    "Limits",
    "Listen",
    "Live",
    "MailServer",
    "Model",
    "Notify",
    "NotifyMail",
    "NotifySyslog",
    "Privacy",
    "Section",
    "Site",
    "StoreSettings",
    "Suppress",
    "Webhook",
]

Positive = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1, max_length=255)]


class Section(BaseModel):
    """The manner of every section: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


class Site(Section):
    """Facts of the site."""

    timezone: Zone | None = Field(
        default=None,
        description="Time zone of log lines that tell none. Without it they are read as UTC, and the summary says so.",
        examples=["Asia/Tokyo"],
    )
    inside: list[Network] = Field(
        default=[],
        description="Networks of the site: clients in them are `inside`, all others `outside`.",
        examples=[["192.0.2.0/24", "2001:db8::/32"]],
    )
    holidays: str | None = Field(
        default=None,
        description="Calendar file (iCalendar) of days that are like Sundays. Relative to this file.",
        examples=["holidays.ics"],
    )
    client_prefix_v6: int = Field(
        default=128,
        ge=1,
        le=128,
        description="IPv6 clients are counted by prefixes of this length; 64 counts a network with changing "
        "addresses as one client.",
    )
    reinjection: list[Network] = Field(
        default=[],
        description="Addresses from which a content filter hands messages back to the mail server: those are "
        "`smtp_reinjected`, not accepted again.",
        examples=[["127.0.0.1"]],
    )


class _Server(Section):
    name: Name = Field(description="Name in tables and reports.", examples=["1mx"])
    hostnames: list[Name] = Field(
        default=[],
        description="Host names under which it writes its lines. Default: its name.",
        examples=[["1mx", "1mx.example.org"]],
    )
    addresses: list[Address] = Field(
        default=[],
        description="Its addresses: how it appears as a client of other servers.",
        examples=[["192.0.2.2"]],
    )
    timezone: Zone | None = Field(
        default=None, description="Time zone of its lines where it differs from the site's.", examples=["UTC"]
    )

    @property
    def hosts(self) -> list[str]:
        """The host names that stand for this server, in lower case."""
        return [h.lower() for h in (self.hostnames or [self.name])]


class MailServer(_Server):
    """A mail server. Its addresses are those it sends DNS queries from."""

    domains_per_message: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="n: recipient domains of a message on average. With `receive_rate` it gives m_S = 2 + 4 n (1 - q); "
        "without both the published 8.6 is used.",
        examples=[2.0],
    )
    receive_rate: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="q: share of messages that are delivered here and need no look-up of another domain.",
        examples=[0.175],
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.domains_per_message is None) != (self.receive_rate is None):
            raise ValueError("domains_per_message and receive_rate together, or neither")
        return self


class DnsServer(_Server):
    """A DNS server."""


class StoreSettings(Section):
    """Where counts are kept, and for how long."""

    url: str | None = Field(
        default=None,
        description="Folder (relative to this file) or URL of object storage. Without it an analysis keeps its "
        "counts in a temporary folder.",
        examples=["/var/lib/seismolog/store", "s3://logs/seismolog"],
    )
    keep: Duration = Field(
        default=timedelta(days=400),
        description="Days older than this are deleted once they were also counted longer ago than this; 0 keeps all.",
    )
    retention: Duration = Field(
        default=timedelta(days=1),
        description="For how long a reader may still hold files that were replaced.",
    )
    compact_files: int = Field(
        default=8,
        ge=2,
        le=10_000,
        description="Files of one table and day after which they are joined into one.",
    )
    commit_interval: Duration = Field(
        default=timedelta(seconds=10),
        description="Live counts are committed to each table at most this often.",
    )
    commit_rows: int = Field(
        default=1_000_000,
        ge=1,
        description="Live rows of one commit at most; more make several.",
    )


class Listen(Section):
    """Where `serve` takes log lines from. Paths are relative to this file."""

    relp: Listener | None = Field(
        default="127.0.0.1:5515",
        description="Address and port for RELP (rsyslog's omrelp): lines are confirmed when they are on disk.",
    )
    tcp: Listener | None = Field(
        default="127.0.0.1:5514",
        description="Address and port for syslog over TCP, lines or octet counts; confirms nothing.",
    )
    tls: Listener | None = Field(
        default=None,
        description="Address and port for syslog over TLS (RFC 5425).",
        examples=["0.0.0.0:6514"],
    )
    tls_certificate: str | None = Field(
        default=None, description="Certificates of this server, PEM.", examples=["/etc/seismolog/server.pem"]
    )
    tls_key: str | None = Field(
        default=None, description="Its private key, PEM.", examples=["/etc/seismolog/server.key"]
    )
    tls_client_ca: str | None = Field(
        default=None,
        description="With it, a peer over TLS must show a certificate of one of these authorities, PEM.",
        examples=["/etc/seismolog/ca.pem"],
    )
    udp: Listener | None = Field(
        default=None,
        description="Address and port for syslog over UDP; confirms nothing, and the kernel drops what does not fit.",
        examples=["127.0.0.1:5514"],
    )
    udp_receive_buffer: Size = Field(
        default=64 * 2**20,
        ge=4096,
        description="Buffer of the UDP socket; the kernel grants `net.core.rmem_max` at most, and /metrics shows it.",
    )
    unix: str | None = Field(
        default=None,
        description="Path of a unix stream socket, framed as TCP.",
        examples=["/run/seismolog/log.sock"],
    )
    unix_datagram: str | None = Field(
        default=None,
        description="Path of a unix datagram socket.",
        examples=["/run/seismolog/datagram.sock"],
    )
    unix_mode: str = Field(
        default="0660", pattern="^0?[0-7]{3}$", description="File mode of the unix sockets, octal."
    )
    files: list[str] = Field(
        default=[],
        description="Files to follow; `*` and `?` stand for parts of names. Rotation is followed too.",
        examples=[["/var/log/named/queries.log", "/var/log/mail.log"]],
    )
    files_from_start: bool = Field(
        default=False,
        description="Whether files that are there when `serve` runs for the very first time are read from their "
        "beginning; else from their end.",
    )
    journal: bool = Field(default=False, description="Whether to read the systemd journal.")
    journal_arguments: list[str] = Field(
        default=[],
        description="Arguments for journalctl that choose what is read.",
        examples=[["--unit=named.service", "--unit=postfix@-.service"]],
    )
    allow: list[Network] = Field(
        default=["127.0.0.1/32", "::1/128"],
        description="Peers that may connect or send; others are counted and turned away.",
        examples=[["127.0.0.1", "192.0.2.0/24"]],
    )
    lateness: Duration = Field(
        default=timedelta(minutes=2),
        description="For how long a bin waits for lines that come late. Later ones still count: their bin is "
        "written again.",
    )
    clock_skew: Duration = Field(
        default=timedelta(minutes=5),
        description="Times that are further in the future are taken for the time of reception, and counted.",
    )

    @model_validator(mode="after")
    def _tls_complete(self) -> Self:
        if self.tls is not None and (self.tls_certificate is None or self.tls_key is None):
            raise ValueError("with tls also tls_certificate and tls_key")
        return self


class Live(Section):
    """The daemon: its state, and its bounds. What goes past a bound waits, or is counted and shown in /metrics."""

    state: str | None = Field(
        default=None,
        description="Folder of the write-ahead log, snapshots and closed bins. Default: `live` in systemd's "
        "$STATE_DIRECTORY, else /var/lib/seismolog/live for root, else in ~/.local/state/seismolog.",
        examples=["/var/lib/seismolog/live"],
    )
    metrics: Listener | None = Field(
        default="127.0.0.1:9514", description="Address and port of /metrics and /healthz (HTTP)."
    )
    connections: Positive = Field(default=12_000, description="Connections at once, over all listeners.")
    idle: Duration = Field(
        default=timedelta(minutes=10),
        description="After this time a silent connection with an unfinished line is closed.",
    )
    partial_size: Size = Field(
        default=64 * 2**20, ge=2**16, description="Bytes of unfinished lines over all connections."
    )
    queue_size: Size = Field(
        default=16 * 2**20, ge=2**16, description="Bytes of lines that wait to be logged; then senders wait."
    )
    logged_size: Size = Field(
        default=16 * 2**20, ge=2**16, description="Bytes of logged lines that wait in memory to be counted."
    )
    behind_size: Size = Field(
        default=512 * 2**20,
        ge=0,
        description="Bytes of the write-ahead log by which counting may be behind, as in a burst: what has no room in "
        "memory is read from the log. Past it senders wait; 0: they wait once `logged_size` is full.",
    )
    nice: int = Field(
        default=19,
        ge=0,
        le=19,
        description="By how much the counting thread gives way to other programs, as `nice` does: reception and whoever "
        "sends come first.",
    )
    readers: int = Field(default=1, ge=1, le=64, description="Threads that read connections.")
    remembered_ids: Positive = Field(
        default=1 << 20,
        description="Message ids that are remembered: at least as many as a sender's queue holds.",
    )
    followed_files: Positive = Field(default=1024, description="Files that are followed at once.")
    rotated_age: Duration = Field(
        default=timedelta(seconds=10),
        description="A rotated file that has not grown for so long is finished; until then its writer may add to it.",
    )
    relp_unanswered: Positive = Field(
        default=1 << 16,
        description="RELP messages of one connection that may wait for their confirmation; then it is not read. At least "
        "the sender's window.",
    )
    relp_unread_size: Size = Field(
        default=2**20,
        ge=2**10,
        description="Bytes of confirmations that a RELP sender may leave unread; then its connection is closed.",
    )
    datagram_patience_ms: int = Field(
        default=100,
        ge=0,
        le=60_000,
        description="Milliseconds for which datagrams of a unix socket wait for room in the queue; then they are dropped.",
    )
    wal_segment: Size = Field(
        default=64 * 2**20,
        ge=2**20,
        description="Bytes of one file of the write-ahead log; at most a quarter of wal_size.",
    )
    wal_segment_age: Duration = Field(
        default=timedelta(hours=1), description="After this time a file of the log is closed though not full."
    )
    wal_size: Size = Field(
        default=4 * 2**30,
        ge=2**21,
        description="Bytes of the write-ahead log. When it is full, open bins are written down at once, which releases what "
        "is counted; senders wait for that.",
    )
    wal_spare_segments: int = Field(
        default=4,
        ge=0,
        description="Released files of the log kept to be written over, for wal_segment_age at most: cheaper than new ones.",
    )
    sync_interval_ms: int = Field(
        default=1000,
        ge=1,
        le=60_000,
        description="Milliseconds after which lines that nobody waits for are brought to disk as well.",
    )
    snapshot_size: Size = Field(
        default=256 * 2**20, ge=2**20, description="Bytes of the log after which open bins are written down."
    )
    snapshot_interval: Duration = Field(
        default=timedelta(minutes=5), description="Time after which open bins are written down."
    )
    closed_size: Size = Field(
        default=2**30,
        ge=2**20,
        description="Bytes of closed bins that are kept for a sink that is down; past it the oldest go, and "
        "/metrics shows it. The store has them all the same.",
    )
    closed_age: Duration = Field(
        default=timedelta(days=14), description="Age of closed bins that are kept for a sink that is down."
    )
    closed_limit: Size = Field(
        default=4 * 2**30,
        ge=2**20,
        description="Bytes of closed bins at which counting waits for the store, and then senders wait.",
    )
    kept_size: Size = Field(
        default=64 * 2**20,
        ge=2**20,
        description="Bytes of closed bins that are kept in memory, for an hour past the lateness, so that late lines "
        "can change them; past it the oldest go, and later lines of theirs mark the bin partial.",
    )
    revise_interval: Duration = Field(
        default=timedelta(seconds=5),
        description="A closed bin that late lines change is written again at most this often.",
    )
    upkeep_interval: Duration = Field(
        default=timedelta(hours=1), description="Time between two upkeeps of the store."
    )
    drain: Duration = Field(
        default=timedelta(seconds=30),
        description="How long SIGTERM waits for what was received to be counted and committed.",
    )


class InfluxDB(Section):
    """Where live series go. docs/influxdb.md says which."""

    url: str | None = Field(default=None, description="URL of InfluxDB.", examples=["http://127.0.0.1:8086"])
    org: str | None = Field(default=None, description="Organisation.", examples=["site"])
    bucket: str | None = Field(
        default=None,
        description="Bucket; for InfluxDB 1.8 database/policy, for InfluxDB 3 the database.",
        examples=["seismolog"],
    )
    token_file: str | None = Field(
        default=None,
        description="File that holds the token. Relative to this file. Without it the environment variable "
        "SEISMOLOG_INFLUXDB_TOKEN holds it.",
        examples=["/etc/seismolog/influxdb.token"],
    )
    instance: Name | None = Field(
        default=None,
        description="Tag of this daemon's own measurements. Default: the name of the machine.",
        examples=["collector-1"],
    )
    clients_per_hour: int = Field(
        default=50,
        ge=0,
        le=10_000,
        description="Clients of a server and kind that have series of their own in an hour: the most active ones of the "
        "hour before. All others are one series, `other`.",
    )
    max_series: int = Field(
        default=200_000,
        ge=100,
        description="Series in InfluxDB at most, three quarters of them of clients. Past that no client gets a series of "
        "its own; it stays in `other`, and /metrics counts it.",
    )
    series_age: Duration = Field(
        default=timedelta(days=400),
        description="After this time without a point a series counts no more. At least the retention of the bucket.",
    )
    batch_points: int = Field(
        default=10_000, ge=100, le=200_000, description="Points of one request at most."
    )
    gzip: bool | None = Field(
        default=None,
        description="Whether requests are compressed. Default: not over loopback, where it only costs time.",
        examples=[True],
    )
    ca_file: str | None = Field(
        default=None,
        description="Certificates to check an https server by. Relative to this file. Default: the system's.",
        examples=["/etc/seismolog/influxdb-ca.pem"],
    )
    timeout: Duration = Field(
        default=timedelta(seconds=30), description="How long one request may take; then it is tried again."
    )
    retry_longest: Duration = Field(
        default=timedelta(minutes=5),
        description="Longest pause between two tries. The first is a second; each is up to twice the one before, by "
        "chance, and at least what the server asks for.",
    )
    refused_size: Size = Field(
        default=16 * 2**20,
        ge=2**16,
        description="Points that the server refuses (with the reason) are kept in a file of at most this size.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [n for n in ("org", "bucket") if getattr(self, n) is None]
        if self.url is not None and missing:
            raise ValueError(f"with url also {', '.join(missing)}")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError('for url one that begins with "http://" or "https://"')
        return self


class Grafana(Section):
    """Where dashboards, alert rules and annotations go. docs/grafana.md says which."""

    url: str | None = Field(default=None, description="URL of Grafana.", examples=["http://127.0.0.1:3000"])
    folder: Name = Field(default="seismolog", description="Folder of the dashboards and alert rules.")
    token_file: str | None = Field(
        default=None,
        description="File that holds a service account's token. Relative to this file. Without it the environment "
        "variable SEISMOLOG_GRAFANA_TOKEN holds it.",
        examples=["/etc/seismolog/grafana.token"],
    )
    ca_file: str | None = Field(
        default=None,
        description="Certificates to check an https server by. Relative to this file. Default: the system's.",
        examples=["/etc/seismolog/grafana-ca.pem"],
    )
    timeout: Duration = Field(default=timedelta(seconds=30), description="How long one request may take.")
    email: Name = Field(
        default="root@localhost",
        description="Where the contact point of the provisioning files sends alerts.",
    )
    docs: Name = Field(
        default="docs/",
        description="Where these docs can be read, ending in a slash; the runbook links of alerts begin with it.",
        examples=["https://wiki.example.org/seismolog/"],
    )


class Model(Section):
    """The traffic model."""

    bin: Duration = Field(
        default=timedelta(minutes=10),
        description="Length of the bins that are fitted; whole minutes that divide a day.",
    )
    window: Duration = Field(default=timedelta(days=28), description="Length of the stretch that is fitted.")

    @model_validator(mode="after")
    def _bins(self) -> Self:
        seconds = self.bin.total_seconds()
        if seconds < 60 or seconds % 60 or 86_400 % seconds:
            raise ValueError('for bin whole minutes that divide a day, such as "10m" or "1h"')
        if self.window < 12 * self.bin:
            raise ValueError("for window at least 12 bins")
        return self


class Suppress(Section):
    """Incidents that are known and need not be told."""

    subjects: list[Name] = Field(
        min_length=1,
        description="Addresses, networks, servers or accounts; an incident is silenced when all its subjects are of them.",
        examples=[["192.0.2.10", "2001:db8::/64"]],
    )
    reason: Annotated[str, Field(min_length=3, max_length=500)] = Field(
        description="Why; shown with each incident that it silences.", examples=["the new survey server"]
    )
    detectors: list[Name] = Field(
        default=[], description="Detectors that it silences; without any, all.", examples=[["step_change"]]
    )
    until: date | None = Field(
        default=None, description="Last day on which it holds.", examples=[date(2026, 12, 31)]
    )


class Detect(Section):
    """Incidents. Each detector has a section of its own, `[detect.<name>]`."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, validate_default=True)

    enabled: bool = Field(default=True, description="Whether `analyze` and the daemon look for incidents.")
    history: Duration = Field(
        default=timedelta(days=28), description="Days before that a client is compared with, at most."
    )
    context: Duration = Field(
        default=timedelta(hours=12),
        description="Time before a day that is looked at with it, so that an incident over midnight is one.",
    )
    bridge: Duration = Field(
        default=timedelta(minutes=60),
        description="An incident that is seen again within this time after its end goes on.",
    )
    close_after: Duration = Field(
        default=timedelta(minutes=30), description="Calm time after which an open incident is closed."
    )
    accept_after: Duration = Field(
        default=timedelta(days=7),
        description="What has gone on for so long is learnt as usual; until then an incident teaches nothing.",
    )
    resolvers: list[Network] = Field(
        default=[],
        description="Clients that ask for many others (resolvers, proxies, address translation): not judged as one host.",
        examples=[["192.0.2.53"]],
    )
    scanners: list[Network] = Field(
        default=[],
        description="Clients that look at hosts with the site's consent.",
        examples=[["192.0.2.99"]],
    )
    suppress: list[Suppress] = Field(
        default=[],
        description="Incidents that need not be told: `[[detect.suppress]]` with `subjects`, `reason`, `detectors`, "
        "`until`.",
        examples=[[]],
    )

    @model_validator(mode="after")
    def _detectors(self) -> Self:
        # The settings of a detector stand in its file, which loads numpy: only where the file sets some.
        if self.model_extra:
            from seismolog.detect.registry import check

            check(self.model_extra)
        return self

    @property
    def given(self) -> dict[str, Any]:
        """The sections of detectors as they stand in the file, checked."""
        return dict(self.model_extra or {})


class Archive(Section):
    """How archived files are read."""

    threads: int = Field(default=0, ge=0, le=1024, description="Threads that count; 0 is one for each core.")
    batch_size: Size = Field(
        default=2**30,
        ge=2**20,
        description="Files are counted in batches of about so many bytes of text (a compressed file counts ten times "
        "its size): it bounds the memory that counts take before they are written to the store. A longer file is counted in "
        "stretches of that size.",
    )
    batch_rows: int = Field(
        default=3_000_000,
        ge=10_000,
        description="Rows that the counts of a batch or a stretch have at most, about: quiet logs of many clients make more "
        "of them from a byte. 3 million take about 1.5 GiB of memory while they are written.",
    )
    skip: list[str] = Field(
        default=[
            "wtmp*",
            "btmp*",
            "lastlog*",
            "faillog*",
            "*.journal",
            "*.journal~",
            "*.db",
            "*.sqlite",
            "*.state",
            "*.pid",
            "*.lock",
            "*.tar",
            "*.tar.*",
            "*.tgz",
            "*.zip",
            "*.html",
            "*.md",
            "*.toml",
            "truth.json",
            "*.json.tmp",
        ],
        description="Names in a folder that are no logs. They are named in the summary, and read where they are "
        "named themselves.",
    )


class Limits(Section):
    """Bounds of memory. What goes past one is counted and shown in the summary."""

    clients: Positive = Field(
        default=1 << 20, description="Clients that one thread knows; more share one name."
    )
    names_per_bin: Positive = Field(
        default=1 << 18,
        description="Distinct query names, clients and types of one bin; past it names are sampled.",
    )
    summary_size: Positive = Field(
        default=4096,
        description="Items of a summary of a bin: up to it distinct counts and entropies are exact.",
    )
    client_summary_size: Positive = Field(
        default=1024, description="Items of a summary of one client in a bin."
    )
    open_bins: Positive = Field(default=4096, description="Bins that one thread keeps open.")
    servers: Positive = Field(
        default=10_000, description="Servers that one thread knows; more share one name."
    )
    line_length: Size = Field(
        default=1 << 20, ge=1024, description="Bytes of a line; longer ones are unmatched."
    )
    held_events: Positive = Field(
        default=1 << 16, description="Events that wait for a later line to tell what they are."
    )
    pending_repeats: Positive = Field(
        default=1 << 16, description="`last message repeated` lines that wait for what stands before them."
    )
    accounts: Positive = Field(
        default=200_000, description="Accounts that one thread knows; more share one name."
    )
    ptr_targets: Positive = Field(
        default=1 << 16,
        description="Clients whose reverse look-ups of an hour are kept; the lighter half goes.",
    )
    drop_targets: Positive = Field(
        default=1 << 16,
        description="Clients with ports whose dropped packets of an hour are kept; the lighter half goes.",
    )
    domains: Positive = Field(
        default=1 << 18, description="Registered domains that one thread knows; more share one name."
    )
    domain_rows: Positive = Field(
        default=1 << 14, description="Registered domains of ten minutes; past it the lighter half goes."
    )
    client_domains: Positive = Field(
        default=1 << 16,
        description="Clients with registered domains of an hour while it is counted; the lighter half goes.",
    )
    client_domain_rows: Positive = Field(
        default=20_000,
        description="Clients with registered domains that are kept of an hour and server: the heaviest.",
    )
    unmatched_shapes: Positive = Field(
        default=200,
        description="Shapes of lines that no dialect knows that the daemon keeps for the dashboard Pipeline; the rarest "
        "gives way. Ten times as many such lines of a second are looked at.",
    )


class Privacy(Section):
    """How addresses are told in what leaves the machine. docs/notify.md describes the map."""

    pseudonyms: bool = Field(
        default=False,
        description="Whether addresses are replaced by others, keyed and prefix-preserving (Crypto-PAn).",
    )
    key_file: str | None = Field(
        default=None,
        description="File that holds the key, 64 hexadecimal digits. Relative to this file. Without it the environment "
        "variable SEISMOLOG_PRIVACY_KEY holds it.",
        examples=["/etc/seismolog/privacy.key"],
    )


class _Channel(Section):
    """What every way of telling incidents has."""

    severity: Literal["notice", "warning", "critical"] = Field(
        default="warning", description="The least severity that is told."
    )
    updates: bool = Field(
        default=False,
        description="Whether a rise of severity is told too, besides opening and closing.",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long one attempt may take.", examples=["10s"]
    )


class Webhook(_Channel):
    """A URL that gets a signed POST for each change of an incident."""

    url: str | None = Field(
        default=None, description="URL, http or https.", examples=["https://hooks.example.org/seismolog"]
    )
    secret_file: str | None = Field(
        default=None,
        description="File that holds the secret of the signature. Relative to this file. Without it the environment "
        "variable SEISMOLOG_WEBHOOK_SECRET holds it.",
        examples=["/etc/seismolog/webhook.secret"],
    )


class NotifyMail(_Channel):
    """Mail about incidents, over SMTP."""

    server: str | None = Field(
        default=None, description="Mail server, host or host:port.", examples=["mail.example.org:587"]
    )
    security: Literal["none", "starttls", "tls"] = Field(
        default="starttls",
        description="How the connection is protected; `none` is for a server on this machine.",
    )
    sender: str | None = Field(
        default=None, description="Address of the sender.", examples=["seismolog@example.org"]
    )
    recipients: list[str] = Field(
        default=[], description="Addresses that get the mail.", examples=[["noc@example.org"]]
    )
    user: str | None = Field(
        default=None, description="User to log in as, none for no login.", examples=["seismolog"]
    )
    password_file: str | None = Field(
        default=None,
        description="File that holds the password. Relative to this file. Without it the environment variable "
        "SEISMOLOG_MAIL_PASSWORD holds it.",
        examples=["/etc/seismolog/mail.password"],
    )


class NotifySyslog(_Channel):
    """Incidents as lines of syslog (RFC 5424), back into rsyslog."""

    target: str | None = Field(
        default=None,
        description="unix:PATH, udp:HOST:PORT or tcp:HOST:PORT (octet-counted frames).",
        examples=["unix:/dev/log"],
    )
    facility: int = Field(
        default=16, ge=0, le=23, description="Facility of the lines, a number of RFC 5424; 16 is local0."
    )


class Notify(Section):
    """Telling people and programs about incidents. docs/notify.md."""

    outbox: str | None = Field(
        default=None,
        description="Folder of what is still to be told. Relative to this file. Default: `outbox` in the folder of the "
        "daemon's state.",
        examples=["/var/lib/seismolog/outbox"],
    )
    messages: Positive = Field(
        default=10_000,
        description="Messages that wait for one channel at most; past it the oldest go, and are counted.",
    )
    webhook: Webhook = Field(default=Webhook(), description=Webhook.__doc__)
    mail: NotifyMail = Field(default=NotifyMail(), description=NotifyMail.__doc__)
    syslog: NotifySyslog = Field(default=NotifySyslog(), description=NotifySyslog.__doc__)


class Config(Section):
    """Everything that one file configures."""

    site: Site = Field(default=Site(), description=Site.__doc__)
    mail_server: list[MailServer] = Field(default=[], description=MailServer.__doc__)
    dns_server: list[DnsServer] = Field(default=[], description=DnsServer.__doc__)
    store: StoreSettings = Field(default=StoreSettings(), description=StoreSettings.__doc__)
    listen: Listen = Field(default=Listen(), description=Listen.__doc__)
    live: Live = Field(default=Live(), description=Live.__doc__)
    influxdb: InfluxDB = Field(default=InfluxDB(), description=InfluxDB.__doc__)
    grafana: Grafana = Field(default=Grafana(), description=Grafana.__doc__)
    model: Model = Field(default=Model(), description=Model.__doc__)
    detect: Detect = Field(default=Detect(), description=Detect.__doc__)
    archive: Archive = Field(default=Archive(), description=Archive.__doc__)
    limits: Limits = Field(default=Limits(), description=Limits.__doc__)
    privacy: Privacy = Field(default=Privacy(), description=Privacy.__doc__)
    notify: Notify = Field(default=Notify(), description=Notify.__doc__)

    _file: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _servers_agree(self) -> Self:
        for section in ("mail_server", "dns_server"):
            names = Counter(s.name for s in getattr(self, section))
            twice = [n for n, k in names.items() if k > 1]
            if twice:
                raise ValueError(f"each name once; two [[{section}]] are called {twice[0]!r}")
        zones: dict[str, str] = {}
        for server in self.servers:
            if server.timezone and zones.setdefault(server.name, server.timezone) != server.timezone:
                raise ValueError(f"one time zone for a server; {server.name!r} has two")
        owner: dict[str, str] = {}
        for server in self.servers:
            for host in server.hosts:
                if owner.setdefault(host, server.name) != server.name:
                    raise ValueError(
                        f"a host name belongs to one server; {host!r} is of {owner[host]!r} and {server.name!r}"
                    )
        return self

    @property
    def servers(self) -> list[MailServer | DnsServer]:
        """Every server, mail servers first."""
        return [*self.mail_server, *self.dns_server]

    @property
    def server_names(self) -> dict[str, str]:
        """Host name in lower case -> name of the server, for the counting core."""
        return {h: s.name for s in self.servers for h in s.hosts}

    @property
    def server_timezones(self) -> dict[str, str]:
        """Name of the server -> its time zone, of those that have one of their own."""
        return {s.name: s.timezone for s in self.servers if s.timezone}

    @property
    def file(self) -> Path | None:
        """The file that this was read from, None for the defaults."""
        return self._file

    def path(self, value: str) -> Path:
        """A path of the configuration: relative to the folder of its file."""
        path = Path(value).expanduser()
        return path if path.is_absolute() or self._file is None else self._file.parent / path

    @property
    def store_url(self) -> str | None:
        """Folder or URL of the store, None where none is configured."""
        url = self.store.url
        return url if url is None or "://" in url else str(self.path(url))
