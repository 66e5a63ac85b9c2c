"""The bucket: made where it is missing, with its retention.

Nothing else has to be set up. Roll-ups are written by the exporter, out of merged states: a task of InfluxDB could only
average distinct counts, which would be wrong. InfluxQL reads a bucket under its own name without a mapping.

Limits: InfluxDB 2. In 1.8 and 3 make the database with their own tools (docs/influxdb.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from seismolog.errors import ServiceError
from seismolog.sinks.influxdb.refused import message_of
from seismolog.sinks.influxdb.target import Target

__all__ = ["SetUp", "set_up"]


@dataclass(frozen=True)
class SetUp:
    """What was there, and what was done."""

    created: bool
    changed: bool
    retention: timedelta | None


def set_up(target: Target, retention: timedelta | None) -> SetUp:
    """Make the bucket, or give it this retention.

    Parameters
    ----------
    retention
        How long points are kept; zero is for ever, None leaves a bucket that is there as it is (a new one keeps for
        ever).

    Raises
    ------
    ServiceError
        The server cannot be reached, or the token may not do this.
    """
    import urllib3.exceptions
    from influxdb_client.client.exceptions import InfluxDBError
    from influxdb_client.client.influxdb_client import InfluxDBClient
    from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
    from influxdb_client.rest import ApiException

    seconds = None if retention is None else round(retention.total_seconds())
    if seconds is not None and 0 < seconds < 3600:
        raise ServiceError(
            f"a retention of {seconds} s", expected="0 for ever, or an hour at least", key="--retention"
        )
    rule: Any = BucketRetentionRules
    rules = [rule(type="expire", every_seconds=seconds or 0)]
    options: dict[Any, Any] = {} if target.ca_file is None else {"ssl_ca_cert": target.ca_file}
    client: Any = InfluxDBClient(
        url=target.url, token=target.token, org=target.org, timeout=round(target.timeout * 1000), **options
    )
    try:
        buckets = client.buckets_api()
        bucket = buckets.find_bucket_by_name(target.bucket)
        if bucket is None:
            buckets.create_bucket(bucket_name=target.bucket, retention_rules=rules, org=target.org)
            return SetUp(created=True, changed=False, retention=_length(seconds or 0))
        have = next((r.every_seconds or 0 for r in bucket.retention_rules or ()), 0)
        if seconds is None or seconds == have:
            return SetUp(created=False, changed=False, retention=_length(have))
        bucket.retention_rules = rules
        buckets.update_bucket(bucket)
        return SetUp(created=False, changed=True, retention=_length(seconds))
    except InfluxDBError as error:
        raise ServiceError(
            f"{target.url} does not set the bucket up: {error}",
            mend="take a token that may read the organisation and make buckets, for this command only "
            "(SEISMOLOG_INFLUXDB_TOKEN)",
        ) from error
    except ApiException as error:
        told = message_of(error.body if isinstance(error.body, str) else None)
        mend = {
            401: "the token is not known there: check the file that [influxdb] token_file names",
            403: "take a token that may make buckets, for this command only (SEISMOLOG_INFLUXDB_TOKEN)",
            404: "this is no InfluxDB 2, or it has no such organisation: see docs/influxdb.md for 1.8 and 3",
        }.get(int(error.status or 0), "check url, org and token in [influxdb]")
        raise ServiceError(
            f"{target.url} does not set the bucket up: status {error.status}: {told[:300]}", mend=mend
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ServiceError(
            f"{target.url} cannot be reached: {error}", mend="start InfluxDB, or mend [influxdb] url"
        ) from error
    finally:
        client.close()


def _length(seconds: int) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None
