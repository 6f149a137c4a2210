"""What does the embedded Loki allow? Its per-tenant limits, with the real one's defaults."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Per-tenant limits. Numbers are the defaults of Loki 3.7 unless a comment says otherwise."""

    # Queries.
    max_entries: int = 5000  # max_entries_limit_per_query; 0 is no limit
    max_query_length_s: float = 721 * HOUR_S  # time range of one query; 0 is no limit
    max_query_lookback_s: float = 0  # older than that is cut silently, as the real one does
    max_query_bytes: int = 0  # max_query_bytes_read, counted over filtered queries; 0 is off
    max_query_series: int = 500  # of a metric query; 0 is no limit
    max_query_text: int = 131_072  # characters of LogQL
    # An answer larger than a message between Loki's parts is lost on the way. The client learns
    # nothing until the query times out; and when that is later than the HTTP server's write
    # time-out, the connection is closed without an answer.
    max_answer_bytes: int = 4 * 1024 * 1024
    query_timeout_s: float = 60
    write_timeout_s: float = 30
    categorize_labels: bool = True  # False: like old releases, the header is ignored

    # Pushes.
    reject_old_samples_s: float = 7 * 24 * HOUR_S
    creation_grace_s: float = 600
    out_of_order_s: float = HOUR_S  # behind the newest entry of the same stream
    max_line_bytes: int = 256 * 1024
    max_label_names: int = 15
    max_push_bytes: int = 4 * 1024 * 1024  # decoded; the gRPC limit inside a monolith
    discover_service_name: bool = True
    discover_log_levels: bool = True

    # The two traps. Both are off by default, so that a demo has no surprises.
    cache_results: bool = False  # empty answers of filter queries are cached per hour
    ingester_window_s: float = 0  # entries older than that stay invisible until flush(); 0 is off

    # Not of Loki: what this process may hold, over all tenants.
    max_stored_bytes: int = 64 * 1024 * 1024
