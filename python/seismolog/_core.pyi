"""Types of the compiled core. What each function does stands here; the code is in `rust/`.

Times are seconds since 1970, UTC, unless a name says otherwise. Log text is bytes: it may hold anything.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, final

VERSION: str
KINDS: tuple[str, ...]
"""Names of the kinds; the tables hold their positions."""
QTYPES: tuple[str, ...]
"""Names of the query types, which are columns of `client_traffic`."""

class SeismologError(Exception):
    """An error of the core."""

class InputError(SeismologError):
    """A file cannot be opened or read; the message names it and the offset."""

class UsageError(SeismologError):
    """An argument has no meaning; the message begins with its name."""

@final
class ArrowTable:
    """A table that hands itself over without a copy: `polars.DataFrame(table)`."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class ArrowBatch:
    """A record batch that hands itself over without a copy."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

@final
class Scan:
    """What `scan` found."""

    @property
    def servers(self) -> list[str]:
        """Server names; the column `server` holds positions in this list."""
    @property
    def other_year(self) -> int | None:
        """The year of the first line, where a file that was counted in stretches shows that another one was taken."""
    @property
    def split_bins(self) -> list[tuple[int, int]]:
        """Bins (start, server) whose rows come from more than one place and must be added together."""
    @property
    def sources(self) -> list[dict[str, Any]]:
        """One report a file, in the order given: path, compression, compressed_bytes, bytes, head_hash, full_hash,
        lines, matched, ignored, unmatched, dialects, reasons, shed, servers, first_time, last_time, years,
        timezone_guessed, error ({offset, message} or None)."""
    @property
    def summary(self) -> dict[str, Any]:
        """Sums over all files: lines, matched, ignored, unmatched, dialects, reasons, shed."""
    def table(self, name: str) -> ArrowTable:
        """`client_traffic`: bin_start, server (UInt32, position in `servers`), kind (UInt8, position in KINDS),
        client, count, the query types (UInt16, or UInt32 where a count needs it), distinct_names, name_state, source
        (UInt32, position in `sources`).

        `traffic`: bin_start, server, kind, query_type, side, count, recipients, distinct_clients, client_entropy,
        distinct_names, name_entropy, top_name_share, client_state, name_state, source.

        `edges`, with `edges`, without rows otherwise: halves of events near the ends of each source that the files
        around it decide: id, bin_start, server and, null of a cancel, kind, client, side, client_hash, network_hash,
        recipients, account, account_part (a column of `account_activity`); source.

        With `details`, without rows otherwise, and one row for each source and key:

        `account_activity` (1 h): bin_start, server, account, logins, failures, authenticated_sends, distinct_clients,
        client_state, distinct_networks, network_state (networks of logins and sends: a /24, or a /48 of IPv6), source.

        `ptr_target` (1 h): bin_start, server, origin (a client, or its /24, which is the sum of its clients), count,
        distinct_targets, target_state, distance_histogram, source. Counted are PTR queries for a whole address. The
        histogram is of the Euclidean distances of consecutive IPv4 targets of a client, octets as a vector: 0; 1 to 2;
        to 8; to 32; below 150.2; 150.2 to 210.4; to 300; above. Zeros at its end are left out.

        `drop_target` (1 h): bin_start, server, origin, port (0 where none is told, null: all ports together), count,
        distinct_targets, target_state, distance_histogram, distinct_endpoints, endpoint_state (destinations with port,
        null where the row is of one port), source.

        `domain` (10 min): bin_start, server, domain (the registered one), count, the query types, distinct_names,
        name_state, distinct_clients, client_state, source.

        `client_domain` (1 h, heavy hitters): bin_start, server, client, domain, count, distinct_names, name_state (a
        set), names_measured, label_entropy_sum, mean_label_entropy (bits; of the characters left of the domain, each
        distinct name once), name_length_histogram (index: length), median_name_length, mail_label_bits (leftmost
        labels seen: mail 1, smtp 2, mx 4, ns 8, gate 16, relay 32), mail_labels (their number), interval_histogram
        (minutes between consecutive queries; buckets: `INTERVAL_MINUTES` of `seismolog.store.schema`), source.

        `client_names` (1 h, clients with any of these): bin_start, server, client, mx_names (distinct names asked as MX),
        mail_domains (registered domains asked with one of those leftmost labels), probed_domains (with three or more of
        them), unlikely_domains (see `unlikely_domains`), source.

        Entropies are in bits. Columns that were not asked for are left out. Rows stand in no particular order.
        """

def scan(
    paths: Sequence[str | PathLike[str]],
    *,
    threads: int = 0,
    clients: bool = True,
    query_types: bool = True,
    names: bool = True,
    state: bool = False,
    details: bool = False,
    edges: bool = False,
    public_suffixes: str | None = None,
    timezone: str | None = None,
    server_timezones: Mapping[str, str] = ...,
    server_names: Mapping[str, str] = ...,
    default_server: str = "unknown",
    year: int | None = None,
    inside: Sequence[str] = ...,
    reinjection: Sequence[str] = ...,
    client_prefix_v6: int = 128,
    digest: bool = False,
    limits: Mapping[str, int] = ...,
    progress: Callable[[int, int, int], object] | None = None,
    stretch: int = 0,
    stretch_rows: int = ...,
    take: Callable[[Scan], object] | None = None,
) -> Scan:
    """Counts the lines of files in bins of one minute.

    Every file is looked at first; one that cannot be opened raises InputError before anything is read. A file that
    turns out to be damaged is counted up to there and reported in `Scan.sources`.

    `threads`: 0 means as many as the machine has; the result is the same for any number. `clients`, `query_types`,
    `names`, `state`, `details`: what is counted; less is faster. `public_suffixes`: the text of the public suffix list,
    for the registered domains of `details`; without it they are the last two labels. `timezone`: zone of times that tell
    none (None: UTC, and reported as a guess). `year`: year of each file's first line where lines tell none. `digest`:
    hash every text. `limits`: bounds by name (see Settings). `progress(bytes read, bytes in all, lines read)` is called
    ten times a second; an exception that it raises stops the scan. With `take`, one file is counted in stretches of about
    `stretch` bytes of text or `stretch_rows` rows, each a scan of its own that shares rows of the bins at a cut with its
    neighbours: all but the last are handed to `take`, whose exception stops the scan, and the last is returned.
    """

@final
class Closed:
    """A round: bins that have closed, or have changed since they were told."""

    @property
    def revision(self) -> int:
        """Its number: the position in the write-ahead log up to which its lines were counted."""
    @property
    def servers(self) -> list[str]:
        """Server names; the column `server` holds positions in this list."""
    def tables(self) -> list[str]:
        """Names of the tables that have rows."""
    def table(self, name: str) -> ArrowTable:
        """A table in the layout of `Scan.table`; UsageError if it has no rows in this round, InputError if the file is
        damaged.

        Rows are absolute: they hold all that was counted for their key, and of one key and source the row with the
        highest revision is right, also where it says 0. `source` is 0; or the number of a late set, whose rows a reader
        must *add* to those of source 0: lines that came when their bin had been let go (an hour behind the watermark)
        are counted there.
        """

@final
class Live:
    """Receives lines, logs them, counts them, and writes bins to the closed-bin log as they close.

    The state folder holds `wal/`, `snapshot` and `closed/`. All calls may be made from any thread; those that wait let
    go of the GIL.

    Parameters
    ----------
    directory
        The state folder; made where it is missing.
    intake
        Settings of reception as plain values: listeners, allow, limits, wal (see `rust/core/src/live/settings.rs`;
        `directory` is not needed). A listener is a dict of one key, `{"tcp": {"address": "127.0.0.1:5514"}}`.
    counting
        Settings of counting as plain values, each with a default: timezone, server_timezones, server_names,
        default_server, inside, reinjection, client_prefix_v6, public_suffixes, details, limits (as those of `scan`);
        lateness, skew, revise (whole seconds: how long a bin waits, how far a time may be ahead, between two tellings of
        a closed bin that changes); snapshot_bytes, snapshot_seconds, closed_bytes, state_bytes.

    Raises
    ------
    UsageError
        A key is unknown or a value has no meaning; the message names it.
    """

    def __init__(
        self, directory: str | PathLike[str], *, intake: dict[str, Any], counting: dict[str, Any]
    ) -> None: ...
    def start(self) -> dict[str, Any]:
        """Opens the state, replays, starts. Returns `replayed_lines` and `seconds`. InputError: the state cannot be read
        or written, or a listener cannot be bound; nothing runs then."""
    def wait(self, timeout: float) -> list[int]:
        """Revisions that came into the closed-bin log since the last call, [] after `timeout` seconds. The first call
        gives all that are there. InputError if counting has stopped; the message says why."""
    def closed_after(self, revision: int, limit: int = 64) -> list[Closed]:
        """Rounds above the revision that were not released, oldest first. InputError: a file is damaged."""
    def release(self, revision: int) -> None:
        """Rounds up to the revision may go."""
    def metrics(self) -> dict[str, Any]:
        """Every number by its Prometheus name (labels and all); besides `counters` (the names of those that only grow)
        and `troubles` (what is wrong now: part -> message)."""
    def unmatched_shapes(self) -> list[tuple[str, int]]:
        """The most frequent shapes of lines that no dialect knows, as `shapes` marks them, each with its lines since the
        start: at most `limits.unmatched_shapes`, the most frequent first. A count is too high by at most the lowest."""
    def top(self, n: int = 10) -> dict[str, Any]:
        """The newest five minutes: since (seconds, None if counting is too far behind to answer), kinds (events by kind),
        distinct_clients, clients (the n most frequent: client or None, total, kinds); besides lines_per_second (counted,
        lately), matched_share (of all lines, None before the first) and open_bins."""
    def reload(self, intake: dict[str, Any], counting: dict[str, Any]) -> None:
        """Takes new settings. UsageError: one that needs a restart has changed; nothing has changed then."""
    def drain(self, timeout: float) -> bool:
        """Stops accepting, counts what has arrived, tells every bin (closed or not) and keeps the state. False: not done
        in time. What was told can still be read until `stop`."""
    def ended(self) -> bool:
        """Whether every source has ended (standard input only)."""
    def stop(self) -> None:
        """Stops at once; the next start replays what was not kept."""
    def addresses(self) -> dict[str, str]:
        """Where listeners are bound, by listener as configured (`tcp 127.0.0.1:0` -> `127.0.0.1:40123`)."""

def unlikely_domains(domains: Sequence[str]) -> list[bool]:
    """For each registered domain whether its name looks made up by a program: the mean log likelihood of the pairs of
    characters of its first label is below that of all but about one in a hundred names that people give. Labels of
    fewer than eight characters, internationalized ones and names without a dot are not judged."""

def merge_states(group: Any, state: Any, size: int = 4096) -> ArrowBatch:
    """Merges stored summaries by group: rows (group, state, distinct, entropy, top_share), rising by group.

    `group`: UInt32 without nulls; `state`: Binary, null for an empty one; both of one length, through Arrow.
    """

def line_protocol(
    table: Any,
    *,
    measurement: str,
    tags: Sequence[str],
    fields: Sequence[str],
    time: str = "bin_start",
    precision: str = "s",
    lines: int = 0,
) -> list[bytes]:
    r"""Renders the rows of an Arrow table as InfluxDB's line protocol, in texts of at most `lines` lines (0: one text).

    `tags`: columns of text, plain or by dictionary; a null becomes `none`, an empty text leaves the tag out. `fields`:
    columns of numbers, booleans or text; nulls, NaN and infinities are left out, and so is a row without a field.
    `time`: a column of timestamps, written in `precision` (s, ms, us, ns). Text may hold anything: each line is one
    point, and different tags stay different (control characters and backslashes become `\xNN`). UsageError names a
    column that is missing or of another type.
    """

def explain(
    path: str | PathLike[str],
    *,
    timezone: str | None = None,
    server_timezones: Mapping[str, str] = ...,
    server_names: Mapping[str, str] = ...,
    default_server: str = "unknown",
    year: int | None = None,
    inside: Sequence[str] = ...,
    reinjection: Sequence[str] = ...,
    client_prefix_v6: int = 128,
) -> Explanations:
    """Says of each line how it parses. `-` is standard input."""

@final
class Explanations:
    """Yields a dict a line: line (number from 1), dialect, kind, server, program, client, time, count, query_type,
    name, account, recipients, ignored, reason, text (bytes)."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def __next__(self) -> dict[str, Any]: ...

def shapes(paths: Sequence[str | PathLike[str]]) -> list[dict[str, Any]]:
    """Groups the lines that were not understood: shape, count, example (bytes), path, line, reason; most frequent
    first."""

def identify(paths: Sequence[str | PathLike[str]]) -> list[dict[str, Any]]:
    """Looks at files: path, compression, compressed_bytes, written (seconds or None), regular, head_hash (of the first
    4 KiB of text), head_bytes, error."""

def digest(path: str | PathLike[str], lengths: Sequence[int] = ...) -> dict[str, Any]:
    """Hashes a whole text: head_hash, full_hash, bytes, prefixes (the hash up to each of `lengths`, None if the text is
    shorter)."""

def paper_counts(paths: Sequence[str | PathLike[str]], threads: int = 0) -> dict[str, int]:
    """D_q, N_from, N_SS, N_SD, N_P as the study's five pipelines give them over all the text of the files."""
