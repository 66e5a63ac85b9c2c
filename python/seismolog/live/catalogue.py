"""Every metric by name, with its type and a sentence: /metrics, docs/metrics.md and `top` take them from here.

The engine names its own counters; what it shows under a name that is not listed here still appears in /metrics,
with the type that its name tells. A test holds the list against the running engine.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["METRICS", "described", "markdown"]

#: Name -> (type, sentence). Labels are told in the sentence.
METRICS: dict[str, tuple[str, str]] = {
    # -- the daemon
    "seismolog_info": ("gauge", "Always 1; label version."),
    "seismolog_healthy": ("gauge", "1 while lines are received, counted and stored: what /healthz answers."),
    "seismolog_start_time_seconds": ("gauge", "When the daemon was started, seconds since 1970."),
    "seismolog_replayed_lines": ("gauge", "Lines that were replayed from the write-ahead log at the start."),
    "seismolog_replay_seconds": ("gauge", "How long that took."),
    "seismolog_reloads_total": ("counter", "Configurations that were taken at SIGHUP."),
    "seismolog_reload_errors_total": ("counter", "Configurations that were refused at SIGHUP."),
    # -- reception; label source is the listener
    "seismolog_received_lines_total": ("counter", "Lines received; label source."),
    "seismolog_received_bytes_total": ("counter", "Bytes received; label source."),
    "seismolog_long_lines_total": (
        "counter",
        "Lines longer than [limits] line_length, skipped; label source.",
    ),
    "seismolog_bad_frames_total": ("counter", "Frames with a wrong length or command; label source."),
    "seismolog_connections": ("gauge", "Connections now; label source."),
    "seismolog_accepted_connections_total": ("counter", "Connections accepted; label source."),
    "seismolog_refused_peers_total": (
        "counter",
        "Peers outside of [listen] allow, turned away; label source.",
    ),
    "seismolog_shed_connections_total": (
        "counter",
        "Connections closed because there were too many, they were silent too long with a line unfinished, they "
        "went past [live] partial_size, or left confirmations unread; label source.",
    ),
    "seismolog_dropped_messages_total": (
        "counter",
        "Datagrams dropped because a queue was full; label source.",
    ),
    "seismolog_relp_pauses_total": (
        "counter",
        "Times that a RELP sender was not read because too many of its messages waited for confirmation; label source.",
    ),
    "seismolog_kernel_dropped_total": ("counter", "Datagrams that the kernel dropped; label source."),
    "seismolog_udp_buffer_bytes": ("gauge", "Receive buffer that the kernel granted; label source."),
    "seismolog_followed_files": ("gauge", "Files that are followed now."),
    "seismolog_refused_files_total": (
        "counter",
        "Times that a file was not followed: [live] followed_files.",
    ),
    "seismolog_rotations_total": ("counter", "Rotations of followed files that were seen."),
    "seismolog_rotated_bytes_recovered_total": (
        "counter",
        "Bytes read from rotated files because their end had not been read before.",
    ),
    "seismolog_rotated_bytes_late_total": (
        "counter",
        "Bytes added to a rotated file after it was finished ([live] rotated_age): not counted.",
    ),
    "seismolog_journalctl_starts_total": ("counter", "Starts of journalctl."),
    "seismolog_queue_bytes": (
        "gauge",
        "Fill of a queue; label queue: receive, logged, behind (bytes of the log that wait to be counted).",
    ),
    "seismolog_queue_bound_bytes": ("gauge", "Room of a queue; label queue."),
    "seismolog_queue_waits_total": (
        "counter",
        "Times that a feeder found a queue full and waited, or left lines to the log (logged); label queue.",
    ),
    "seismolog_queue_wait_microseconds_total": ("counter", "How long feeders waited; label queue."),
    "seismolog_paused": ("gauge", "1 while reception waits because the write-ahead log is full."),
    # -- the write-ahead log
    "seismolog_logged_lines_total": ("counter", "Lines appended to the write-ahead log."),
    "seismolog_duplicate_lines_total": ("counter", "Lines dropped because their message id was known."),
    "seismolog_confirmed_total": ("counter", "Messages and transactions that were confirmed."),
    "seismolog_waiting_confirmations": ("gauge", "Confirmations that wait for the disk."),
    "seismolog_replayed_lines_total": ("counter", "Lines replayed at the start."),
    "seismolog_wal_bytes": ("gauge", "Bytes of the write-ahead log."),
    "seismolog_wal_segments": ("gauge", "Files of the write-ahead log."),
    "seismolog_wal_appended_bytes_total": ("counter", "Bytes appended."),
    "seismolog_wal_syncs_total": ("counter", "Flushes to the disk (group commits)."),
    "seismolog_wal_sync_microseconds_total": ("counter", "How long they took."),
    "seismolog_wal_durable_position": ("gauge", "Position up to which the log is on disk."),
    "seismolog_wal_errors_total": ("counter", "Writes and flushes that failed and were tried again."),
    "seismolog_wal_cut_bytes_total": (
        "counter",
        "Bytes cut off at the start: half a record, or what a file written again held before.",
    ),
    "seismolog_wal_damaged_bytes_total": ("counter", "Bytes of damaged records skipped in a replay."),
    # -- counting
    "seismolog_counted_lines_total": ("counter", "Lines counted."),
    "seismolog_matched_lines_total": ("counter", "Lines that are events."),
    "seismolog_ignored_lines_total": ("counter", "Lines that a dialect knows and that are no events."),
    "seismolog_unmatched_lines_total": ("counter", "Lines that no dialect knows."),
    "seismolog_unmatched_reason_total": ("counter", "Unmatched lines by reason; label reason."),
    "seismolog_unshaped_lines_total": (
        "counter",
        "Unmatched lines whose shape was not looked at: more than ten times [limits] unmatched_shapes in a second.",
    ),
    "seismolog_dialect_lines_total": ("counter", "Lines by dialect; label dialect."),
    "seismolog_shed_total": ("counter", "What went past a bound of [limits]; label bound."),
    "seismolog_future_lines_total": (
        "counter",
        "Lines whose time was too far ahead and was set to their receipt.",
    ),
    "seismolog_counted_position": ("gauge", "Position in the write-ahead log up to which lines are counted."),
    "seismolog_open_bins": ("gauge", "Bins that are open."),
    "seismolog_kept_bins": ("gauge", "Closed bins that are kept for late lines."),
    "seismolog_kept_bytes": ("gauge", "Bytes of these."),
    "seismolog_known_clients": ("gauge", "Clients in the table."),
    "seismolog_client_table_renewals_total": ("counter", "Times that the table of clients was begun anew."),
    "seismolog_snapshots_total": ("counter", "Snapshots of open bins written."),
    "seismolog_snapshot_bytes": ("gauge", "Bytes of the last one."),
    "seismolog_snapshot_pause_us": ("gauge", "For how long counting stood still for it, microseconds."),
    # -- closed bins
    "seismolog_closed_bins_total": ("counter", "Bins that closed."),
    "seismolog_revised_bins_total": (
        "counter",
        "Closed bins that late lines changed and that were told again.",
    ),
    "seismolog_closed_rounds_total": ("counter", "Entries written to the log of closed bins."),
    "seismolog_closed_files": ("gauge", "Entries in the log of closed bins."),
    "seismolog_closed_bytes": ("gauge", "Bytes of the log of closed bins."),
    "seismolog_closed_waits_total": ("counter", "Times that counting waited because that log was full."),
    "seismolog_close_us": ("gauge", "From the close of the last bins to the disk, microseconds."),
    "seismolog_close_us_max": ("gauge", "The longest of these."),
    "seismolog_close_slow_total": ("counter", "How often that took longer than 250 ms."),
    "seismolog_closed_revision": ("gauge", "The newest revision in the log of closed bins."),
    "seismolog_closed_skipped_total": (
        "counter",
        "Times that a sink was too far behind and was left to read the store.",
    ),
    "seismolog_cursor_revision": ("gauge", "How far each reader of closed bins has come; label reader."),
    # -- the store
    "seismolog_store_commits_total": ("counter", "Commits of live rows to the store."),
    "seismolog_store_rows_total": ("counter", "Live rows committed."),
    "seismolog_store_commit_seconds_total": ("counter", "Time that commits took."),
    "seismolog_store_errors_total": ("counter", "Commits or upkeeps that failed and were tried again."),
    "seismolog_store_lag_seconds": ("gauge", "For how long the oldest uncommitted closed bin has waited."),
    "seismolog_store_ok": ("gauge", "1 while the store can be written, else 0."),
    "seismolog_store_upkeeps_total": ("counter", "Upkeeps of the store."),
    "seismolog_store_upkeep_seconds": ("gauge", "How long the last upkeep took."),
    # -- the process
    "seismolog_influxdb_points_total": ("counter", "Points that InfluxDB took."),
    "seismolog_influxdb_requests_total": ("counter", "Requests to InfluxDB."),
    "seismolog_influxdb_bytes_total": ("counter", "Bytes of line protocol that InfluxDB took."),
    "seismolog_influxdb_request_seconds_total": ("counter", "Time that requests to InfluxDB took."),
    "seismolog_influxdb_retries_total": ("counter", "Requests to InfluxDB that were sent again."),
    "seismolog_influxdb_errors_total": ("counter", "Requests to InfluxDB that failed."),
    "seismolog_influxdb_failures_total": ("counter", "Times that the exporter to InfluxDB was begun again."),
    "seismolog_influxdb_refused_points_total": (
        "counter",
        "Points that InfluxDB refused; they stand in a file beside the ledger, with the reason.",
    ),
    "seismolog_influxdb_too_old_points_total": (
        "counter",
        "Those of them that are older than the bucket keeps.",
    ),
    "seismolog_influxdb_zeros_total": ("counter", "Points of zeros, of keys that are gone from the store."),
    "seismolog_influxdb_series": ("gauge", "Series that were sent to InfluxDB and are not forgotten."),
    "seismolog_influxdb_refused_series_total": (
        "counter",
        "Series that were not begun because of [influxdb] max_series.",
    ),
    "seismolog_influxdb_given_up_numbers_total": (
        "counter",
        "Points of the daemon's own numbers that were given up while InfluxDB was away.",
    ),
    "seismolog_influxdb_todo_hours": ("gauge", "Hours that are to be written whole to InfluxDB."),
    "seismolog_influxdb_revision": ("gauge", "Closed bins up to this revision are in InfluxDB."),
    "seismolog_influxdb_lag_seconds": (
        "gauge",
        "For how long the oldest closed bin that is not in InfluxDB has waited.",
    ),
    "seismolog_influxdb_ok": ("gauge", "1 while InfluxDB can be written, else 0."),
    "seismolog_lines_per_second": ("gauge", "Lines counted a second, over the last seconds."),
    "seismolog_detect_looks_total": ("counter", "Times that the detectors looked at the last day."),
    "seismolog_detect_errors_total": ("counter", "Looks that failed, such as for a store that is away."),
    "seismolog_detect_seconds": ("gauge", "How long the last look took."),
    "seismolog_detect_delay_seconds": (
        "gauge",
        "From the close of the last ten minutes that were looked at to the end of the look.",
    ),
    "seismolog_detect_kept_bytes": (
        "gauge",
        "Memory of what the last look made of the hours that it read, so that the next one reads what has changed only.",
    ),
    "seismolog_incidents_open": ("gauge", "Incidents that go on."),
    "seismolog_incidents_opened_total": ("counter", "Incidents that were opened."),
    "seismolog_notify_waiting": ("gauge", "Messages that wait in an outbox; label channel."),
    "seismolog_notify_sent": ("counter", "Messages that were told; label channel."),
    "seismolog_notify_refused": ("counter", "Messages that a channel refused for good; label channel."),
    "seismolog_notify_failures": ("counter", "Attempts that failed and are made again; label channel."),
    "seismolog_notify_dropped": ("counter", "Messages that found no room in an outbox; label channel."),
    "process_resident_memory_bytes": ("gauge", "Resident memory."),
    "process_cpu_seconds_total": ("counter", "Processor time, user and system."),
    "process_open_fds": ("gauge", "Open files and sockets."),
}


def described(name: str) -> tuple[str, str]:
    """Type and sentence of a metric."""
    if name in METRICS:
        return METRICS[name]
    return ("counter" if name.endswith("_total") else "gauge"), name.removeprefix("seismolog_").replace(
        "_", " "
    )


def markdown() -> str:
    """The table of docs/metrics.md."""
    lines = ["| name | type | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {kind} | {sentence} |" for name, (kind, sentence) in METRICS.items()]
    return "\n".join(lines) + "\n"


def _write(path: Path) -> None:
    head, mark, _ = path.read_text(encoding="utf-8").partition("| name | type")
    path.write_text(head + markdown() if mark else head.rstrip("\n") + "\n\n" + markdown(), encoding="utf-8")


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
