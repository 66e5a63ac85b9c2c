"""Every metric by name, with its type and a sentence: /metrics, docs/metrics.md and `top` take them from here.

The engine names its own counters; what it shows under a name that is not listed here still appears in /metrics,
with the type that its name tells. A test holds the list against the running engine.
"""

from __future__ import annotations

__all__ = ["METRICS", "described", "markdown"]

#: Name -> (type, sentence). Labels are told in the sentence.
METRICS: dict[str, tuple[str, str]] = {
    "seismolog_info": ("gauge", "Always 1; label version."),
    "seismolog_start_time_seconds": ("gauge", "When the daemon was started, seconds since 1970."),
    "seismolog_replayed_lines": ("gauge", "Lines that were replayed from the write-ahead log at the start."),
    "seismolog_replay_seconds": ("gauge", "How long that took."),
    "seismolog_reloads_total": ("counter", "Configurations that were taken at SIGHUP."),
    "seismolog_reload_errors_total": ("counter", "Configurations that were refused at SIGHUP."),
    "seismolog_closed_revision": ("gauge", "The newest revision in the log of closed bins."),
    "seismolog_closed_log_bytes": ("gauge", "Bytes of the log of closed bins."),
    "seismolog_closed_skipped_total": (
        "counter",
        "Times that a sink was too far behind and was left to read the store.",
    ),
    "seismolog_cursor_revision": ("gauge", "How far each reader of closed bins has come; label reader."),
    "seismolog_store_commits_total": ("counter", "Commits of live rows to the store."),
    "seismolog_store_rows_total": ("counter", "Live rows committed."),
    "seismolog_store_commit_seconds_total": ("counter", "Time that commits took."),
    "seismolog_store_errors_total": ("counter", "Commits or upkeeps that failed and were tried again."),
    "seismolog_store_lag_seconds": ("gauge", "For how long the oldest uncommitted closed bin has waited."),
    "seismolog_store_ok": ("gauge", "1 while the store can be written, else 0."),
    "seismolog_store_upkeeps_total": ("counter", "Upkeeps of the store."),
    "seismolog_store_upkeep_seconds": ("gauge", "How long the last upkeep took."),
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
